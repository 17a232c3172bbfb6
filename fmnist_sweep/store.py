"""Run directories: metrics, status and checkpoints of each run, safe against crashes.

Rows are appended and synced epoch by epoch; every other file is written under a temporary name, synced and renamed.
`run.json` is written last, so a run that it calls done is complete. Nothing here is executed when it is read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import pickle
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

if TYPE_CHECKING:
    from fmnist_sweep.training import Metrics, Progress

log = logging.getLogger(__name__)

FORMAT = 1
FINISHED = ("done", "diverged")
_RUN_NAME = re.compile(r"(?P<head>.+)-ep(?P<epochs>\d+)-(?P<tail>seed\d+-[0-9a-f]{8})")
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Found:
    """What a run's directory holds.

    Attributes:
        status: `running`, `interrupted`, `done`, `failed`, `diverged`, or None where there is no run yet.
        error: what went wrong, in one line.
        rows: whole rows in metrics.csv.
        checkpoints: epochs of the checkpoints there, newest first.
    """

    status: str | None = None
    error: str | None = None
    rows: int = 0
    checkpoints: tuple[int, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.status in FINISHED


@dataclass
class Checkpoint:
    """A model's progress with the rows that led there: metrics, and seconds since the start at each epoch's end."""

    progress: Progress
    metrics: list[Metrics]
    seconds: list[float]


def trajectory_name(run_name: str) -> str:
    """The run's name without its number of epochs: what all runs share that differ in nothing else."""
    match = _RUN_NAME.fullmatch(run_name)
    return f"{match['head']}-{match['tail']}" if match else run_name


def runs_by_trajectory(store: Path) -> dict[str, list[Path]]:
    """The run directories in a store, by the name of their trajectory."""
    runs: dict[str, list[Path]] = {}
    if store.is_dir():
        for entry in sorted(os.scandir(store), key=lambda entry: entry.name):
            if _RUN_NAME.fullmatch(entry.name) and entry.is_dir():
                runs.setdefault(trajectory_name(entry.name), []).append(Path(entry.path))
    return runs


def lock(directory: Path, run_name: str) -> filelock.FileLock:
    """The lock that a process holds while it trains a run's trajectory; the system frees it when the process dies."""
    if directory.name == run_name:
        path = directory.parent / ".locks" / f"{trajectory_name(run_name)}.lock"
    else:
        path = directory / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(path)


class RunDirectory:
    """One run's directory."""

    def __init__(self, path: Path):
        self.path = path

    def look(self) -> Found:
        """What is there, without loading checkpoints."""
        run = self._read_run()
        status, error = run.get("status"), run.get("error")
        found = Found(status, error, len(self.read_rows("metrics.csv")), tuple(self._checkpoints()))
        if status == "done" and found.rows < run["config"]["training"]["epochs"]:
            log.warning("%s: run.json says done, but metrics.csv has only %d rows", self.path, found.rows)
            return Found(None, None, found.rows, found.checkpoints)
        return found

    def name(self) -> str | None:
        """The name of the run that is kept here, or None."""
        return self._read_run().get("name")

    def status(self) -> str | None:
        """The run's status, or None where there is no run yet."""
        return self._read_run().get("status")

    def _read_run(self) -> dict[str, Any]:
        try:
            run = json.loads((self.path / "run.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return run if isinstance(run, dict) else {}

    def read_rows(self, file: str) -> list[list[str]]:
        """The whole rows below the header of a CSV file; a torn last line does not count."""
        try:
            text = (self.path / file).read_text()
        except OSError:
            return []
        return list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))[1:]

    def reset(self) -> None:
        """Remove a run's results, and leave what is not ours."""
        # In this order a crash leaves no run that is done without its rows, and no rows without their times.
        for path in [self.path / "run.json", self.path / "metrics.csv", *self.path.glob("*")]:
            if path.name != ".hydra" and path.suffix in (".csv", ".pt", ".npy", ".json", ".txt", ".tmp"):
                path.unlink(missing_ok=True)

    def write_rows(self, metrics: Sequence[Metrics], seconds: Sequence[float]) -> None:
        """Replace both CSV files by these rows."""
        from fmnist_sweep.training import Metrics

        self.path.mkdir(parents=True, exist_ok=True)
        lines = [",".join(Metrics.columns()), *map(_line, metrics)]
        self._write("metrics.csv", _encode(lines))
        self._write("timing.csv", _encode(["epoch,seconds", *(f"{e},{s:.3f}" for e, s in enumerate(seconds, 1))]))

    def append_row(self, metrics: Metrics, seconds: float) -> None:
        """Append an epoch's row to both CSV files; it is on the disk when this returns."""
        for file, line in (("timing.csv", f"{metrics.epoch},{seconds:.3f}"), ("metrics.csv", _line(metrics))):
            with (self.path / file).open("ab") as stream:
                stream.write(_encode([line]))
                stream.flush()
                os.fsync(stream.fileno())

    def write_status(self, status: str, **values: Any) -> None:
        """Replace run.json: the status and whatever else is said of the run."""
        record = {"format": FORMAT, "status": status, **values}
        self._write("run.json", json.dumps(record, indent=2).encode() + b"\n")

    def write_predictions(self, predictions: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        """Keep the final predicted classes of the validation images, uint8 [n]."""
        stream = io.BytesIO()
        np.save(stream, predictions, allow_pickle=False)
        self._write("predictions.npy", stream.getvalue())

    def write_traceback(self, text: str) -> None:
        """Keep the traceback of a failure."""
        self._write("traceback.txt", text.encode())

    def save_checkpoint(self, checkpoint: Checkpoint, version: str) -> None:
        """Keep a checkpoint and the one before it.

        Args:
            checkpoint: what to keep.
            version: says what the checkpoint goes with; loading asks for the same.
        """
        import torch

        stream = io.BytesIO()
        progress = checkpoint.progress
        torch.save(
            {
                "version": version,
                "epoch": progress.epoch,
                "parameters": progress.parameters,
                "optimizer": progress.optimizer,
                "metrics": [list(asdict(row).values()) for row in checkpoint.metrics],
                "seconds": checkpoint.seconds,
            },
            stream,
        )
        content = stream.getvalue()
        self._write(f"checkpoint-{progress.epoch}.pt", content + hashlib.sha256(content).digest())
        for epoch in self._checkpoints()[2:]:
            (self.path / f"checkpoint-{epoch}.pt").unlink(missing_ok=True)

    def load_checkpoint(self, epoch: int, version: str) -> Checkpoint | None:
        """Load a checkpoint. One that is torn or of another version is set aside with a warning, and None returned."""
        import torch

        from fmnist_sweep.training import Metrics, Progress

        path = self.path / f"checkpoint-{epoch}.pt"
        try:
            content = path.read_bytes()
            content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:
                raise ValueError("is torn or corrupt")
            saved = torch.load(io.BytesIO(content), weights_only=True)
            if saved["version"] != version:
                raise ValueError(f"is of version {saved['version']}, not {version}")
            progress = Progress(saved["epoch"], saved["parameters"], saved["optimizer"])
            return Checkpoint(progress, [Metrics(*row) for row in saved["metrics"]], saved["seconds"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            log.warning("%s %s: set aside as %s.bad", path, error, path.name)
            if path.exists():
                path.rename(path.with_name(f"{path.name}.bad"))
            return None

    def cut_from(self, longer: RunDirectory, epochs: int) -> None:
        """Take over the first rows of a longer run of the same trajectory."""
        self.path.mkdir(parents=True, exist_ok=True)
        for file in ("timing.csv", "metrics.csv"):
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


def _line(metrics: Metrics) -> str:
    return ",".join(repr(value) for value in asdict(metrics).values())


def _encode(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
