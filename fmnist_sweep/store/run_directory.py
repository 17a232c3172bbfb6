"""Write and read run directories so that a crash cannot corrupt them.

After each epoch a row is appended. It is synced when the run ends: until then a run resumes from its checkpoint, which
has the rows too. Every other file is written under a temporary name, synced and renamed.
`run.json` is written first, so that the directory is known to be the run's. It is written again last, so that a run
with the status `done` is complete. Reading a run directory executes nothing in it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np
from numpy.typing import NDArray

from fmnist_sweep import files
from fmnist_sweep.config.identity import is_run_name, trajectory_name
from fmnist_sweep.engine.metrics import FloatArray, Metrics
from fmnist_sweep.errors import one_line
from fmnist_sweep.store import layout
from fmnist_sweep.store.layout import METRICS, TIMING, Record, RecordError, Status

log = logging.getLogger(__name__)

LEASE_SECONDS = 120.0  # a network file system may show a renewal a minute late


@dataclass(frozen=True)
class Found:
    """The state of a run's directory.

    Attributes:
        status: None if there is no run yet.
        rows: the number of trustworthy rows in metrics.csv. Rows of an unfinished run are trustworthy only if run.json
            has the digest of the file.
        checkpoints: the epochs of the checkpoints, newest first.
    """

    status: Status | None = None
    error: str | None = None
    rows: int = 0
    checkpoints: tuple[int, ...] = ()

    @property
    def finished(self) -> bool:
        """Tell whether nothing is left to train."""
        return self.status in layout.FINISHED

    @property
    def reach(self) -> int:
        """Return the number of epochs whose rows are in metrics.csv or in a checkpoint."""
        return max(self.rows, *self.checkpoints, 0)


def runs_by_trajectory(store: Path) -> dict[str, list[Path]]:
    """Return the run directories in a store by the name of their trajectory."""
    runs: dict[str, list[Path]] = {}
    if store.is_dir():
        for entry in sorted(os.scandir(store), key=lambda entry: entry.name):
            if is_run_name(entry.name) and entry.is_dir(follow_symlinks=False):
                runs.setdefault(trajectory_name(entry.name), []).append(Path(entry.path))
    return runs


def lock(directory: Path, run_name: str, kind: str = "flock") -> filelock.BaseFileLock:
    """Return the lock that a process must hold while it trains a run's trajectory, of the kind `flock` or `lease`.

    The operating system frees a `flock` when the process dies. A `lease` is for file systems without such locks between
    machines: its holder renews it, and a waiting process takes it after `LEASE_SECONDS` without a renewal.
    """
    if directory.name == run_name:
        path = directory.parent / ".locks" / f"{trajectory_name(run_name)}.lock"
    else:
        path = directory / ".fmnist_sweep.lock"  # the folder may be the user's, and hold another program's .lock
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "lease":
        return filelock.SoftFileLease(path.with_suffix(".lease"), lease_duration=LEASE_SECONDS)
    return filelock.FileLock(path)


class RunDirectory:
    """One run's directory."""

    def __init__(self, path: Path):
        self.path = path

    def record(self) -> Record | None:
        """Return the content of run.json, or None if the file is missing or unusable."""
        try:
            return layout.read_record(self.path)
        except RecordError:
            return None

    def status(self) -> Status | None:
        """Return the run's status, or None if there is no run yet."""
        record = self.record()
        return record.status if record else None

    def inspect(self) -> Found:
        """Return the state of the directory. This does not load checkpoints."""
        record, checkpoints = self.record(), tuple(self._checkpoints())
        if record is not None and is_run_name(self.path.name) and record.name != self.path.name:
            return Found()  # the content is a copy of another run
        if record is None:
            return Found(checkpoints=checkpoints)
        done = record.status == "done"
        rows = len(layout.read_metrics(self.path, done=done)[0])
        complaint = layout.damage(self.path, record, METRICS, TIMING, layout.PREDICTIONS)
        if complaint is None and done and rows < record.config.training.epochs:
            complaint = f"metrics.csv has only {rows} rows"
        if complaint is not None and record.status in layout.FINISHED:
            log.warning("%s: run.json says %s, but %s", self.path, record.status, complaint)
            return Found(checkpoints=checkpoints)
        certain = complaint is None and (done or METRICS in record.sha256)
        return Found(record.status, record.error, rows if certain else 0, checkpoints)

    def metrics(self) -> FloatArray:
        """Return the usable rows of metrics.csv, `[epochs_done, columns]`; see `layout.read_metrics`."""
        return layout.read_metrics(self.path, done=False)[0]

    def seconds(self) -> FloatArray:
        """Return the seconds of training up to each epoch's end, `[epochs_done]`; see `layout.read_timing`."""
        return layout.read_timing(self.path)[0]

    def occupant(self, name: str) -> str | None:
        """Return why the run `name` may not write into the directory, or None if it may.

        A directory belongs to the run that its run.json names. Without a readable run.json, the run may write if the
        directory has the run's name, because only this program gives folders such names. It may also write if the
        directory does not have another run's name and contains no file with a name that runs use.
        """
        record = self.record()
        if record is not None:
            return None if record.name == name else f"holds the run {record.name}"
        if is_run_name(self.path.name):
            return None if self.path.name == name else "has the name of another run"
        # A run writes run.json first. So if a crash left no run.json, it left at most its unfinished temporary file.
        unfinished = re.compile(rf"{re.escape(layout.RECORD)}\.\d+\.tmp")
        names = sorted(path.name for path in self.path.glob("*"))
        found = [file for file in names if layout.is_ours(file) and not unfinished.fullmatch(file)]
        return f"holds {', '.join(found)}, not known to be a run's" if found else None

    def reset(self) -> None:
        """Remove the files of a run except run.json, and leave files that are not the run's.

        Before this, the caller writes to run.json that the run is in training.
        """
        # Remove metrics.csv first, so that a crash never leaves rows without their times.
        for path in [self.path / METRICS, *self.path.glob("*")]:
            if layout.is_ours(path.name) and path.name != layout.RECORD:
                path.unlink(missing_ok=True)
        _sync(self.path)

    def write_rows(self, metrics: Sequence[Metrics], seconds: Sequence[float], *, tests: bool = False) -> None:
        """Replace both CSV files by these rows; see `layout.csv_files`."""
        make_folder(self.path)
        for file, content in layout.csv_files(metrics, seconds, tests=tests).items():
            self._write(file, content)

    def append_row(self, metrics: Metrics, seconds: float) -> None:
        """Append an epoch's row to both CSV files. A crash of the machine may lose it before `sync_rows`."""
        for file, row in ((TIMING, (metrics.epoch, round(seconds, 3))), (METRICS, metrics.row())):
            with (self.path / file).open("ab") as stream:
                stream.write(layout.csv_lines([row]))

    def sync_rows(self) -> None:
        """Wait until the rows of both CSV files are on the disk."""
        for file in (TIMING, METRICS):
            _sync(self.path / file)

    def write_record(self, record: Record) -> None:
        """Replace run.json."""
        self._write(layout.RECORD, record.encode())

    def write_predictions(self, predictions: NDArray[np.uint8]) -> None:
        """Write the final predicted classes of the validation images, uint8 `[n]`."""
        self._write(layout.PREDICTIONS, layout.encode_predictions(predictions))

    def write_traceback(self, text: str) -> None:
        """Write the traceback of a failure."""
        self._write(layout.TRACEBACK, text.encode())

    def write_checkpoint(self, epoch: int, content: bytes) -> None:
        """Write the checkpoint of an epoch, and delete all but the newest two."""
        self._write(f"checkpoint-{epoch}.pt", content)
        for old in self._checkpoints()[2:]:
            (self.path / f"checkpoint-{old}.pt").unlink(missing_ok=True)

    def read_checkpoint(self, epoch: int, most_bytes: int) -> bytes:
        """Return the content of an epoch's checkpoint. Raise `OSError` if it is no file of at most that size."""
        return files.read(self.path / f"checkpoint-{epoch}.pt", most_bytes)

    def set_aside(self, epoch: int, why: str) -> None:
        """Rename an unusable checkpoint to `.bad`, and warn."""
        path = self.path / f"checkpoint-{epoch}.pt"
        log.warning("%s", one_line(f"{path} {why}: set aside as {path.name}.bad", 1000))
        if path.exists():
            path.rename(path.with_name(f"{path.name}.bad"))

    def sweep_up(self) -> None:
        """Remove the temporary files of killed writers. Call this only with the run's lock held."""
        for path in self.path.glob("*.tmp"):
            if layout.is_ours(path.name, unfinished=True):
                path.unlink(missing_ok=True)

    def _checkpoints(self) -> list[int]:
        matches = (re.fullmatch(r"checkpoint-(\d+)\.pt", path.name) for path in self.path.glob("checkpoint-*.pt"))
        return sorted((int(match[1]) for match in matches if match), reverse=True)

    def _write(self, file: str, content: bytes) -> None:
        temporary = self.path / f"{file}.{os.getpid()}.tmp"
        try:
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(self.path / file)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # on a full disk, later writes need its space
            raise
        _sync(self.path)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, and wait until they are on the disk."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    # Sync even if the folder existed: the process that made it may not have synced it.
    for folder in (path, *missing):
        _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names of the files in a folder, are on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
