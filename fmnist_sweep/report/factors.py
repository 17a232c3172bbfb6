"""What the factors of the grid do: main effects, and all configurations at once in parallel coordinates."""

import textwrap
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from fmnist_sweep.report import labels
from fmnist_sweep.report.collect import CONFIGURATION
from fmnist_sweep.report.figures import WIDTH, styled
from fmnist_sweep.report.labels import Language, text
from fmnist_sweep.report.run_files import one_line
from fmnist_sweep.report.tables import main_effects, varying

# cividis without its palest end, which is lost on white; darker is better.
_SHADES = LinearSegmentedColormap.from_list(
    "shades", matplotlib.colormaps["cividis_r"](np.linspace(0.12, 1, 256)).tolist()
)

_MOST_NOTES = 6  # levels that are named on an axis
_LONGEST_NOTE = 16


@styled
def main_effects_figure(runs: pd.DataFrame, language: Language = "en") -> Figure | None:
    """The main effect of each factor on final validation accuracy and loss; `runs` are of `finals`.

    Returns None if no factor has two levels to compare.
    """
    measures = ("val_accuracy", "val_loss")
    tables = [main_effects(runs, measure) for measure in measures]
    factors = list(dict.fromkeys(tables[0]["factor"]))
    if not factors:
        return None
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    axes = figure.subplots(2, len(factors), sharey="row", squeeze=False)
    for table, measure, row in zip(tables, measures, axes, strict=True):
        for factor, ax in zip(factors, row, strict=True):
            effect(table[table["factor"] == factor], factor, language=language, ax=ax)
        row[0].set_ylabel(text(measure, language))
    figure.supxlabel(text("main_interval", language), fontsize="medium")
    return figure


@styled
def effect(effects: pd.DataFrame, factor: str, *, language: Language = "en", ax: Axes | None = None) -> Axes:
    """The mean at each level of one factor, with its 95 % t interval.

    Args:
        effects: rows of `main_effects` for this factor.
        factor: its name.
        language: of the labels.
        ax: where to draw; a new figure by default.
    """
    ax = Figure(layout="constrained").add_subplot() if ax is None else ax
    styles = labels.styles(factor, effects["level"])
    places = range(len(effects))
    ax.plot(places, effects["mean"], color="#888888", linewidth=0.8)
    for place, level in enumerate(effects["level"]):
        style = styles[level]
        mean, low, high = (float(effects[column].iloc[place]) for column in ("mean", "low", "high"))
        reach = [[mean - low], [high - mean]]
        ax.errorbar(place, mean, yerr=reach, color=style.colour, fmt=style.marker, markersize=5, capsize=3)
    ax.set_xlim(-0.5, len(effects) - 0.5)
    names = [_short(factor, level, language) for level in effects["level"]]
    crowded = sum(map(len, names)) > 18
    ax.set_xticks(places, names, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    ax.set_xlabel(text(factor, language))
    return ax


@styled
def parallel_figure(runs: pd.DataFrame, language: Language = "en") -> Figure:
    """The grid in parallel coordinates, a line per configuration; `runs` are of `finals`."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    ax = parallel_coordinates(runs, language=language, ax=figure.add_subplot())
    accuracy = runs.groupby(CONFIGURATION)["val_accuracy"].mean()
    shades = ScalarMappable(Normalize(accuracy.min(), accuracy.max()), _SHADES)
    figure.colorbar(shades, ax=ax, label=text("val_accuracy", language), pad=0.08)
    return figure


@styled
def parallel_coordinates(runs: pd.DataFrame, *, language: Language = "en", ax: Axes | None = None) -> Axes:
    """A vertical axis per factor, then loss and accuracy, better on top; a line per configuration.

    The more accurate, the darker. Lines are spread a little around each level of a factor, in order of
    accuracy, so that none hides another.

    Args:
        runs: a row per run, as `finals` gives them.
        language: of the labels.
        ax: where to draw; a new figure by default.
    """
    ax = Figure(layout="constrained").add_subplot() if ax is None else ax
    factors = varying(runs)
    measures = ["val_loss", "val_accuracy"]
    means = runs.groupby(CONFIGURATION, as_index=False)[measures].mean().sort_values("val_accuracy", ignore_index=True)
    heights: dict[str, Any] = {}
    for position, factor in enumerate(factors):
        levels = sorted(set(means[factor]))
        rank = means.groupby(factor).cumcount() - (means.groupby(factor)[factor].transform("size") - 1) / 2
        step = 1 / max(1, len(levels) - 1)
        spread = 0.22 * step / max(1, int(means[factor].value_counts().max()))
        heights[factor] = means[factor].map({level: i * step for i, level in enumerate(levels)}) + rank * spread
        for i, level in list(enumerate(levels))[:: -(-len(levels) // _MOST_NOTES)]:
            name = _short(factor, level, language)
            _note(ax, name, (position, i * step), -4, "right")
    for position, measure in enumerate(measures, start=len(factors)):
        low, high = means[measure].min(), means[measure].max()
        bottom, top = (high, low) if measure == "val_loss" else (low, high)
        heights[measure] = (means[measure] - bottom) / (top - bottom if top != bottom else 1)
        for height, value in ((0, bottom), (1, top)):
            _note(ax, f"{value:.3f}", (position, height), 4, "left")
    colours = _SHADES(Normalize()(means["val_accuracy"].to_numpy()))
    for line, colour in zip(pd.DataFrame(heights).to_numpy(), colours, strict=True):
        ax.plot(line, color=colour, linewidth=1.2)
    ax.vlines(range(len(heights)), -0.15, 1.15, color="#000000", linewidth=0.6)
    names = [textwrap.fill(text(name, language), 80 // len(heights)) for name in heights]
    ax.set_xticks(range(len(heights)), names)
    ax.set_yticks([])
    ax.set_xlim(-0.6, len(heights) - 0.7)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def _note(ax: Axes, words: str, at: tuple[float, float], shift: int, side: Literal["left", "right"]) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    ax.annotate(words, at, (shift, 0), textcoords="offset points", ha=side, va="center", bbox=box, zorder=5)


def _short(factor: str, level: Any, language: Language) -> str:
    words = labels.level(factor, level, language) if factor == "optimizer" else f"{level}"
    return one_line(words, _LONGEST_NOTE)
