"""Select the chosen trackers and check that their packages are installed."""

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
        raise ConfigError(f"tracker={name}: {name} is not installed; pip install {name}, or '.[{name}]' in the clone")
