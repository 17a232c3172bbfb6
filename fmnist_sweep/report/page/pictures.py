"""The page's pictures: each figure as it is, and with its panels stacked for a narrow window."""

import textwrap
from io import BytesIO
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from fmnist_sweep.report.figures.style import STYLE
from fmnist_sweep.report.page.render import data_uri

_NARROW, _NARROW_NAMES = 3.6, 4.8  # inches; the latter with long names beside the panels
_LONG = 20  # characters of such a name
_LINE = 55  # characters across a narrow picture
_LEGEND_LINE = 0.15  # inches
_DPI = 200
_COLOURS = 32  # in an embedded picture: it looks as good at a sixth of the size


class Picture(NamedTuple):
    """The addresses of a figure's two pictures, as data URIs."""

    wide: str
    narrow: str


def picture(figure: Figure, png: bytes) -> Picture:
    """Embed a figure's PNG, and stack the panels of `figure` for the narrow picture, which changes the figure."""
    content = BytesIO()
    with matplotlib.rc_context(STYLE):
        _stack(figure)
        figure.savefig(content, format="png", dpi=_DPI)
    return Picture(_embedded(png), _embedded(content.getvalue()))


def _stack(figure: Figure) -> None:
    """Put all panels one below the other. A panel gets the title of its column and the labels of its row."""
    places = {ax: ax.get_subplotspec() for ax in figure.axes}
    corner = {(place.rowspan.start, place.colspan.start): ax for ax, place in places.items() if place}
    rows = 1 + max(row for row, _ in corner)
    grid = figure.add_gridspec(len(corner), 1)
    for place, ((row, column), ax) in enumerate(sorted(corner.items())):
        ax.set_title(ax.get_title("left") or corner.get((0, column), ax).get_title("left"), loc="left")
        ax.set_ylabel(ax.get_ylabel() or corner.get((row, 0), ax).get_ylabel())
        ax.set_xlabel(ax.get_xlabel() or corner.get((rows - 1, column), ax).get_xlabel())
        ax.tick_params(labelleft=True, labelbottom=True)
        ax.set_subplotspec(grid[place, 0])
    height = figure.get_figheight() * len(corner) / rows
    for legend in list(figure.legends):
        names = [text.get_text() for text in legend.get_texts()]
        title = textwrap.fill(legend.get_title().get_text(), _LINE)
        columns = max(1, _LINE // (max(map(len, names)) + 6))
        height += _LEGEND_LINE * (title.count("\n") + -(-len(names) // columns))
        handles = [handle for handle in legend.legend_handles if handle]
        legend.remove()
        box = figure.legend(handles, names, loc="outside lower center", ncols=columns, title=title)
        box.get_title().set_multialignment("center")
    names = [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]
    is_long = any(len(line) > _LONG for name in names for line in name.split("\n"))
    width = _NARROW_NAMES if is_long else _NARROW
    if note := figure.get_supxlabel():
        lines = [textwrap.fill(line, int(_LINE * width / _NARROW)) for line in note.split("\n")]
        figure.supxlabel("\n".join(lines), fontsize="medium")
        height += _LEGEND_LINE * (len(lines) + sum(line.count("\n") for line in lines))
    figure.set_size_inches(width, height)


def _embedded(png: bytes) -> str:
    """Reduce a PNG to few colours and return it as a data URI."""
    content = BytesIO()
    with Image.open(BytesIO(png)) as image:
        few = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).convert("RGB")
    few.save(content, "WEBP", lossless=True, quality=100, method=4)
    return data_uri("image/webp", content.getvalue())
