"""Judge a paper's claims from its runs, and give the verdicts as rows of claims.csv, claims.json and the page."""

from typing import Any, NamedTuple

from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.papers.verdicts import Verdict, finite, judge
from fmnist_sweep.report.texts import LANGUAGES, Texts, ranges, sentence
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import Collection


class Results(NamedTuple):
    """A paper, the runs of its protocol, their curves, and a verdict on each claim in the paper's order."""

    paper: Paper
    collection: Collection
    curves: Curves
    verdicts: list[Verdict]


def judged(paper: Paper, collection: Collection) -> Results:
    """Judge each claim of a paper from the runs of its protocol."""
    curves = Curves(collection)
    return Results(paper, collection, curves, judge(paper, curves))


def figure_label(paper: Paper, figure: str, texts: Texts) -> str:
    """Return what the report calls a figure: `Figure 2`, or as the paper prints it, `Table 2`."""
    number = paper.number(figure)
    return number if paper.prints_whole(figure) else texts("page.figure_label", number=number)


def by_figure(results: Results, texts: Texts) -> list[tuple[str, str, list[Verdict]]]:
    """Return name, label and verdicts of each figure, and under an empty name those of statements without a figure."""
    paper, verdicts = results.paper, results.verdicts
    labels = {name: figure_label(paper, name, texts) for name in paper.figures}
    if any(not verdict.claim.figure for verdict in verdicts):
        labels[""] = texts("page.no_figure")
    return [
        (name, label, [verdict for verdict in verdicts if (verdict.claim.figure or "") == name])
        for name, label in labels.items()
    ]


def reason(verdict: Verdict, texts: Texts) -> str:
    """Explain a verdict in a few sentences, and list the seeds that were left out with the cause for each."""
    said = [texts(f"verdicts.{text}", **verdict.values) for text in (verdict.case, *verdict.notes)]
    for cause in dict.fromkeys(cause for _, cause in sorted(verdict.left_out.items())):
        seeds = [seed for seed, why in verdict.left_out.items() if why == cause]
        said.append(texts("verdicts.left out", seeds=ranges(seeds), cause=texts(f"verdicts.{cause}")))
    return " ".join(f"{sentence(words)}." for words in said)


def row(paper: Paper, verdict: Verdict) -> dict[str, Any]:
    """Return a row of claims.csv and claims.json: plain values, with None for NaN and infinities."""
    claim = verdict.claim
    low, high = verdict.interval or (None, None)
    departures = [one.text for one in paper.departures(claim.sides)]
    return {
        "id": claim.id,
        "section": claim.section,
        "figure": paper.place(claim),
        "quote": claim.quote,
        **{f"statement_{language}": text for language, text in claim.statement.items()},
        "kind": claim.kind,
        "expression": claim.expression,
        "expected": str(claim.expect),
        "expected_low": finite(claim.expect.low),
        "expected_high": finite(claim.expect.high),
        "margin": claim.expect.margin,
        "resolution": verdict.resolution,
        **{f"why_{language}": text for language, text in paper.why(claim).items()},
        **{
            f"departs_{language}": " ".join(text[language] for text in departures if language in text)
            for language in sorted({language for one in paper.departs for language in one.text})
        },
        "measured": verdict.measured,
        "interval": verdict.interval and list(verdict.interval),
        "interval_low": low,
        "interval_high": high,
        "seeds": list(verdict.seeds),
        "look": verdict.look,
        "p_value": verdict.p_value,
        "effect_size": verdict.effect_size,
        "verdict": verdict.verdict,
        "seeds_needed": verdict.seeds_needed,
        **{f"reason_{language}": reason(verdict, Texts(language)) for language in LANGUAGES},
    }
