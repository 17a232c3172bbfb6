"""Read a run from its directory, in the form that trackers show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fmnist_sweep.config.schema import flat
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES, FloatArray
from fmnist_sweep.errors import one_line
from fmnist_sweep.store import layout
from fmnist_sweep.store.layout import METRICS, RECORD, Record, RecordError

Stamp = tuple[tuple[int, int], tuple[int, int]]  # time of change and size of run.json and of metrics.csv


@dataclass(frozen=True)
class TrackedRun:
    """A run as its directory was at one moment.

    Attributes:
        metrics: shape `(epochs_done, columns)`; see `layout.read_metrics`.
        seconds: the run's share of its stack's training time up to the end of each epoch, shape `(epochs_done,)`; see
            `layout.read_timing`.
        started: the time of the last row minus the last of these seconds, in seconds since 1970. This is when training
            would have begun if the model had used the machine alone.
    """

    directory: Path
    record: Record
    metrics: FloatArray
    seconds: FloatArray
    started: float

    @property
    def name(self) -> str:
        """Return the directory's name, followed by the run's own name if that differs. It is unique in a store."""
        own, folder = self.record.name, self.directory.name
        return one_line(folder if folder == own else f"{folder} ({own})", 250)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the content that trackers show, in hexadecimal."""
        return hashlib.sha256(self.record.encode() + self.metrics.tobytes()).hexdigest()

    @property
    def ended(self) -> bool:
        """Tell whether the run is not in training. If it failed or was interrupted, it may be resumed later."""
        return self.record.status != "running"

    @property
    def hyperparameters(self) -> dict[str, bool | int | float | str]:
        """Return the configuration by dotted key. Lists and nulls are written as JSON."""
        values = flat(asdict(self.record.config))
        return {
            key: value if isinstance(value, int | float | str) else json.dumps(value) for key, value in values.items()
        }

    def steps(self, after: int = 0) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the number and the measures of each epoch after `after`.

        If the run has ended, yield its last epoch once more, with the training time and any test results.
        """
        for epoch, row in enumerate(self.metrics[after:].tolist(), after + 1):
            yield epoch, dict(zip((*MEASURES, *TEST_MEASURES), row, strict=False))
        if self.ended:
            test = self.record.test
            results = {"test_loss": test.loss, "test_accuracy": test.accuracy} if test else {}
            yield len(self.metrics), {"seconds": self.record.seconds or 0.0, **results}

    def when(self, epoch: int) -> float:
        """Return `started` plus the seconds up to an epoch's end; epoch 0 is the start. Pauses do not count."""
        return self.started + (float(self.seconds[epoch - 1]) if epoch else 0.0)

    def extends(self, earlier: TrackedRun) -> bool:
        """Tell whether this has the earlier run's configuration and its epochs unchanged, perhaps with more epochs."""
        start = self.metrics[: len(earlier.metrics)]
        return self.record.config == earlier.record.config and np.array_equal(start, earlier.metrics, equal_nan=True)


def read(directory: Path) -> TrackedRun:
    """Read a run directory. Raise `RecordError` if its files are unusable."""
    record = layout.read_record(directory)
    done, epochs = record.status == "done", record.config.training.epochs
    metrics, complaint = layout.read_metrics(directory, done=done)
    metrics = metrics[:epochs]
    complaint = complaint or layout.damage(directory, record, METRICS)
    if done and (complaint or len(metrics) < epochs):
        raise RecordError(complaint or f"{METRICS} has only {len(metrics)} rows")
    seconds = layout.read_timing(directory)[0][: len(metrics)]
    elapsed = float(seconds[-1]) if len(seconds) else 0.0
    seconds = np.append(seconds, np.full(len(metrics) - len(seconds), elapsed))
    started = (directory / (METRICS if len(metrics) else RECORD)).stat().st_mtime - elapsed
    return TrackedRun(directory, record, metrics, seconds, started)


def directories(store: Path) -> dict[Path, Stamp]:
    """Return the run directories in a folder, newest first, each with a stamp that changes when the run changes.

    The folder may itself be a run directory.
    """
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
