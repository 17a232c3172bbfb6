"""The report as one page: a file that needs no other and asks the network for nothing.

Jinja2 escapes every value; the page's own policy lets the browser run only the scripts that are written here and fetch
nothing. The interactive curves are Plotly's, the sortable tables DataTables' (from the package itables), both embedded.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
from itables import options as itables_options
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

from fmnist_sweep.papers import Paper
from fmnist_sweep.report.judging.summaries import seeds_of, varying
from fmnist_sweep.report.judging.verdicts import VERDICTS, Verdict
from fmnist_sweep.report.page import tables
from fmnist_sweep.report.page.examples import SPRITE_COLUMNS, Examples
from fmnist_sweep.report.page.interactive import curves_figure
from fmnist_sweep.report.page.searches import section
from fmnist_sweep.report.runs.collection import Collection
from fmnist_sweep.report.runs.curves import Curves
from fmnist_sweep.report.texts import Texts, sentence

_COLOURS = 64  # of an embedded picture: as good to the eye, a quarter of the size

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(
    paper: Paper,
    collection: Collection,
    curves: Curves,
    verdicts: Sequence[Verdict],
    drawn: Mapping[str, Mapping[str, bytes]],
    shown: Examples,
    texts: Texts,
) -> str:
    """The page, as HTML; `drawn` are the files, by name and extension, of all figures that could be drawn."""
    names = tables.named(paper, texts)
    pictures = {name: _picture(files["png"]) for name, files in drawn.items()}
    comparisons = [(texts(f"page.{name}"), uri) for name, uri in pictures.items() if name not in paper.figures]
    interactive, more_curves = curves_figure(paper, collection, curves, texts)
    problems, more_problems = tables.problem_table(collection, texts)
    counts = [(verdict, sum(one.verdict == verdict for one in verdicts)) for verdict in VERDICTS]
    sprite, places = shown.sprite()
    searches = [section(search, texts) for search in collection.searches]
    every = [plot for search in searches for plot in search.plots.values()]
    searched = {f"search-plot-{number}": plot for number, plot in enumerate(every, 1)}
    return _TEMPLATES.get_template("page.html").render(
        texts=texts,
        t=lambda key, **values: texts(f"page.{key}", **values),
        paper=paper,
        nonce=_nonce(collection),
        counts=counts,
        intro=_intro(collection, counts, texts),
        looks=tables.look_sizes(max((verdict.look or 0 for verdict in verdicts), default=0)),
        claims=[tables.claim_row(paper, verdict, names, texts) for verdict in verdicts],
        nearest=tables.nearest_tables(paper, verdicts, collection, curves, names, texts),
        figures=[(figure.title[texts.language], pictures.get(name)) for name, figure in paper.figures.items()],
        searches=searches,
        plots={"curves-plot": interactive} | searched if interactive["data"] else searched,
        more_curves=more_curves,
        plotly_config=_plotly_config(texts),
        comparisons=comparisons,
        shown=shown,
        sheet_names=[sentence(texts.configuration(s.configuration, varying(collection.runs))) for s in shown.sheets],
        sprite=_data("image/png", sprite),
        places=places,
        sprite_columns=SPRITE_COLUMNS,
        run_table=tables.run_table(collection, texts),
        missing=tables.missing_lines(paper, curves, names, texts),
        seeds=", ".join(map(str, seeds_of(paper, curves) or [0])),
        problems=problems,
        more_problems=more_problems,
        environment=tables.environment_table(collection, texts),
        plotly=Markup(get_plotlyjs()),
        datatables=_data("text/javascript", Path(itables_options.dt_bundle).read_bytes()),
    )


def _intro(collection: Collection, counts: Sequence[tuple[str, int]], texts: Texts) -> list[str]:
    done = int((collection.runs["status"] == "done").sum())
    said = [texts("page.intro", runs=len(collection.runs), done=done)]
    if collection.others:
        said.append(texts("page.intro_others", n=collection.others))
    counted = ", ".join(texts("page.intro_count", n=n, verdict=texts(f"page.{verdict}")) for verdict, n in counts if n)
    if counted:
        said.append(texts("page.intro_counts", claims=sum(n for _, n in counts), counts=counted))
    return said


def _plotly_config(texts: Texts) -> dict[str, Any]:
    words = {
        "Zoom in": "zoom_in",
        "Zoom out": "zoom_out",
        "Reset axes": "reset",
        "Download plot as a PNG": "picture",
        "Double-click on legend to isolate one trace": "isolate",
    }
    dictionary = {english: texts(f"page.{key}") for english, key in words.items()}
    return {
        "responsive": True,
        "displaylogo": False,
        "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
        "locale": texts.language,
        "locales": {texts.language: {"dictionary": dictionary, "format": {"decimal": ".", "thousands": " "}}},
    }


def _picture(png: bytes) -> str:
    """A picture in few colours for use in a page."""
    content = BytesIO()
    with Image.open(BytesIO(png)) as image:
        image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return _data("image/png", content.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _nonce(collection: Collection) -> str:
    """What marks the page's own scripts: no run directory can hold it, for it depends on all of them."""
    seen = collection.runs.to_csv() + collection.problems.to_csv()
    return hashlib.sha256(seen.encode(errors="surrogatepass")).hexdigest()[:32]
