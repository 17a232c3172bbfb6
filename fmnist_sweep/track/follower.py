"""Follow the runs in some folders, and send their changes to one tracker."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import filelock

from fmnist_sweep.errors import one_line
from fmnist_sweep.store.layout import RECORD, RecordError
from fmnist_sweep.track.runs import Stamp, TrackedRun, directories, read

Outcome = Literal["sent", "waiting", "unusable", "not sent"]

# A follower tries again at its next look, so requests should fail fast. By default, MLflow retries for minutes.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "WANDB_ERROR_REPORTING": "false",
}


class Tracker(Protocol):
    """A connection to a program that shows runs.

    Its methods may raise any exception. After one, the follower replaces the run in the tracker.

    Attributes:
        takes_running: False if it accepts only runs that have ended.
    """

    takes_running: bool

    def has(self, run: TrackedRun) -> bool:
        """Tell whether the tracker has the run exactly once, with its current digest."""

    def send(self, run: TrackedRun, after: int | None) -> None:
        """Send the epochs after `after`, and the result of a run that has ended. None replaces the tracker's run."""


def connect(name: str, settings: Any) -> Tracker:
    """Connect to a tracker, one of `schema.TRACKERS`, with its settings, such as a `schema.MlflowConfig`."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)  # the libraries read these when they are imported
    tracker: Tracker = import_module(f"fmnist_sweep.track.{name}").Tracker(settings)
    return tracker


class Follower:
    """Sends the runs of some folders to one tracker, each time `inspect` is called.

    If several processes want to send a folder to the same place, the first one sends it and the others skip it.
    `stores` are folders of run directories, or single run directories.

    Attributes:
        outcomes: by run directory, the outcome when the run was last read, and the reason.
        down: the reason why the tracker could not be reached at the last look, or None.
        elsewhere: the folders that another process is sending.
    """

    def __init__(self, name: str, settings: Any, stores: Sequence[Path]):
        self._name = name
        self._settings = settings
        self._stores = stores
        self._locks: dict[Path, filelock.BaseFileLock] = {}
        self._tracker: Tracker | None = None
        self._seen: dict[Path, Stamp] = {}
        self._growing: dict[Path, TrackedRun] = {}  # runs in training, as last sent
        self.outcomes: dict[Path, tuple[Outcome, str]] = {}
        self.down: str | None = None
        self.elsewhere: list[Path] = []

    @property
    def trouble(self) -> str | None:
        """Return the reason why the last attempt did not send everything, or None."""
        failures = (
            f"{one_line(path.name)}: {why}" for path, (what, why) in self.outcomes.items() if what == "not sent"
        )
        return self.down or next(failures, None)

    def inspect(self) -> None:
        """Send the changes since the last look."""
        found = {store: runs for store in self._stores if (runs := directories(store))}
        self.elsewhere = [store for store in found if not self._lock(store)]
        self.outcomes = {path: outcome for path, outcome in self.outcomes.items() if outcome[0] != "not sent"}
        self._connect()
        for store, runs in found.items():
            for directory, stamp in runs.items() if store not in self.elsewhere else ():
                if self._seen.get(directory) != stamp and self._tracker:
                    self.outcomes[directory] = self._take(self._tracker, directory)
                    if self.outcomes[directory][0] != "not sent":
                        self._seen[directory] = stamp
                    else:
                        self._tracker = None  # connect again to find out if the tracker is down
                        self._connect()

    def _connect(self) -> None:
        self.down = None
        try:
            self._tracker = self._tracker or connect(self._name, self._settings)
        except Exception as error:  # each library raises errors of its own
            self.down = _describe(error)

    def _take(self, tracker: Tracker, directory: Path) -> tuple[Outcome, str]:
        try:
            run = read(directory)
        except (RecordError, OSError) as error:
            return "unusable", one_line(str(error))
        if not run.ended and not tracker.takes_running:
            return "waiting", ""
        # Remove the entry before sending. If sending fails, nobody knows what arrived, so the run must be replaced.
        before = self._growing.pop(directory, None)
        try:
            if before and run.extends(before):
                tracker.send(run, len(before.metrics))
            elif tracker.has(run):
                return "sent", ""
            else:
                tracker.send(run, None)
        except Exception as error:  # each library raises errors of its own
            return "not sent", _describe(error)
        if not run.ended:
            self._growing[directory] = run
        return "sent", ""

    def _lock(self, store: Path) -> bool:
        """Lock a folder until this process ends. Return False if another process sends it to the same place."""
        if store not in self._locks:
            folder = (store.parent if (store / RECORD).exists() else store) / ".locks"
            place = hashlib.sha256(repr(self._settings).encode()).hexdigest()[:8]
            lock = filelock.FileLock(folder / f"tracker-{self._name}-{place}.lock")
            try:
                folder.mkdir(exist_ok=True)
                lock.acquire(timeout=0)
            except filelock.Timeout:
                return False
            except (OSError, NotImplementedError):
                pass  # the folder is read-only or does not support locks: send without a lock
            self._locks[store] = lock
        return True


def _describe(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {str(error).strip()}".splitlines()[0])
