"""The rows of the page's tables: texts as a reader sees them, and the numbers to sort them by."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fmnist_sweep.report import labels
from fmnist_sweep.report.claims import VERDICTS, Claim, Verdict, nearest_configuration, quoted_groups
from fmnist_sweep.report.collect import Collection
from fmnist_sweep.report.labels import Language
from fmnist_sweep.report.page_texts import words
from fmnist_sweep.report.paper import missing, seeds_of
from fmnist_sweep.report.reductions import Reduction
from fmnist_sweep.report.run_files import ENVIRONMENT, read_environment
from fmnist_sweep.report.selection import Selection
from fmnist_sweep.report.tables import varying

NOTHING = "\N{EN DASH}"
FACTORS = ("optimizer", "batch_size", "dropout", "epochs")

_SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "?", "not run": NOTHING}
_NEAREST = 5
_LISTED = 200  # problems of a kind
_LAST = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")


@dataclass(frozen=True)
class Cell:
    """A cell: its text, what it sorts by (its text, if None), and its class in the style sheet."""

    text: str
    order: float | str | None = None
    style: str = ""


@dataclass(frozen=True)
class ClaimRow:
    """A claim as a reader sees it; `details` are pairs of a term and what it is."""

    id: str
    section: str
    figure: str
    quote: str
    statement: str
    expected: Cell
    measured: Cell
    interval: str
    seeds: Cell
    verdict: str
    symbol: str
    style: str
    rank: int
    details: list[tuple[str, str]]


@dataclass(frozen=True)
class NearestTable:
    """The configurations nearest to one figure's quoted numbers: a first row of those, then theirs."""

    title: str
    sentence: str
    columns: list[str]
    rows: list[tuple[list[str], bool]]


def claim_row(verdict: Verdict, language: Language) -> ClaimRow:
    """A row of the table of claims."""
    claim = verdict.claim
    details = [
        (words("reason", language), verdict.reason[language]),
        (words("tolerance", language), claim.why[language]),
        (words("expression", language), quantity(claim, language)),
    ]
    if verdict.p_value is not None:
        details.append((words("p_value", language), f"{verdict.p_value:.2g}"))
    if verdict.effect_size is not None:
        details.append((words("effect_size", language), _signed(f"{verdict.effect_size:.2f}")))
    interval = verdict.interval or (math.nan, math.nan)
    mean, low, high = (_number(value, interval) for value in (verdict.measured, *interval))
    return ClaimRow(
        id=claim.id,
        section=claim.section,
        figure=claim.figure or NOTHING,
        quote=claim.quote,
        statement=claim.statement[language],
        expected=Cell(_signed(verdict.expected), claim.expect.value),
        measured=Cell(mean, verdict.measured),
        interval=f"[{low}, {high}]" if verdict.interval else "",
        seeds=Cell(_seeds(verdict.seeds), len(verdict.seeds)),
        verdict=words(verdict_key(verdict.verdict), language),
        symbol=_SYMBOLS[verdict.verdict],
        style=verdict.verdict.replace(" ", "-"),
        rank=VERDICTS.index(verdict.verdict),
        details=details,
    )


def verdict_key(verdict: str) -> str:
    """The key of a verdict's texts."""
    return verdict.replace(" ", "_")


def quantity(claim: Claim, language: Language) -> str:
    """What is computed for a claim, in words."""
    reduce, metric = reduction(claim.reduce, language), words(claim.metric, language)
    whole = words("quantity", language, reduce=reduce, metric=metric, of=configuration(claim.of, language))
    return whole + (words("minus", language, than=configuration(claim.than, language)) if claim.than else "")


def reduction(reduce: Reduction, language: Language) -> str:
    """A reduction in words, as `mean of the last 5 epochs`."""
    values = dict(reduce.parameters)
    window = {name: values.pop(key) for name, key in (("first", "from"), ("last", "to")) if key in values}
    key = "_".join(["window", *(name for name, word in (("from", "first"), ("to", "last")) if word in window)])
    values["window"] = words(key, language, **window) if window else ""
    return words(f"reduce_{reduce.name}", language, **values)


