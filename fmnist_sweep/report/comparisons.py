"""The numbers behind each comparison figure. The figure is drawn from them, and the report also writes them as CSV."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.papers.statistics import balanced_interval, mean_interval
from fmnist_sweep.report.summaries import finals, reaching, target_accuracy
from fmnist_sweep.store.curves import Curves, spread
from fmnist_sweep.store.tables import CONFIGURATION, FACTORS, Collection, differing, factors, recipe, varying

MEASURES = ("val_accuracy", "val_loss")

# For each figure of curves of a paper: the factor with a curve for each level, and the one with a column for each.
OVERLAYS: dict[str, tuple[str, str | None]] = {
    "curves-by-optimizer": ("optimizer", "batch_size"),
    "curves-by-batch-size": ("batch_size", "optimizer"),
    "curves-by-dropout": ("dropout", "optimizer"),
}

MOST_COLUMNS = 3  # of panels in a figure of curves

# The columns of a table of effects that hold numbers, and their types.
_NUMBERS = {
    **{"measure": "str", "mean": "float64", "low": "float64", "high": "float64"},
    **dict.fromkeys(["combinations", "seeds", "most_seeds"], "int64"),
}


def overlays(paper: Paper | None, runs: pd.DataFrame) -> dict[str, tuple[str, str | None]]:
    """Return `OVERLAYS`, or without a paper a figure for each key that was varied, by its name.

    Without a paper, the columns of panels are the first other key with few levels, or there is only one column.
    """
    if paper:
        return OVERLAYS
    keys = [key for key in differing(runs) if key != "epochs"]
    few = [key for key in keys if runs[key].nunique() <= MOST_COLUMNS]
    return {overlay_name(by): (by, next((key for key in few if _crosses(by, key)), None)) for by in keys}


def _crosses(by: str, across: str) -> bool:
    """Return whether each level of `across` is a panel with curves by `by`; optimizers differ in their arguments."""
    return across != by and not (by == "optimizer" and across.startswith("optimizer."))


def overlay_name(key: str) -> str:
    """Return the name of the figure with curves by a key."""
    return f"curves-by-{re.sub(r'[._]', '-', key)}"


def comparison_tables(paper: Paper | None, collection: Collection, curves: Curves) -> dict[str, pd.DataFrame]:
    """Make a table for each comparison that the finished runs of a store allow.

    Names have a hyphen, which the names of a paper's figures cannot have. Tables curves-by-* have the columns of
    `overlay`. Tables final-values, generalisation-gap and convergence-speed have the columns of `ranking`.
    convergence-speed also has accuracy (the target: the one that the paper quotes, or without a paper the median of all
    configurations, rounded down to a percent) and epochs (of the longest training). main-effects and
    interaction-effects have the columns of `main_effects` and `interaction_effects`.
    """
    runs = finals(collection)
    if runs.empty:
        return {}
    final = ranking(runs, CONFIGURATION, ["val_accuracy", "val_loss"], ascending=False)
    base = _base(paper, collection.runs, curves) if paper else _best(final)
    tables = {
        name: overlay(collection.runs, curves, *keys, base) for name, keys in overlays(paper, collection.runs).items()
    }
    tables["final-values"] = final
    tables["generalisation-gap"] = ranking(runs, CONFIGURATION, ["gap"], ascending=True)
    accuracy = target_accuracy(paper) if paper else _median_accuracy(final)
    if accuracy is not None:
        reached = reaching(collection, accuracy)
        table = ranking(reached, ["recipe"], ["reached_epoch"], ascending=True)
        longest = table["recipe"].map(reached.groupby("recipe")["epochs"].max())
        tables["convergence-speed"] = table.assign(accuracy=accuracy, epochs=longest)
    tables["main-effects"] = main_effects(runs)
    tables["interaction-effects"] = interaction_effects(runs)
    return {name: table for name, table in tables.items() if len(table)}


def _median_accuracy(final: pd.DataFrame) -> float:
    median = final.loc[final["measure"] == "val_accuracy", "mean"].median()
    return float(np.floor(100 * median) / 100)


def ranking(runs: pd.DataFrame, key: list[str], measures: Sequence[str], *, ascending: bool) -> pd.DataFrame:
    """Order configurations by the mean of the first measure over their seeds.

    A configuration has no mean if any of its seeds lacks a value, because the mean of the others would be biased: seeds
    that reach an accuracy fast have a value, slow ones have none. Such configurations come last, the smallest share of
    lacking seeds first.

    Args:
        runs: a row per run, with seed, `measures` (nan where a run has none), and the columns that describe it.
        key: the columns that tell configurations apart.

    Returns:
        A row per configuration and measure. Columns: the describing ones, measure, mean, low, high (the 95 % t interval
        over seeds, nan for one), seeds (with a value), lacking (seeds without), values (a list, by ascending seed).
    """
    described = [column for column in (*factors(runs), "recipe") if column in runs]
    sign = 1 if ascending else -1
    groups = [seeds for _, seeds in runs.sort_values("seed").groupby(key)]
    groups.sort(key=lambda seeds: (seeds[measures[0]].isna().mean(), sign * seeds[measures[0]].mean(skipna=False)))
    rows = []
    for seeds in groups:
        for measure in measures:
            values = seeds[measure].dropna().to_numpy(float)
            mean, low, high = mean_interval(values) if len(values) == len(seeds) else (np.nan,) * 3
            told = {"measure": measure, "mean": mean, "low": low, "high": high, "seeds": len(values)}
            more = {"lacking": len(seeds) - len(values), "values": values.tolist()}
            rows.append(seeds[described].head(1).to_dict("records")[0] | told | more)
    return pd.DataFrame(rows)


def overlay(runs: pd.DataFrame, curves: Curves, by: str, across: str | None, base: pd.DataFrame) -> pd.DataFrame:
    """Take the curves of the levels of factor `by` at each level of factor `across`, if any.

    All other factors in `base` are as there. An optimizer with other arguments is another level of the optimizer. A
    level of `across` is left out if it has fewer than two levels of `by` to compare.

    Args:
        runs: `Collection.runs`.
        curves: their curves.
        by, across: factors.
        base: a row of levels for each optimizer, by its name; they agree in epochs.

    Returns:
        A row per configuration, measure and epoch. Columns: `tables.factors`, recipe, measure, epoch, and those of
        `curves.bands`.
    """
    described, optimizer = factors(runs), [factor for factor in varying(runs) if factor.startswith("optimizer")]
    held = [factor for factor in base if factor not in (by, across, "epochs")]
    wanted = base.reindex(runs["optimizer"])[held].set_index(runs.index)
    match = runs[((runs[held] == wanted) | (runs[held].isna() & wanted.isna())).all(axis=1)].dropna(subset=by)
    epochs = int(base["epochs"].iloc[0])
    drawn = []
    panels = [factor for factor in optimizer if factor != by] if across == "optimizer" else [across]
    alike = match.drop_duplicates("recipe")
    for _, levels in alike.groupby(panels, dropna=False) if across else [((), alike)]:
        found = [(row, curves.drawn(row["recipe"], epochs)) for row in levels.to_dict("records")]
        compared = [(row, by_seed) for row, by_seed in found if by_seed]
        if len(compared) > 1:
            drawn += compared
    tables = [
        spread(by_seed, measure).assign(
            **{factor: row[factor] for factor in described} | {"epochs": epochs},
            recipe=row["recipe"],
            measure=measure,
        )
        for row, by_seed in drawn
        for measure in MEASURES
    ]
    columns = [*described, "recipe", "measure", "epoch", "mean", "low", "high", "seeds"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _base(paper: Paper, runs: pd.DataFrame, curves: Curves) -> pd.DataFrame:
    """Return for each optimizer the level of each of `FACTORS` in the paper's first configuration.

    If that configuration was not run, return the most common level of each factor.
    """
    config = next(iter(paper.configs.values()))
    levels = {factor: runs[factor].mode()[0] for factor in FACTORS}
    if curves.serving(recipe(config), config.training.epochs):
        own = runs[runs["recipe"] == recipe(config)].iloc[0]
        levels = {factor: own[factor] for factor in FACTORS} | {"epochs": config.training.epochs}
    return pd.DataFrame(levels, index=runs["optimizer"].unique())


def _best(final: pd.DataFrame) -> pd.DataFrame:
    """Return for each optimizer the varied arguments of its best configuration, and all else as in the best of all.

    `final` is a table of `ranking`, the best configuration first.
    """
    keys = list(dict.fromkeys([*varying(final), "epochs"]))
    others = [key for key in keys if not key.startswith("optimizer.")]
    best = final.drop_duplicates("optimizer").set_index("optimizer", drop=False)
    return best[keys].assign(**final.iloc[0][others])


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
    rows = [(factor, *row) for factor in differing(runs) for row in _effects(runs, [factor])]
    return _table(rows, ["factor", "level"])


def interaction_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Average each combination of two factors' levels over combinations of all other factors, as `main_effects` does.

    Returns:
        A row per pair of factors that were crossed, their levels and the measure. Columns: factor, level, other_factor,
        other_level, and the rest as in `main_effects`.
    """
    rows = [
        (first, one, second, other, *row)
        for first, second in combinations(differing(runs), 2)
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


def _effects(runs: pd.DataFrame, compared: list[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the levels, then `_NUMBERS`, for each measure and each combination of the `compared` factors' levels."""
    others = [factor for factor in dict.fromkeys([*FACTORS, *varying(runs)]) if factor not in compared]
    runs = runs[np.isfinite(runs[list(MEASURES)]).all(axis=1)].dropna(subset=compared)
    blocks = [block for order in permutations(compared) for block in _blocks(runs, others, order)]
    block = min(blocks, key=_preference, default=None)
    for key, cells in runs.groupby(compared):
        if block is None or any(level not in block.levels[f] for f, level in zip(compared, key, strict=True)):
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
    run = runs.groupby([*others, *outer], dropna=False)[last].agg(frozenset)
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
