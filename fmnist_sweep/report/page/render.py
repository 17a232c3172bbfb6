"""The report rendered as one HTML page that needs no other file and no network.

Jinja2 escapes every value. The page's content security policy blocks every request. It lets the browser run only the
page's own script and the libraries to which that script gives its nonce. Plotly draws the interactive curves, and
DataTables (from the package itables) makes the tables sortable. Both libraries are embedded, compressed.
"""

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
from itables import options as itables_options
from PIL import Image
from plotly.offline import get_plotlyjs

from fmnist_sweep.report.claims import Results
from fmnist_sweep.report.page import tables
from fmnist_sweep.report.page.confusion_section import SPRITE_COLUMNS, Examples
from fmnist_sweep.report.page.search_section import section
from fmnist_sweep.report.page.verdict_section import judgement
from fmnist_sweep.report.search_history import Search
from fmnist_sweep.report.summaries import seeds_of
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.store.tables import varying

_COLOURS = 32  # in an embedded picture: it looks as good at a sixth of the size


def render(
    results: Results, searches: Sequence[Search], drawn: Mapping[str, bytes], shown: Examples, texts: Texts
) -> str:
    """Return the page as HTML. `drawn` holds the PNG of each figure that could be drawn, by its name."""
    paper, collection, curves, _ = results
    judged = judgement(results, drawn, texts)
    problems, more_problems = tables.problem_table(collection, texts)
    sprite, places = shown.sprite()
    sections = [section(search, texts) for search in searches]
    search_plots = [plot for one in sections for plot in one["plots"].values()]
    return _page(
        "page.html",
        {"": judged},
        {f"search-plot-{number}": plot for number, plot in enumerate(search_plots, 1)},
        texts,
        judgement=judged,
        searches=sections,
        comparisons=[(texts(f"page.{name}"), png) for name, png in drawn.items() if name not in paper.figures],
        shown=shown,
        sheet_names=[sentence(texts.configuration(s.configuration, varying(collection.runs))) for s in shown.sheets],
        sprite=_data_uri("image/png", sprite),
        places=places,
        sprite_columns=SPRITE_COLUMNS,
        run_table=tables.run_table(collection, texts),
        missing=tables.missing_lines(paper, curves, tables.named(paper, texts), texts),
        seeds=", ".join(map(str, seeds_of(paper, curves) or [0])),
        problems=problems,
        more_problems=more_problems,
        environment=tables.environment_table(collection, texts),
    )


def render_papers(judged: Sequence[Mapping[str, Any]], languages: Mapping[str, str], texts: Texts) -> str:
    """Return one page on several papers, each as from `judgement`. `languages` maps languages to this page's files."""
    by_prefix = {f"{one['paper'].name}-": one for one in judged}
    return _page("papers.html", by_prefix, {}, texts, judged_papers=judged, languages=languages)


def _page(
    template: str, judged: Mapping[str, Mapping[str, Any]], plots: Mapping[str, Any], texts: Texts, **values: Any
) -> str:
    """Fill a template and embed the libraries that its script starts.

    The keys of `judged` are the prefixes of the element ids in each paper's part; `plots` are drawn besides its curves.
    """
    curves = {f"{prefix}curves-plot": one["plot"] for prefix, one in judged.items() if one["plot"].choices}
    actions = ("orderable", "orderableReverse", "orderableRemove")
    data = {
        "plots": {**{name: plot.figure for name, plot in curves.items()}, **plots},
        "views": {name: plot.views for name, plot in curves.items()},
        "config": {
            "responsive": True,
            "displaylogo": False,
            "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
            "locale": texts.language,
            "locales": {
                texts.language: {"dictionary": texts.plotly, "format": {"decimal": ".", "thousands": " "}},
            },
        },
        "table": {**texts.datatables, "aria": dict.fromkeys(actions, texts("page.sortable"))},
    }
    libraries = {"datatables": Path(itables_options.dt_bundle).read_text(encoding="utf-8")}
    if data["plots"]:
        libraries["plotly"] = get_plotlyjs()
    # The nonce is a digest of all text that comes from run directories, so that such text cannot contain it.
    seen = "".join(one["seen"] for one in judged.values())
    return _TEMPLATES.get_template(template).render(
        texts=texts,
        t=lambda key, **fields: texts(f"page.{key}", **fields),
        nonce=hashlib.sha256(seen.encode(errors="surrogatepass")).hexdigest()[:32],
        packed={name: _packed(content) for name, content in {"data": json.dumps(data), **libraries}.items()},
        **values,
    )


def _packed(content: str) -> str:
    """Compress `content` with gzip and encode it as Base64, for page.js to unpack. Equal texts give equal bytes."""
    return b64encode(gzip.compress(content.encode(), mtime=0)).decode()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _picture(png: bytes) -> str:
    """Reduce a PNG to few colours and return it as a data URI."""
    content = BytesIO()
    with Image.open(BytesIO(png)) as image:
        few = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).convert("RGB")
    few.save(content, "WEBP", lossless=True, quality=100, method=4)
    return _data_uri("image/webp", content.getvalue())


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["picture"] = _picture