def configuration(selection: Selection | Mapping[str, Any], language: Language) -> str:
    """A configuration in words: the paper's four factors, and of the others those that are not the paper's."""
    values = selection if isinstance(selection, Mapping) else vars(selection)
    usual = vars(Selection("", 0, 0, 0))
    unusual = [factor for factor in usual if factor not in FACTORS and values[factor] != usual[factor]]
    return labels.configuration(values, [*FACTORS, *unusual], language)


def nearest_tables(verdicts: Sequence[Verdict], metrics: pd.DataFrame, language: Language) -> list[NearestTable]:
    """A table for each figure's quoted numbers of which at least one does not reproduce."""
    failed = {verdict.id for verdict in verdicts if verdict.verdict == "not reproduced"}
    groups = quoted_groups([verdict.claim for verdict in verdicts]).values()
    wanted = [group for group in groups if any(claim.id in failed for claim in group)]
    found = [(group, nearest_configuration(group, metrics)) for group in wanted]
    return [_nearest_table(group, table, language) for group, table in found if not table.empty]


def _nearest_table(group: list[Claim], table: pd.DataFrame, language: Language) -> NearestTable:
    own = group[0].of
    shown = table[[*vars(own)]].to_dict("records")
    names = [configuration(row, language) for row in shown]
    place = next((place for place, row in enumerate(shown) if row == vars(own)), None)
    numbers = [f"{claim.expect.value:g}" for claim in group]
    rows = [([NOTHING, words("paper", language), NOTHING, NOTHING, *numbers], False)]
    places = [*range(min(_NEAREST, len(table)))]
    if place is not None and place >= _NEAREST:
        places.append(place)
    for one in places:
        row = table.iloc[one]
        name = names[one] + (f" ({words('papers_own', language)})" if one == place else "")
        measured = [f"{row[claim.id]:.3f}" for claim in group]
        rows.append(([f"{one + 1}", name, f"{row['seeds']}", f"{row['distance']:.2f}", *measured], one == place))
    values: dict[str, str] = {"distance": f"{table['distance'].iloc[0]:.2f}", "nearest": names[0]}
    key = "nearest_not_run" if place is None else "nearest_own" if place == 0 else "nearest_other"
    if place:
        values |= {"rank": f"{place + 1}", "own": f"{table['distance'].iloc[place]:.2f}"}
    title = words(
        "figure_of", language, figure=group[0].figure.rstrip("abcd"), configuration=configuration(own, language)
    )
    headings = [words(key, language) for key in ("rank", "configuration", "seeds", "distance")]
    quoted = [f"{words(claim.metric, language)}, {reduction(claim.reduce, language)}" for claim in group]
    return NearestTable(title, words(key, language, **values), [*headings, *map(labels.sentence, quoted)], rows)


def run_table(collection: Collection, language: Language) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows of the table of runs."""
    runs = collection.runs
    factors = [*FACTORS, *(factor for factor in varying(runs) if factor not in FACTORS)]
    last = (
        collection.metrics.drop_duplicates("run", keep="last")
        .set_index("run")[[*_LAST, "seconds"]]
        .reindex(runs["name"])
    )
    tested = bool(runs["test_accuracy"].notna().any())
    measures = [*_LAST, *(["test_accuracy"] if tested else []), "seconds"]
    keys = ["run", *factors, "seed", "status", *(f"column_{measure}" for measure in measures)]
    rows = []
    for run, metrics in zip(runs.to_dict("records"), last.to_numpy(), strict=True):
        done, epochs = run["epochs_done"], run["epochs"]
        cells = [Cell(run["name"], style="name")]
        cells.append(Cell(labels.level("optimizer", run["optimizer"], language), run["optimizer"], "free"))
        cells += [Cell(f"{run[factor]}", run[factor]) for factor in factors[1:]]
        status = words(run["status"], language)
        if done < epochs:
            status += f" ({done}/{epochs})"
        cells += [Cell(f"{run['seed']}", run["seed"]), Cell(status)]
        cells += [_measure(value) for value in metrics[:-1]]
        if tested:
            cells.append(_measure(run["test_accuracy"]))
        cells.append(_measure(metrics[-1], 0))
        rows.append(cells)
    return [labels.sentence(words(key, language)) for key in keys], rows


def missing_lines(collection: Collection, language: Language) -> list[str]:
    """What the paper's figures lack: a line for each figure and configuration."""
    lines = []
    absent = missing(collection, seeds_of(collection) or [0])
    for (figure, *_), rows in absent.groupby(["figure", *vars(Selection("", 0, 0, 0))], sort=False):
        values = rows.iloc[0]
        parts = [words("numbered", language, number=figure[-1], title=configuration(values.to_dict(), language))]
        none = rows.loc[rows["epochs_done"] == 0, "seed"].tolist()
        if none:
            parts.append(words("missing_seeds", language, seeds=_ranges(none)))
        for seed, done in rows.loc[rows["epochs_done"] > 0, ["seed", "epochs_done"]].itertuples(index=False):
            parts.append(words("missing_partly", language, seed=seed, done=done, epochs=values["epochs"]))
        lines.append("; ".join(parts))
    return lines


