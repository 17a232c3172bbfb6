"""Figures that compare the configurations of a store: overlaid curves, and rankings by a result."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.papers.statistics import Interval
from fmnist_sweep.report.comparisons import MOST_COLUMNS, overlays
from fmnist_sweep.report.figures.effects import interactions_figure, main_effects_figure
from fmnist_sweep.report.figures.style import (
    MODEL,
    WIDTH,
    Looks,
    band,
    dots,
    epoch_axis,
    fit,
    legend,
    shared,
    styled,
    styles,
    wrapped,
)
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.store.tables import factors, ordered, varying

_MOST_LEVELS = 8
_MOST_ROWS = 40
_LINE = 45  # characters in a line of a configuration's name


def comparison_figures(
    paper: Paper | None, tables: Mapping[str, pd.DataFrame], runs: pd.DataFrame, texts: Texts
) -> dict[str, Figure]:
    """Draw each table of `comparison_tables` that has something to compare.

    Args:
        paper: the paper that the report is about, if any.
        tables: the tables by name.
        runs: all runs of the store, so that each level has the same look in all figures.
    """
    looks = {factor: styles(factor, runs[factor].dropna()) for factor in factors(runs)}
    model = shared(runs, texts)
    looks["optimizer"] |= styles("optimizer", _optimizers(runs, varying(runs), texts))
    drawings: dict[str, Callable[..., Figure | None]] = {
        **{name: partial(overlay_figure, *pair, varying(runs)) for name, pair in overlays(paper, runs).items()},
        "final-values": partial(ranking_figure, model),
        "generalisation-gap": partial(ranking_figure, model),
        "convergence-speed": partial(convergence_figure, model),
        "main-effects": partial(main_effects_figure, model),
        "interaction-effects": partial(interactions_figure, model),
    }
    figures = {name: drawings[name](table, looks, texts) for name, table in tables.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _optimizers(table: pd.DataFrame, varied: Sequence[str], texts: Texts) -> list[str]:
    """Describe the optimizer of each row in words, with its arguments among the `varied` columns."""
    columns = [column for column in varied if column.startswith("optimizer")]
    return [texts.configuration(row, columns) for row in table[columns].to_dict("records")]


@styled
def overlay_figure(
    by: str, across: str | None, varied: list[str], table: pd.DataFrame, looks: Looks, texts: Texts
) -> Figure:
    """Draw validation curves by the levels of the factor `by`, loss above accuracy.

    Each level of the factor `across` has a column of panels. At most three levels are drawn, those with the most
    curves. Without `across` there is one column. Of many curves, evenly spaced levels are drawn.

    Args:
        varied: the factors that vary in the store. The note gives the levels that all curves share.
        table: as `comparisons.overlay` returns it.
    """
    described = [key for key in varied if key == "optimizer" or key not in (by, across)]
    table = table.assign(optimizer=_optimizers(table, described, texts))
    panels = table[across] if across else pd.Series("", table.index)
    compared = table.groupby(panels)[by].nunique()
    shown = ordered(sorted(ordered(compared.index), key=lambda panel: -compared[panel])[:MOST_COLUMNS])
    levels = ordered(table.loc[panels.isin(shown), by])
    drawn = [levels[place] for place in np.linspace(0, len(levels) - 1, min(len(levels), _MOST_LEVELS)).astype(int)]
    names = [texts.level(by, level) for level in drawn]
    figure = Figure(figsize=(WIDTH, 4.7 + 0.05 * len(names)), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
    for panel, column in zip(shown, axes.T, strict=True):
        for measure, ax in zip(("val_loss", "val_accuracy"), column, strict=True):
            rows = table[(panels == panel) & (table["measure"] == measure)]
            for level, name in zip(drawn, names, strict=True):
                if (rows[by] == level).any():
                    band(ax, rows[rows[by] == level], looks[by][level], name)
            epoch_axis(ax, texts)
            ax.set_ylabel(texts(f"figures.{measure}"))
            ax.label_outer()
        if across:
            column[0].set_title(wrapped(sentence(texts.level(across, panel)), 80 // len(shown)))
    for measure, row in zip(("val_loss", "val_accuracy"), axes, strict=True):
        fit(row[0], "y", measure, table.loc[table["measure"] == measure, "mean"])
    held = [factor for factor in varied if factor not in (by, across) and not factor.startswith("optimizer.")]
    held += [key for key in MODEL if key not in varied]
    notes = [texts("figures.shared", shared=texts.configuration(table.iloc[0], held)), texts("figures.band")]
    if len(drawn) < len(levels):
        notes.append(texts("figures.more", n=len(levels) - len(drawn)))
    handles = []
    for level, name in zip(drawn, names, strict=True):
        handles.append(Line2D([], [], color=looks[by][level].colour, linestyle=looks[by][level].line, label=name))
    legend(figure, handles, notes)
    return figure


@styled
def ranking_figure(model: str, table: pd.DataFrame, looks: Looks, texts: Texts) -> Figure:
    """Draw the configurations in the order of a table of `comparisons.ranking`, with a panel for each measure.

    `model` says what all configurations share, from `style.shared`.
    """
    measures = list(table["measure"].unique())
    panels = [table[table["measure"] == measure].head(_MOST_ROWS).to_dict("records") for measure in measures]
    varied = varying(table[table["measure"] == measures[0]].head(_MOST_ROWS))
    names = []
    for row in panels[0]:
        words = texts.configuration(row, varied)
        if row["lacking"] and "accuracy" in row:
            fields = {"n": row["seeds"], "of": row["seeds"] + row["lacking"], "epochs": row["epochs"]}
            words += texts("figures.reached_by", **fields)
        names.append(wrapped(sentence(words), _LINE))
    lines = max(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(WIDTH, 1.2 + (0.07 + 0.145 * lines) * max(len(names), 3)), layout="constrained")
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for measure, rows, ax in zip(measures, panels, axes, strict=True):
        for place, row in enumerate(rows):
            if row["seeds"]:
                interval = Interval(row["mean"], row["low"], row["high"])
                dots(ax, place, np.array(row["values"]), interval, looks["optimizer"][row["optimizer"]])
        ax.set_xlabel(texts(f"figures.{measure}"))
        fit(ax, "x", measure, pd.Series([row["mean"] for row in rows]))
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    undrawn = (table["measure"] == measures[0]).sum() - len(names)
    notes = [*([model] if model else []), texts("figures.interval")]
    notes += [texts("figures.no_mean")] if any(row["lacking"] for row in panels[0]) else []
    notes += [texts("figures.more", n=undrawn)] if undrawn else []
    figure.supxlabel(textwrap.fill(". ".join(notes), 110), fontsize="medium")
    return figure


@styled
def convergence_figure(model: str, table: pd.DataFrame, looks: Looks, texts: Texts) -> Figure:
    """Draw the epochs that each training took to reach a validation accuracy, the fastest on top."""
    figure = ranking_figure(model, table, looks, texts)
    figure.suptitle(texts("figures.reached", accuracy=table["accuracy"].iloc[0]), fontsize="large")
    (ax,) = figure.axes
    ax.update_datalim([(0, 0), (1, 0)], updatey=False)
    ax.autoscale_view()
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    return figure
