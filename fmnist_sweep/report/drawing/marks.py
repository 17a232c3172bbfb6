"""What several figures draw: a curve with its band, and the dots of the seeds with a bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fmnist_sweep.records import FloatArray
from fmnist_sweep.report.drawing.style import Style
from fmnist_sweep.report.judging.statistics import Interval
from fmnist_sweep.report.runs.curves import Curve, spread
from fmnist_sweep.report.texts import Texts


def band(ax: Axes, curves: Mapping[int, Curve], metric: str, style: Style, label: str) -> None:
    """The mean of the seeds' curves as a line and, with more than one seed, a band from least to greatest."""
    table = spread(curves, metric)
    if len(curves) > 1:
        ax.fill_between(table["epoch"], table["min"], table["max"], color=style.colour, alpha=0.2, linewidth=0)
    ax.plot(table["epoch"], table["mean"], color=style.colour, linestyle=style.line, label=label)


def epoch_axis(ax: Axes, texts: Texts) -> None:
    """Name the horizontal axis, with ticks at whole epochs."""
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel(texts("figures.epoch"))


def dots(ax: Axes, place: float, values: FloatArray, interval: Interval, style: Style) -> None:
    """At height `place` a faint dot for each of `values [n_seeds]`, and their mean with a bar for an interval."""
    look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "linestyle": "none"}
    ax.plot(values, [place] * len(values), markersize=3, alpha=0.35, **look)
    reach = [[interval.mean - interval.low], [interval.high - interval.mean]]
    ax.errorbar(interval.mean, place, xerr=reach, markersize=4.5, capsize=2, elinewidth=1, **look)
