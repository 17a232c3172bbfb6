"""The part on a paper that every page has: figures with summaries, all claims, nearest configurations and curves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_sweep.papers.single_runs import FEWEST
from fmnist_sweep.papers.verdicts import VERDICTS, Verdict, true_numbers
from fmnist_sweep.report.claims import Results
from fmnist_sweep.report.page import tables
from fmnist_sweep.report.page.curves_section import curves_plot
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.tables import Collection


def judgement(results: Results, drawn: Mapping[str, bytes], texts: Texts) -> dict[str, Any]:
    """Return what the templates show of the results. `drawn` holds the PNG of each figure by its name."""
    paper, collection, _, verdicts = results
    names = tables.named(paper, texts)
    figures = []
    for name, figure in paper.figures.items():
        title = tables.figure_title(paper, name, figure.title[texts.language], texts)
        own = [f"{', '.join(one.of)}: {one.text[texts.language]}" for one in paper.departures(figure.rows) if one.of]
        summary = _summary([verdict for verdict in verdicts if verdict.claim.figure == name], texts)
        rows = texts("page.figure_rows", names=", ".join(figure.rows))
        figures.append({"title": title, "png": drawn.get(name), "summary": summary, "rows": rows, "departs": own})
    others = [verdict for verdict in verdicts if not verdict.claim.figure]
    return {
        "paper": paper,
        "seen": collection.runs.to_csv() + collection.problems.to_csv(),  # all text that comes from run directories
        "intro": _intro(collection, verdicts, texts),
        "departs": tables.departures(paper, paper.configurations, texts),
        "figures": figures,
        "others": _summary(others, texts) if others else None,
        "counts": _counts(verdicts),
        "claims": [tables.claim_row(paper, verdict, names, texts) for verdict in verdicts],
        "looks": tables.look_sizes(max((verdict.look or 0 for verdict in verdicts), default=0)),
        "nearest": tables.nearest_tables(results, names, texts),
        "plot": curves_plot(results, texts),
    }


def _intro(collection: Collection, verdicts: Sequence[Verdict], texts: Texts) -> list[str]:
    """Say in sentences how many runs there are, and how many claims have each verdict."""
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


def _summary(verdicts: Sequence[Verdict], texts: Texts) -> dict[str, str]:
    """Sum up some verdicts: a word or two, its class in the style sheet, and the count of each verdict."""
    held, refuted = (sum(one.verdict == name for one in verdicts) for name in ("reproduced", "not reproduced"))
    if held and held == len(verdicts):
        head, style = "holds", "reproduced"
    elif held:
        head, style = ("holds_partly", "open") if refuted else ("holds_so_far", "reproduced")
    else:
        head, style = ("holds_not", "not-reproduced") if refuted else ("undecided", "not-run")
    counted = texts("page.counted", n=len(verdicts), counts=_counted(verdicts, texts))
    return {
        "head": texts(f"page.{head}"),
        "style": style,
        "counts": counted if verdicts else texts("page.nothing_stated"),
    }
