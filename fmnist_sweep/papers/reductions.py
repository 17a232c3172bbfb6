"""Reduce curves to one number per seed, as a claim specifies: `last`, `at: 1`, `slope: {from: 30}` …

`curves` is a matrix `[n_seeds, n_epochs]` with one row per seed and one column per epoch; the first column is epoch 1.
Results are vectors `[n_seeds]`. A NaN in a curve makes that seed's value NaN. `at_best` and `at_stop` also take the
curves of the metric that chooses the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES, FloatArray
from fmnist_sweep.errors import nearest


def window(curves: FloatArray, first: int, last: int) -> FloatArray:
    """Return the columns of epochs `first` to `last`, both included and counted from 1."""
    return curves[:, first - 1 : last]


def level(curves: FloatArray, epochs: int) -> FloatArray:
    """Return the final level: the mean of the last `epochs` epochs."""
    return np.asarray(curves[:, -epochs:].mean(axis=1))


def slope(curves: FloatArray) -> FloatArray:
    """Return the slope, per epoch, of the least-squares line through each curve. It takes at least 2 epochs."""
    return _line(curves)[0]


def spread(curves: FloatArray) -> FloatArray:
    """Return the standard deviation (n - 1) of a curve's values, including any trend. It takes at least 2 epochs."""
    return np.asarray(curves.std(axis=1, ddof=1))


def volatility(curves: FloatArray) -> FloatArray:
    """Return the standard deviation of epoch-to-epoch differences after detrending. It takes at least 4 epochs.

    With differences d_t = y_(t+1) - y_t, the trend is the least-squares line through d_t over t (a parabola in y). The
    result is the standard deviation of the residuals, with n - 2 degrees of freedom for n differences. It is 0 for any
    straight line or parabola, and about sqrt(2) s for independent noise of standard deviation s around one.
    """
    differences = np.diff(curves, axis=1)
    residuals = _line(differences)[1]
    return np.asarray(np.sqrt((residuals**2).sum(axis=1) / (differences.shape[1] - 2)))


def roughness(curves: FloatArray) -> FloatArray:
    """Return the lack of smoothness, the root mean square of second differences. It takes at least 3 epochs.

    The second difference is y_(t+1) - 2 y_t + y_(t-1). It is 0 everywhere on a straight line. Its root mean square is
    about sqrt(6) s for independent noise of standard deviation s around one. Smaller is smoother.
    """
    return np.asarray(np.sqrt((np.diff(curves, n=2, axis=1) ** 2).mean(axis=1)))


def settling_epoch(curves: FloatArray, within: float, over: int) -> FloatArray:
    """Return the first epoch from which a curve stays within `within` of its final level.

    The final level is the mean of the last `over` epochs. The result is NaN if even the last epoch is further away.
    """
    away = ~(np.abs(curves - level(curves, over)[:, None]) <= within)
    last_away = curves.shape[1] - np.argmax(away[:, ::-1], axis=1)
    settled = np.where(away.any(axis=1), last_away + 1, 1).astype(np.float64)
    settled[away[:, -1] | np.isnan(curves).any(axis=1)] = np.nan
    return settled


def first_epoch(reached: NDArray[np.bool_]) -> FloatArray:
    """Return the first epoch, counted from 1, at which `reached [n_seeds, n_epochs]` is true; NaN if it never is."""
    return np.where(reached.any(axis=1), np.argmax(reached, axis=1) + 1.0, np.nan)


def rise(curves: FloatArray, after: int, over: int) -> FloatArray:
    """Return the rise after epoch `after`: the final level minus the level at that epoch.

    Each level is the mean of `over` epochs: the last ones of the curve, and those that end with epoch `after`.
    """
    return np.asarray(level(curves, over) - level(window(curves, 1, after), over))


