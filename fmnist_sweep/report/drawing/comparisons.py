"""The pictures that compare the configurations of a store, and curves laid over each other."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fmnist_sweep.papers import Paper
from fmnist_sweep.report.drawing.factors import interactions_figure, main_effects_figure, parallel_figure
from fmnist_sweep.report.drawing.rankings import convergence_figure, final_figure, gap_figure
from fmnist_sweep.report.drawing.style import WIDTH, Looks, band, epoch_axis, legend, ordered, styled, styles, wrapped
from fmnist_sweep.report.judging.summaries import finals, reaching, target_accuracy, varying
from fmnist_sweep.report.runs.collection import CONFIGURATION, FACTORS, Collection, recipe
from fmnist_sweep.report.runs.curves import Curve, Curves
from fmnist_sweep.report.texts import Texts, sentence

_OVERLAYS = (("optimizer", "training.batch_size"), ("training.batch_size", "optimizer"), ("model.dropout", "optimizer"))
_MOST_LEVELS = 8
_MOST_COLUMNS = 3


def comparison_figures(paper: Paper, collection: Collection, curves: Curves, texts: Texts) -> dict[str, Figure]:
    """Every comparison that the finished runs of a store allow, by a name with a hyphen, as no paper's figure has."""
    runs = finals(collection)
    if runs.empty:
        return {}
    base = _base(paper, collection.runs, curves)
    looks = {factor: styles(factor, collection.runs[factor]) for factor in FACTORS}
    figures: dict[str, Figure | None] = {}
    for by, across in _OVERLAYS:
        name = by.rpartition(".")[2].replace("_", "-")
        figures[f"curves-by-{name}"] = overlay_figure(collection.runs, curves, by, across, base, looks, texts)
    figures["final-values"] = final_figure(runs, looks, texts)
    figures["generalisation-gap"] = gap_figure(runs, looks, texts)
    accuracy = target_accuracy(paper)
    if accuracy is not None:
        figures["convergence-speed"] = convergence_figure(reaching(collection, accuracy), accuracy, looks, texts)
    if len(runs.drop_duplicates(CONFIGURATION)) > 1:
        figures["main-effects"] = main_effects_figure(runs, looks, texts)
        figures["interaction-effects"] = interactions_figure(runs, looks, texts)
        figures["parallel-coordinates"] = parallel_figure(runs, texts)
    return {name: figure for name, figure in figures.items() if figure is not None}


@styled
def overlay_figure(
    runs: pd.DataFrame, curves: Curves, by: str, across: str, base: Mapping[str, Any], looks: Looks, texts: Texts
) -> Figure | None:
    """Validation curves by the levels of the factor `by`, loss above accuracy.

    There is a column of panels for each level of the factor `across` that has two curves or more, the three with most
    at most. All other factors are held at `base`. Returns None if there is nothing to compare.
    """
    panels = _curves(runs, curves, by, across, base)
    shown = ordered(sorted(ordered(panels), key=lambda panel: -len(panels[panel]))[:_MOST_COLUMNS])
    if not shown:
        return None
    levels = ordered(level for panel in shown for level in panels[panel])
    drawn = levels[:_MOST_LEVELS]
    names = [texts.level(by, level) for level in drawn]
    figure = Figure(figsize=(WIDTH, 4.7 + 0.05 * len(names)), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
    for panel, column in zip(shown, axes.T, strict=True):
        for measure, ax in zip(("val_loss", "val_accuracy"), column, strict=True):
            for level, name in zip(drawn, names, strict=True):
                if level in panels[panel]:
                    band(ax, panels[panel][level], measure, looks[by][level], name)
            epoch_axis(ax, texts)
            ax.set_ylabel(texts(f"figures.{measure}"))
            ax.label_outer()
        column[0].set_title(wrapped(sentence(texts.level(across, panel)), 80 // len(shown)))
    held = [factor for factor in varying(runs) if factor not in (by, across)]
    notes = [texts("figures.shared", shared=texts.configuration(base, held)) if held else "", texts("figures.band")]
    if len(drawn) < len(levels):
        notes.append(texts("figures.more", n=len(levels) - len(drawn)))
    looked = zip(names, (looks[by][level] for level in drawn), strict=True)
    handles = [Line2D([], [], color=look.colour, linestyle=look.line, label=name) for name, look in looked]
    legend(figure, handles, notes)
    return figure


def _curves(
    runs: pd.DataFrame, curves: Curves, by: str, across: str, base: Mapping[str, Any]
) -> dict[Any, dict[Any, dict[int, Curve]]]:
    """By level of `across` and of `by`: curves with all else as in `base`, where there are two levels to compare."""
    held = [factor for factor in FACTORS if factor not in (by, across, "training.epochs")]
    match = runs[(runs[held] == pd.Series(base)[held]).all(axis=1)]
    panels: dict[Any, dict[Any, dict[int, Curve]]] = {}
    for (panel, level), rows in match.groupby([across, by]):
        drawn = curves.drawn(rows["recipe"].iloc[0], base["training.epochs"])
        if drawn:
            panels.setdefault(panel, {})[level] = drawn
    return {panel: levels for panel, levels in panels.items() if len(levels) > 1}


def _base(paper: Paper, runs: pd.DataFrame, curves: Curves) -> dict[str, Any]:
    """The level of each of `FACTORS` in the paper's first configuration; if it was not run, the commonest one."""
    config = next(iter(paper.configs.values()))
    if not curves.serving(recipe(config), config.training.epochs):
        return {factor: runs[factor].mode()[0] for factor in FACTORS}
    own = runs[runs["recipe"] == recipe(config)].iloc[0]
    return {factor: own[factor] for factor in FACTORS} | {"training.epochs": config.training.epochs}
