"""What the factors of a grid do: main effects, interactions, and all configurations at once in parallel coordinates."""

import textwrap
from itertools import combinations
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from fmnist_sweep.report.drawing.style import WIDTH, Looks, Style, ordered, styled
from fmnist_sweep.report.judging.summaries import interactions, main_effects, varying
from fmnist_sweep.report.runs.collection import CONFIGURATION
from fmnist_sweep.report.texts import Texts

# cividis without its palest end, which is lost on white; darker is better.
_SHADES = LinearSegmentedColormap.from_list(
    "shades", matplotlib.colormaps["cividis_r"](np.linspace(0.12, 1, 256)).tolist()
)

_MEASURES = ("val_accuracy", "val_loss")
_MOST_PAIRS = 4
_MOST_NOTES = 6  # levels that are named on an axis
_LONGEST_NOTE = 16


@styled
def main_effects_figure(runs: pd.DataFrame, looks: Looks, texts: Texts) -> Figure | None:
    """The mean at each level of each factor with its 95 % t interval, accuracy above loss; `runs` are of `finals`.

    Returns None if no factor has two levels to compare.
    """
    tables = [main_effects(runs, measure) for measure in _MEASURES]
    factors = list(dict.fromkeys(tables[0]["factor"]))
    if not factors:
        return None
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    axes = figure.subplots(2, len(factors), sharex="col", sharey="row", squeeze=False)
    for table, measure, panels in zip(tables, _MEASURES, axes, strict=True):
        for factor, ax in zip(factors, panels, strict=True):
            effects = table[table["factor"] == factor].set_index("level")
            levels = ordered(effects.index)
            effects = effects.loc[levels]
            ax.plot(range(len(levels)), effects["mean"], color="#888888", linewidth=0.8)
            for place, row in enumerate(effects.itertuples()):
                _interval(ax, place, row, looks[factor][row.Index])
            _axes(ax, factor, levels, measure, 64 // len(factors), texts)
    figure.supxlabel(texts("figures.main_interval"), fontsize="medium")
    return figure


@styled
def interactions_figure(runs: pd.DataFrame, looks: Looks, texts: Texts) -> Figure | None:
    """The mean at each combination of the levels of two factors, accuracy above loss; `runs` are of `finals`.

    A column for each pair of factors that were crossed, four at most, first the one that is furthest from two effects
    that add up: lines of one factor's levels over the other's. Returns None if no two factors were crossed.
    """
    strengths = {}
    for pair in combinations(varying(runs), 2):
        cells = interactions(runs, _MEASURES[0], pair)
        if len(cells):
            lines, across = sorted(pair, key=lambda factor: cells[factor].nunique())
            means = cells.pivot(index=lines, columns=across, values="mean").to_numpy()
            additive = means.mean(axis=0) + means.mean(axis=1, keepdims=True) - means.mean()
            strengths[lines, across] = float(np.square(means - additive).mean())
    pairs = sorted(strengths, key=lambda pair: -strengths[pair])[:_MOST_PAIRS]
    if not pairs:
        return None
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    axes = figure.subplots(2, len(pairs), sharex="col", sharey="row", squeeze=False)
    for (lines, across), column in zip(pairs, axes.T, strict=True):
        for measure, ax in zip(_MEASURES, column, strict=True):
            cells = interactions(runs, measure, (lines, across)).set_index([lines, across])
            levels = ordered(cells.index.get_level_values(across))
            drawn = ordered(cells.index.get_level_values(lines))
            for i, level in enumerate(drawn):
                look, along = looks[lines][level], cells.loc[level].loc[levels]
                name = textwrap.shorten(texts.level(lines, level), 2 * _LONGEST_NOTE, placeholder="…")
                # Side by side, so that no bar hides another.
                places = np.arange(len(levels)) + 0.3 * ((i + 0.5) / len(drawn) - 0.5)
                ax.plot(places, along["mean"], color=look.colour, linestyle=look.line, label=name)
                for place, row in zip(places, along.itertuples(), strict=True):
                    _interval(ax, place, row, look)
            _axes(ax, across, levels, measure, 64 // len(pairs), texts)
        column[0].legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    figure.supxlabel(texts("figures.main_interval"), fontsize="medium")
    return figure


@styled
def parallel_figure(runs: pd.DataFrame, texts: Texts) -> Figure:
    """A vertical axis per factor, then loss and accuracy, better on top; a line per configuration.

    The more accurate, the darker. Lines are spread a little around each level of a factor, in order of accuracy, so
    that none hides another. `runs` are of `finals`.
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    ax = figure.add_subplot()
    factors = varying(runs)
    measures = ["val_loss", "val_accuracy"]
    means = runs.assign(**runs.groupby(CONFIGURATION)[measures].transform("mean"))
    means = means.drop_duplicates(CONFIGURATION).sort_values("val_accuracy", ignore_index=True)
    heights: dict[str, Any] = {}
    for position, factor in enumerate(factors):
        levels = ordered(means[factor])
        rank = means.groupby(factor).cumcount() - (means.groupby(factor)[factor].transform("size") - 1) / 2
        step = 1 / max(1, len(levels) - 1)
        spread = 0.22 * step / max(1, int(means[factor].value_counts().max()))
        heights[factor] = means[factor].map({level: i * step for i, level in enumerate(levels)}) + rank * spread
        for i, level in list(enumerate(levels))[:: -(-len(levels) // _MOST_NOTES)]:
            _note(ax, _short(factor, level, texts), (position, i * step), -4, "right")
    for position, measure in enumerate(measures, start=len(factors)):
        low, high = means[measure].min(), means[measure].max()
        bottom, top = (high, low) if measure == "val_loss" else (low, high)
        heights[measure] = (means[measure] - bottom) / (top - bottom if top != bottom else 1)
        for height, value in ((0, bottom), (1, top)):
            _note(ax, f"{value:.3f}", (position, height), 4, "left")
    shades = ScalarMappable(Normalize(means["val_accuracy"].min(), means["val_accuracy"].max()), _SHADES)
    for line, colour in zip(pd.DataFrame(heights).to_numpy(), shades.to_rgba(means["val_accuracy"]), strict=True):
        ax.plot(line, color=colour, linewidth=1.2)
    ax.vlines(range(len(heights)), -0.15, 1.15, color="#000000", linewidth=0.6)
    names = [texts(f"figures.{name}" if name in measures else f"factors.{name}") for name in heights]
    ax.set_xticks(range(len(heights)), [textwrap.fill(name, 80 // len(heights)) for name in names])
    ax.set_yticks([])
    ax.set_xlim(-0.6, len(heights) - 0.7)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    figure.colorbar(shades, ax=ax, label=texts("figures.val_accuracy"), pad=0.08)
    return figure


def _interval(ax: Axes, place: float, row: Any, look: Style) -> None:
    reach = [[row.mean - row.low], [row.high - row.mean]]
    ax.errorbar(place, row.mean, yerr=reach, color=look.colour, fmt=look.marker, markersize=5, capsize=3)


def _axes(ax: Axes, factor: str, levels: list[Any], measure: str, room: int, texts: Texts) -> None:
    """Name the axes of a panel that has room for so many characters; inner panels share the names of outer ones."""
    names = [_short(factor, level, texts) for level in levels]
    crowded = sum(len(name) + 1 for name in names) > room
    ax.set_xlim(-0.5, len(levels) - 0.5)
    ax.set_xticks(range(len(levels)), names, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    ax.set_xlabel(texts(f"factors.{factor}"))
    ax.set_ylabel(textwrap.fill(texts(f"figures.{measure}"), 24))
    ax.label_outer()


def _note(ax: Axes, words: str, at: tuple[float, float], shift: int, side: Literal["left", "right"]) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    ax.annotate(words, at, (shift, 0), textcoords="offset points", ha=side, va="center", bbox=box, zorder=5)


def _short(factor: str, level: Any, texts: Texts) -> str:
    """A level in as few characters as an axis has room for."""
    words = texts.level(factor, level) if factor == "optimizer" else level if isinstance(level, str) else f"{level:g}"
    return textwrap.shorten(words, _LONGEST_NOTE, placeholder="…")
