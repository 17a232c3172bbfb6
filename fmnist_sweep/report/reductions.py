"""From curves to one number per seed, as a claims file names it: `last`, `at: 1`, `slope: {from: 30}` …"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fmnist_sweep.report import statistics
from fmnist_sweep.report.statistics import FloatArray


@dataclass(frozen=True)
class Kind:
    """What a claims file may say of one reduction.

    `parameters` are all required, but `from` and `to`, which default to the first and the last epoch of the
    curve. `shorthand` is the parameter that a bare number stands for. `fewest` is how many epochs the
    reduction needs.
    """

    reduce: Callable[..., FloatArray]
    parameters: tuple[str, ...] = ()
    shorthand: str | None = None
    fewest: int = 1


def _at(curves: FloatArray, epoch: int) -> FloatArray:
    return curves[:, epoch - 1]


def _climbs_to(curves: FloatArray, value: float) -> FloatArray:
    return statistics.first_epoch(curves >= value)


def _falls_to(curves: FloatArray, value: float) -> FloatArray:
    return statistics.first_epoch(curves <= value)


_WINDOW = ("from", "to")
KINDS: Mapping[str, Kind] = {
    "at": Kind(_at, ("epoch",), "epoch"),
    "last": Kind(lambda curves: curves[:, -1]),
    "mean_last": Kind(statistics.level, ("epochs",), "epochs"),
    "mean": Kind(lambda curves: curves.mean(axis=1), _WINDOW),
    "min": Kind(lambda curves: curves.min(axis=1), _WINDOW),
    "max": Kind(lambda curves: curves.max(axis=1), _WINDOW),
    "slope": Kind(statistics.slope, _WINDOW, fewest=2),
    "spread": Kind(statistics.spread, _WINDOW, fewest=2),
    "roughness": Kind(statistics.roughness, _WINDOW, fewest=3),
    "volatility": Kind(statistics.volatility, _WINDOW, fewest=4),
    "settles": Kind(statistics.settling_epoch, ("within", "over")),
    "climbs_to": Kind(_climbs_to, ("value",), "value"),
    "falls_to": Kind(_falls_to, ("value",), "value"),
    "rise": Kind(statistics.rise, ("after", "over")),
}
REAL_PARAMETERS = frozenset({"value", "within"})


@dataclass(frozen=True)
class Reduction:
    """One of `KINDS` with its parameters, which the claims file's reader has checked by name and type."""

    name: str
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        """As in a claims file, on one line."""
        return " ".join([self.name, *(f"{key} {value:g}" for key, value in self.parameters.items())])

    def misfit(self, epochs: int) -> str | None:
        """Why the reduction does not fit curves of that many epochs, or None where it does."""
        for key, value in self.parameters.items():
            if key not in REAL_PARAMETERS and not 1 <= value <= epochs:
                return f"{key} {value} does not lie within the {epochs} epochs"
        first, last = self._window(epochs)
        if last - first + 1 < KINDS[self.name].fewest:
            return f"needs at least {KINDS[self.name].fewest} epochs, not {max(0, last - first + 1)}"
        if self.name == "rise" and self.parameters["over"] > self.parameters["after"]:
            return f"over {self.parameters['over']} epochs reaches back before epoch 1"
        return None

    def __call__(self, curves: FloatArray) -> FloatArray:
        """Reduce `curves [n_seeds, n_epochs]` to values `[n_seeds]`, NaN where an epoch is never reached."""
        rest = {key: value for key, value in self.parameters.items() if key not in _WINDOW}
        return KINDS[self.name].reduce(statistics.window(curves, *self._window(curves.shape[1])), **rest)

    def _window(self, epochs: int) -> tuple[int, int]:
        return self.parameters.get("from", 1), self.parameters.get("to", epochs)
