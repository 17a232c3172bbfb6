"""The report as one page: a file that needs no other and asks the network for nothing.

Jinja2 escapes every value; the page's own policy lets the browser run only the scripts that are written here
and fetch nothing. The interactive curves are Plotly's, the sortable tables DataTables' (from the package
itables), both embedded.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from itables import options as itables_options
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

from fmnist_sweep.report import labels, page_tables
from fmnist_sweep.report.claims import VERDICTS, Verdict
from fmnist_sweep.report.collect import Collection
from fmnist_sweep.report.examples import SPRITE_COLUMNS, Examples, Sheet
from fmnist_sweep.report.interactive import curves_figure
from fmnist_sweep.report.labels import Language
from fmnist_sweep.report.page_texts import definitions, words
from fmnist_sweep.report.paper import FIGURES, seeds_of

_HERE = Path(__file__).parent
_COLOURS = 64  # of an embedded picture: as good to the eye, a quarter of the size

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(
    collection: Collection,
    verdicts: Sequence[Verdict],
    pictures: Mapping[str, bytes],
    shown: Examples,
    language: Language = "en",
) -> str:
    """The page, as HTML.

    Args:
        collection: the store.
        verdicts: on every claim.
        pictures: PNG files by name: the paper's figures that could be drawn, and the comparisons.
        shown: the confusions.
        language: of all that a reader sees.
    """
    t = partial(words, language=language)
    uris = {name: _uri(_smaller(picture)) for name, picture in pictures.items()}
    interactive = curves_figure(collection, language)
    run_headings, run_rows = page_tables.run_table(collection, language)
    problems, more_problems = page_tables.problem_rows(collection, language)
    environment_headings, environment_rows = page_tables.environment_table(collection, language)
    return _TEMPLATES.get_template("page.html").render(
        t=t,
        language=language,
        nonce=_nonce(collection),
        intro=_intro(collection, verdicts, language),
        counts=_counts(verdicts, language),
        claims=[page_tables.claim_row(verdict, language) for verdict in verdicts],
        nearest=page_tables.nearest_tables(verdicts, collection.metrics, language),
        paper_figures=[(name, words(name, language), uris.get(name)) for name in FIGURES],
        interactive=interactive and interactive[0],
        interactive_more=interactive[1] if interactive else 0,
        plotly_config=_plotly_config(language),
        comparisons=[(name, words(name, language), uri) for name, uri in uris.items() if name not in FIGURES],
        shown=shown,
        sheets=[_sheet(sheet, language) for sheet in shown.sheets],
        sprite_columns=SPRITE_COLUMNS,
        classes=labels.class_names(language),
        run_headings=run_headings,
        run_rows=run_rows,
        missing=page_tables.missing_lines(collection, language),
        seeds=", ".join(map(str, seeds_of(collection) or [0])),
        problems=problems,
        more_problems=more_problems,
        definitions=definitions(language),
        environment_headings=environment_headings,
        environment_rows=environment_rows,
        plotly=Markup(get_plotlyjs()),
        datatables=_datatables(),
    )


def _intro(collection: Collection, verdicts: Sequence[Verdict], language: Language) -> list[str]:
    done = int((collection.runs["status"] == "done").sum())
    parts = [words("intro_count", language, n=n, verdict=verdict) for _, verdict, n in _counts(verdicts, language) if n]
    counts = words("and", language).join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
    return [
        words("intro", language, runs=len(collection.runs), done=done),
        words("intro_counts", language, claims=len(verdicts), counts=counts),
    ]


def _counts(verdicts: Sequence[Verdict], language: Language) -> list[tuple[str, str, int]]:
    """For each verdict: its style, its words, how many claims have it."""
    return [
        (
            verdict.replace(" ", "-"),
            words(page_tables.verdict_key(verdict), language),
            sum(one.verdict == verdict for one in verdicts),
        )
        for verdict in VERDICTS
    ]


def _sheet(sheet: Sheet, language: Language) -> dict[str, Any]:
    """One configuration's confusions as the template takes them; shares are of each true class."""
    share = sheet.counts / sheet.counts.sum(axis=1, keepdims=True).clip(min=1)
    return {
        "name": labels.sentence(page_tables.configuration(sheet.configuration, language)),
        "seeds": ", ".join(map(str, sheet.seeds)),
        "shares": share.tolist(),
        "recognised": share.diagonal().tolist(),
        "pairs": sheet.pairs,
    }


def _plotly_config(language: Language) -> dict[str, Any]:
    dictionary = {
        "Zoom in": words("zoom_in", language),
        "Zoom out": words("zoom_out", language),
        "Reset axes": words("reset", language),
        "Download plot as a PNG": words("picture", language),
        "Double-click on legend to isolate one trace": words("isolate", language),
    }
    return {
        "responsive": True,
        "displaylogo": False,
        "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
        "locale": language,
        "locales": {language: {"dictionary": dictionary, "format": {"decimal": ".", "thousands": " "}}},
    }


def _smaller(picture: bytes) -> bytes:
    content = BytesIO()
    with Image.open(BytesIO(picture)) as image:
        image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


def _uri(picture: bytes) -> str:
    return f"data:image/png;base64,{b64encode(picture).decode()}"


def _datatables() -> str:
    """DataTables as a module that the page can import from itself."""
    source = Path(itables_options.dt_bundle).read_bytes()
    return f"data:text/javascript;base64,{b64encode(source).decode()}"


def _nonce(collection: Collection) -> str:
    """What marks the page's own scripts: no run directory can hold it, for it depends on all of them."""
    digest = hashlib.sha256()
    for table in (collection.runs, collection.problems):
        digest.update(pd.util.hash_pandas_object(table.astype(str)).to_numpy().tobytes())
    return digest.hexdigest()[:32]
