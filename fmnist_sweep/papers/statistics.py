"""Statistics over seeds: pure functions on `values [n_seeds]`, one number a seed, at least one.

Intervals are Student's t: with three to ten seeds a bootstrap has too few distinct resamples for its nominal coverage.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from fmnist_sweep.engine.metrics import FloatArray

ALPHA = 0.05

Numbers = float | FloatArray

# Values that agree to this share of their size are equal: what is left is rounding, no ground for a test.
_ROUNDING = 1e-12


class Interval(NamedTuple):
    """A mean over seeds and an interval about it; the bounds are NaN where there is one seed."""

    mean: float
    low: float
    high: float


def mean_interval(values: FloatArray) -> Interval:
    """Mean and its 95 % t interval, mean ± t(n-1) s / sqrt(n)."""
    return _interval(values, 0)


def balanced_interval(values: FloatArray) -> Interval:
    """Mean over combinations, each counting once, and its 95 % t interval over seeds; the combinations are fixed.

    With mean m_c over the n_c seeds of each of k combinations, the mean is sum(m_c) / k. Seed s adds
    u_s = sum over its combinations of (x_cs - m_c) / sqrt(n_c (n_c - 1)) / k, and the standard error is
    sqrt(sum(u_s^2)). So each combination adds its own variance s_c^2 / n_c, and runs of one seed may go up and down
    together: they start from the same weights, and may be one training after 30 and after 100 epochs. The t
    distribution has the degrees of freedom of the combination with the fewest seeds, n_c - 1. Where all combinations
    have the same seeds this is `mean_interval` of the means by seed.

    Source: cluster-robust variance, Liang and Zeger, Biometrika 73 (1986), with a seed as the cluster.

    Args:
        values: shape `(n_combinations, n_seeds)`, NaN where a combination lacks a seed; each has at least one.

    Returns:
        The bounds are NaN where a combination has one seed, for nothing says how far others would lie.
    """
    counts = np.isfinite(values).sum(axis=1, keepdims=True)
    means = np.nansum(values, axis=1, keepdims=True) / counts
    mean, fewest = float(means.mean()), int(counts.min())
    if fewest == 1:
        return Interval(mean, math.nan, math.nan)
    by_seed = np.nansum((values - means) / np.sqrt(counts * (counts - 1)), axis=0) / len(values)
    half = float(special.stdtrit(fewest - 1, 1 - ALPHA / 2) * np.sqrt(np.square(by_seed).sum()))
    return Interval(mean, mean - half, mean + half)


def prediction_interval(values: FloatArray) -> Interval:
    """Mean, and where one further run falls with 95 %: mean ± t(n-1) s sqrt(1 + 1/n), for normally distributed values.

    Source: Hahn and Meeker, Statistical Intervals (1991), section 4.7.
    """
    return _interval(values, 1)


def _interval(values: FloatArray, further: int) -> Interval:
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, math.nan, math.nan)
    error = values.std(ddof=1) * math.sqrt(further + 1 / values.size)
    half = float(special.stdtrit(values.size - 1, 1 - ALPHA / 2) * error)
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


def region_tests(
    mean: Numbers, deviation: Numbers, size: Numbers, low: Numbers, high: Numbers, margin: Numbers = 0.0
) -> FloatArray:
    """One-sided t tests of whether a mean lies from `low` to `high`, of which one may be infinite, or does not.

    A half-line is a claim of direction: its test is the one-sample t test against its end, which on differences by seed
    is the paired t test; the contrary is tested `margin` beyond that end. A region with two ends is a claim of
    equivalence: the larger p of two one-sided tests (Schuirmann 1987); its contrary has the smaller p of the tests
    beyond an end, doubled because it could be either.

    Args:
        mean, deviation: of samples; the standard deviation is that with n - 1, and not 0.
        size: how many values each sample has, at least 2.
        low, high, margin: of each sample's region. All arguments are broadcast.

    Returns:
        p values of "it does" and of "it does not lie there beyond the margin", along a last axis of length 2.
    """
    error, freedom = deviation / np.sqrt(size), np.subtract(size, 1)
    above, below = (special.stdtr(freedom, distance / error) for distance in (low - mean, mean - high))
    short, past = (special.stdtr(freedom, (depth - margin) / error) for depth in (mean - low, high - mean))
    outside = np.minimum(1, np.minimum(short, past) * np.where(np.isfinite(high - low), 2, 1))
    return np.stack([np.maximum(above, below), outside], axis=-1)


def step_down(p_values: FloatArray, multiplicity: int) -> FloatArray:
    """Holm's step-down of `p_values [n_tests]` among `multiplicity` tests, in the order given; at most 1.

    The least p counts `multiplicity` times, the next once less, and so on. It bounds the chance of even one wrong
    rejection, whatever the tests' dependence; false discovery control would allow a share of the verdicts to be wrong.
    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    factors = multiplicity - np.arange(p_values.size)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted
