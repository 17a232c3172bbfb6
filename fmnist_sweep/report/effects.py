"""Effects of the factors of a grid: means over the combinations of all other factors, each with equal weight."""

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fmnist_sweep.papers.statistics import balanced_interval
from fmnist_sweep.report.summaries import varying
from fmnist_sweep.store.tables import FACTORS

MEASURES = ("val_accuracy", "val_loss")

_NUMBERS = {
    **{"measure": "str", "mean": "float64", "low": "float64", "high": "float64"},
    **dict.fromkeys(["combinations", "seeds", "most_seeds"], "int64"),
}


def main_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Average each level of each factor over combinations of all other factors.

    The mean uses only the combinations that were run with every compared level. Each combination counts once, however
    many seeds it has. If no combination was run with all levels, the block with the most levels is used, and among
    equals the one with the most combinations.

    Args:
        runs: as `summaries.finals` returns them.

    Returns:
        A row per factor, level and measure of `MEASURES`. Columns: factor, level, measure; mean, low and high (the 95 %
        interval of `statistics.balanced_interval`); combinations (0, with a mean of nan, if the level cannot be
        compared with the others); seeds and most_seeds (the fewest and the most seeds of a combination).
    """
    rows = [(factor, *row) for factor in varying(runs) for row in _effects(runs, [factor])]
    return _table(rows, ["factor", "level"])


def interaction_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Average each combination of two factors' levels over combinations of all other factors, as `main_effects` does.

    Returns:
        A row per pair of factors that were crossed, their levels and the measure. Columns: factor, level, other_factor,
        other_level, and the rest as in `main_effects`.
    """
    rows = [
        (first, one, second, other, *row)
        for first, second in combinations(varying(runs), 2)
        for one, other, *row in _effects(runs, [first, second])
    ]
    table = _table(rows, ["factor", "level", "other_factor", "other_level"])
    crossed = table.groupby(["factor", "other_factor"])["combinations"].transform("max") > 0
    return table[crossed].reset_index(drop=True)


def _table(rows: list[tuple[Any, ...]], levels: list[str]) -> pd.DataFrame:
    # Start with objects: a column holds levels of several factors, and pandas would turn 100 into 100.0.
    return pd.DataFrame(rows, columns=[*levels, *_NUMBERS], dtype="object").astype(_NUMBERS)


class _Block(NamedTuple):
    """Levels of some factors, and a row for each combination of the others that was run with all these levels."""

    levels: dict[str, frozenset[Any]]
    combinations: pd.DataFrame


def _effects(runs: pd.DataFrame, factors: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the levels, then `_NUMBERS`, for each measure and each combination of levels of `factors` that was run."""
    others = [factor for factor in FACTORS if factor not in factors]
    runs = runs[np.isfinite(runs[list(MEASURES)]).all(axis=1)]
    blocks = [block for order in permutations(factors) for block in _blocks(runs, others, order)]
    block = min(blocks, key=_preference, default=None)
    for key, cells in runs.groupby(list(factors)):
        if block is None or any(level not in block.levels[f] for f, level in zip(factors, key, strict=True)):
            yield from ((*key, measure, np.nan, np.nan, np.nan, 0, 0, 0) for measure in MEASURES)
            continue
        table = cells.merge(block.combinations, on=others).pivot(index=others, columns="seed", values=list(MEASURES))
        for measure in MEASURES:
            values = table[measure]
            seeds = values.count(axis=1)
            yield (*key, measure, *balanced_interval(values.to_numpy()), len(values), seeds.min(), seeds.max())


def _blocks(runs: pd.DataFrame, others: list[str], factors: Sequence[str]) -> Iterator[_Block]:
    """Yield the blocks that have no gaps and at least two levels of each factor.

    A block's levels of the last factor are all levels that were run with one combination of everything else.
    """
    *outer, last = factors
    run = runs.groupby([*others, *outer])[last].agg(frozenset)
    for levels in set(run):
        if len(levels) > 1:
            rows = run.index[run.map(levels.issubset)].to_frame(index=False)
            inner = _blocks(rows, others, outer) if outer else [_Block({}, rows)]
            yield from (_Block({**block.levels, last: levels}, block.combinations) for block in inner)


def _preference(block: _Block) -> tuple[Any, ...]:
    """Return a sort key that puts the best block first.

    Most levels come first, so that no level is dropped to gain combinations. Then come most combinations, then the
    first by name.
    """
    size = np.prod([len(levels) for levels in block.levels.values()])
    return -size, -len(block.combinations), sorted((factor, sorted(levels)) for factor, levels in block.levels.items())
