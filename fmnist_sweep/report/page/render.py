"""The report rendered as one HTML page that needs no other file and no network.

Jinja2 escapes every value. The page's content security policy blocks every request. It lets the browser run only the
page's own script and the libraries to which that script gives its nonce. Plotly draws the interactive curves, and
DataTables (from the package itables) makes the tables sortable. Both libraries are embedded, compressed.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itables import options as itables_options
from plotly.offline import get_plotlyjs

from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.papers.verdicts import Verdict
from fmnist_sweep.report.page import tables
from fmnist_sweep.report.page.confusion_section import SPRITE_COLUMNS, Examples
from fmnist_sweep.report.page.embedding import TEMPLATES, data_uri, nonce, packed, picture
from fmnist_sweep.report.page.search_section import section
from fmnist_sweep.report.page.verdict_section import Judgement, judgement
from fmnist_sweep.report.search_history import Search
from fmnist_sweep.report.summaries import seeds_of, varying
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import Collection


def render(
    paper: Paper,
    collection: Collection,
    searches: Sequence[Search],
    curves: Curves,
    verdicts: Sequence[Verdict],
    drawn: Mapping[str, Mapping[str, bytes]],
    shown: Examples,
    texts: Texts,
) -> str:
    """Return the page as HTML. `drawn` holds the files of all figures that could be drawn, by name and extension."""
    judged = judgement(paper, collection, curves, verdicts, drawn, texts)
    problems, more_problems = tables.problem_table(collection, texts)
    sprite, places = shown.sprite()
    sections = [section(search, texts) for search in searches]
    every = [plot for search in sections for plot in search.plots.values()]
    return _page(
        "page.html",
        {"": judged},
        {f"search-plot-{number}": plot for number, plot in enumerate(every, 1)},
        texts,
        judgement=judged,
        searches=sections,
        comparisons=[
            (texts(f"page.{name}"), picture(files["png"])) for name, files in drawn.items() if name not in paper.figures
        ],
        shown=shown,
        sheet_names=[sentence(texts.configuration(s.configuration, varying(collection.runs))) for s in shown.sheets],
        sprite=data_uri("image/png", sprite),
        places=places,
        sprite_columns=SPRITE_COLUMNS,
        run_table=tables.run_table(collection, texts),
        missing=tables.missing_lines(paper, curves, tables.named(paper, texts), texts),
        seeds=", ".join(map(str, seeds_of(paper, curves) or [0])),
        problems=problems,
        more_problems=more_problems,
        environment=tables.environment_table(collection, texts),
    )


def render_papers(judged: Sequence[Judgement], languages: Mapping[str, str], texts: Texts) -> str:
    """Return one page on several papers as HTML. `languages` maps each language to the name of this page's file."""
    by_prefix = {f"{one.paper.name}-": one for one in judged}
    return _page("papers.html", by_prefix, {}, texts, judged_papers=judged, languages=languages)


def _page(
    template: str, judged: Mapping[str, Judgement], more_plots: Mapping[str, Any], texts: Texts, **values: Any
) -> str:
    """Fill a template and embed the libraries that its script starts.

    The keys of `judged` are the prefixes of the element ids in each paper's part.
    """
    shown = {f"{prefix}curves-plot": one.plot for prefix, one in judged.items() if one.plot.choices}
    data = {
        "plots": {**{name: plot.figure for name, plot in shown.items()}, **more_plots},
        "views": {name: plot.views for name, plot in shown.items()},
        "config": _plotly_config(texts),
        "table": _table_words(texts),
    }
    libraries = {"datatables": Path(itables_options.dt_bundle).read_text(encoding="utf-8")}
    if data["plots"]:
        libraries["plotly"] = get_plotlyjs()
    return TEMPLATES.get_template(template).render(
        texts=texts,
        t=lambda key, **fields: texts(f"page.{key}", **fields),
        nonce=nonce("".join(one.seen for one in judged.values())),
        packed={name: packed(content) for name, content in {"data": json.dumps(data), **libraries}.items()},
        **values,
    )


def _table_words(texts: Texts) -> dict[str, Any]:
    nothing, sortable = texts("page.no_matches"), texts("page.sortable")
    return {
        "search": f"{texts('page.search')} ",
        "info": texts("page.matches"),
        "infoEmpty": nothing,
        "infoFiltered": "",
        "zeroRecords": nothing,
        "aria": dict.fromkeys(("orderable", "orderableReverse", "orderableRemove"), sortable),
    }


def _plotly_config(texts: Texts) -> dict[str, Any]:
    words = {
        "Zoom in": "zoom_in",
        "Zoom out": "zoom_out",
        "Reset axes": "reset",
        "Download plot as a PNG": "picture",
    }
    dictionary = {english: texts(f"page.{key}") for english, key in words.items()}
    return {
        "responsive": True,
        "displaylogo": False,
        "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
        "locale": texts.language,
        "locales": {texts.language: {"dictionary": dictionary, "format": {"decimal": ".", "thousands": " "}}},
    }