def early_stopping(
    chooser: FloatArray, patience: float = math.inf, min_delta: float = 0.0, tol: float | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the epoch of each seed's last improvement and its last epoch, counted from 1, with early stopping.

    Training stops after `patience` epochs in a row without improvement; later epochs do not count. As in Keras, an
    epoch improves if its value lies more than `min_delta` below that of the last improvement. With `tol` it improves as
    in scikit-learn: if its value lies at least `tol` below the lowest one so far, improvement or not.

    Sources: `keras.callbacks.EarlyStopping`; `MLPClassifier._update_no_improvement_count` of scikit-learn, which stops
    if the epochs without improvement are more than `n_iter_no_change`, so that `patience` is one more than that.

    Args:
        chooser: the curves that choose the epoch; smaller is better.
    """
    count, epochs = chooser.shape
    lowest, best, last = np.full(count, np.inf), np.ones(count, np.int64), np.full(count, epochs)
    for epoch, values in enumerate(chooser.T, 1):
        improves = (values < lowest - min_delta if tol is None else values <= lowest - tol) & (epoch <= last)
        lowest = np.where(improves, values, lowest) if tol is None else np.fmin(values, lowest)
        best = np.where(improves, epoch, best)
        last = np.where(epoch - best >= patience, np.minimum(last, epoch), last)
    return best, last


def at_best(curves: FloatArray, chooser: FloatArray, patience: float = math.inf, min_delta: float = 0.0) -> FloatArray:
    """Return the values at each seed's best epoch by `chooser`; see `early_stopping`."""
    return curves[np.arange(len(curves)), early_stopping(chooser, patience, min_delta)[0] - 1]


def at_stop(
    curves: FloatArray, chooser: FloatArray, patience: float, min_delta: float = 0.0, tol: float | None = None
) -> FloatArray:
    """Return the values at each seed's last epoch with early stopping; see `early_stopping`."""
    return curves[np.arange(len(curves)), early_stopping(chooser, patience, min_delta, tol)[1] - 1]


@dataclass(frozen=True)
class Kind:
    """A reduction and the parameters that a claim gives it.

    Attributes:
        example, meaning: how a file writes it, and what it gives; the format's reference shows both.
        required, optional: names of parameters. `from` and `to` default to the curve's first and last epoch.
        shorthand: the parameter that a bare value stands for.
        fewest: the number of epochs that the reduction needs.
    """

    reduce: Callable[..., FloatArray]
    example: str
    meaning: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    shorthand: str | None = None
    fewest: int = 1
    gives: Literal["value", "slope", "variation", "epoch"] = "value"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of all parameters."""
        return self.required + self.optional


_WINDOW = ("from", "to")
KINDS: Mapping[str, Kind] = {
    "at": Kind(
        lambda curves, epoch: curves[:, epoch - 1],
        example="{at: 1}",
        meaning="value at an epoch",
        required=("epoch",),
        shorthand="epoch",
    ),
    "last": Kind(lambda curves: curves[:, -1], example="last", meaning="value at the last epoch"),
    "at_best": Kind(
        at_best,
        example="{at_best: val_loss}",
        meaning="value at the epoch where another measure is best: its lowest loss or highest accuracy, first of equal "
        "ones. With early stopping, `{at_best: {of: val_loss, patience: 3}}`, later epochs do not count: it ends the "
        "training after `patience` epochs in a row without an improvement by more than `min_delta` (0 by default)",
        required=("of",),
        optional=("patience", "min_delta"),
        shorthand="of",
    ),
    "at_stop": Kind(
        at_stop,
        example="{at_stop: {of: val_loss, patience: 3}}",
        meaning="value at the epoch where early stopping ends the training; at the last epoch if it never does. "
        "With `min_delta`, an epoch improves as in Keras. With `tol` instead, it improves as in scikit-learn, if it "
        "lies at least so much below the lowest value so far; `patience` is then one more than `n_iter_no_change`",
        required=("of", "patience"),
        optional=("min_delta", "tol"),
    ),
    "mean_last": Kind(
        level,
        example="{mean_last: 5}",
        meaning="mean of the last epochs: a curve's final level",
        required=("epochs",),
        shorthand="epochs",
    ),
    "mean": Kind(
        lambda curves: curves.mean(axis=1),
        example="{mean: {from: 5}}",
        meaning="mean over a window",
        optional=_WINDOW,
    ),
    "min": Kind(
        lambda curves: curves.min(axis=1),
        example="{min: {to: 10}}",
        meaning="least value in a window",
        optional=_WINDOW,
    ),
    "max": Kind(
        lambda curves: curves.max(axis=1),
        example="max",
        meaning="greatest value in a window",
        optional=_WINDOW,
    ),
    "slope": Kind(
        slope,
        example="{slope: {from: 30}}",
        meaning="slope of the least-squares line, per epoch",
        optional=_WINDOW,
        fewest=2,
        gives="slope",
    ),
    "spread": Kind(
        spread,
        example="{spread: {from: 5}}",
        meaning="standard deviation of the values, trend included",
        optional=_WINDOW,
        fewest=2,
        gives="variation",
    ),
    "roughness": Kind(
        roughness,
        example="{roughness: {from: 5}}",
        meaning="root mean square of second differences; smaller is smoother",
        optional=_WINDOW,
        fewest=3,
        gives="variation",
    ),
    "volatility": Kind(
        volatility,
        example="{volatility: {from: 5}}",
        meaning="standard deviation of the differences between epochs, about their own line",
        optional=_WINDOW,
        fewest=4,
        gives="variation",
    ),
    "settles": Kind(
        settling_epoch,
        example="{settles: {within: 0.03, over: 5}}",
        meaning="first epoch from which the curve stays within so much of its final level, the mean of so many epochs",
        required=("within", "over"),
        gives="epoch",
    ),
    "climbs_to": Kind(
        lambda curves, value: first_epoch(curves >= value),
        example="{climbs_to: 0.8}",
        meaning="first epoch at or above a value; where none is, the epoch after the last",
        required=("value",),
        shorthand="value",
        gives="epoch",
    ),
    "falls_to": Kind(
        lambda curves, value: first_epoch(curves <= value),
        example="{falls_to: 0.475}",
        meaning="first epoch at or below a value; where none is, the epoch after the last",
        required=("value",),
        shorthand="value",
        gives="epoch",
    ),
    "rise": Kind(
        rise,
        example="{rise: {after: 30, over: 5}}",
        meaning="final level less the level at an epoch, each the mean of so many epochs",
        required=("after", "over"),
    ),
}
_REAL = frozenset({"value", "within", "min_delta", "tol"})  # `of` is a measure; the other parameters are epochs
_CHOOSERS = (*MEASURES, *TEST_MEASURES)


@dataclass(frozen=True)
class Reduction:
    """One of `KINDS` with its parameters."""

    name: str
    parameters: Mapping[str, Any]

    @classmethod
    def parse(cls, value: object) -> Reduction:
        """Parse `last`, `{at: 1}` or `{slope: {from: 30}}`; `ValueError` explains a mistake in one line."""
        given = {value: {}} if isinstance(value, str) else value
        if not isinstance(given, dict) or len(given) != 1 or next(iter(given)) not in KINDS:
            near = nearest(str(value), KINDS)
            raise ValueError(f"must be one of {', '.join(KINDS)}, not {value!s:.60}{near}")
        ((name, parameters),) = given.items()
        kind = KINDS[name]
        if kind.shorthand and not isinstance(parameters, dict):
            parameters = {kind.shorthand: parameters}
        if not isinstance(parameters, dict) or not set(kind.required) <= set(parameters) <= set(kind.parameters):
            takes = [*kind.required, *(f"{key} (optional)" for key in kind.optional)]
            raise ValueError(
                f"{name} takes {', '.join(takes) or 'nothing'}, as in {kind.example}, not {parameters!s:.60}"
            )
        for key, number in parameters.items():
            if key == "of":
                if number not in _CHOOSERS:
                    near = nearest(str(number), _CHOOSERS)
                    raise ValueError(
                        f"{name}: of must be one of {', '.join(_CHOOSERS)}, as in {kind.example}, not "
                        f"{number!s:.60}{near}"
                    )
                continue
            wanted = (int, float) if key in _REAL else int
            if isinstance(number, bool) or not isinstance(number, wanted) or not abs(number) < 1e12:
                raise ValueError(
                    f"{name}: {key} must be a {'' if key in _REAL else 'whole '}number, not {number!r:.60}"
                )
        if {"min_delta", "tol"} <= set(parameters):
            raise ValueError(f"{name}: min_delta is Keras's rule and tol is scikit-learn's; give one of them")
        return cls(name, parameters)

    def __str__(self) -> str:
        """Return the reduction as a claim states it, on one line."""
        said = [f"{key} {value if key == 'of' else f'{value:g}'}" for key, value in self.parameters.items()]
        return " ".join([self.name, *said])

    @property
    def chooser(self) -> str | None:
        """Return the measure that chooses the epoch, if another than the reduced metric does."""
        return self.parameters.get("of")

    def misfit(self, epochs: int) -> str | None:
        """Explain why the reduction does not fit curves of that many epochs; return None if it does."""
        for key, value in self.parameters.items():
            if key != "of" and key not in _REAL and not 1 <= value <= epochs:
                return f"{key} {value} does not lie within the {epochs} epochs"
        first, last = self.window(epochs)
        if last - first + 1 < KINDS[self.name].fewest:
            return f"needs at least {KINDS[self.name].fewest} epochs, not {max(0, last - first + 1)}"
        if self.name == "rise" and self.parameters["over"] > self.parameters["after"]:
            return f"over {self.parameters['over']} epochs reaches back before epoch 1"
        return None

    def epoch(self, epochs: int) -> int | None:
        """Return the epoch at which to mark the value on a curve of that many epochs; None if there is none."""
        return self.parameters["epoch"] if self.name == "at" else epochs if self.name in ("last", "mean_last") else None

    def __call__(self, curves: FloatArray, chooser: FloatArray | None = None) -> FloatArray:
        """Reduce `curves [n_seeds, n_epochs]` to values `[n_seeds]`, NaN if the sought epoch never comes.

        Args:
            chooser: the curves of `self.chooser`, if there is one.
        """
        rest = {key: value for key, value in self.parameters.items() if key not in _WINDOW and key != "of"}
        if self.chooser is not None:
            assert chooser is not None
            rest["chooser"] = chooser if self.chooser.endswith("loss") else -chooser
        return KINDS[self.name].reduce(window(curves, *self.window(curves.shape[1])), **rest)

    def window(self, epochs: int) -> tuple[int, int]:
        """Return the first and the last epoch used, for a curve of that many epochs."""
        return self.parameters.get("from", 1), self.parameters.get("to", epochs)


def _line(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit a least-squares line to each row; return slopes `[n_seeds]` and residuals `[n_seeds, n_epochs]`."""
    epochs = np.arange(curves.shape[1]) - (curves.shape[1] - 1) / 2
    centred = curves - curves.mean(axis=1, keepdims=True)
    slopes = centred @ epochs / (epochs @ epochs)
    return np.asarray(slopes), np.asarray(centred - np.outer(slopes, epochs))
