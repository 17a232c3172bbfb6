"""Choose the run that gives a configuration's curve.

The learning rate is constant, so the first 30 epochs of a run of 100 equal a run of 30. When runs are read, only this
module uses a longer run in place of a shorter one.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES, FloatArray, terms
from fmnist_sweep.store.tables import Collection

BAND = (0.16, 0.84)  # see `bands`
_COLUMNS = (*MEASURES, *TEST_MEASURES)


@dataclass(frozen=True)
class Curve:
    """A configuration's curve for one seed: the requested rows of a run, up to the first row that is not finite."""

    run: str
    epochs: int  # the number of epochs that the run was configured for
    metrics: FloatArray  # (n_epochs, 8), columns MEASURES and TEST_MEASURES; nan if the run does not measure these
    diverged: bool  # whether the rows end because training diverged

    def values(self, metric: str) -> FloatArray:
        """Return a measure, a gap, a difference such as `train_loss - test_loss`, or `epoch`, `[n_epochs]`."""
        if metric == "epoch":
            return np.arange(1.0, len(self.metrics) + 1)
        first, *rest = (self.metrics[:, _COLUMNS.index(measure)] for measure in terms(metric))
        return np.asarray(first - rest[0] if rest else first)

    def measures(self, metrics: Iterable[str]) -> bool:
        """Return whether the run measures all of some metrics after each epoch."""
        return not any(np.isnan(self.values(metric)).any() for metric in metrics)


@dataclass(frozen=True)
class Sample:
    """The whole curves of a configuration by seed, ascending, and the seeds that are left out."""

    curves: Mapping[int, Curve]
    epochs: int
    diverged: tuple[int, ...]
    unfinished: tuple[int, ...]  # seeds with too few epochs so far
    unmeasured: tuple[int, ...]  # seeds whose runs do not measure one of the metrics

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds that count."""
        return tuple(self.curves)

    def values(self, metric: str) -> FloatArray:
        """Return a metric's curves, `[n_seeds, n_epochs]`."""
        return np.array([curve.values(metric) for curve in self.curves.values()]).reshape(-1, self.epochs)


class Curves:
    """The curves of a collection by recipe and seed. `tables.recipe` explains recipes."""

    def __init__(self, collection: Collection):
        self._runs: dict[str, dict[int, list[Curve]]] = {}
        rows = dict(iter(collection.metrics.groupby("run", sort=False)))
        for run in collection.runs.sort_values("seed").to_dict("records"):
            values = np.empty((0, len(_COLUMNS)))
            if run["name"] in rows:
                values = rows[run["name"]].reindex(columns=_COLUMNS).to_numpy()
            # Training is in float32, so a value beyond its range means that training diverged.
            trained = np.abs(values[:, : len(MEASURES)])
            good = np.append((trained <= np.finfo(np.float32).max).all(axis=1), False)
            usable = int(good.argmin())
            diverged = run["status"] == "diverged" or usable < len(values)
            curve = Curve(run["name"], run["epochs"], values[:usable], diverged)
            self._runs.setdefault(run["recipe"], {}).setdefault(run["seed"], []).append(curve)

    def serving(self, recipe: str, epochs: int) -> dict[int, Curve]:
        """Return the best curve of each seed, cut to the first `epochs` epochs.

        The best curve has the most of these epochs. Among equals, it is from the run that was configured for the
        fewest. Runs configured for fewer epochs than `epochs` are other configurations. They are excluded, because they
        would look unfinished.
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
        """Return the curves of `serving` that have all epochs. If none has, return all that have at least one epoch."""
        serving = {seed: curve for seed, curve in self.serving(recipe, epochs).items() if len(curve.metrics)}
        return {seed: curve for seed, curve in serving.items() if len(curve.metrics) == epochs} or serving

    def sample(self, recipe: str, epochs: int, metrics: Iterable[str]) -> Sample:
        """Return each seed's curve over the first `epochs` epochs, if its run measures all of `metrics`."""
        serving = self.serving(recipe, epochs)
        whole = {seed: curve for seed, curve in serving.items() if len(curve.metrics) == epochs}
        diverged = tuple(seed for seed, curve in serving.items() if curve.diverged)
        unfinished = tuple(seed for seed in serving if seed not in whole and seed not in diverged)
        wanted = list(metrics)
        lacking = [seed for seed, curve in whole.items() if not curve.measures(wanted)]
        counting = {seed: curve for seed, curve in whole.items() if seed not in lacking}
        return Sample(counting, epochs, diverged, unfinished, tuple(lacking))

    def longest(self) -> dict[str, dict[int, Curve]]:
        """Return by recipe and seed the curve with the most epochs. It shows all that is known of the trajectory."""
        return {
            recipe: {seed: _fullest(curves) for seed, curves in seeds.items()} for recipe, seeds in self._runs.items()
        }


def _fullest(curves: Sequence[Curve], epochs: float = math.inf) -> Curve:
    """Return the curve with the most of the first `epochs` epochs; among equals, the one configured for the fewest."""
    return min(curves, key=lambda curve: (-min(len(curve.metrics), epochs), curve.epochs, curve.run))


def spread(curves: Mapping[int, Curve], metric: str) -> pd.DataFrame:
    """Return `bands` of the curves of several seeds."""
    values = pd.DataFrame({seed: pd.Series(curve.values(metric)) for seed, curve in curves.items()}, dtype=float)
    return bands(values.set_index(values.index + 1))


def bands(values: pd.DataFrame) -> pd.DataFrame:
    """Return mean and band over runs by epoch: columns epoch, mean, low, high, seeds (how many runs have the epoch).

    low and high are the 16th and the 84th percentile, between which lie 68 % of the runs, as within one standard
    deviation of a normal distribution. They are estimated without bias in the median, so a band does not become wider
    with more runs, as one from minimum to maximum does. Of up to three runs it reaches from minimum to maximum.

    Source: Hyndman and Fan, The American Statistician 50 (1996), definition 8.

    Args:
        values: a row per epoch, by its number, and a column per run; nan where a run has no value.
    """
    if values.empty:
        return pd.DataFrame(columns=["epoch", "mean", "low", "high", "seeds"])
    quantile = np.nanquantile if values.isna().any(axis=None) else np.quantile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an epoch may have no value at all
        low, high = quantile(values.to_numpy(), BAND, axis=1, method="median_unbiased")
    over = {"mean": values.mean(axis=1), "low": low, "high": high, "seeds": values.count(axis=1)}
    return pd.DataFrame({"epoch": values.index, **over}).reset_index(drop=True)
