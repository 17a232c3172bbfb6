"""Judge a number that one run gave: could one further run of ours have given it?

With n seeds of mean m and standard deviation s, one further run lies within m ± h with 95 %, where
h = t(n-1) s sqrt(1 + 1/n) (Hahn and Meeker, Statistical Intervals, 1991, section 4.7). The paper's number is read to
within a tolerance d. A resolution D > d is stated before anything is run, by the paper's file or by `resolution.py`.

- n < 5: no verdict. From two or three seeds s is so uncertain that the interval accepts or misses anything.
- The expected region lies outside m ± h: not reproduced, however wide the interval is.
- It meets the interval and h + d <= D: reproduced. A number more than D away from m would have been rejected.
- It meets the interval and h + d > D: inconclusive. A number D away from m would have been accepted as well.

h shrinks with the seeds, but not below 1.96 s, so for some numbers no count of seeds is enough. Where seeds are added
until an interval is sharp, a true number has more than one chance to lie outside: up to 7 % of them do in place of 5 %,
where the spread is about half of D - d (simulated with 40,000 numbers, up to 40 seeds).

Verdicts are not corrected for how many numbers a paper quotes. `acceptance` says how often a true number is accepted:
the author's run X is drawn as ours are, and the number is X + e, where e lies anywhere within ± d. As X - m is
h / t(n-1) times a t variable with n - 1 degrees of freedom, the chance is 2 E[F(t(n-1) (h + d + e) / h)] - 1, where F
is the distribution function of that variable. It is 95 % for d = 0 and nears 100 % where d exceeds the spread.
"""

import math

import numpy as np
from scipy import special

from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.papers.expectation import Expectation
from fmnist_sweep.papers.looks import MOST_LOOKS, Decision, look_size
from fmnist_sweep.papers.statistics import ALPHA, prediction_interval

FEWEST = look_size(1)  # seeds
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def decide(values: FloatArray, expect: Expectation, resolution: float) -> Decision:
    """Decide on a number from `values [n_seeds]`; an open one says how many seeds would sharpen the interval enough."""
    if len(values) < FEWEST:
        return Decision(seeds_needed=FEWEST)
    mean, low, high = prediction_interval(values)
    if low > expect.high or high < expect.low:
        return Decision(inside=False)
    if is_sharp(high - mean, expect.tolerance, resolution):
        return Decision(inside=True)
    deviation = (high - mean) / _factor(len(values))
    sizes = (size for size in map(look_size, range(1, MOST_LOOKS + 1)) if size > len(values))
    sharp = (size for size in sizes if is_sharp(_factor(size) * deviation, expect.tolerance, resolution))
    return Decision(seeds_needed=next(sharp, None))


def is_sharp(half: float, tolerance: float | None, resolution: float) -> bool:
    """Whether an interval of that half-width would have told a number as far away as the resolution."""
    return half + (tolerance or 0) <= resolution


def acceptance(half: float, count: int, tolerance: float | None) -> float:
    """The chance that a true number is accepted; this module's docstring gives the formula.

    Args:
        half: half the width of the prediction interval from `count` seeds.
        tolerance: how precisely the number is read; None for a number that is said to lie above or below a bound, which
            is then taken to lie at it, where the chance is least.
    """
    if tolerance is None:
        return 1 - ALPHA / 2
    if half <= 0:
        return 1.0
    quantile = special.stdtrit(count - 1, 1 - ALPHA / 2)
    beyond = special.stdtr(count - 1, quantile * (1 + tolerance * (1 + _NODES) / half))
    return float(_WEIGHTS @ beyond) - 1  # the weights sum up to 2


def _factor(size: int) -> float:
    """Half the width of a prediction interval in standard deviations."""
    return float(special.stdtrit(size - 1, 1 - ALPHA / 2) * math.sqrt(1 + 1 / size))
