"""Resolutions of numbers that one run gave: the smallest difference that the runs must be able to detect.

A paper's file may state a resolution, for one claim or for all claims of a measure. This module holds the defaults.
The defaults depend on the kind of number alone, not on the results of any run.

- Accuracies and their gaps: 0.05. The best linear classifier and the best classifier of the Fashion-MNIST benchmark
  differ by about as much (0.839 and 0.897; Xiao, Rasul and Vollgraf, arXiv:1708.07747, table 3). So a number that is
  further away belongs to another kind of model.
- Losses and their gaps: 0.1 nats. Over the configurations of both bundled papers, the loss changes by 3 nats for each
  change of 1 in accuracy, so this is slightly finer than 0.05 in accuracy.
- An epoch at which something happens: a tenth of the trained epochs, and at least one epoch.
- A slope: the slope that adds up to the measure's default between the first and last epoch of the line.
- Spread, volatility and roughness have no default, because their size differs too much between curves.
"""

from typing import Literal

from fmnist_sweep.papers.reductions import KINDS, Reduction

Measured = Literal["accuracy", "loss", "epochs"]
_DEFAULTS = {"accuracy": 0.05, "loss": 0.1}


def measured(reduce: Reduction, metric: str) -> Measured:
    """Return the measure of a reduction of a metric's curve: accuracy, loss or epochs."""
    if KINDS[reduce.name].gives == "epoch":
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
    value = stated or _DEFAULTS[measure]
    first, last = reduce.window(epochs)
    return value / (last - first) if gives == "slope" else value
