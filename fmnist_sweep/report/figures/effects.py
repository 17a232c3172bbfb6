"""Figures of the main effects and the interactions of a grid's factors."""

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.report.comparisons import MEASURES
from fmnist_sweep.report.figures.style import WIDTH, Looks, Style, apart, fit, is_logarithmic, styled, wrapped
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.tables import ordered

_MOST_PAIRS = 4
_ROOM, _TITLE = 64, 95  # characters across a figure: in tick labels, in titles
_NOTE = 104
_LONGEST_TICK, _LONGEST_LABEL = 16, 32
_TILTED = 2  # characters between tilted tick labels
_MOST_NAMED = 6  # the most left-out levels that the note names


@styled
def main_effects_figure(model: str, table: pd.DataFrame, looks: Looks, texts: Texts) -> Figure | None:
    """Draw the mean at each level of each factor with its 95 % t interval, accuracy above loss.

    The title of each column gives the number of combinations of the other factors. A note below names the levels that
    cannot be compared. Return None if no factor has two levels to compare. `model` is from `style.shared`, `table` from
    `comparisons.main_effects`.
    """
    compared = table[table["combinations"] > 0]
    factors = list(compared["factor"].unique())
    if not factors:
        return None
    figure = Figure(figsize=(WIDTH, 5.1), layout="constrained")
    axes = figure.subplots(2, len(factors), sharex="col", sharey="row", squeeze=False)
    for factor, column in zip(factors, axes.T, strict=True):
        for measure, ax in zip(MEASURES, column, strict=True):
            means = compared[(compared["factor"] == factor) & (compared["measure"] == measure)].set_index("level")
            levels = ordered(means.index)
            places = _places(factor, levels)
            ax.plot(places, means.loc[levels, "mean"], color="#888888", linewidth=0.8)
            for place, level in zip(places, levels, strict=True):
                _interval(ax, place, means.loc[level], looks[factor][level])
            _axes(ax, factor, levels, measure, _ROOM // len(factors), texts)
        column[0].set_title(_averaged(means, len(factors), texts), fontsize="medium")
    for measure, row in zip(MEASURES, axes, strict=True):
        fit(row[0], "y", measure, compared.loc[compared["measure"] == measure, "mean"])
    absent = table[table["combinations"] == 0].drop_duplicates(["factor", "level"])
    _note(figure, model, [texts.level(row["factor"], row["level"]) for row in absent.to_dict("records")], texts)
    return figure


@styled
def interactions_figure(model: str, table: pd.DataFrame, looks: Looks, texts: Texts) -> Figure | None:
    """Draw the mean at each combination of the levels of two factors, accuracy above loss.

    Each pair of crossed factors has a column, four pairs at most. The pair whose effects are furthest from additive
    comes first. Each line is a level of one factor, plotted over the levels of the other. `table` is as from
    `comparisons.interaction_effects`.
    """
    strengths = {}
    pairs = {}
    for pair, cells in table.groupby(["factor", "other_factor"], sort=False):
        cells = cells.rename(columns={"level": pair[0], "other_level": pair[1]})
        drawn = cells[cells["combinations"] > 0]
        lines, across = sorted(pair, key=lambda factor: drawn[factor].nunique())
        means = drawn[drawn["measure"] == MEASURES[0]].pivot(index=lines, columns=across, values="mean").to_numpy()
        additive = means.mean(axis=0) + means.mean(axis=1, keepdims=True) - means.mean()
        strengths[lines, across] = float(np.square(means - additive).mean())
        pairs[lines, across] = cells
    shown = sorted(pairs, key=lambda pair: -strengths[pair])[:_MOST_PAIRS]
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex="col", sharey="row", squeeze=False)
    absent: list[str] = []
    for (lines, across), column in zip(shown, axes.T, strict=True):
        cells = pairs[lines, across]
        compared = cells[cells["combinations"] > 0]
        levels, drawn = ordered(compared[across]), ordered(compared[lines])
        names = _shortened((texts.level(lines, level) for level in drawn), _LONGEST_LABEL)
        for measure, ax in zip(MEASURES, column, strict=True):
            means = compared[compared["measure"] == measure].set_index([lines, across])
            for i, (level, name) in enumerate(zip(drawn, names, strict=True)):
                look, along = looks[lines][level], means.loc[level].loc[levels]
                # Side by side, so that no bar hides another.
                places = _places(across, levels)
                places = places + 0.3 * np.diff(places).min() * ((i + 0.5) / len(drawn) - 0.5)
                ax.plot(places, along["mean"], color=look.colour, linestyle=look.line, label=name)
                for place, other in zip(places, levels, strict=True):
                    _interval(ax, place, along.loc[other], look)
            _axes(ax, across, levels, measure, _ROOM // len(shown), texts)
        title = _averaged(compared, len(shown), texts)
        column[0].legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, title=title, alignment="left")
        for factor, seen in ((lines, drawn), (across, levels)):
            absent += [texts.level(factor, level) for level in ordered(cells[factor]) if level not in seen]
    for measure, row in zip(MEASURES, axes, strict=True):
        drawn = [pairs[pair][pairs[pair]["measure"] == measure] for pair in shown]
        fit(row[0], "y", measure, pd.concat(drawn)["mean"])
    _note(figure, model, list(dict.fromkeys(absent)), texts, len(pairs) - len(shown))
    return figure


