"""The look of all figures: one matplotlib style, a look for each thing, shared drawing functions, and saving.

Colours are from Okabe and Ito's palette (Color Universal Design, 2008) and Paul Tol's muted scheme, both made for
colour-blind readers. A line style or a marker also shows what a colour shows, for print in grey.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.papers.statistics import Interval
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.tables import ordered

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
    "text.parse_math": False,  # dollar signs in a run's arguments do not mark formulas
}
styled = matplotlib.rc_context(STYLE)

WIDTH = 6.8  # inches: the text width of a page; a panel is as wide as a column of a paper
_PNG_DPI = 200


class Style(NamedTuple):
    """The look of one thing: a colour, a matplotlib line style and a matplotlib marker."""

    colour: str
    line: Any
    marker: str


# What identifies a model beside the keys that were varied.
MODEL = ("optimizer", "optimizer.lr", "model.hidden", "batch_size", "dropout", "epochs")

_LOGARITHMIC = ("optimizer.lr", "optimizer.weight_decay")
_WIDE = 20  # the greatest level over the least from which other keys have a logarithmic axis

_TICKS = 6  # the most on a logarithmic axis of losses

Looks = Mapping[str, Mapping[Any, Style]]  # by factor and level

_DASHED = (0, (4, 1.5))
_DOTTED = (0, (1, 1.2))
_DASHDOT = (0, (5, 1.5, 1, 1.5))

TRAINING = Style("#0072B2", "-", "o")
VALIDATION = Style("#D55E00", _DASHED, "s")
RUNNING = Style("#56B4E9", _DOTTED, "^")  # beside TRAINING; alone, the running curve looks like the training curve
TEST = Style("#009E73", _DASHDOT, "v")
CURVES = {"train": TRAINING, "running": TRAINING, "val": VALIDATION, "test": TEST}
NEUTRAL = Style("#000000", "-", "D")

_COLOURS = (
    *("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#882255", "#999933", "#888888", "#332288"),
    *("#117733", "#AA4499", "#661100", "#44AA99", "#CC6677"),
)
_LINES = ("-", _DASHED, _DOTTED, _DASHDOT)
_MARKERS = "os^DvPX<"

# The index of each factor's first colour, so that two factors share no colour. Factors that are not listed seldom vary
# and may share one.
_FIRST = {"optimizer": 0, "batch_size": 2, "dropout": 5, "epochs": 7, "model.hidden": 9, "optimizer.lr": 11}


def styles(factor: str, levels: Iterable[Any]) -> dict[Any, Style]:
    """Return the style of each level of a factor. Pass all levels of a store, so that all figures agree."""
    first = _FIRST.get(factor, 0)
    return {
        level: Style(_COLOURS[(first + i) % len(_COLOURS)], _LINES[i % len(_LINES)], _MARKERS[i % len(_MARKERS)])
        for i, level in enumerate(ordered(levels))
    }


def wrapped(words: str, width: int) -> str:
    """Break `words` into lines of at most `width` characters, at commas if possible."""
    phrases = [phrase if len(phrase) >= width else phrase.replace(" ", "\u00a0") for phrase in words.split(", ")]
    return textwrap.fill(", ".join(phrases), width, break_on_hyphens=False).replace("\u00a0", " ")


def shared(runs: pd.DataFrame, texts: Texts) -> str:
    """Describe the model that all runs share: the keys of `MODEL` in which they do not differ."""
    keys = [key for key in MODEL[1:] if key in runs and runs[key].nunique(dropna=False) == 1]
    return texts("figures.shared", shared=texts.configuration(runs.iloc[0], keys)) if keys else ""


def is_logarithmic(key: str, levels: Sequence[float] | FloatArray) -> bool:
    """Return whether the axis of a key is logarithmic, given its levels in ascending order."""
    return bool(levels[0] > 0 and (key in _LOGARITHMIC or levels[-1] / levels[0] > _WIDE))


def fit(ax: Axes, axis: str, measure: str, means: pd.Series) -> None:
    """Fit the `x` or `y` axis to means of a measure, after all of them are drawn.

    A fraction stays within 0 and 1, also if an interval over few seeds does not. Losses that differ widely, as those of
    too large learning rates, get a logarithmic axis; else nothing could be told of the others.
    """
    values = means.dropna().sort_values().to_numpy(float)
    low, high = getattr(ax, f"get_{axis}lim")()
    if measure == "val_accuracy":
        ax.set(**{f"{axis}lim": (max(low, 0), min(high, 1))})
    elif measure == "val_loss" and len(values) and is_logarithmic(measure, values):
        ax.set(**{f"{axis}scale": "log"})
        ax.set(**{f"{axis}lim": (values[0] / 2, max(high, values[-1] * 2))})
        ticks = getattr(ax, f"{axis}axis")
        ticks.set_major_locator(LogLocator(numticks=_TICKS))
        ticks.set_major_formatter("{x:g}")


def apart(places: FloatArray, least: float) -> list[int]:
    """Return which of the ascending places get a tick, so that ticks are at least `least` apart. The first gets one."""
    kept = [0]
    for place in range(1, len(places)):
        if places[place] - places[kept[-1]] >= least:
            kept.append(place)
    return kept


def band(ax: Axes, table: pd.DataFrame, style: Style, label: str) -> None:
    """Draw the mean over seeds as a line and, with more than one seed, a band; see `curves.bands`."""
    if table["seeds"].max() > 1:
        ax.fill_between(table["epoch"], table["low"], table["high"], color=style.colour, alpha=0.2, linewidth=0)
    marker = style.marker if table["mean"].count() == 1 else None  # one point makes no line
    ax.plot(table["epoch"], table["mean"], color=style.colour, linestyle=style.line, marker=marker, label=label)


def epoch_axis(ax: Axes, texts: Texts) -> None:
    """Label the horizontal axis as epochs, with ticks at whole epochs."""
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel(texts("figures.epoch"))


def dots(ax: Axes, place: float, values: FloatArray, interval: Interval, style: Style) -> None:
    """Draw at height `place` a faint dot for each of `values [n_seeds]`, and their mean with a bar for the interval."""
    look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "linestyle": "none"}
    ax.plot(values, [place] * len(values), markersize=3, alpha=0.35, **look)
    reach = [[interval.mean - interval.low], [interval.high - interval.mean]]
    ax.errorbar(interval.mean, place, xerr=reach, markersize=4.5, capsize=2, elinewidth=1, **look)


def legend(figure: Figure, handles: Sequence[Artist], notes: Iterable[str]) -> None:
    """Add a legend below all panels, with notes above its labels."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    title = textwrap.fill(". ".join(filter(None, notes)), 100)
    rows = -(-len(handles) // max(1, min(4, 110 // (longest + 8))))
    box = figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // rows), title=title)
    box.get_title().set_multialignment("center")


def encode(figure: Figure) -> dict[str, bytes]:
    """Return the figure's PNG and PDF files by extension. They contain no dates, so equal figures give equal bytes."""
    files = {}
    for extension, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        content = BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(content, format=extension, dpi=_PNG_DPI, metadata=metadata)
        files[extension] = content.getvalue()
    return files
