"""Which run gives a configuration's curve: the single place that knows that a longer run serves.

The learning rate is constant, so the first 30 epochs of 100 are those of a run of 30.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fmnist_sweep.engine.metrics import GAPS, MEASURES, FloatArray
from fmnist_sweep.store.tables import Collection


@dataclass(frozen=True)
class Curve:
    """What one seed gives of a configuration: the rows of a run, as far as they are finite and asked for."""

    run: str
    epochs: int  # that the run was to have
    metrics: FloatArray  # (n_epochs, 6), columns MEASURES
    diverged: bool  # whether they end because training has

    def values(self, metric: str) -> FloatArray:
        """One of `MEASURES` or `GAPS`, `[n_epochs]`."""
        if metric in GAPS:
            more, less = GAPS[metric]
            return self.values(more) - self.values(less)
        return np.asarray(self.metrics[:, MEASURES.index(metric)])


@dataclass(frozen=True)
class Sample:
    """One metric of a configuration, and the seeds that were run but left out."""

    seeds: tuple[int, ...]  # ascending
    curves: FloatArray  # (n_seeds, n_epochs)
    diverged: tuple[int, ...]
    unfinished: tuple[int, ...]  # too few epochs so far


class Curves:
    """The curves of a collection by recipe (a configuration without its epochs; see `collection.recipe`) and seed."""

    def __init__(self, collection: Collection):
        self._runs: dict[str, dict[int, list[Curve]]] = {}
        rows = dict(iter(collection.metrics.groupby("run", sort=False)))
        for run in collection.runs.sort_values("seed").to_dict("records"):
            values = rows[run["name"]][list(MEASURES)].to_numpy() if run["name"] in rows else np.empty((0, 6))
            # Training is in float32: what it does not hold has diverged.
            good = np.append((np.abs(values) <= np.finfo(np.float32).max).all(axis=1), False)
            usable = int(good.argmin())
            diverged = run["status"] == "diverged" or usable < len(values)
            curve = Curve(run["name"], run["training.epochs"], values[:usable], diverged)
            self._runs.setdefault(run["recipe"], {}).setdefault(run["seed"], []).append(curve)

    def serving(self, recipe: str, epochs: int) -> dict[int, Curve]:
        """For each seed the curve that serves for so many epochs, cut to them: as whole as there is, then the shortest.

        Runs of fewer epochs are other configurations, though they would pass for unfinished ones.
        """
        chosen = {}
        for seed, curves in self._runs.get(recipe, {}).items():
            candidates = [curve for curve in curves if curve.epochs >= epochs]
            if candidates:
                best = _fullest(candidates, epochs)
                cut = best.metrics[:epochs]
                chosen[seed] = Curve(best.run, best.epochs, cut, best.diverged and len(cut) < epochs)
        return chosen

    def drawn(self, recipe: str, epochs: int) -> dict[int, Curve]:
        """Of `serving`, the seeds that have all epochs; if none has, all of them as far as they go, if at all."""
        serving = {seed: curve for seed, curve in self.serving(recipe, epochs).items() if len(curve.metrics)}
        return {seed: curve for seed, curve in serving.items() if len(curve.metrics) == epochs} or serving

    def sample(self, recipe: str, epochs: int, metric: str) -> Sample:
        """The curves of one of `MEASURES` or `GAPS` for so many epochs."""
        serving = self.serving(recipe, epochs)
        whole = {seed: curve.values(metric) for seed, curve in serving.items() if len(curve.metrics) == epochs}
        diverged = tuple(seed for seed, curve in serving.items() if curve.diverged)
        unfinished = tuple(seed for seed in serving if seed not in whole and seed not in diverged)
        stacked = np.stack(list(whole.values())) if whole else np.empty((0, epochs))
        return Sample(tuple(whole), stacked, diverged, unfinished)

    def longest(self) -> dict[str, dict[int, Curve]]:
        """For each recipe the curve of each seed that goes furthest: it shows all that is known of the trajectory."""
        return {
            recipe: {seed: _fullest(curves) for seed, curves in seeds.items()} for recipe, seeds in self._runs.items()
        }


def _fullest(curves: Sequence[Curve], epochs: float = math.inf) -> Curve:
    """The curve with the most of so many epochs, of equals the one that was to have the fewest."""
    return min(curves, key=lambda curve: (-min(len(curve.metrics), epochs), curve.epochs, curve.run))


def spread(curves: Mapping[int, Curve], metric: str) -> pd.DataFrame:
    """Mean, least and greatest over seeds by epoch: columns epoch, mean, min, max, seeds (how many have it)."""
    values = pd.DataFrame({seed: pd.Series(curve.values(metric)) for seed, curve in curves.items()}, dtype=float)
    over = {"mean": values.mean(axis=1), "min": values.min(axis=1), "max": values.max(axis=1)}
    over["seeds"] = values.count(axis=1)
    return pd.DataFrame({"epoch": values.index + 1, **over}).reset_index(drop=True)