def _averaged(means: pd.DataFrame, columns: int, texts: Texts) -> str:
    """Say how many combinations of the other factors, and how many seeds of each, the means of a column average.

    `columns` is the number of columns in the figure, which sets where lines break.
    """
    count, fewest, most = (
        int(n) for n in (means["combinations"].iloc[0], means["seeds"].min(), means["most_seeds"].max())
    )
    combinations = texts("figures.combination" if count == 1 else "figures.combinations", n=count)
    if fewest < most:
        seeds = texts("figures.seeds_between", fewest=fewest, most=most)
    else:
        seeds = texts("figures.seed_each" if most == 1 else "figures.seeds_each", n=most)
    return "\n".join(textwrap.fill(words, _TITLE // columns) for words in (f"{combinations},", seeds))


def _note(figure: Figure, model: str, absent: list[str], texts: Texts, undrawn: int = 0) -> None:
    """Write a note below all panels: how to read them, and what they leave out."""
    notes = [*([model] if model else []), texts("figures.balanced")]
    if absent:
        named = _shortened(absent[:_MOST_NAMED], _LONGEST_LABEL)
        named += [texts("figures.and_more", n=len(absent) - _MOST_NAMED)] if len(absent) > _MOST_NAMED else []
        notes.append(texts("figures.left_out", levels=", ".join(named)))
    if undrawn:
        notes.append(texts("figures.more_pairs", n=undrawn))
    figure.supxlabel("\n".join(wrapped(note, _NOTE) for note in notes), fontsize="medium")


def _interval(ax: Axes, place: float, row: Any, look: Style) -> None:
    reach = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
    ax.errorbar(place, row["mean"], yerr=reach, color=look.colour, fmt=look.marker, markersize=5, capsize=3)


def _places(factor: str, levels: list[Any]) -> FloatArray:
    """Return where levels stand on their axis, from 0 to their number less one: numbers to scale, words evenly."""
    if any(isinstance(level, str) for level in levels):
        return np.arange(len(levels), dtype=float)
    values: FloatArray = np.array(levels, float)
    if is_logarithmic(factor, values):
        values = np.log(values)
    return np.interp(values, values[[0, -1]], [0, len(levels) - 1])


def _axes(ax: Axes, factor: str, levels: list[Any], measure: str, room: int, texts: Texts) -> None:
    """Label the axes of a panel with room for `room` characters. Inner panels use the labels of the outer ones."""
    words = (level if isinstance(level, str) else f"{level:g}" for level in levels)
    names = _shortened(words, _LONGEST_TICK)
    places = _places(factor, levels)
    character = len(levels) / room
    gaps = np.diff(places) / character
    crowded = any(
        gap < (len(one) + len(other)) / 2 + 1 for gap, one, other in zip(gaps, names, names[1:], strict=False)
    )
    kept = apart(places, _TILTED * character)
    look: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    ax.set_xlim(-0.5, len(levels) - 0.5)
    ax.set_xticks(places[kept], [names[place] for place in kept], **look)
    ax.set_xlabel(texts.factor(factor))
    ax.set_ylabel(textwrap.fill(texts(f"figures.{measure}"), 24))
    ax.label_outer()


def _shortened(names: Iterable[str], length: int) -> list[str]:
    """Shorten names to about `length` characters, or as many more as it takes to tell them apart."""
    names = list(names)
    while True:
        short = [name if len(name) <= length else name[: length - 1] + "…" for name in names]
        if len(set(short)) == len(set(names)):
            return short
        length += 1