def problem_rows(collection: Collection, language: Language) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Rows (kind, name, message) for directories with problems, and what is said of those beyond `_LISTED`.

    Messages are those that the command prints; how far a run got is said in the page's language.
    """
    runs = collection.runs.set_index("name")[["epochs_done", "epochs"]].to_dict("index")
    rows, more = [], []
    for kind, problems in collection.problems.groupby("kind"):
        kind_name = words(str(kind), language)
        for name, message in problems[["name", "message"]].head(_LISTED).itertuples(index=False):
            if name in runs:
                english, own = (
                    words("progress", one, done=runs[name]["epochs_done"], epochs=runs[name]["epochs"])
                    for one in ("en", language)
                )
                message = message.replace(english, own, 1)
            rows.append((kind_name, name, message))
        if len(problems) > _LISTED:
            more.append(words("problems_more", language, n=len(problems) - _LISTED, kind=kind_name))
    return rows, more


def environment_table(collection: Collection, language: Language) -> tuple[list[str], list[list[str]]]:
    """On what the runs were trained: headings, and a row for each distinct environment with its runs."""
    counts = Counter(
        tuple(environment.get(key, NOTHING) for key in ENVIRONMENT)
        for environment in (read_environment(Path(path)) for path in collection.runs["path"])
        if environment
    )
    own = {key: key.capitalize() for key in ("python", "torch")}
    headings = [own.get(key) or words(f"environment_{key}", language) for key in ENVIRONMENT]
    rows = [[*environment, f"{count}"] for environment, count in counts.most_common(_LISTED)]
    return [*headings, words("environment_runs", language)], rows


def _ranges(numbers: Sequence[int]) -> str:
    """As `0-4, 7`, with the dash of ranges."""
    dash = "\N{EN DASH}"
    return ", ".join(f"{low}" if low == high else f"{low}{dash}{high}" for low, high in _runs_of(sorted(numbers)))


def _runs_of(numbers: list[int]) -> Iterator[tuple[int, int]]:
    first = None
    for number, following in zip(numbers, [*numbers[1:], None], strict=True):
        first = number if first is None else first
        if following != number + 1:
            yield first, number
            first = None


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} ({_ranges(seeds)})" if seeds else "0"


def _number(value: float | None, interval: tuple[float, float]) -> str:
    """A number with as many digits as its interval is worth: two of the half-width's."""
    if value is None or math.isnan(value):
        return NOTHING
    half = (interval[1] - interval[0]) / 2
    if not half > 0:
        return _signed(f"{value:.4g}")
    decimals = min(6, max(1, 1 - math.floor(math.log10(half))))
    return _signed(f"{value:.{decimals}f}")


def _signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _measure(value: float, decimals: int = 4) -> Cell:
    if math.isnan(value):
        return Cell(NOTHING, "")
    return Cell(f"{value:.{decimals}f}" if math.isfinite(value) else "∞", min(value, 1e300))
