"""The pages: the report on a paper or a sweep, the published page on a paper, and the front page of papers."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from fmnist_sweep.report.claims import Results
from fmnist_sweep.report.comparisons import overlay_name
from fmnist_sweep.report.page import tables
from fmnist_sweep.report.page.confusion_section import Examples, confusions_section
from fmnist_sweep.report.page.curves_section import curves_section
from fmnist_sweep.report.page.pictures import Picture
from fmnist_sweep.report.page.render import Link, Section, page
from fmnist_sweep.report.page.search_section import searches_section
from fmnist_sweep.report.page.sweep_section import sweep_section, title
from fmnist_sweep.report.page.verdict_section import answer, counted, missing_section, paper_sections
from fmnist_sweep.report.search_history import Search
from fmnist_sweep.report.texts import Texts, inner
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.summary import summary
from fmnist_sweep.store.tables import Collection, differing, factors, recipe


def report(
    results: Results, searches: Sequence[Search], pictures: Mapping[str, Picture], shown: Examples, texts: Texts
) -> str:
    """Return the report as HTML. `pictures` holds each figure that could be drawn by its name."""
    paper, collection = results.paper, results.collection
    sections = [
        *paper_sections(results, pictures, texts),
        curves_section(collection, results.curves, texts, map(recipe, paper.configs.values())),
        *([searches_section(searches, texts)] if searches else []),
        comparisons_section(
            {name: one for name, one in pictures.items() if name not in paper.figures}, collection, texts
        ),
        confusions_section(shown, collection, texts),
        missing_section(results, texts),
        runs_section(collection, texts),
        reading_section(texts),
    ]
    return page(texts("page.title", paper=paper.byline), sections, texts)


def sweep_report(
    collection: Collection,
    curves: Curves,
    searches: Sequence[Search],
    pictures: Mapping[str, Picture],
    shown: Examples,
    texts: Texts,
) -> str:
    """Return the report on a sweep itself as HTML: that on a paper without what needs one. A search comes first."""
    best = summary(collection, ["recipe"])["recipe"]
    sections = [
        *([searches_section(searches, texts)] if searches else []),
        sweep_section(collection, texts),
        curves_section(collection, curves, texts, best),
        comparisons_section(pictures, collection, texts),
        confusions_section(shown, collection, texts),
        runs_section(collection, texts),
        reading_section(texts, papers=False),
    ]
    return page(title(collection, texts), sections, texts)


def paper_page(results: Results, pictures: Mapping[str, Picture], links: Sequence[Link], texts: Texts) -> str:
    """Return the published page on one paper as HTML: the report without what only its author needs."""
    sections = [*paper_sections(results, pictures, texts), reading_section(texts)]
    return page(texts("page.title", paper=results.paper.byline), sections, texts, links)


def front_page(every: Sequence[tuple[Results, Mapping[str, Picture], str]], links: Sequence[Link], texts: Texts) -> str:
    """Return the front page on several papers as HTML. `every` holds for each its results, pictures and page."""
    answers = [(answer(results, texts), address) for results, _, address in every]
    whole = {
        "counts": counted([verdict for results, _, _ in every for verdict in results.verdicts], texts),
        "bars": [
            {"anchor": one["paper"].name, "name": one["paper"].byline, "counts": one["counts"]}
            | {"n": len(results.verdicts)}
            for (results, _, _), (one, _) in zip(every, answers, strict=True)
        ],
    }
    sections = [Section("papers", whole, [])]
    for (results, pictures, _), (one, address) in zip(every, answers, strict=True):
        first = next((name for name in results.paper.figures if name in pictures), None)
        headed = first and tables.figure_title(
            results.paper, first, results.paper.figures[first].title[texts.language], texts
        )
        of_first = counted([verdict for verdict in results.verdicts if verdict.claim.figure == first], texts)
        values = one | {"address": address, "picture": first and pictures[first], "title": headed, "first": of_first}
        sections.append(Section("paper", values, [(one["paper"].name, one["paper"].byline)]))
    return page(texts("page.front_title"), sections, texts, links)


def comparisons_section(pictures: Mapping[str, Picture], collection: Collection, texts: Texts) -> Section:
    """Show the figures that compare the runs of a store, and say why some cannot be drawn."""
    runs = collection.runs
    curves = {overlay_name(key): texts("page.curves_by", by=inner(texts.factor(key))) for key in factors(runs)}
    titled = [(curves.get(name) or texts(f"page.{name}"), one) for name, one in pictures.items()]
    values = {"pictures": titled, "absent": [texts(f"page.{key}") for key in _absent(pictures, runs)]}
    return Section("comparisons", values, [("comparisons", texts("page.comparisons"))])


def _absent(pictures: Mapping[str, Picture], runs: pd.DataFrame) -> Iterator[str]:
    """Yield the reasons, as keys of texts, for which there are no figures, effects or interactions."""
    varied = len(differing(runs[runs["status"] == "done"]))
    if not pictures:
        yield "comparisons_none"
    elif not varied:
        yield "effects_none"
    elif "main-effects" not in pictures:
        yield "effects_unbalanced"
    elif varied > 1 and "interaction-effects" not in pictures:
        yield "interactions_uncrossed"


def runs_section(collection: Collection, texts: Texts) -> Section:
    """List all runs, directories with problems, and the machines."""
    problems, more = tables.problem_table(collection, texts)
    values = {
        "runs": tables.run_table(collection, texts),
        "problems": problems,
        "more_problems": more,
        "environment": tables.environment_table(collection, texts),
    }
    return Section("runs", values, [("runs", texts("page.runs")), ("problems", texts("page.problems"))])


def reading_section(texts: Texts, *, papers: bool = True) -> Section:
    """Define the terms of the page; without `papers` only those that a sweep needs too."""
    definitions = [entry for entry in texts.definitions if papers or not entry.get("papers")]
    return Section("reading", {"definitions": definitions}, [("reading", texts("page.reading"))])
