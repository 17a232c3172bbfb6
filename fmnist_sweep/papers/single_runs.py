"""Judge a number that one run gave: could one further run of ours have given it?

With n seeds of mean m and standard deviation s, one further run lies within m ± h with a probability of 95 %, where
h = t(n-1) s sqrt(1 + 1/n) (Hahn and Meeker, Statistical Intervals, 1991, section 4.7). The paper's number is known to
within a tolerance d. A resolution D > d is set before anything is run.

- n < 5: no verdict. With two or three seeds s is too uncertain for the interval to mean anything.
- The expected region lies outside m ± h: not reproduced, however wide the interval is.
- The region overlaps the interval and h + d <= D: reproduced. A number more than D away from m would be rejected.
- The region overlaps the interval and h + d > D: open. A number D away from m would be accepted as well.

h shrinks as seeds are added, but not below 1.96 s, so for some numbers no number of seeds is enough. If seeds are added
until the interval is sharp, a true number is tested more than once. Up to 7 % of true numbers are then rejected instead
of 5 %. The worst case is a spread of about half of D - d (simulated with 40,000 numbers, up to 40 seeds).

A paper's file may state the resolution D, for one claim or for all claims of a measure. The defaults depend on the kind
of number alone, not on the results of any run:

- Accuracies and their gaps: 0.05. The best linear classifier and the best classifier of the Fashion-MNIST benchmark
  differ by about as much (0.839 and 0.897; Xiao, Rasul and Vollgraf, arXiv:1708.07747, table 3). So a number that is
  further away belongs to another kind of model.
- Losses and their gaps: 0.1 nats. Over the configurations of both bundled papers, the loss changes by 3 nats for each
  change of 1 in accuracy, so this is slightly finer than 0.05 in accuracy.
- An epoch at which something happens: a tenth of the trained epochs, and at least one epoch.
- A slope: the slope that adds up to the measure's default between the first and last epoch of the line.
- Spread, volatility and roughness have no default, because their size differs too much between curves.

Verdicts are not corrected for how many numbers a paper quotes. `acceptance` gives the probability that a true number is
accepted. It assumes that the author's run X has the same distribution as ours and that the quoted number is X + e, with
e uniform within ± d. Since X - m is h / t(n-1) times a t variable with n - 1 degrees of freedom, the probability is
2 E[F(t(n-1) (h + d + e) / h)] - 1, where F is the distribution function of that variable. It is 95 % for d = 0 and
approaches 100 % if d is larger than the spread.
"""

import math
from typing import Literal

import numpy as np
from scipy import special

from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.papers.claims import Expectation
from fmnist_sweep.papers.looks import MOST_LOOKS, Decision, look_size
from fmnist_sweep.papers.reductions import KINDS, Reduction
from fmnist_sweep.papers.statistics import ALPHA, prediction_interval

FEWEST = look_size(1)  # seeds
Measured = Literal["accuracy", "loss", "epochs"]
_RESOLUTIONS = {"accuracy": 0.05, "loss": 0.1}
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def measured(reduce: Reduction, metric: str) -> Measured:
    """Return the measure of a reduction of a metric's curve: accuracy, loss or epochs."""
    if metric == "epoch" or KINDS[reduce.name].gives == "epoch":
        return "epochs"
    return "loss" if "loss" in metric else "accuracy"


def resolution(reduce: Reduction, metric: str, epochs: int, stated: float | None = None) -> float | None:
    """Return the resolution of a reduction of a metric's curve; None if each claim has to state its own.

    Args:
        epochs: the length of the curve.
        stated: the paper's resolution for all numbers of that measure, which replaces the default.
    """
    gives, measure = KINDS[reduce.name].gives, measured(reduce, metric)
    if gives == "variation":
        return None
    if measure == "epochs":
        return stated or max(1.0, epochs / 10)
    value = stated or _RESOLUTIONS[measure]
    first, last = reduce.window(epochs)
    return value / (last - first) if gives == "slope" else value


def decide(values: FloatArray, expect: Expectation, resolution: float) -> Decision:
    """Decide a number from `values [n_seeds]`; if it stays open, estimate how many seeds make the interval sharp."""
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
    """Return whether an interval of that half-width rejects every number further from the mean than the resolution."""
    return half + (tolerance or 0) <= resolution


def acceptance(half: float, count: int, tolerance: float | None) -> float:
    """Return the probability that a true number is accepted; this module's docstring gives the formula.

    Args:
        half: half the width of the prediction interval from `count` seeds.
        tolerance: how precisely the number is known. None if the paper only says that it lies above or below a bound;
            the number is then assumed to lie at the bound, which gives the smallest probability.
    """
    if tolerance is None:
        return 1 - ALPHA / 2
    if half <= 0:
        return 1.0
    quantile = special.stdtrit(count - 1, 1 - ALPHA / 2)
    beyond = special.stdtr(count - 1, quantile * (1 + tolerance * (1 + _NODES) / half))
    return float(_WEIGHTS @ beyond) - 1  # the weights sum to 2


def _factor(size: int) -> float:
    """Return half the width of a prediction interval, in standard deviations."""
    return float(special.stdtrit(size - 1, 1 - ALPHA / 2) * math.sqrt(1 + 1 / size))
