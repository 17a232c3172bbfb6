"""Statistics over seeds: pure functions on `values [n_seeds]`, one number a seed, at least one.

Intervals are Student's t: with three to ten seeds a bootstrap has too few distinct resamples for its nominal coverage.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from fmnist_sweep.records import FloatArray

ALPHA = 0.05

# Values that agree to this share of their size are equal: what is left is rounding, no ground for a test.
_ROUNDING = 1e-12


class Interval(NamedTuple):
    """A mean over seeds and an interval about it; the bounds are NaN where there is one seed."""

    mean: float
    low: float
    high: float


class RegionTest(NamedTuple):
    """Whether a mean lies inside a region, and the p value of that decision (NaN where there is none)."""

    inside: bool
    p_value: float


def mean_interval(values: FloatArray) -> Interval:
    """Mean and its 95 % t interval, mean ± t(n-1) s / sqrt(n)."""
    return _interval(values, 0)


def prediction_interval(values: FloatArray) -> Interval:
    """Mean, and where one further run falls with 95 %: mean ± t(n-1) s sqrt(1 + 1/n), for normally distributed values.

    Source: Hahn and Meeker, Statistical Intervals (1991), section 4.7.
    """
    return _interval(values, 1)


def _interval(values: FloatArray, further: int) -> Interval:
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, math.nan, math.nan)
    error = stats.sem(values) * math.sqrt(1 + further * values.size)
    half = float(stats.t.ppf(1 - ALPHA / 2, values.size - 1) * error)
    return Interval(mean, mean - half, mean + half)


def has_spread(values: FloatArray) -> bool:
    """Whether values differ from each other by more than rounding."""
    return bool(np.ptp(values) > _ROUNDING * np.abs(values).max())


def effect_size(values: FloatArray) -> float:
    """Cohen's d_z of paired differences: their mean over their standard deviation (n - 1).

    Differences that are zero in every seed give 0, equal ones that are not an infinity with their sign, one seed NaN.
    """
    if values.size == 1:
        return math.nan
    mean = float(values.mean())
    if not has_spread(values):
        return 0.0 if mean == 0 else math.copysign(math.inf, mean)
    return mean / float(values.std(ddof=1))


def region_test(values: FloatArray, low: float, high: float) -> RegionTest:
    """Test whether the mean behind values is from `low` to `high`, one of which may be infinite.

    A half-line is a claim of direction, its end not included: the two-sided one-sample t test against that end, which
    on differences by seed is the paired t test. A region with two ends, both included, is a claim of equivalence:
    inside it the p value is that of two one-sided t tests (Schuirmann 1987), the larger of the two; outside it, that
    of the t test against the violated end, doubled because either could have been. One seed, and values without
    spread, have no p value: NaN.
    """
    mean = float(values.mean())
    half_line = math.isinf(low) or math.isinf(high)
    inside = low < mean < high if half_line else low <= mean <= high
    if values.size == 1 or not has_spread(values):
        return RegionTest(inside, math.nan)
    depth = min(mean - low, high - mean) / float(stats.sem(values))
    one_sided = float(stats.t.sf(abs(depth), values.size - 1))
    return RegionTest(inside, one_sided if inside and not half_line else 2 * one_sided)


def holm(p_values: FloatArray) -> FloatArray:
    """Holm's step-down adjusted p values of `p_values [n_tests]`, in the order given.

    It bounds the chance of even one wrong rejection, whatever the tests' dependence; false discovery control would
    allow a share of the verdicts to be wrong. Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(p_values.size, 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted
