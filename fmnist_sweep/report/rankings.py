"""Configurations in order of a result: where each seed ended, the mean and its interval."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_sweep.report import labels
from fmnist_sweep.report.collect import CONFIGURATION
from fmnist_sweep.report.figures import WIDTH, styled
from fmnist_sweep.report.labels import Language, text
from fmnist_sweep.report.tables import intervals, varying

_MOST_ROWS = 40
_LINE = 45  # characters of a name


@styled
def final_figure(runs: pd.DataFrame, language: Language = "en") -> Figure:
    """Final validation accuracy and loss by configuration, best on top; `runs` are of `finals`."""
    return _ranking(runs, ("val_accuracy", "val_loss"), language, descending=True)


@styled
def gap_figure(runs: pd.DataFrame, language: Language = "en") -> Figure:
    """The generalisation gap by configuration, the smallest on top; `runs` are of `finals`."""
    return _ranking(runs, ("gap",), language, descending=False)


@styled
def convergence_figure(runs: pd.DataFrame, accuracy: float, language: Language = "en") -> Figure:
    """Epochs and seconds to a validation accuracy, the quickest on top; `runs` are of `reaching` with it."""
    runs = runs.rename(columns={"epoch": "reached_epoch", "seconds": "reached_seconds"})
    figure = _ranking(runs, ("reached_epoch", "reached_seconds"), language, descending=False)
    figure.suptitle(text("reached", language, accuracy=accuracy), fontsize="large")
    for ax in figure.axes:
        ax.set_xlim(left=0)
    return figure


@styled
def dots(
    runs: pd.DataFrame,
    measure: str,
    order: pd.DataFrame,
    *,
    language: Language = "en",
    ax: Axes | None = None,
) -> Axes:
    """One measure by configuration: a faint dot for each run, the mean with a bar for its 95 % t interval.

    Args:
        runs: a row per run, with `measure` (nan: no result) and the columns `CONFIGURATION`.
        measure: column of `runs`, also the key of its label.
        order: a row per configuration with the columns `CONFIGURATION`, from the top down.
        language: of the labels.
        ax: where to draw; a new figure by default.
    """
    ax = Figure(layout="constrained").add_subplot() if ax is None else ax
    placed = order[CONFIGURATION].assign(place=range(len(order)))
    each = runs.merge(placed, on=CONFIGURATION)
    means = intervals(runs, measure, CONFIGURATION).merge(placed, on=CONFIGURATION)
    for optimizer, style in labels.styles("optimizer", runs["optimizer"]).items():
        seeds, rows = (table[table["optimizer"] == optimizer] for table in (each, means))
        look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "linestyle": "none"}
        ax.plot(seeds[measure], seeds["place"], markersize=3, alpha=0.35, **look)
        reach = np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
        ax.errorbar(rows["mean"], rows["place"], xerr=reach, markersize=4.5, capsize=2, elinewidth=1, **look)
    reached = each.groupby("place")[measure].agg(["count", "size"])
    notes = [
        "" if count == size else text("reached_by", language, n=count, of=size)
        for count, size in zip(reached["count"], reached["size"], strict=True)
    ]
    names = [name + note for name, note in zip(_names(order, language), notes, strict=True)]
    ax.set_yticks(placed["place"], names)
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlabel(text(measure, language))
    return ax


def _ranking(runs: pd.DataFrame, measures: tuple[str, ...], language: Language, *, descending: bool) -> Figure:
    ranked = intervals(runs, measures[0], CONFIGURATION).sort_values("mean", ascending=not descending)
    # Where no run has a result the ranking lacks the configuration: it goes last.
    every = pd.concat([ranked[CONFIGURATION], runs[CONFIGURATION]]).drop_duplicates()
    order = every.head(_MOST_ROWS)
    lines = max(name.count("\n") + 1 for name in _names(order, language))
    figure = Figure(figsize=(WIDTH, 0.9 + (0.05 + 0.13 * lines) * len(order)), layout="constrained")
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for measure, ax in zip(measures, axes, strict=True):
        dots(runs, measure, order, language=language, ax=ax)
    notes = [text("interval", language)]
    if len(every) > len(order):
        notes.append(text("more", language, n=len(every) - len(order)))
    figure.supxlabel(". ".join(notes), fontsize="medium")
    return figure


def _names(order: pd.DataFrame, language: Language) -> list[str]:
    factors = varying(order)
    rows = [dict(zip(factors, row, strict=True)) for row in order[factors].to_numpy()]
    whole = [labels.configuration(row, factors, language) for row in rows]
    return [textwrap.fill(labels.sentence(name), _LINE) for name in whole]
