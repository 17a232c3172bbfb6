"""Statistics over seeds and shapes of curves: pure functions on arrays.

`values` is a vector `[n_seeds]`, one number a seed; `curves` is a matrix `[n_seeds, n_epochs]`, one row a
seed, one column an epoch, the first column being epoch 1. Shape measures reduce curves to values. A NaN in a
curve makes that seed's value NaN. Wrong shapes and windows raise `ValueError`.

Intervals are two-sided Student t intervals over seeds: with three to ten seeds a bootstrap has too few
distinct resamples to reach its nominal coverage.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
ALPHA = 0.05

# Values that agree to this share of their size are equal: what is left is rounding, no ground for a test.
_ROUNDING = 1e-12

FloatArray = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A mean over seeds and its confidence interval; the bounds are NaN where there is one seed."""

    mean: float
    low: float
    high: float


class RegionTest(NamedTuple):
    """Whether a mean lies inside a region, and the p value of that decision (NaN where there is none)."""

    inside: bool
    p_value: float


def mean_interval(values: FloatArray, confidence: float = CONFIDENCE) -> Interval:
    """Mean and two-sided t interval of `values [n_seeds]`, `n_seeds >= 1`."""
    values = _vector(values)
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = float(stats.t.ppf((1 + confidence) / 2, values.size - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def has_spread(values: FloatArray) -> bool:
    """Whether `values [n_seeds]` differ from each other by more than rounding."""
    values = _vector(values)
    return bool(np.ptp(values) > _ROUNDING * np.abs(values).max())


def effect_size(values: FloatArray) -> float:
    """Cohen's d_z of paired differences `values [n_seeds]`: their mean over their standard deviation (n - 1).

    Differences that are zero in every seed give 0, equal ones that are not give an infinity with their sign;
    one seed gives NaN.
    """
    values = _vector(values)
    if values.size == 1:
        return float("nan")
    mean = float(values.mean())
    if not has_spread(values):
        return 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    return mean / float(values.std(ddof=1))


def region_test(values: FloatArray, low: float, high: float) -> RegionTest:
    """Test whether the mean behind `values [n_seeds]` is from `low` to `high`, one of which may be infinite.

    A half-line is a claim of direction, its end not included: the two-sided one-sample t test against that
    end, which on differences by seed is the paired t test. A region with two ends, both included, is a claim
    of equivalence: inside it the p value is that of two one-sided t tests (Schuirmann 1987), the larger of
    the two; outside it, that of the t test against the violated end, doubled because either could have been.

    One seed, and values without spread, have no p value: NaN.
    """
    values = _vector(values)
    if not low < high:
        raise ValueError(f"a region needs low < high, got {low} and {high}")
    mean = float(values.mean())
    half_line = bool(np.isinf(low) or np.isinf(high))
    inside = low < mean < high if half_line else low <= mean <= high
    if values.size == 1 or not has_spread(values):
        return RegionTest(inside, float("nan"))
    depth = min(mean - low, high - mean) / float(stats.sem(values))
    one_sided = float(stats.t.sf(abs(depth), values.size - 1))
    return RegionTest(inside, one_sided if inside and not half_line else 2 * one_sided)


def holm(p_values: FloatArray) -> FloatArray:
    """Holm's step-down adjusted p values of `p_values [n_tests]`, in the order given.

    It bounds the chance of even one wrong rejection among all tests, whatever their dependence; false
    discovery control (Benjamini and Hochberg) would allow a share of the verdicts to be wrong. Source: Holm,
    Scandinavian Journal of Statistics 6 (1979).
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(p_values.size, 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def window(curves: FloatArray, first: int, last: int) -> FloatArray:
    """The columns of epochs `first` to `last`, both included and counted from 1."""
    curves = _matrix(curves, 1)
    if not 1 <= first <= last <= curves.shape[1]:
        raise ValueError(f"epochs {first} to {last} do not lie within 1 to {curves.shape[1]}")
    return curves[:, first - 1 : last]


def level(curves: FloatArray, epochs: int) -> FloatArray:
    """Final level `[n_seeds]`: the mean of the last `epochs` epochs."""
    curves = _matrix(curves, 1)
    return np.asarray(window(curves, curves.shape[1] - epochs + 1, curves.shape[1]).mean(axis=1))


def slope(curves: FloatArray) -> FloatArray:
    """Slope `[n_seeds]`, per epoch, of the least-squares line through each curve; at least 2 epochs."""
    return _line(_matrix(curves, 2))[0]


def spread(curves: FloatArray) -> FloatArray:
    """Standard deviation `[n_seeds]` (n - 1) of a curve's values, trend included; at least 2 epochs."""
    return np.asarray(_matrix(curves, 2).std(axis=1, ddof=1))


def volatility(curves: FloatArray) -> FloatArray:
    """Standard deviation `[n_seeds]` of epoch-to-epoch differences after detrending; at least 4 epochs.

    With differences d_t = y_(t+1) - y_t, the trend is the least-squares line through d_t over t (a parabola
    in y), and the result is the standard deviation of what it leaves, with n - 2 degrees of freedom for n
    differences. It is 0 for any straight line or parabola, and about sqrt(2) s for independent noise of
    deviation s around one.
    """
    differences = np.diff(_matrix(curves, 4), axis=1)
    residuals = _line(differences)[1]
    return np.asarray(np.sqrt((residuals**2).sum(axis=1) / (differences.shape[1] - 2)))


def roughness(curves: FloatArray) -> FloatArray:
    """Lack of smoothness `[n_seeds]`: root mean square of second differences; at least 3 epochs.

    The second difference is y_(t+1) - 2 y_t + y_(t-1): 0 everywhere on a straight line, about sqrt(6) s in
    root mean square for independent noise of deviation s around one. Smaller is smoother.
    """
    return np.asarray(np.sqrt((np.diff(_matrix(curves, 3), n=2, axis=1) ** 2).mean(axis=1)))


def settling_epoch(curves: FloatArray, within: float, over: int) -> FloatArray:
    """First epoch `[n_seeds]` from which on a curve stays within `within` of its final level.

    The final level is the mean of the last `over` epochs. NaN where even the last epoch is further away.
    """
    curves = _matrix(curves, 1)
    away = ~(np.abs(curves - level(curves, over)[:, None]) <= within)
    last_away = curves.shape[1] - np.argmax(away[:, ::-1], axis=1)
    settled = np.where(away.any(axis=1), last_away + 1, 1).astype(np.float64)
    settled[away[:, -1] | np.isnan(curves).any(axis=1)] = np.nan
    return settled


def first_epoch(reached: npt.NDArray[np.bool_]) -> FloatArray:
    """First epoch `[n_seeds]`, from 1, at which `reached [n_seeds, n_epochs]` is true; NaN for never."""
    return np.where(reached.any(axis=1), np.argmax(reached, axis=1) + 1.0, np.nan)


def rise(curves: FloatArray, after: int, over: int) -> FloatArray:
    """Rise `[n_seeds]` after epoch `after`: the final level less the level reached there.

    Either level is the mean of `over` epochs: the last ones, and those that end with epoch `after`.
    """
    return np.asarray(level(curves, over) - level(window(curves, 1, after), over))


def quoted_distance(measured: FloatArray, quoted: FloatArray, tolerance: FloatArray) -> float:
    """Distance of measured from quoted points, all `[n_points]`.

    The root mean square over the points of (measured - quoted) / tolerance: 1 is one tolerance away on
    average.
    """
    measured = _vector(measured)
    return float(np.sqrt((((measured - quoted) / tolerance) ** 2).mean()))


def _line(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least-squares line through each row: slopes `[n_seeds]` and residuals `[n_seeds, n_epochs]`."""
    epochs = np.arange(curves.shape[1]) - (curves.shape[1] - 1) / 2
    centred = curves - curves.mean(axis=1, keepdims=True)
    slopes = centred @ epochs / (epochs @ epochs)
    return np.asarray(slopes), np.asarray(centred - np.outer(slopes, epochs))


def _vector(values: FloatArray) -> FloatArray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"expected a vector of at least one value, got shape {values.shape}")
    return values


def _matrix(curves: FloatArray, epochs: int) -> FloatArray:
    curves = np.asarray(curves, dtype=np.float64)
    if curves.ndim != 2 or curves.shape[1] < epochs:
        raise ValueError(f"expected curves [n_seeds, n_epochs] of at least {epochs} epochs, got shape {curves.shape}")
    return curves
