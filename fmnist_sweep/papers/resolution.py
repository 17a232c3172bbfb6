"""How far from a number that one run gave another number must lie to be told from it.

A paper's file may state it, for one claim or for all of a measure; these are the defaults. They are about the numbers
alone, not about what came out of any run.

- Accuracies and their gaps: 0.05. About as much lies between the best linear classifier of the Fashion-MNIST benchmark
  and its best of all (0.839 and 0.897; Xiao, Rasul and Vollgraf, arXiv:1708.07747, table 3), so a number that is
  further away is that of another kind of model.
- Losses and their gaps: 0.1 nats. Over the configurations of both papers that ship, a loss changes by 3 nats where
  the accuracy changes by 1, so this is a little finer than 0.05 of accuracy.
- An epoch at which something happens: a tenth of the epochs that are trained, and one epoch at least.
- A slope: what makes that difference of the measure from the first epoch of its line to the last.
- Spread, volatility and roughness have no default: how large they are differs too much between curves.
"""

from typing import Literal

from fmnist_sweep.papers.reductions import KINDS, Reduction

Measured = Literal["accuracy", "loss", "epochs"]
_DEFAULTS = {"accuracy": 0.05, "loss": 0.1}


def measured(reduce: Reduction, metric: str) -> Measured:
    """What a reduction of a metric's curve is a number of."""
    if KINDS[reduce.name].gives == "epoch":
        return "epochs"
    return "loss" if "loss" in metric else "accuracy"


def resolution(reduce: Reduction, metric: str, epochs: int, stated: float | None = None) -> float | None:
    """The resolution of a reduction of a metric's curve of that many epochs; None where a claim has to state its own.

    Args:
        stated: what the paper states for all numbers of that measure, in place of the default.
    """
    gives, measure = KINDS[reduce.name].gives, measured(reduce, metric)
    if gives == "variation":
        return None
    if measure == "epochs":
        return stated or max(1.0, epochs / 10)
    value = stated or _DEFAULTS[measure]
    first, last = reduce.window(epochs)
    return value / (last - first) if gives == "slope" else value
