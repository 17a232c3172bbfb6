"""The pictures that compare the configurations of a store, and curves laid over each other."""

import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fmnist_sweep.report import labels
from fmnist_sweep.report.collect import CONFIGURATION, Collection
from fmnist_sweep.report.factors import main_effects_figure, parallel_figure
from fmnist_sweep.report.figures import WIDTH, columns, styled
from fmnist_sweep.report.labels import Language, Style, text
from fmnist_sweep.report.paper import Configuration, complete, trajectories
from fmnist_sweep.report.rankings import convergence_figure, final_figure, gap_figure
from fmnist_sweep.report.tables import finals, reaching

PAPERS_ACCURACY = 0.84  # that the paper's base model reaches in validation

_MOST_LEVELS = 8
_MOST_COLUMNS = 3


def comparison_figures(
    collection: Collection, language: Language = "en", accuracy: float = PAPERS_ACCURACY
) -> dict[str, Figure]:
    """Every comparison that the finished runs of a store allow, by file name.

    Args:
        collection: the store.
        language: of the labels.
        accuracy: validation accuracy to which convergence is measured.
    """
    runs = finals(collection)
    if runs.empty:
        return {}
    figures = {}
    for by, across in (("optimizer", "batch_size"), ("batch_size", "optimizer"), ("dropout", "optimizer")):
        overlaid = overlay_figure(collection, by, across, language)
        if overlaid is not None:
            figures[f"curves-by-{by.replace('_', '-')}"] = overlaid
    figures["final"] = final_figure(runs, language)
    figures["gap"] = gap_figure(runs, language)
    figures["convergence"] = convergence_figure(reaching(collection, accuracy), accuracy, language)
    if len(runs.drop_duplicates(CONFIGURATION)) > 1:
        effects = main_effects_figure(runs, language)
        if effects is not None:
            figures["main-effects"] = effects
        figures["parallel-coordinates"] = parallel_figure(runs, language)
    return figures


@styled
def overlay_figure(collection: Collection, by: str, across: str, language: Language = "en") -> Figure | None:
    """Validation curves by the levels of one factor, loss above accuracy.

    There is a column of panels for each level of the factor `across`, the three with most curves at most. All
    other factors are held at the paper's base model, or at their commonest level where the base was not run.
    Returns None if that leaves fewer than two levels to compare.
    """
    base = _base(collection.runs)
    styles = labels.styles(by, collection.runs[by])
    panels = {
        panel: _curves(collection, by, replace(base, **{across: panel})) for panel in set(collection.runs[across])
    }
    filled = sorted((panel for panel in panels if panels[panel]), key=lambda panel: (-len(panels[panel]), panel))
    shown = sorted(filled[:_MOST_COLUMNS])
    levels = sorted({level for panel in shown for level in panels[panel]})
    if len(levels) < 2:
        return None
    drawn = levels[:_MOST_LEVELS]
    names = [labels.level(by, level, language) for level in drawn]
    rows = -(-len(names) // columns(names))
    figure = Figure(figsize=(WIDTH, 4.5 + 0.17 * rows), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
    for panel, stack in zip(shown, axes.T, strict=True):
        those = {level: panels[panel][level] for level in drawn if level in panels[panel]}
        for measure, ax in zip(("val_loss", "val_accuracy"), stack, strict=True):
            overlay(those, by, measure, styles=styles, language=language, ax=ax)
            ax.label_outer()
        title = labels.sentence(labels.level(across, panel, language))
        stack[0].set_title(textwrap.fill(title, 80 // len(shown)))
    held = [factor for factor in ("optimizer", "batch_size", "dropout") if factor not in (by, across)]
    notes = [labels.sentence(labels.configuration(vars(base), held, language)), text("band", language)]
    if len(drawn) < len(levels):
        notes.append(text("more", language, n=len(levels) - len(drawn)))
    handles = [Line2D([], [], color=styles[level].colour, linestyle=styles[level].line) for level in drawn]
    figure.legend(handles, names, loc="outside lower center", ncols=columns(names), title=". ".join(notes))
    return figure


@styled
def overlay(
    curves: Mapping[Any, pd.DataFrame],
    by: str,
    measure: str,
    *,
    styles: Mapping[Any, Style] | None = None,
    language: Language = "en",
    ax: Axes | None = None,
) -> Axes:
    """The curves of several levels of one factor: mean of the seeds, band from least to greatest.

    Args:
        curves: rows of `Collection.metrics`, an epoch and a seed each, by level.
        by: the factor.
        measure: val_loss or val_accuracy.
        styles: of each level; by default those of `labels.styles`.
        language: of the labels.
        ax: where to draw; a new figure by default.
    """
    ax = Figure(layout="constrained").add_subplot() if ax is None else ax
    styles = labels.styles(by, curves) if styles is None else styles
    for level, rows in curves.items():
        values = rows[measure].replace([np.inf, -np.inf], np.nan)
        spread = values.groupby(rows["epoch"]).agg(["mean", "min", "max"])
        style = styles[level]
        ax.fill_between(spread.index, spread["min"], spread["max"], color=style.colour, alpha=0.2, linewidth=0)
        name = labels.level(by, level, language)
        ax.plot(spread.index, spread["mean"], color=style.colour, linestyle=style.line, label=name)
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel(text("epoch", language))
    ax.set_ylabel(text(measure, language))
    return ax


def _curves(collection: Collection, by: str, fixed: Configuration) -> dict[Any, pd.DataFrame]:
    """The runs of each level of the factor `by` that was run with the others as in `fixed`."""
    found = {
        level: complete(trajectories(collection, replace(fixed, **{by: level})), fixed.epochs)
        for level in set(collection.runs[by])
    }
    return {level: rows for level, rows in found.items() if not rows.empty}


def _base(runs: pd.DataFrame) -> Configuration:
    paper = Configuration()
    chosen = {
        factor: value if (runs[factor] == value).any() else runs[factor].mode()[0]
        for factor, value in vars(paper).items()
    }
    return replace(paper, **chosen)
