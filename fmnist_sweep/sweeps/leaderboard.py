"""Show what configurations reached, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fmnist_sweep.console import print_table

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20  # rows at the end of a sweep
_MEASURES = ("val_loss", "val_accuracy")
_HUGE = 1000  # a loss with too many digits for four decimals
_KINDS = ("failed", "diverged", "unfinished")


def print_leaderboard(to: Console, summary: pd.DataFrame, most: int | None = None) -> None:
    """Print a row per configuration: the keys that vary, the number of runs, and mean ± sd over seeds of `_MEASURES`.

    Args:
        to: where to print.
        summary: a table as `store.summary.summary` returns it, the best configuration first.
        most: how many rows to print; None for all.
    """
    keys = list(summary.columns[: list(summary.columns).index("n")])
    rows = [_cells(place, row, keys) for place, row in enumerate(summary.to_dict("records"), 1)]
    print_table(to, ["", *keys, "runs", *_MEASURES], rows[:most])


def _cells(place: int, row: dict[str, Any], keys: list[str]) -> list[str]:
    rank = ("best" if place == 1 else str(place)) if row["n"] else ""
    runs = ", ".join([*([str(row["n"])] if row["n"] else []), *_others(row)])
    values = (mean_and_sd(row[measure], row[f"{measure}_sd"]) for measure in _MEASURES)
    return [rank, *(text_of(row[key]) for key in keys), runs, *values]


def _others(row: dict[str, Any]) -> Iterator[str]:
    return (f"{row[kind]} {kind}" for kind in _KINDS if row[kind])


def mean_and_sd(mean: float, sd: float) -> str:
    """Format a mean and a standard deviation; only the mean if there is no deviation, and nothing if both are nan."""
    if math.isnan(mean):
        return ""
    return _short(mean) if math.isnan(sd) else f"{_short(mean)} ± {_short(sd)}"


def _short(value: float) -> str:
    """Format a measure with four decimals; a loss that grew huge, with four digits."""
    return f"{value:.4f}" if value < _HUGE else f"{value:.4g}"


def text_of(value: Any) -> str:
    """Format the value of a key. A key that a configuration does not have is empty."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
