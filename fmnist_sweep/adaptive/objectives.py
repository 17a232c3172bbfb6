"""Objectives of a search: a measure of its runs, or their distance to the numbers that a paper quotes."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hydra.core.config_loader import ConfigLoader

from fmnist_sweep import papers
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES, FloatArray
from fmnist_sweep.errors import ConfigError, nearest
from fmnist_sweep.papers.claims import Claim
from fmnist_sweep.papers.configurations import typed
from fmnist_sweep.papers.nearest import distance, quoted
from fmnist_sweep.store.layout import read_metrics

Direction = Literal["minimize", "maximize"]

USUAL = "val_loss"  # the default objective
SEEDS = 3
BEST = "best_"
_ON_TEST = "data.validation=test"
_CAUTION = f"{_ON_TEST}: the test set chooses here, so its numbers will flatter what it chose"


@dataclass(frozen=True)
class Objective:
    """An objective of a search.

    Attributes:
        value: computes the objective and further notes on the trial from the directories of its runs, one per seed.
        defaults: values, as typed, for keys that the user does not set.
        cautions: a warning for each override that needs one.
        seeds: the number of seeds of each trial, if the user sets none.
        comparable: True if the value of a run that is cut short says something about the whole run.
    """

    name: str
    direction: Direction
    value: Callable[[Sequence[Path]], tuple[float, dict[str, Any]]]
    defaults: Mapping[str, str] = field(default_factory=dict)
    cautions: Mapping[str, str] = field(default_factory=dict)
    seeds: int | None = None
    comparable: bool = True


def objective(name: str, loader: ConfigLoader) -> Objective:
    """Return the objective of a name: `val_loss`, `best_val_accuracy`, or a paper's figure, such as `caprari2024.fig5`.

    The value of a measure is the mean over seeds of its value after the last epoch, or of its best value in any epoch
    (`best_`). For `val_` measures, runs by default hold out a validation set. The value of a figure is the distance of
    the runs to its numbers (`papers.nearest`). By default these runs have the configuration that the paper states for
    the figure. Raise `ConfigError` if there is no such objective.
    """
    if "." in name:
        return _figure(name, loader)
    measure = name.removeprefix(BEST)
    if measure in TEST_MEASURES:
        instead = name.replace("test_", "val_")
        raise ConfigError(f"objective={name}: the test images never choose; take objective={instead}")
    known = [*MEASURES, *(BEST + one for one in MEASURES)]
    if measure not in MEASURES:
        raise ConfigError(
            f"objective={name}: must be one of {', '.join(MEASURES)}, each with {BEST} before it for the best epoch's, "
            f"or PAPER.FIGURE, such as {papers.DEFAULT}.fig1{nearest(name, known)}"
        )
    less_is_better = measure.endswith("loss")
    validates = measure.startswith("val_")
    return Objective(
        name,
        "minimize" if less_is_better else "maximize",
        functools.partial(_measured, column=MEASURES.index(measure), best=name != measure, least=less_is_better),
        defaults={"data.validation": "holdout"} if validates else {},
        cautions={_ON_TEST: _CAUTION} if validates else {},
        seeds=SEEDS,
    )


def _figure(name: str, loader: ConfigLoader) -> Objective:
    paper_name, _, place = name.partition(".")
    paper = papers.read(paper_name, loader)
    found = {
        place: [claim for claim in claims if {claim.metric, *claim.metrics} <= set(MEASURES)]
        for place, claims in quoted(paper).items()
    }
    numbers = {(figure, row): claims for (figure, row), claims in found.items() if figure is not None and claims}
    rows = Counter(figure for figure, _ in numbers)
    # If a figure has only one row of numbers, its name is enough.
    places = {(figure if rows[figure] == 1 else f"{figure}.{row}"): (figure, row) for figure, row in numbers}
    spelled = {f"{figure}.{row}": (figure, row) for figure, row in numbers} | places
    if place not in spelled:
        known = [f"{paper_name}.{one}" for one in places]
        raise ConfigError(f"objective={name}: must be one of {', '.join(known)}{nearest(name, known)}")
    row, claims = spelled[place][1], numbers[spelled[place]]
    values = {**paper.protocol, **paper.configurations[row]}
    return Objective(
        name, "minimize", functools.partial(_distance, claims=claims), defaults=typed(values), comparable=False
    )


def _measured(runs: Sequence[Path], column: int, best: bool, least: bool) -> tuple[float, dict[str, Any]]:
    choose = np.min if least else np.max
    columns = [_rows(run)[:, column] for run in runs]
    return float(np.mean([choose(values) if best else values[-1] for values in columns])), {}


def _distance(runs: Sequence[Path], claims: Sequence[Claim]) -> tuple[float, dict[str, Any]]:
    stacked = np.stack([_rows(run) for run in runs])
    curves = {measure: stacked[:, :, column] for column, measure in enumerate(MEASURES)}
    found = {training: _off(curves, claims, training) for training in ("train", "running")}
    training = min(found, key=lambda one: found[one])
    return found[training], {"training": "evaluation" if training == "train" else "running"}


def _off(curves: dict[str, FloatArray], claims: Sequence[Claim], training: str) -> float:
    """Return the distance if the paper's training curve is `train` or `running`; nan if the runs are too short."""
    epochs = next(iter(curves.values())).shape[1]
    if any(claim.reduce.misfit(epochs) for claim in claims):
        return math.nan

    def values(metric: str) -> FloatArray:
        return curves[metric.replace("train_", f"{training}_")]

    return distance([float(claim.quantity(values).mean()) for claim in claims], claims)


def _rows(run: Path) -> FloatArray:
    rows, complaint = read_metrics(run, done=True)
    if complaint or not len(rows):
        raise ValueError(f"{run.name}: {complaint or 'has no epoch'}")
    return rows
