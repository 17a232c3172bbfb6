"""Show runs in TensorBoard, MLflow or Weights & Biases.

A follower (`follower.py`) is a process that reads run directories while others write them. It never compares values
with those in a tracker. Instead, each run in a tracker carries the digest of what was sent of it last:

- Is it the digest of the run as it is now? Then there is nothing to send.
- Did this follower itself send the run's first epochs? Then it appends the new ones.
- In all other cases it replaces the tracker's run by a new one with all epochs.

So no epoch is there twice, whenever a follower was killed, and each epoch of a long run is sent once.
"""

from __future__ import annotations

import functools
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

from fmnist_sweep.config.schema import TrackerConfig
from fmnist_sweep.errors import ConfigError


def chosen(trackers: TrackerConfig) -> dict[str, Any]:
    """Return the settings of each chosen tracker, by name."""
    settings = {item.name: getattr(trackers, item.name) for item in fields(trackers)}
    return {name: one for name, one in settings.items() if one is not None}


@functools.cache
def check(name: str) -> None:
    """Raise `ConfigError` if the package of a tracker is not installed."""
    if find_spec(name) is None:
        raise ConfigError(f"tracker={name}: {name} is not installed; pip install 'fmnist-sweep[{name}]'")
