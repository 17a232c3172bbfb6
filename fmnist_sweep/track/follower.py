"""The one follower of some stores for one tracker: it reads run directories, and sends what is new in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import filelock

from fmnist_sweep import track
from fmnist_sweep.records import RECORD, RecordError, one_line
from fmnist_sweep.track import Tracker, TrackerDownError
from fmnist_sweep.track.runs import Stamp, directories, read


class Follower:
    """Sends what stores hold, each time that it is asked to look.

    Of several processes that send one store to the same place one does so for all; the others' looks send nothing.

    Args:
        name: of the tracker.
        settings: the tracker's.
        stores: folders of run directories, or single run directories.

    Attributes:
        sent: how many runs had something new.
        waiting: those in training, which the tracker takes once they have ended.
        unusable: run directories that cannot be used, and why.
        failures: those that the tracker did not take at the last look, and why.
        down: why the tracker could not be reached at the last look; None where it could.
        elsewhere: the stores that another process sends there.
    """

    def __init__(self, name: str, settings: Any, stores: Sequence[Path]):
        self._name = name
        self._settings = settings
        self._stores = stores
        self._seen: dict[Path, Stamp] = {}
        self._tracker: Tracker | None = None
        self._held: set[Path] = set()
        self._locks = ExitStack()
        self.sent = 0
        self.waiting: set[Path] = set()
        self.unusable: dict[Path, str] = {}
        self.failures: dict[Path, str] = {}
        self.down: str | None = None
        self.elsewhere: list[Path] = []

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self._locks.close()

    @property
    def trouble(self) -> str | None:
        """Why the last look did not send all that there is."""
        return self.down or next((f"{one_line(path.name)}: {why}" for path, why in self.failures.items()), None)

    def look(self) -> None:
        """Send what is new."""
        self.failures, self.down = {}, None
        found = {store: runs for store in self._stores if (runs := directories(store))}
        self.elsewhere = [store for store in found if not self._hold(store)]
        try:
            if self._tracker is None:
                self._tracker = track.connect(self._name, self._settings)
        except Exception as error:  # a database may be away, and says so in its own way
            self.down = _said(error)
            return
        try:
            for store, runs in found.items():
                for directory, stamp in runs.items() if store not in self.elsewhere else ():
                    if self._seen.get(directory) != stamp:
                        self._send(self._tracker, directory, stamp)
        except TrackerDownError as error:
            self.down = str(error)

    def _send(self, tracker: Tracker, directory: Path, stamp: Stamp) -> None:
        self.unusable.pop(directory, None)
        try:
            run = read(directory)
        except (RecordError, OSError) as error:
            self.unusable[directory] = one_line(str(error))
            self._seen[directory] = stamp
            return
        try:
            up_to_date = tracker.send(run)
        except TrackerDownError:
            raise
        except Exception as error:  # trackers and what they store files with raise what they like
            self.failures[directory] = _said(error)
        else:
            self._seen[directory] = stamp
            if up_to_date:
                self.sent += 1
                self.waiting.discard(directory)
            else:
                self.waiting.add(directory)

    def _hold(self, store: Path) -> bool:
        """Whether this process is the one that sends a store there; it stays so until it ends."""
        if store not in self._held:
            folder = (store.parent if (store / RECORD).exists() else store) / ".locks"
            place = hashlib.sha256(repr(self._settings).encode()).hexdigest()[:8]
            lock = filelock.FileLock(folder / f"tracker-{self._name}-{place}.lock")
            try:
                folder.mkdir(exist_ok=True)
                self._locks.enter_context(lock.acquire(timeout=0))
            except filelock.Timeout:
                return False
            except (OSError, NotImplementedError):
                pass  # in a folder that is read-only, or has no locks, there is no other to be kept off
            self._held.add(store)
        return True


def _said(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {str(error).strip()}".splitlines()[0])
