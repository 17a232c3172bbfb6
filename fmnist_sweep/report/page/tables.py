"""The page's tables: the texts that a reader sees, and the values that sort them."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from fmnist_sweep.errors import one_line
from fmnist_sweep.papers.claims import Claim
from fmnist_sweep.papers.nearest import nearest_configuration, quoted
from fmnist_sweep.papers.paper import Departure, Paper
from fmnist_sweep.papers.verdicts import Verdict
from fmnist_sweep.report.claims import Results, figure_label, reason
from fmnist_sweep.report.summaries import missing
from fmnist_sweep.report.texts import Texts, ranges, sentence
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.layout import RecordError, read_record
from fmnist_sweep.store.tables import Collection, varying

NOTHING = "\N{EN DASH}"

SYMBOLS: dict[str, str] = {"reproduced": "✓", "not reproduced": "✗", "open": "?", "not run": NOTHING}
_NEAREST = 5
_LISTED = 200  # the most rows that are shown of one kind of problem, and of environments
_LAST = ["val_accuracy", "val_loss", "train_accuracy", "train_loss"]
_ENVIRONMENT = ("python", "torch", "cpu", "device", "threads", "platform", "git_commit")

_Named = dict[str, str]  # from a configuration's name to its description in words


class Cell(NamedTuple):
    """A cell: its text, its sort key (None means the text), and its class in the style sheet."""

    text: str
    order: float | str | None = None
    style: str = ""


class Table(NamedTuple):
    """Headings, and rows with one cell for each heading."""

    headings: list[str]
    rows: list[list[Cell]]


def named(paper: Paper, texts: Texts) -> _Named:
    """Give each of the paper's configurations by name, as `adam-500 (Adam, batch 500)`."""
    return {name: f"{name} ({', '.join(phrases.values())})" for name, phrases in texts.phrases(paper.configs).items()}


def style(verdict: str) -> str:
    """Return the class of a verdict in the style sheet."""
    return verdict.replace(" ", "-")


def figure_title(paper: Paper, figure: str, title: str, texts: Texts) -> str:
    """Return a title after the figure's label: `Figure 2. ...`."""
    return f"{figure_label(paper, figure, texts)}. {title}"


def departures(paper: Paper, sides: Iterable[str], texts: Texts) -> list[str]:
    """Return in words where the file departs from the paper for some configurations."""
    return [_departure(departure, texts) for departure in paper.departures(sides)]


def _departure(departure: Departure, texts: Texts) -> str:
    text = departure.text[texts.language]
    return f"{', '.join(departure.of)}: {text}" if departure.of else text


def claim_row(paper: Paper, verdict: Verdict, names: _Named, texts: Texts) -> dict[str, Any]:
    """Return a claim as the page's template needs it. `details` holds pairs of a term and its explanation."""
    claim = verdict.claim
    details = [
        ("reason", reason(verdict, texts)),
        ("expression", sentence(_quantity(claim, names, texts))),
        ("tolerance", paper.why(claim)[texts.language]),
    ]
    if verdict.resolution and (why := paper.resolution_why(claim)):
        details.append(("resolution", f"{verdict.resolution:g}. {why[texts.language]}"))
    if verdict.seeds:
        details.append(("seeds", f"{len(verdict.seeds)} ({ranges(verdict.seeds)})"))
    # What concerns every run is said once, at the top of the page.
    departs = [_departure(one, texts) for one in paper.departures(claim.sides) if one.of]
    if departs:
        details.append(("departs_short", " ".join(departs)))
    interval = verdict.interval or (math.nan, math.nan)
    mean, low, high = (_number(value, interval) for value in (verdict.measured, *interval))
    return {
        "id": claim.id,
        "section": claim.section,
        "place": paper.place(claim),
        "quote": claim.quote,
        "statement": claim.statement[texts.language],
        "expected": _signed(str(claim.expect)),
        "measured": mean,
        "interval": f"[{low}, {high}]" if verdict.interval else "",
        "verdict": texts(f"page.{verdict.verdict}"),
        "symbol": SYMBOLS[verdict.verdict],
        "style": style(verdict.verdict),
        "departs": bool(departs),
        "details": [(texts(f"page.{term}"), meaning) for term, meaning in details],
    }


