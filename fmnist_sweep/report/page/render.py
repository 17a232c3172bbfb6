"""Render a page from its sections: one HTML file that needs no other file and no network.

Jinja2 escapes every value. The content security policy blocks every request, and lets the browser run only the page's
own script and the library to which that script gives its nonce: Plotly, embedded compressed where a section has plots.
"""

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from fmnist_sweep.report.texts import Texts

_FOLDER = Path(__file__).parent
_PLOTLY = _FOLDER / "plotly-basic.min.js"  # Plotly's own bundle of a quarter of the size, with scatter plots and bars


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        template: its template, `sections/{template}.html`, which finds the section as `section`.
        values: what the template shows.
        contents: its lines in the page's contents: ids of elements, and their names.
        plots: Plotly's figures as plain values, by the id of the element to draw them in. One with a key `views` is
            drawn by the choice of a metric; see `curves_section.CurvesPlot`.
    """

    template: str
    values: Mapping[str, Any]
    contents: Sequence[tuple[str, str]]
    plots: Mapping[str, Any] = {}


class Link(NamedTuple):
    """A link in the page's head. `language` is that of the page it leads to, if it is another one."""

    address: str
    name: str
    language: str | None = None


def page(title: str, sections: Sequence[Section], texts: Texts, links: Sequence[Link] = ()) -> str:
    """Return the page of some sections as HTML."""
    packed = {}
    if plots := {name: plot for section in sections for name, plot in section.plots.items()}:
        config = {
            "responsive": True,
            "displaylogo": False,
            "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
            "locale": texts.language,
            "locales": {texts.language: {"dictionary": texts.plotly, "format": {"decimal": ".", "thousands": " "}}},
        }
        packed = {"data": json.dumps({"plots": plots, "config": config}), "plotly": _PLOTLY.read_text(encoding="utf-8")}
    values = {"texts": texts, "t": lambda key, **fields: texts(f"page.{key}", **fields), "title": title}
    body = _TEMPLATES.get_template("body.html").render(sections=sections, links=links, **values)
    # The nonce is a digest of the body, so no text from a run directory can contain it.
    nonce = hashlib.sha256((body + str(packed.get("data"))).encode(errors="surrogatepass")).hexdigest()[:32]
    return _TEMPLATES.get_template("page.html").render(
        body=Markup(body),
        nonce=nonce,
        packed={name: _packed(content) for name, content in packed.items()},
        **values,
    )


def data_uri(kind: str, content: bytes) -> str:
    """Return `content` as the address of an image or another embedded file."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _packed(content: str) -> str:
    """Compress `content` with gzip and encode it as Base64, for page.js to unpack. Equal texts give equal bytes."""
    return b64encode(gzip.compress(content.encode(), mtime=0)).decode()


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
