"""The section on a sweep itself: its best configuration, what was varied, and all configurations, the best first."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from fmnist_sweep.report.figures.style import shared
from fmnist_sweep.report.page.render import Section
from fmnist_sweep.report.page.tables import NOTHING, Cell, Table, measure_cell
from fmnist_sweep.report.texts import OPTIMIZER, Texts, inner, ranges, sentence
from fmnist_sweep.store.summary import summary
from fmnist_sweep.store.tables import Collection, differing, ordered, varying
from fmnist_sweep.sweeps.leaderboard import mean_and_sd, text_of

_SHOWN = 10  # configurations; the others are folded
_MOST_LEVELS = 12  # of a key that are listed
_MOST_KEYS = 4  # that the title names
_MEASURES = ("val_accuracy", "val_loss", "train_accuracy")


def title(collection: Collection, texts: Texts) -> str:
    """Return the page's title, which names what was varied."""
    keys = [inner(texts.factor(key)) for key in differing(collection.runs)]
    if not keys:
        return texts("page.sweep_title_one")
    more = [texts("figures.and_more", n=len(keys) - _MOST_KEYS)] if len(keys) > _MOST_KEYS else []
    return texts("page.sweep_title", keys=", ".join([*keys[:_MOST_KEYS], *more]))


def headline(collection: Collection, texts: Texts) -> str:
    """Say in a sentence which configuration is best, and what it reached."""
    keys = varying(collection.runs)
    best = summary(collection, keys).iloc[0]
    if not best["n"]:
        return texts("page.comparisons_none")
    values = {
        "configuration": texts.configuration(best, keys),
        "accuracy": mean_and_sd(best["val_accuracy"], best["val_accuracy_sd"]),
        "seeds": texts("figures.seed" if best["n"] == 1 else "figures.seeds", n=best["n"]),
    }
    return sentence(texts("page.sweep_best" if differing(collection.runs) else "page.sweep_only", **values))


def sweep_section(collection: Collection, texts: Texts) -> Section:
    """Show the best configuration, what was varied, and a row for each configuration, the best first."""
    runs = collection.runs
    done = int((runs["status"] == "done").sum())
    counted = texts("page.runs_done" if done == len(runs) else "page.runs_some", runs=len(runs), done=done)
    headings, rows = _configurations(collection, texts)
    values = {
        "headline": headline(collection, texts),
        "notes": [counted, shared(runs, texts)],
        "varied": [(texts.factor(key), key, _levels(runs[key], texts)) for key in differing(runs)],
        "seeds": ranges(runs["seed"].unique()),
        "best": Table(headings, rows[:_SHOWN]),
        "others": Table(headings, rows[_SHOWN:]),
    }
    return Section("sweep", values, [("sweep", texts("page.answer"))])


def _levels(column: pd.Series, texts: Texts) -> str:
    """List the levels of a key; of many, only the first and the last."""
    levels = [text_of(level) for level in ordered(column.dropna())]
    if len(levels) <= _MOST_LEVELS:
        return ", ".join(levels)
    return texts("page.sweep_levels", n=len(levels), first=levels[0], last=levels[-1])


def _configurations(collection: Collection, texts: Texts) -> Table:
    """Build the table of configurations. Those without a finished run come last and have no place."""
    keys = differing(collection.runs) or [OPTIMIZER]
    found = summary(collection, keys)
    measures = [*_MEASURES, *(["test_accuracy"] if "test_accuracy" in found else [])]
    rows = []
    for place, row in enumerate(found.to_dict("records"), 1):
        cells = [Cell(f"{place}" if row["n"] else NOTHING, place)]
        for level in (row[key] for key in keys):
            words = text_of(level)  # empty if the optimizer has no such argument
            cells.append(Cell(words or NOTHING, words, "free" if isinstance(level, str) else ""))
        cells.append(Cell(", ".join(_counts(row, texts)), row["n"], "free"))
        for measure in measures:
            mean = row[measure]
            cells.append(measure_cell(mean)._replace(text=mean_and_sd(mean, row[f"{measure}_sd"]) or NOTHING))
        cells += [measure_cell(row["best_epoch"], 1), measure_cell(row["seconds"], 0)]
        is_best = place == 1 and row["n"] and len(found) > 1
        rows.append([cell._replace(style=f"own {cell.style}") for cell in cells] if is_best else cells)
    columns = [texts(f"page.column_{name}") for name in (*measures, "best_epoch", "seconds")]
    return Table([texts("page.rank"), *map(texts.factor, keys), texts("page.seeds"), *columns], rows)


def _counts(row: Mapping[str, Any], texts: Texts) -> Iterator[str]:
    """Yield how many runs are finished, and how many of each other kind there are."""
    yield f"{row['n']}"
    for kind in ("unfinished", "failed", "diverged"):
        if row[kind]:
            yield f"{texts(f'page.{kind}')}: {row[kind]}"
