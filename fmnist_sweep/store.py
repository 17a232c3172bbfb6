"""Run directories in a folder, safe against crashes.

Rows are appended and synced epoch by epoch; every other file is written under a temporary name, synced and renamed.
`run.json` is written last, so a run that it calls done is complete. Nothing here is executed when it is read.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
from numpy.typing import NDArray

from fmnist_sweep import plain_files, records
from fmnist_sweep.records import METRICS, TIMING, FloatArray, Metrics, Record, RecordError, Status

if TYPE_CHECKING:
    from fmnist_sweep.checkpoints import Checkpoint
    from fmnist_sweep.config import Config

log = logging.getLogger(__name__)

LEASE_SECONDS = 120.0  # a network file system may show a renewal a minute late


@dataclass(frozen=True)
class Found:
    """What a run's directory holds.

    Attributes:
        status: None where there is no run yet.
        error: what went wrong, in one line.
        rows: whole rows in metrics.csv.
        checkpoints: epochs of the checkpoints there, newest first.
    """

    status: Status | None = None
    error: str | None = None
    rows: int = 0
    checkpoints: tuple[int, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.status in records.FINISHED


def runs_by_trajectory(store: Path) -> dict[str, list[Path]]:
    """The run directories in a store, by the name of their trajectory."""
    runs: dict[str, list[Path]] = {}
    if store.is_dir():
        for entry in sorted(os.scandir(store), key=lambda entry: entry.name):
            if records.is_run_name(entry.name) and entry.is_dir(follow_symlinks=False):
                runs.setdefault(records.trajectory_name(entry.name), []).append(Path(entry.path))
    return runs


def lock(directory: Path, run_name: str, kind: str = "flock") -> filelock.BaseFileLock:
    """The lock that a process holds while it trains a run's trajectory.

    Args:
        directory: the run's.
        run_name: the run's.
        kind: `flock`, which the system frees when the process dies; or `lease`, for file systems that cannot do so
            between machines: the holder renews it, and who has seen no renewal for `LEASE_SECONDS` takes it.
    """
    if directory.name == run_name:
        path = directory.parent / ".locks" / f"{records.trajectory_name(run_name)}.lock"
    else:
        path = directory / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "lease":
        return filelock.SoftFileLease(path.with_suffix(".lease"), lease_duration=LEASE_SECONDS)
    return filelock.FileLock(path)


class RunDirectory:
    """One run's directory."""

    def __init__(self, path: Path):
        self.path = path

    def record(self) -> Record | None:
        """What run.json says, or None where there is no such file that can be used."""
        try:
            return records.read_record(self.path)
        except RecordError:
            return None

    def status(self) -> Status | None:
        """The run's status, or None where there is no run yet."""
        record = self.record()
        return record.status if record else None

    def look(self) -> Found:
        """What is there, without loading checkpoints."""
        record, checkpoints = self.record(), tuple(self._checkpoints())
        done = record is not None and record.status == "done"
        rows = len(records.read_metrics(self.path, done=done)[0])
        if record is None:
            return Found(None, None, rows, checkpoints)
        if done and rows < record.config.training.epochs:
            log.warning("%s: run.json says done, but metrics.csv has only %d rows", self.path, rows)
            return Found(None, None, rows, checkpoints)
        return Found(record.status, record.error, rows, checkpoints)

    def metrics(self) -> FloatArray:
        """Whole rows of metrics.csv, `[epochs_done, 6]`, columns `records.MEASURES`."""
        return records.read_metrics(self.path, done=False)[0]

    def seconds(self) -> FloatArray:
        """Seconds of training up to each epoch's end, `[epochs_done]`."""
        return records.read_timing(self.path)[0]

    def reset(self) -> None:
        """Remove a run's results, and leave what is not ours."""
        # In this order a crash leaves no run that is done without its rows, and no rows without their times.
        for path in [self.path / records.RECORD, self.path / METRICS, *self.path.glob("*")]:
            if path.name != ".hydra" and path.suffix in (".csv", ".pt", ".npy", ".json", ".txt", ".tmp"):
                path.unlink(missing_ok=True)

    def write_rows(self, metrics: Sequence[Metrics], seconds: Sequence[float]) -> None:
        """Replace both CSV files by these rows."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(METRICS, records.csv_header(METRICS) + records.csv_lines(map(astuple, metrics)))
        times = ((epoch, round(until, 3)) for epoch, until in enumerate(seconds, 1))
        self._write(TIMING, records.csv_header(TIMING) + records.csv_lines(times))

    def append_row(self, metrics: Metrics, seconds: float) -> None:
        """Append an epoch's row to both CSV files; it is on the disk when this returns."""
        for file, row in ((TIMING, (metrics.epoch, round(seconds, 3))), (METRICS, astuple(metrics))):
            with (self.path / file).open("ab") as stream:
                stream.write(records.csv_lines([row]))
                stream.flush()
                os.fsync(stream.fileno())

    def write_record(self, record: Record) -> None:
        """Replace run.json."""
        self._write(records.RECORD, record.encode())

    def write_predictions(self, predictions: NDArray[np.uint8]) -> None:
        """Keep the final predicted classes of the validation images, uint8 `[n]`."""
        self._write(records.PREDICTIONS, records.encode_predictions(predictions))

    def write_traceback(self, text: str) -> None:
        """Keep the traceback of a failure."""
        self._write(records.TRACEBACK, text.encode())

    def save_checkpoint(self, checkpoint: Checkpoint, version: str) -> None:
        """Keep a checkpoint and the one before it.

        Args:
            checkpoint: what to keep.
            version: says what the checkpoint goes with; loading asks for the same.
        """
        from fmnist_sweep import checkpoints

        self._write(f"checkpoint-{checkpoint.progress.epoch}.pt", checkpoints.encode(checkpoint, version))
        for epoch in self._checkpoints()[2:]:
            (self.path / f"checkpoint-{epoch}.pt").unlink(missing_ok=True)

    def load_checkpoint(self, epoch: int, version: str, config: Config) -> Checkpoint | None:
        """Load a checkpoint of that version and configuration; any other is set aside with a warning, for None."""
        from fmnist_sweep import checkpoints

        path = self.path / f"checkpoint-{epoch}.pt"
        try:
            content = plain_files.read(path, checkpoints.most_bytes(config))
            return checkpoints.decode(content, version, config, epoch)
        except Exception as error:  # what comes from anyone may raise anything
            log.warning("%s", records.one_line(f"{path} {error}: set aside as {path.name}.bad", 1000))
            if path.exists():
                path.rename(path.with_name(f"{path.name}.bad"))
            return None

    def cut_from(self, longer: RunDirectory, epochs: int) -> None:
        """Take over the first rows of a longer run of the same trajectory."""
        self.path.mkdir(parents=True, exist_ok=True)
        for file in (TIMING, METRICS):
            lines = (longer.path / file).read_bytes().splitlines(keepends=True)
            self._write(file, b"".join(lines[: epochs + 1]))

    def _checkpoints(self) -> list[int]:
        matches = (re.fullmatch(r"checkpoint-(\d+)\.pt", path.name) for path in self.path.glob("checkpoint-*.pt"))
        return sorted((int(match[1]) for match in matches if match), reverse=True)

    def _write(self, file: str, content: bytes) -> None:
        temporary = self.path / f"{file}.{os.getpid()}.tmp"
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(self.path / file)
        # The renaming is on the disk only once the folder is.
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
