"""The sections on a paper: the answer with findings, figures with all statements, and nearest configurations."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, islice, zip_longest
from typing import Any

from fmnist_sweep.papers.single_runs import FEWEST
from fmnist_sweep.papers.verdicts import VERDICTS, Verdict, true_numbers
from fmnist_sweep.report.claims import Results, by_figure
from fmnist_sweep.report.page import tables
from fmnist_sweep.report.page.pictures import Picture
from fmnist_sweep.report.page.render import Section
from fmnist_sweep.report.summaries import seeds_of
from fmnist_sweep.report.texts import Texts

_FINDINGS = 3
_WORST_FIRST = ("not reproduced", "open", "reproduced", "not run")


def answer(results: Results, texts: Texts) -> dict[str, Any]:
    """Return what the top of the page shows: the count of each verdict, a bar for each figure, and findings."""
    paper, verdicts = results.paper, results.verdicts
    return {
        "paper": paper,
        "counts": counted(verdicts, texts),
        "bars": [
            {"anchor": f"figure-{name or 'none'}", "name": label, "counts": counted(own, texts), "n": len(own)}
            for name, label, own in by_figure(results, texts)
            if own
        ],
        "findings": [
            {"symbol": tables.SYMBOLS[verdict], "style": tables.style(verdict), "words": texts(f"page.{verdict}")}
            | {"text": text, "claim": claim}
            for verdict, text, claim in _findings(results, texts)
        ],
        "notes": _notes(results, texts),
        "departs": tables.departures(paper, paper.configurations, texts),
    }


def paper_sections(results: Results, pictures: Mapping[str, Picture], texts: Texts) -> list[Section]:
    """Return the sections on a paper. `pictures` holds each figure that could be drawn by its name."""
    paper = results.paper
    names = tables.named(paper, texts)
    figures = []
    for name, label, verdicts in by_figure(results, texts):
        drawn = paper.figures.get(name)
        own = paper.departures(drawn.rows) if drawn else []
        worst_first = sorted(verdicts, key=lambda verdict: _WORST_FIRST.index(verdict.verdict))
        figures.append(
            {
                "anchor": f"figure-{name or 'none'}",
                "title": tables.figure_title(paper, name, drawn.title[texts.language], texts) if drawn else label,
                "is_drawn": drawn is not None,
                "picture": pictures.get(name),
                "departs": [f"{', '.join(one.of)}: {one.text[texts.language]}" for one in own if one.of],
                "counts": counted(verdicts, texts),
                "claims": [tables.claim_row(paper, verdict, names, texts) for verdict in worst_first],
            }
        )
    values = {"figures": figures, "paper": paper, "counts": counted(results.verdicts, texts)}
    labels = [(f"figure-{name or 'none'}", label) for name, label, _ in by_figure(results, texts)]
    sections = [
        Section("answer", answer(results, texts), [("answer", texts("page.answer"))]),
        Section("figures", values, labels),
    ]
    if nearest := tables.nearest_tables(results, names, texts):
        sections.append(Section("nearest", {"tables": nearest}, [("nearest", texts("page.nearest"))]))
    return sections


def missing_section(results: Results, texts: Texts) -> Section:
    """List the runs that the paper's figures and statements lack."""
    paper, _, curves, _ = results
    lines = tables.missing_lines(paper, curves, tables.named(paper, texts), texts)
    seeds = ", ".join(map(str, seeds_of(paper, curves) or [0]))
    return Section("missing", {"lines": lines, "seeds": seeds}, [("missing", texts("page.missing"))])


def counted(verdicts: Iterable[Verdict], texts: Texts) -> list[dict[str, Any]]:
    """Return name, number, words, symbol and style of each verdict that occurs."""
    found = Counter(verdict.verdict for verdict in verdicts)
    return [
        {
            "n": found[name],
            "words": texts(f"page.{name}" if found[name] == 1 else f"page.{name} many"),
            "symbol": tables.SYMBOLS[name],
            "style": tables.style(name),
        }
        for name in VERDICTS
        if found[name]
    ]


def _findings(results: Results, texts: Texts) -> list[tuple[str, str, str]]:
    """Return verdict, sentence and claim of three findings.

    These are the paper's own findings whose verdicts hold. Statements complete them: one that is reproduced and one
    that is not in turn, those about several runs first.
    """
    by_claim = {verdict.claim.id: verdict for verdict in results.verdicts}
    found = [
        (finding.verdict, finding.text[texts.language], finding.claims[0])
        for finding in results.paper.findings
        if all(by_claim[claim].verdict == finding.verdict for claim in finding.claims)
    ]
    said = {claim for finding in results.paper.findings for claim in finding.claims}
    others = sorted((one for one in results.verdicts if one.claim.id not in said), key=lambda one: one.look is None)
    decided = ([one for one in others if one.verdict == name] for name in ("reproduced", "not reproduced"))
    in_turn = filter(None, chain.from_iterable(zip_longest(*decided)))
    rest = ((one.verdict, one.claim.statement[texts.language], one.claim.id) for one in in_turn)
    return list(islice(chain(found, rest), _FINDINGS))


def _notes(results: Results, texts: Texts) -> list[str]:
    """Say in sentences how many runs there are, and how many numbers chance alone would reproduce."""
    runs, verdicts = results.collection.runs, results.verdicts
    done = int((runs["status"] == "done").sum())
    said = [texts("page.runs_done" if done == len(runs) else "page.runs_some", runs=len(runs), done=done)]
    if results.collection.others:
        said.append(texts("page.runs_others", n=results.collection.others))
    numbers = true_numbers(verdicts)
    if numbers.judged:
        said.append(texts("page.true_numbers", **{**numbers._asdict(), "expected": f"{numbers.expected:.1f}"}))
    few = sum(verdict.case == "few" for verdict in verdicts)
    if few:
        said.append(texts("page.few_seeds", n=few, fewest=FEWEST))
    return said