def nearest_tables(results: Results, names: _Named, texts: Texts) -> list[tuple[str, str, Table]]:
    """Tabulate the configurations nearest to the paper's numbers, wherever at least one number does not reproduce.

    Returns:
        A title, a sentence and a table for each figure and configuration that such numbers belong to. The first row
        holds the quoted numbers and the others the nearest configurations. The paper's own configuration has a style of
        its own.
    """
    paper, collection, curves, verdicts = results
    failed = {verdict.claim.id for verdict in verdicts if verdict.verdict == "not reproduced"}
    wanted = [claims for claims in quoted(paper).values() if any(claim.id in failed for claim in claims)]
    found = ((claims, nearest_configuration(claims, paper, collection, curves)) for claims in wanted)
    factors = varying(collection.runs)
    return [_nearest(paper, claims, table, factors, names, texts) for claims, table in found if not table.empty]


def run_table(collection: Collection, texts: Texts) -> Table:
    """Build the table of runs."""
    runs = collection.runs
    optimizer, *factors = varying(runs)
    ends = collection.metrics.drop_duplicates("run", keep="last").set_index("run")[[*_LAST, "seconds"]]
    tested = ["test_accuracy"] if runs["test_accuracy"].notna().any() else []
    rows = []
    for run, last in zip(runs.to_dict("records"), ends.reindex(runs["name"]).to_dict("records"), strict=True):
        status = texts(f"page.{run['status']}")
        if run["epochs_done"] < run["epochs"]:
            status += f" ({run['epochs_done']}/{run['epochs']})"
        cells = [Cell(run["name"], style="name"), Cell(run[optimizer], style="free")]
        levels = [NOTHING if pd.isna(run[factor]) else run[factor] for factor in factors]
        cells += [Cell(f"{level}", level, "free" if isinstance(level, str) else "") for level in levels]
        cells += [Cell(f"{run['seed']}", run["seed"]), Cell(status)]
        cells += [*(measure_cell(last[key]) for key in _LAST), *(measure_cell(run[key]) for key in tested)]
        rows.append([*cells, measure_cell(last["seconds"], 0)])
    headings = [texts.factor(factor) for factor in (optimizer, *factors)]
    measures = [texts(f"page.column_{measure}") for measure in (*_LAST, *tested, "seconds")]
    return Table([texts("page.run"), *headings, texts("page.seed"), texts("page.status"), *measures], rows)


def missing_lines(paper: Paper, curves: Curves, names: _Named, texts: Texts) -> list[str]:
    """List the runs that the paper's figures and claims lack, in a line for each figure and configuration."""
    lines = []
    for (figure, name), rows in missing(paper, curves).groupby(["figure", "configuration"], sort=False):
        title = names[name]
        only = texts("page.missing_claims", title=title)
        parts = [figure_title(paper, figure, title, texts) if figure else only]
        none = rows.loc[rows["epochs_done"] == 0, "seed"].tolist()
        if none:
            parts.append(texts("page.missing_seeds", seeds=ranges(none)))
        for seed, done in rows.loc[rows["epochs_done"] > 0, ["seed", "epochs_done"]].itertuples(index=False):
            epochs = paper.configs[name].training.epochs
            parts.append(texts("page.missing_partly", seed=seed, done=done, epochs=epochs))
        lines.append("; ".join(parts))
    return lines


def problem_table(collection: Collection, texts: Texts) -> tuple[Table, list[str]]:
    """Build the table of directories with problems, and a line for each kind with more than `_LISTED` of them.

    The messages are those that the command prints, except that a run's progress is in the page's language.
    """
    runs = collection.runs.set_index("name")
    rows, more = [], []
    for kind, problems in collection.problems.groupby("kind"):
        kind_name = texts(f"page.{kind}")
        for name, message in problems[["name", "message"]].head(_LISTED).itertuples(index=False):
            if name in runs.index:
                done, epochs = runs.loc[name, ["epochs_done", "epochs"]]
                english, own = (t("figures.unfinished", done=done, epochs=epochs) for t in (Texts("en"), texts))
                message = message.replace(english, own, 1)
            rows.append([Cell(kind_name), Cell(name, style="name"), Cell(message, style="free")])
        if len(problems) > _LISTED:
            more.append(texts("page.problems_more", n=len(problems) - _LISTED, kind=kind_name))
    return Table([texts(f"page.{heading}") for heading in ("problems_kind", "run", "problems_message")], rows), more


