"""Which curves of the metrics table a selection means: one per seed, complete as far as it asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from fmnist_sweep.report.statistics import FloatArray

METRICS = (
    "train_loss",
    "train_accuracy",
    "running_loss",
    "running_accuracy",
    "val_loss",
    "val_accuracy",
)
# Generalisation gaps, positive where the model does better on what it was trained on.
GAPS = {"loss_gap": ("val_loss", "train_loss"), "accuracy_gap": ("train_accuracy", "val_accuracy")}

_CONFIGURATION = ("optimizer", "batch_size", "dropout", "hidden", "validation", "pixel_mean", "pixel_std")
_COLUMNS = ("run", *_CONFIGURATION, "epochs", "seed", "status", "epoch", *METRICS)


@dataclass(frozen=True, order=True)
class Selection:
    """A configuration and how many of its epochs are looked at.

    Runs of more epochs serve too: the learning rate is constant, so their first epochs are the same.
    """

    optimizer: str
    batch_size: int
    dropout: float
    epochs: int
    hidden: str = "128-64"
    validation: str = "test"
    pixel_mean: float = 0.5
    pixel_std: float = 0.5

    def __str__(self) -> str:
        """As in a run's name; what differs from the paper's protocol follows by name."""
        text = f"{self.optimizer} bs{self.batch_size} do{self.dropout:g} ep{self.epochs}"
        unusual = [
            f"{key.name}={getattr(self, key.name)}"
            for key in fields(self)
            if key.default not in (MISSING, getattr(self, key.name))
        ]
        return " ".join([text, *unusual])


@dataclass(frozen=True)
class Sample:
    """One metric of a selection.

    `curves` is `[n_seeds, n_epochs]`, its rows those of `seeds`, ascending. `diverged` and `unfinished` are
    the seeds that were run but left out: a non-finite value, or too few epochs so far.
    """

    seeds: tuple[int, ...]
    curves: FloatArray
    diverged: tuple[int, ...]
    unfinished: tuple[int, ...]


@dataclass(frozen=True)
class _Run:
    name: str
    epochs: int
    diverged: bool
    metrics: dict[str, FloatArray]


class Curves:
    """The runs of a metrics table, indexed by configuration and seed."""

    def __init__(self, metrics: pd.DataFrame) -> None:
        """Index `metrics`, a row per run and epoch; raises `ValueError` where it lacks a column."""
        missing = [column for column in _COLUMNS if column not in metrics.columns]
        if missing:
            raise ValueError(f"the metrics table lacks the columns {', '.join(missing)}")
        self._runs: dict[Selection, dict[int, list[_Run]]] = {}
        for name, rows in metrics.sort_values("epoch", kind="stable").groupby("run", sort=True):
            first = rows.iloc[0]
            configuration = Selection(epochs=0, **{key: _plain(first[key]) for key in _CONFIGURATION})
            run = _Run(str(name), int(first["epochs"]), first["status"] == "diverged", _unbroken(rows))
            self._runs.setdefault(configuration, {}).setdefault(int(first["seed"]), []).append(run)

    def selections(self) -> Iterator[Selection]:
        """Every configuration there is, once for each number of epochs it was to run for, in order."""
        for configuration, seeds in sorted(self._runs.items()):
            for epochs in sorted({run.epochs for runs in seeds.values() for run in runs}):
                yield replace(configuration, epochs=epochs)

    def sample(self, selection: Selection, metric: str) -> Sample:
        """The curves of one of `METRICS` or `GAPS`; of several runs of a seed that serve, the shortest's."""
        curves: dict[int, FloatArray] = {}
        diverged: list[int] = []
        unfinished: list[int] = []
        for seed, runs in sorted(self._runs.get(replace(selection, epochs=0), {}).items()):
            candidates = [run for run in runs if run.epochs >= selection.epochs]
            complete = [run for run in candidates if _usable(run.metrics[metric]) >= selection.epochs]
            if complete:
                run = min(complete, key=lambda run: (run.epochs, run.name))
                curves[seed] = run.metrics[metric][: selection.epochs]
            elif any(run.diverged or _usable(v := run.metrics[metric]) < v.size for run in candidates):
                diverged.append(seed)
            elif candidates:
                unfinished.append(seed)
        stacked = np.stack(list(curves.values())) if curves else np.empty((0, selection.epochs))
        return Sample(tuple(curves), stacked, tuple(diverged), tuple(unfinished))


def _plain(value: Any) -> Any:
    """A cell as Python's own number or text."""
    return value.item() if isinstance(value, np.generic) else value


def _unbroken(rows: pd.DataFrame) -> dict[str, FloatArray]:
    """The metrics `[n_epochs]` of one run's rows, as far as its epochs follow each other from 1."""
    epochs = rows["epoch"].to_numpy()
    in_order = epochs == np.arange(1, epochs.size + 1)
    count = epochs.size if in_order.all() else int(np.argmin(in_order))
    metrics = {metric: rows[metric].to_numpy(dtype=np.float64)[:count] for metric in METRICS}
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = {name: metrics[more] - metrics[less] for name, (more, less) in GAPS.items()}
    return metrics | gaps


def _usable(values: FloatArray) -> int:
    """How many values come before the first that float32, which training is in, does not hold."""
    usable = np.abs(values) <= np.finfo(np.float32).max
    return values.size if usable.all() else int(np.argmin(usable))
