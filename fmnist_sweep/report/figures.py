"""The paper's five figures from the runs of a store.

Figures are made without pyplot, so no state outlives a call, and without dates, so the same runs give the
same files.
"""

import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from fmnist_sweep.report import labels
from fmnist_sweep.report.collect import Collection
from fmnist_sweep.report.labels import Language, text
from fmnist_sweep.report.paper import FIGURES, Configuration, Measure, Quote, Row, complete, trajectories

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a dollar sign in a run's arguments is a dollar sign
}
styled = matplotlib.rc_context(STYLE)

WIDTH = 6.8  # inches: the width of a page's text; a panel is as wide as a column of the paper
_ROW_HEIGHT = 2.3
_PNG_DPI = 200


@styled
def paper_figure(collection: Collection, name: str, language: Language = "en") -> Figure | None:
    """The figure `name` of `FIGURES`: a row of panels per configuration, loss left, accuracy right.

    Seeds that have all epochs are drawn; where none has, those that there are. Returns None if no run gives a
    row.
    """
    rows = FIGURES[name]
    data = [complete(trajectories(collection, row.configuration), row.configuration.epochs) for row in rows]
    if all(table.empty for table in data):
        return None
    figure = Figure(figsize=(WIDTH, _ROW_HEIGHT * len(rows) + 0.45), layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False)
    letters = iter("abcdefgh")
    for row, table, pair in zip(rows, data, axes, strict=True):
        title = _title(row.configuration, table, language)
        measures: tuple[Measure, Measure] = ("loss", "accuracy")
        for measure, ax in zip(measures, pair, strict=True):
            curve_panel(table, measure, quotes=row.quotes, epochs=row.configuration.epochs, language=language, ax=ax)
            ax.set_title(f"{next(letters)}) {title}")
    handles = _legend(rows, max(table["seed"].nunique() for table in data), language)
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@styled
def curve_panel(
    metrics: pd.DataFrame,
    measure: Measure,
    *,
    quotes: Iterable[Quote] = (),
    epochs: int | None = None,
    language: Language = "en",
    ax: Axes | None = None,
) -> Axes:
    """Training and validation curves of one configuration: mean of its seeds, band from least to greatest.

    Args:
        metrics: rows of `Collection.metrics`, an epoch and a seed each.
        measure: loss or accuracy.
        quotes: numbers of the paper; those of `measure` are drawn as markers.
        epochs: length of the epoch axis; by default as long as the curves.
        language: of the labels.
        ax: where to draw; a new figure by default.
    """
    ax = Figure(layout="constrained").add_subplot() if ax is None else ax
    for curve, style in labels.CURVES.items():
        column = f"{curve}_{measure}"
        spread = (
            metrics[column].replace([np.inf, -np.inf], np.nan).groupby(metrics["epoch"]).agg(["mean", "min", "max"])
        )
        if metrics["seed"].nunique() > 1:
            ax.fill_between(spread.index, spread["min"], spread["max"], color=style.colour, alpha=0.2, linewidth=0)
        ax.plot(
            spread.index,
            spread["mean"],
            color=style.colour,
            linestyle=style.line,
            label=text(curve, language),
        )
    for quote in quotes:
        if quote.measure == measure:
            ax.plot(quote.epoch, quote.value, **_marker(quote), linestyle="none", clip_on=False, zorder=4)
    if metrics.empty:
        ax.text(0.5, 0.5, text("no_runs", language), transform=ax.transAxes, ha="center", va="center")
    last = epochs or int(metrics["epoch"].max())
    ax.set_xlim(0, last * 1.03)
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel(text("epoch", language))
    ax.set_ylabel(text(measure, language))
    return ax


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name.png` and `name.pdf` into `folder`, always the same bytes; returns both paths."""
    written = []
    for extension, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        content = BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(content, format=extension, dpi=_PNG_DPI, metadata=metadata)
        written.append(write(folder / f"{name}.{extension}", content.getvalue()))
    return written


def write(path: Path, content: bytes) -> Path:
    """Replace `path` by `content` at once, so that a reader never finds half a file. Returns `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def columns(names: Iterable[str]) -> int:
    """How many columns a figure's legend may have for all of `names` to fit its width."""
    longest = max(map(len, names), default=0)
    return max(1, min(4, 110 // (longest + 12)))


def _title(configuration: Configuration, metrics: pd.DataFrame, language: Language) -> str:
    usual = Configuration()
    factors = ["optimizer", *(["batch_size"] if configuration.epochs == usual.epochs else ["epochs"])]
    title = labels.configuration(vars(configuration), factors, language)
    seeds = metrics["seed"].nunique()
    if seeds:
        title += ", " + text("seed" if seeds == 1 else "seeds", language, n=seeds)
        done = int(metrics["epoch"].max())
        if done < configuration.epochs:
            title += "\n" + text("unfinished", language, done=done, epochs=configuration.epochs)
    return title


def _marker(quote: Quote) -> dict[str, Any]:
    style = labels.CURVES.get(quote.curve, labels.NEUTRAL)
    marker = "^" if quote.above else style.marker
    return {
        "marker": marker,
        "markersize": 6,
        "markerfacecolor": "white",
        "markeredgecolor": style.colour,
        "markeredgewidth": 1.4,
    }


def _legend(rows: Iterable[Row], seeds: int, language: Language) -> list[Artist]:
    handles: list[Artist] = []
    for curve, style in labels.CURVES.items():
        label = labels.sentence(text(curve, language))
        handles.append(Line2D([], [], color=style.colour, linestyle=style.line, label=label))
    for quote in {(quote.curve, quote.above): quote for row in rows for quote in row.quotes}.values():
        if quote.curve == "either":
            label = text("quote_above" if quote.above else "quote_either", language)
        else:
            label = text("quote", language, name=text(quote.curve, language))
        handles.append(Line2D([], [], **_marker(quote), linestyle="none", label=label))
    if seeds > 1:
        handles.append(Patch(color="#000000", alpha=0.2, linewidth=0, label=text("band", language)))
    return handles
