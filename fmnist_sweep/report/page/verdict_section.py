"""The part on a paper that every page has: figures with summaries, all claims, nearest configurations and curves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.papers.single_runs import FEWEST
from fmnist_sweep.papers.verdicts import VERDICTS, Verdict, true_numbers
from fmnist_sweep.report.page import tables
from fmnist_sweep.report.page.curves_section import CurvesPlot, curves_plot
from fmnist_sweep.report.page.embedding import picture
from fmnist_sweep.report.page.tables import Table
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import Collection


class Summary(NamedTuple):
    """The summary of several verdicts: a word or two, its class in the style sheet, and the count of each verdict."""

    head: str
    style: str
    counts: str


class Judged(NamedTuple):
    """A figure of the paper: title, picture as a data URI (None if it was not drawn), and summary of its claims."""

    title: str
    uri: str | None
    verdict: Summary


class Judgement(NamedTuple):
    """The contents of the part on one paper.

    Attributes:
        paper: the paper.
        seen: all text that comes from run directories.
        intro: sentences on the runs and on the count of each verdict.
        figures: the paper's figures, with pictures and summaries.
        others: summary of the claims that belong to no figure; None if there are none.
        counts: the number of claims with each verdict.
        claims: a row for each claim; see `tables.claim_row`.
        looks: the numbers of seeds at which claims were tested, in words; may be empty.
        nearest: see `tables.nearest_tables`.
        plot: the interactive curves.
    """

    paper: Paper
    seen: str
    intro: list[str]
    figures: list[Judged]
    others: Summary | None
    counts: list[tuple[str, int]]
    claims: list[dict[str, Any]]
    looks: str
    nearest: list[tuple[str, str, Table]]
    plot: CurvesPlot


def judgement(
    paper: Paper,
    collection: Collection,
    curves: Curves,
    verdicts: Sequence[Verdict],
    drawn: Mapping[str, Mapping[str, bytes]],
    texts: Texts,
) -> Judgement:
    """Describe a paper's verdicts for a page. `drawn` holds the files of all figures drawn, by name and extension."""
    names = tables.named(paper, texts)
    figures = [
        Judged(
            texts("page.numbered", number=paper.number(name), title=figure.title[texts.language]),
            picture(drawn[name]["png"]) if name in drawn else None,
            _summary([verdict for verdict in verdicts if verdict.claim.figure == name], texts),
        )
        for name, figure in paper.figures.items()
    ]
    others = [verdict for verdict in verdicts if not verdict.claim.figure]
    return Judgement(
        paper,
        collection.runs.to_csv() + collection.problems.to_csv(),
        _intro(collection, verdicts, texts),
        figures,
        _summary(others, texts) if others else None,
        _counts(verdicts),
        [tables.claim_row(paper, verdict, names, texts) for verdict in verdicts],
        tables.look_sizes(max((verdict.look or 0 for verdict in verdicts), default=0)),
        tables.nearest_tables(paper, verdicts, collection, curves, names, texts),
        curves_plot(paper, collection, curves, texts),
    )


def _intro(collection: Collection, verdicts: Sequence[Verdict], texts: Texts) -> list[str]:
    done = int((collection.runs["status"] == "done").sum())
    said = [texts("page.intro", runs=len(collection.runs), done=done)]
    if collection.others:
        said.append(texts("page.intro_others", n=collection.others))
    if verdicts:
        said.append(texts("page.intro_counts", claims=len(verdicts), counts=_counted(verdicts, texts)))
    numbers = true_numbers(verdicts)
    if numbers.judged:
        said.append(texts("page.intro_numbers", **{**numbers._asdict(), "expected": f"{numbers.expected:.1f}"}))
    few = sum(verdict.case == "few" for verdict in verdicts)
    if few:
        said.append(texts("page.intro_few", n=few, fewest=FEWEST))
    return said


def _counts(verdicts: Sequence[Verdict]) -> list[tuple[str, int]]:
    found = Counter(verdict.verdict for verdict in verdicts)
    return [(name, found[name]) for name in VERDICTS]


def _counted(verdicts: Sequence[Verdict], texts: Texts) -> str:
    return ", ".join(
        texts("page.intro_count", n=n, verdict=texts(f"page.{name}")) for name, n in _counts(verdicts) if n
    )


def _summary(verdicts: Sequence[Verdict], texts: Texts) -> Summary:
    held, refuted = (sum(one.verdict == name for one in verdicts) for name in ("reproduced", "not reproduced"))
    if held and held == len(verdicts):
        head, style = "holds", "reproduced"
    elif held:
        head, style = ("holds_partly", "inconclusive") if refuted else ("holds_so_far", "reproduced")
    else:
        head, style = ("holds_not", "not-reproduced") if refuted else ("undecided", "not-run")
    counted = texts("page.counted", n=len(verdicts), counts=_counted(verdicts, texts))
    return Summary(texts(f"page.{head}"), style, counted if verdicts else texts("page.nothing_stated"))
