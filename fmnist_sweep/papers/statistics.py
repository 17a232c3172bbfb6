"""Statistics over seeds: pure functions on `values [n_seeds]`, one number per seed, with at least one seed.

Intervals are Student's t: with three to ten seeds a bootstrap has too few distinct resamples for its nominal coverage.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from fmnist_sweep.engine.metrics import FloatArray

ALPHA = 0.05

Numbers = float | FloatArray

# Values that differ by less than this fraction of their size count as equal: the rest is rounding error.
_ROUNDING = 1e-12


class Interval(NamedTuple):
    """A mean over seeds and an interval around it. The bounds are NaN if there is only one seed."""

    mean: float
    low: float
    high: float


def mean_interval(values: FloatArray) -> Interval:
    """Return the mean and its 95 % t interval, mean ± t(n-1) s / sqrt(n)."""
    return _interval(values, 0)


def balanced_interval(values: FloatArray) -> Interval:
    """Return the mean over combinations, each with equal weight, and its 95 % t interval over seeds.

    The combinations are fixed; only seeds vary. With mean m_c over the n_c seeds of each of k combinations, the mean is
    sum(m_c) / k. Seed s adds u_s = sum over its combinations of (x_cs - m_c) / sqrt(n_c (n_c - 1)) / k. The standard
    error is sqrt(sum(u_s^2)). So each combination adds its own variance s_c^2 / n_c. Runs of one seed may be
    correlated: they start from the same weights, and may be one training after 30 and after 100 epochs. The t
    distribution has the degrees of freedom of the combination with the fewest seeds, n_c - 1. If all combinations have
    the same seeds, the result is `mean_interval` of the means by seed.

    Source: cluster-robust variance, Liang and Zeger, Biometrika 73 (1986), with a seed as the cluster.

    Args:
        values: shape `(n_combinations, n_seeds)`, NaN where a combination lacks a seed. Each combination has at least
            one seed.

    Returns:
        Mean and bounds. The bounds are NaN if a combination has only one seed, because its variance is unknown.
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
    """Return the mean and the 95 % prediction interval of one further run, mean ± t(n-1) s sqrt(1 + 1/n).

    The values are assumed to be normally distributed.

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
    """Return whether there are values that differ by more than rounding errors."""
    return bool(values.size and np.ptp(values) > _ROUNDING * np.abs(values).max())


def effect_size(values: FloatArray) -> float:
    """Return Cohen's d_z of paired differences: their mean over their standard deviation (n - 1).

    It is 0 if all differences are zero, and an infinity with their sign if they are equal but not zero. It is NaN for
    one seed.
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
    """Test with one-sided t tests whether a mean lies between `low` and `high`, and whether it does not.

    One of the two ends may be infinite. A half-line is a claim of direction. It is tested by the one-sample t test
    against its end, which is the paired t test for differences by seed. The opposite is tested `margin` beyond that
    end. A region with two ends is a claim of equivalence. Its p is the larger one of two one-sided tests (Schuirmann
    1987). The p of its opposite is the smaller one of the tests beyond each end, doubled because either end counts.
    All arguments are broadcast.

    Args:
        mean, deviation: mean and standard deviation (n - 1) of each sample. The deviation must not be 0.
        size: the number of values in each sample, at least 2.
        low, high, margin: the ends and the margin of each sample's region.

    Returns:
        p values of "it lies there" and of "it does not lie there beyond the margin", along a last axis of length 2.
    """
    error, freedom = deviation / np.sqrt(size), np.subtract(size, 1)
    above, below = (special.stdtr(freedom, distance / error) for distance in (low - mean, mean - high))
    short, past = (special.stdtr(freedom, (depth - margin) / error) for depth in (mean - low, high - mean))
    outside = np.minimum(1, np.minimum(short, past) * np.where(np.isfinite(high - low), 2, 1))
    return np.stack([np.maximum(above, below), outside], axis=-1)


def step_down(p_values: FloatArray, multiplicity: int) -> FloatArray:
    """Correct `p_values [n_tests]` with Holm's step-down method for `multiplicity` tests.

    The results keep the order of the arguments and are at most 1. The smallest p is multiplied by `multiplicity`, the
    next by `multiplicity` - 1, and so on. This bounds the probability of any wrong rejection for any dependence between
    the tests. False discovery control would allow a share of the verdicts to be wrong.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    factors = multiplicity - np.arange(p_values.size)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted
