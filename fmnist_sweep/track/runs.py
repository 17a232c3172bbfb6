"""A run as trackers are sent it, read from its directory at one moment."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fmnist_sweep import records
from fmnist_sweep.config import flat
from fmnist_sweep.records import FINISHED, MEASURES, METRICS, RECORD, FloatArray, Record, RecordError, one_line

Points = dict[tuple[str, int], float]  # by what is measured and the epoch
Stamp = tuple[tuple[int, int], tuple[int, int]]  # time of change and size of run.json and metrics.csv


@dataclass(frozen=True)
class TrackedRun:
    """What a run's directory holds.

    Attributes:
        directory: where it is.
        record: run.json.
        metrics: shape `(epochs_done, 6)`, columns `records.MEASURES`.
        seconds: of training up to each epoch's end, shape `(epochs_done,)`; see `records.read_timing`.
        started: in seconds since 1970, the time of the last row less these seconds: when training would have begun, had
            the model had the machine to itself.
    """

    directory: Path
    record: Record
    metrics: FloatArray
    seconds: FloatArray
    started: float

    @property
    def name(self) -> str:
        """What tells the run apart in its store: its directory's name, and its own where that is another."""
        own, folder = self.record.name, self.directory.name
        return one_line(folder if folder == own else f"{folder} ({own})", 250)

    @property
    def digest(self) -> str:
        """Tells apart what the directory held at different times, as hexadecimal SHA-256."""
        return hashlib.sha256(self.record.encode() + self.metrics.tobytes()).hexdigest()

    @property
    def ended(self) -> bool:
        """Whether it is told how the run ended. A failed one may be trained again."""
        return self.record.status in (*FINISHED, "failed")

    @property
    def hyperparameters(self) -> dict[str, bool | int | float | str]:
        """The configuration by whole keys; what is no plain value as JSON."""
        values = flat(asdict(self.record.config))
        return {
            key: value if isinstance(value, int | float | str) else json.dumps(value) for key, value in values.items()
        }

    @property
    def points(self) -> Points:
        """Every value that is shown: measures after each epoch; at the end those of the test set, and the seconds."""
        values = {
            (measure, epoch): float(value)
            for epoch, row in enumerate(self.metrics, 1)
            for measure, value in zip(MEASURES, row, strict=True)
        }
        return values | {(key, len(self.metrics)): value for key, value in self._final.items()}

    @property
    def _final(self) -> dict[str, float]:
        test, seconds = self.record.test, self.record.seconds
        measured = {"test_loss": test.loss, "test_accuracy": test.accuracy} if test else {}
        return {**measured, "seconds": seconds or 0.0} if self.ended else {}

    def when(self, epoch: int) -> float:
        """A time for an epoch's end, in seconds since 1970: `started` and its `seconds`, so pauses are left out."""
        return self.started + (float(self.seconds[epoch - 1]) if 0 < epoch <= len(self.seconds) else 0.0)


def read(directory: Path) -> TrackedRun:
    """Read a run directory; `RecordError` where it holds nothing that can be used."""
    record = records.read_record(directory)
    done, epochs = record.status == "done", record.config.training.epochs
    metrics, complaint = records.read_metrics(directory, done=done)
    metrics = metrics[:epochs]
    complaint = complaint or records.damage(directory, record, METRICS)
    if done and (complaint or len(metrics) < epochs):
        raise RecordError(complaint or f"{METRICS} has only {len(metrics)} rows")
    seconds = records.read_timing(directory)[0][: len(metrics)]
    elapsed = float(seconds[-1]) if len(seconds) else 0.0
    seconds = np.append(seconds, np.full(len(metrics) - len(seconds), elapsed))
    started = (directory / (METRICS if len(metrics) else RECORD)).stat().st_mtime - elapsed
    return TrackedRun(directory, record, metrics, seconds, started)


def directories(store: Path) -> dict[Path, Stamp]:
    """The run directories in a folder, or the one that it is, and what changes when they do; the newest first."""
    found: dict[Path, Stamp] = {}
    for path in (store / RECORD, *store.glob(f"*/{RECORD}")):
        if path.exists() and not path.parent.name.startswith("."):
            found[path.parent] = (_stamp(path), _stamp(path.with_name(METRICS)))
    return dict(sorted(found.items(), key=lambda item: item[1], reverse=True))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def agree(sent: Points, points: Points) -> bool:
    """Whether two sets of points have the same values where both have one."""
    both = ((sent[key], points[key]) for key in sent.keys() & points.keys())
    return all(math.isclose(a, b, rel_tol=1e-9) or (math.isnan(a) and math.isnan(b)) for a, b in both)
