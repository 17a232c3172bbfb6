"""Figures that rank configurations by a result, with each seed's value, the mean and its interval."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmnist_sweep.papers.statistics import Interval
from fmnist_sweep.report.figures.style import WIDTH, Looks, dots, styled, wrapped
from fmnist_sweep.report.summaries import varying
from fmnist_sweep.report.texts import Texts, sentence

_MOST_ROWS = 40
_LINE = 45  # characters in a line of a name


@styled
def ranking_figure(table: pd.DataFrame, looks: Looks, texts: Texts) -> Figure:
    """Draw the configurations in the order of a table of `comparisons.ranking`, with a panel for each measure."""
    measures = list(table["measure"].unique())
    panels = [table[table["measure"] == measure].head(_MOST_ROWS).to_dict("records") for measure in measures]
    factors = varying(table[table["measure"] == measures[0]].head(_MOST_ROWS))
    names = []
    for row in panels[0]:
        words = texts.configuration(row, factors)
        if row["lacking"] and "epochs" in row:
            fields = {"n": row["seeds"], "of": row["seeds"] + row["lacking"], "epochs": row["epochs"]}
            words += texts("figures.reached_by", **fields)
        names.append(wrapped(sentence(words), _LINE))
    lines = max(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(WIDTH, 0.9 + (0.05 + 0.13 * lines) * len(names)), layout="constrained")
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for measure, rows, ax in zip(measures, panels, axes, strict=True):
        for place, row in enumerate(rows):
            if row["seeds"]:
                interval = Interval(row["mean"], row["low"], row["high"])
                dots(ax, place, np.array(row["values"]), interval, looks["optimizer"][row["optimizer"]])
        ax.set_xlabel(texts(f"figures.{measure}"))
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    undrawn = (table["measure"] == measures[0]).sum() - len(names)
    notes = [texts("figures.interval")]
    notes += [texts("figures.no_mean")] if any(row["lacking"] for row in panels[0]) else []
    notes += [texts("figures.more", n=undrawn)] if undrawn else []
    figure.supxlabel(". ".join(notes), fontsize="medium")
    return figure


@styled
def convergence_figure(table: pd.DataFrame, looks: Looks, texts: Texts) -> Figure:
    """Draw the epochs that each training took to reach a validation accuracy, the fastest on top."""
    figure = ranking_figure(table, looks, texts)
    figure.suptitle(texts("figures.reached", accuracy=table["accuracy"].iloc[0]), fontsize="large")
    (ax,) = figure.axes
    ax.update_datalim([(0, 0), (1, 0)], updatey=False)
    ax.autoscale_view()
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    return figure
