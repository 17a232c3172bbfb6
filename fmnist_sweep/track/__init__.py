"""Show runs in TensorBoard, MLflow or Weights & Biases.

A follower (`follower.py`) is a process that reads run directories while others write them. It never compares values
with those in a tracker. Instead, each run in a tracker has the digest of the content that was last sent:

- If the digest matches the run's current content, the follower sends nothing.
- If this follower itself sent the run's first epochs, it appends the new ones.
- In all other cases it replaces the tracker's run with a new one that has all epochs.

So no epoch is duplicated, even if a follower is killed, and each epoch of a long run is sent once.
"""
