"""Figures that compare the configurations of a store, among them overlaid curves."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fmnist_sweep.report.comparisons import OVERLAYS
from fmnist_sweep.report.figures.effects import interactions_figure, main_effects_figure
from fmnist_sweep.report.figures.rankings import convergence_figure, ranking_figure
from fmnist_sweep.report.figures.style import WIDTH, Looks, band, epoch_axis, legend, ordered, styled, styles, wrapped
from fmnist_sweep.report.summaries import varying
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.store.tables import FACTORS

_MOST_LEVELS = 8
_MOST_COLUMNS = 3


def comparison_figures(tables: Mapping[str, pd.DataFrame], runs: pd.DataFrame, texts: Texts) -> dict[str, Figure]:
    """Draw each table of `comparison_tables` that has something to compare.

    Args:
        tables: the tables by name.
        runs: all runs of the store, so that each level has the same look in all figures.
    """
    looks = {factor: styles(factor, runs[factor]) for factor in FACTORS}
    drawings = {
        **dict.fromkeys(("final-values", "generalisation-gap"), ranking_figure),
        "convergence-speed": convergence_figure,
        "main-effects": main_effects_figure,
        "interaction-effects": interactions_figure,
    }
    figures = {
        name: overlay_figure(table, *OVERLAYS[name], varying(runs), looks, texts)
        if name in OVERLAYS
        else drawings[name](table, looks, texts)
        for name, table in tables.items()
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


@styled
def overlay_figure(table: pd.DataFrame, by: str, across: str, factors: list[str], looks: Looks, texts: Texts) -> Figure:
    """Draw validation curves by the levels of the factor `by`, loss above accuracy.

    Each level of the factor `across` has a column of panels. At most three levels are drawn, those with the most
    curves.

    Args:
        table: as `comparisons.overlay` returns it.
        factors: the factors that vary in the store. The note gives the levels that all curves share.
    """
    compared = table.groupby(across)[by].nunique()
    shown = ordered(sorted(ordered(compared.index), key=lambda panel: -compared[panel])[:_MOST_COLUMNS])
    levels = ordered(table.loc[table[across].isin(shown), by])
    drawn = levels[:_MOST_LEVELS]
    names = [texts.level(by, level) for level in drawn]
    figure = Figure(figsize=(WIDTH, 4.7 + 0.05 * len(names)), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
    for panel, column in zip(shown, axes.T, strict=True):
        for measure, ax in zip(("val_loss", "val_accuracy"), column, strict=True):
            rows = table[(table[across] == panel) & (table["measure"] == measure)]
            for level, name in zip(drawn, names, strict=True):
                if (rows[by] == level).any():
                    band(ax, rows[rows[by] == level], looks[by][level], name)
            epoch_axis(ax, texts)
            ax.set_ylabel(texts(f"figures.{measure}"))
            ax.label_outer()
        column[0].set_title(wrapped(sentence(texts.level(across, panel)), 80 // len(shown)))
    held = [factor for factor in factors if factor not in (by, across)]
    shared = texts("figures.shared", shared=texts.configuration(table.iloc[0], held)) if held else ""
    notes = [shared, texts("figures.band")]
    if len(drawn) < len(levels):
        notes.append(texts("figures.more", n=len(levels) - len(drawn)))
    looked = zip(names, (looks[by][level] for level in drawn), strict=True)
    handles = [Line2D([], [], color=look.colour, linestyle=look.line, label=name) for name, look in looked]
    legend(figure, handles, notes)
    return figure