def environment_table(collection: Collection, texts: Texts) -> Table:
    """Build the table of the environments that trained the runs: a row for each, with its number of runs."""
    counts: Counter[tuple[str, ...]] = Counter()
    for path in filter(None, collection.runs["path"]):  # runs of a published table have no directory
        with suppress(RecordError):  # another process may change the file during the read
            recorded = read_record(Path(path)).environment
            told = [recorded.get(key) for key in _ENVIRONMENT]
            if any(told):
                counts[tuple(NOTHING if value is None else one_line(str(value)) for value in told)] += 1
    headings = [texts(f"page.environment_{key}") for key in (*_ENVIRONMENT, "runs")]
    rows = [
        [*(Cell(value, style="free") for value in environment), Cell(f"{count}")]
        for environment, count in counts.most_common(_LISTED)
    ]
    return Table(headings, rows)


def _nearest(
    paper: Paper, claims: list[Claim], table: pd.DataFrame, factors: list[str], names: _Named, texts: Texts
) -> tuple[str, str, Table]:
    own, figure = names[claims[0].of], claims[0].figure
    found = [texts.configuration(row, factors) for row in table.to_dict("records")]
    place = next(iter(table.index[table["own"]]), None)
    numbers = [_signed(f"{claim.expect.value:g}") for claim in claims]
    rows = [_styled("quoted", [NOTHING, texts("page.paper"), NOTHING, NOTHING, *numbers])]
    for one in sorted({*range(min(_NEAREST, len(table))), *([] if place is None else [place])}):
        row = table.iloc[one]
        name = found[one] + (f" ({texts('page.papers_own')})" if one == place else "")
        measured = [_signed(f"{row[claim.id]:.3f}") for claim in claims]
        said = [f"{one + 1}", name, f"{row['seeds']}", f"{row['distance']:.2f}", *measured]
        rows.append(_styled("own" if one == place else "", said))
    key = "nearest_not_run" if place is None else "nearest_other" if place else "nearest_own"
    values = {"distance": f"{table['distance'][0]:.2f}", "nearest": found[0]}
    if place:
        values |= {"rank": f"{place + 1}", "own": f"{table['distance'][place]:.2f}"}
    title = figure_title(paper, figure, own, texts) if figure else own
    measures = [f"{texts.metric(claim.metric)}, {texts.reduction(claim.reduce)}" for claim in claims]
    headings = [texts(f"page.{heading}") for heading in ("rank", "configuration", "seeds", "distance")]
    return title, texts(f"page.{key}", **values), Table([*headings, *map(sentence, measures)], rows)


def _styled(row: str, cells: Sequence[str]) -> list[Cell]:
    return [Cell(text, style=f"{row} {'free' if place == 1 else 'number'}") for place, text in enumerate(cells)]


def _quantity(claim: Claim, names: _Named, texts: Texts) -> str:
    """Describe in words the quantity that is computed for a claim."""
    reduce, metric = texts.reduction(claim.reduce), texts.metric(claim.metric)
    whole = texts("page.quantity", reduce=reduce, metric=metric, of=names[claim.of])
    return whole + (texts("page.minus", than=names[claim.than]) if claim.than else "")


def _number(value: float | None, interval: tuple[float, float]) -> str:
    """Format a number with the decimals that give two significant digits of its interval's half-width."""
    if value is None or math.isnan(value):
        return NOTHING
    half = (interval[1] - interval[0]) / 2
    if not half > 0:
        return _signed(f"{value:.4g}")
    decimals = min(6, max(1, 1 - math.floor(math.log10(half))))
    return _signed(f"{value:.{decimals}f}")


def _signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def measure_cell(value: float, decimals: int = 4) -> Cell:
    """Return a number with some decimals as a cell; nan is a dash, which sorts last."""
    if math.isnan(value):
        return Cell(NOTHING, "")
    return Cell(f"{value:.{decimals}f}" if math.isfinite(value) else "∞", min(value, 1e300))
