"""How everything is drawn: one matplotlib style, one look for each thing, what several figures share, one way to save.

Colours are from Okabe and Ito's palette (Color Universal Design, 2008) and Paul Tol's muted scheme, both made
for colour-blind readers. Whatever a colour tells is told by a line style or a marker too, for print in grey.
"""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.papers.statistics import Interval
from fmnist_sweep.report.texts import Texts

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

WIDTH = 6.8  # inches: the width of a page's text; a panel is as wide as a column of a paper
_PNG_DPI = 200


class Style(NamedTuple):
    """How one thing is drawn: a colour, a matplotlib line style and a matplotlib marker."""

    colour: str
    line: Any
    marker: str


Looks = Mapping[str, Mapping[Any, Style]]  # by factor and level

_DASHED = (0, (4, 1.5))
_DOTTED = (0, (1, 1.2))
_DASHDOT = (0, (5, 1.5, 1, 1.5))

TRAINING = Style("#0072B2", "-", "o")
VALIDATION = Style("#D55E00", _DASHED, "s")
CURVES = {"train": TRAINING, "running": TRAINING, "val": VALIDATION}
NEUTRAL = Style("#000000", "-", "D")

_COLOURS = (
    *("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#882255", "#999933", "#888888", "#332288"),
    *("#117733", "#AA4499", "#661100", "#44AA99", "#CC6677"),
)
_LINES = ("-", _DASHED, _DOTTED, _DASHDOT)
_MARKERS = "os^DvPX<"

# Where each factor begins among the colours, so that one colour does not stand for levels of two of them; the others
# seldom vary and may.
_FIRST = {"optimizer": 0, "training.batch_size": 2, "model.dropout": 5, "training.epochs": 7, "model.hidden": 9}


def styles(factor: str, levels: Iterable[Any]) -> dict[Any, Style]:
    """The style of each level of a factor; give all levels of a store, so that each keeps its style in all figures."""
    first = _FIRST.get(factor, 0)
    return {
        level: Style(_COLOURS[(first + i) % len(_COLOURS)], _LINES[i % len(_LINES)], _MARKERS[i % len(_MARKERS)])
        for i, level in enumerate(ordered(levels))
    }


def ordered(levels: Iterable[Any]) -> list[Any]:
    """Distinct levels of one factor in order; numbers within words count as numbers, so 64-32 is before 128-64."""
    return sorted(set(levels), key=_order)


def _order(level: Any) -> Any:
    if not isinstance(level, str):
        return level
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", level)
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]


def wrapped(words: str, width: int) -> str:
    """`words` in lines of at most `width` characters, ended at commas where that is possible."""
    phrases = [phrase if len(phrase) >= width else phrase.replace(" ", "\u00a0") for phrase in words.split(", ")]
    return textwrap.fill(", ".join(phrases), width, break_on_hyphens=False).replace("\u00a0", " ")


def band(ax: Axes, table: pd.DataFrame, style: Style, label: str) -> None:
    """Draw the seeds' mean as a line and, with more than one seed, a band from least to greatest; see `spread`."""
    if table["seeds"].max() > 1:
        ax.fill_between(table["epoch"], table["min"], table["max"], color=style.colour, alpha=0.2, linewidth=0)
    ax.plot(table["epoch"], table["mean"], color=style.colour, linestyle=style.line, label=label)


def epoch_axis(ax: Axes, texts: Texts) -> None:
    """Name the horizontal axis, with ticks at whole epochs."""
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel(texts("figures.epoch"))


def dots(ax: Axes, place: float, values: FloatArray, interval: Interval, style: Style) -> None:
    """At height `place` a faint dot for each of `values [n_seeds]`, and their mean with a bar for an interval."""
    look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "linestyle": "none"}
    ax.plot(values, [place] * len(values), markersize=3, alpha=0.35, **look)
    reach = [[interval.mean - interval.low], [interval.high - interval.mean]]
    ax.errorbar(interval.mean, place, xerr=reach, markersize=4.5, capsize=2, elinewidth=1, **look)


def legend(figure: Figure, handles: Sequence[Artist], notes: Iterable[str]) -> None:
    """A legend below all panels, with notes above its labels."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    title = textwrap.fill(". ".join(filter(None, notes)), 100)
    rows = -(-len(handles) // max(1, min(4, 110 // (longest + 8))))
    box = figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // rows), title=title)
    box.get_title().set_multialignment("center")


def encode(figure: Figure) -> dict[str, bytes]:
    """The figure's PNG and PDF files by extension, always the same bytes: no dates in them."""
    files = {}
    for extension, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        content = BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(content, format=extension, dpi=_PNG_DPI, metadata=metadata)
        files[extension] = content.getvalue()
    return files
