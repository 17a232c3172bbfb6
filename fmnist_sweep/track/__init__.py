"""Runs shown in trackers such as TensorBoard and MLflow, by one follower that reads their directories as they grow.

What a tracker has is asked of the tracker itself, so that a follower which was killed, or came late, sends what is
missing and nothing twice. A tracker's library is imported where it is used.
"""

from __future__ import annotations

import functools
import os
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from fmnist_sweep.config import TrackerConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.track.runs import TrackedRun

# MLflow would wait minutes for each request, and followers come again anyway; they report to no one but the user.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "WANDB_ERROR_REPORTING": "false",
}


class TrackerDownError(RuntimeError):
    """A tracker cannot be reached, for any run; the message says where it was looked for and what came back."""


class Tracker(Protocol):
    """Where runs are shown."""

    def send(self, run: TrackedRun) -> bool:
        """Bring the tracker up to date with a run.

        Returns:
            Whether it is; not so where the tracker takes runs only once they have ended.

        Raises:
            TrackerDownError: it cannot be reached.
            Exception: it does not take this run.
        """


def chosen(trackers: TrackerConfig) -> dict[str, Any]:
    """The settings of each tracker that is chosen, by its name."""
    settings = {item.name: getattr(trackers, item.name) for item in fields(trackers)}
    return {name: one for name, one in settings.items() if one is not None}


@functools.cache
def check(name: str) -> None:
    """Raise `ConfigError` where the package of a tracker is not installed."""
    if find_spec(name) is None:
        raise ConfigError(f"tracker={name}: {name} is not installed; pip install 'fmnist-sweep[{name}]'")


def connect(name: str, settings: Any) -> Tracker:
    """The tracker of a name.

    Args:
        name: one of `config.TRACKERS`.
        settings: its own, such as a `config.MlflowConfig`.
    """
    check(name)
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)  # which libraries read as they are imported
    tracker: Tracker = import_module(f"fmnist_sweep.track.{name}").connect(settings)
    return tracker
