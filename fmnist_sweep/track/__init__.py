"""Show runs in TensorBoard, MLflow or Weights & Biases.

A follower (`follower.py`) is a process that reads run directories while others write them. It never compares values
with those in a tracker. Instead, each run in a tracker carries the digest of what was sent of it last:

- Is it the digest of the run as it is now? Then there is nothing to send.
- Did this follower itself send the run's first epochs? Then it appends the new ones.
- In all other cases it replaces the tracker's run by a new one with all epochs.

So no epoch is there twice, whenever a follower was killed, and each epoch of a long run is sent once.
"""
