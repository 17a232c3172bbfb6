"""Tables that sum runs up: a row a run, a configuration, a level of a factor; and what a paper still lacks."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import pandas as pd

from fmnist_sweep.papers import Paper
from fmnist_sweep.report.judging.looks import look_size
from fmnist_sweep.report.judging.statistics import mean_interval
from fmnist_sweep.report.runs.collection import CONFIGURATION, FACTORS, Collection, recipe
from fmnist_sweep.report.runs.curves import Curves

FINAL = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]
_DESCRIPTION = [*FACTORS, "optimizer_args", "recipe"]


def finals(collection: Collection) -> pd.DataFrame:
    """A row per finished run.

    Columns: run (its name), `FACTORS`, optimizer_args, recipe and seed, the four final metrics `FINAL`,
    best_val_accuracy (over all epochs), gap (final training minus final validation accuracy), seconds (of training).
    """
    metrics = collection.metrics[collection.metrics["status"] == "done"]
    table = metrics.loc[metrics["epoch"] == metrics["training.epochs"], ["run", *_DESCRIPTION, "seed", *FINAL]]
    # Of no runs pandas makes text, where it has pyarrow.
    table["best_val_accuracy"] = table["run"].map(metrics.groupby("run")["val_accuracy"].max()).astype(float)
    table["gap"] = table["train_accuracy"] - table["val_accuracy"]
    table["seconds"] = table["run"].map(collection.runs.set_index("name")["seconds"]).astype(float)
    return table.reset_index(drop=True)


def summary(collection: Collection) -> pd.DataFrame:
    """A row per configuration, over its seeds.

    Columns: `FACTORS`, optimizer_args and recipe; n, the number of finished runs, and unfinished, that of others; then
    mean and sample standard deviation (nan for one run) of `FINAL`, best_val_accuracy and seconds, as `<metric>_mean`
    and `<metric>_sd`.
    """
    runs = collection.runs.sort_values(list(FACTORS), kind="stable")
    finished = (runs["status"] == "done").groupby([runs[key] for key in CONFIGURATION])
    counts = pd.DataFrame({"n": finished.sum(), "unfinished": finished.size() - finished.sum()})
    measures = [*FINAL, "best_val_accuracy", "seconds"]
    groups = finals(collection).groupby(CONFIGURATION)[measures]
    spread = groups.mean().add_suffix("_mean").join(groups.std().add_suffix("_sd"))
    paired = [f"{measure}_{kind}" for measure in measures for kind in ("mean", "sd")]
    table = runs.drop_duplicates(CONFIGURATION)[_DESCRIPTION]
    return table.join(counts, on=CONFIGURATION).join(spread[paired], on=CONFIGURATION).reset_index(drop=True)


def varying(table: pd.DataFrame) -> list[str]:
    """The `FACTORS` in which the rows of a table differ, and always the optimizer."""
    return [factor for factor in FACTORS if factor == "optimizer" or table[factor].nunique() > 1]


def main_effects(runs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """What each level of each factor does to `measure` on average over the levels of all others.

    Columns: factor, level, and the rest as in `interactions`, of which this is the case of one factor.
    """
    columns = ["factor", "level", "combinations", "mean", "low", "high"]
    effects = ((factor, interactions(runs, measure, [factor])) for factor in varying(runs))
    rows = [(factor, *row) for factor, table in effects for row in table.itertuples(index=False)]
    return pd.DataFrame(rows, columns=columns)


def interactions(runs: pd.DataFrame, measure: str, factors: Sequence[str]) -> pd.DataFrame:
    """What each combination of the levels of some factors does to `measure` on average over the levels of all others.

    Only combinations of the others that were run with every one of these and every seed count, so that no level and no
    seed gains from easier company. Levels and seeds that would leave less to compare are left out; the table is empty
    where that leaves a factor without two levels.

    Args:
        runs: as `finals` gives them.
        measure: one of its columns.
        factors: one or more of `FACTORS`.

    Returns:
        Columns `factors`, combinations (of the others), mean, low, high (the 95 % t interval over seeds, nan for one).
    """
    others = [factor for factor in FACTORS if factor not in factors]
    means = runs.dropna(subset=measure).groupby([*others, *factors, "seed"])[[measure]].mean()
    cells = max((_crossed(means, order) for order in permutations(factors)), key=lambda part: part.size)
    by_levels = cells.mean().groupby(list(factors)) if cells.size else ()
    rows = [(*key, len(cells), *mean_interval(by_seed.to_numpy())) for key, by_seed in by_levels]
    return pd.DataFrame(rows, columns=[*factors, "combinations", "mean", "low", "high"])


def _crossed(cells: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """A row for each combination of the other factors, a column for each of these and seed: a part without gaps."""
    for axis, fewest in (*((factor, 2) for factor in factors), ("seed", 1)):
        # No row has a gap, so one column tells for all which levels of the axis were run.
        block = _block(cells.iloc[:, 0].unstack(axis), fewest)
        if block.empty:
            return block
        cells = cells.unstack(axis)
        cells = cells.loc[block.index, cells.columns.get_level_values(axis).isin(block.columns)]
    return cells


def _block(table: pd.DataFrame, fewest: int) -> pd.DataFrame:
    """The largest part without gaps: at least so many columns, the fullest ones, and the rows that have them all."""
    fullest = table.count().sort_values(ascending=False, kind="stable").index
    parts = (table[fullest[:count]].dropna() for count in range(len(fullest), fewest - 1, -1))
    return max(parts, key=lambda part: part.size, default=table.iloc[:0])


def reaching(collection: Collection, accuracy: float) -> pd.DataFrame:
    """When each finished run first reached a validation accuracy; of those that differ only in epochs, the longest.

    Columns: run, `FACTORS`, recipe, seed, epoch and seconds of training (both nan if never reached).
    """
    done = replace(collection, runs=collection.runs[collection.runs["status"] == "done"])
    longest = [curve.run for by_seed in Curves(done).longest().values() for curve in by_seed.values()]
    runs = done.runs[done.runs["name"].isin(longest)].rename(columns={"name": "run"})
    metrics = collection.metrics
    first = metrics[metrics["val_accuracy"] >= accuracy].drop_duplicates("run")[["run", "epoch", "seconds"]]
    return runs[["run", *FACTORS, "recipe", "seed"]].merge(first, on="run", how="left")


def target_accuracy(paper: Paper) -> float | None:
    """The validation accuracy that a paper quotes for the end of its first configuration, if it quotes one."""
    name, config = next(iter(paper.configs.items()))
    epochs = config.training.epochs
    for claim in paper.claims:
        quoted = claim.is_number and claim.expect.tolerance is not None and not claim.unnamed
        if quoted and (claim.of, claim.metric, claim.reduce.epoch(epochs)) == (name, "val_accuracy", epochs):
            return claim.expect.value
    return None


def missing(paper: Paper, curves: Curves) -> pd.DataFrame:
    """A row for each configuration of a paper's figures and claims and each seed that it lacks epochs of.

    It should have the seeds of `seeds_of`, and every further one that was begun: the rest are given where claims are
    open. Columns: figure ("" where only claims need it), configuration (its name), seed, epochs_done.
    """
    seeds = seeds_of(paper, curves) or [0]
    rows = []
    for figure, name in _wanted(paper):
        epochs = paper.configs[name].training.epochs
        serving = curves.serving(recipe(paper.configs[name]), epochs)
        done = {**dict.fromkeys(seeds, 0), **{seed: len(curve.metrics) for seed, curve in serving.items()}}
        rows += [(figure, name, seed, done[seed]) for seed in sorted(done) if done[seed] < epochs]
    return pd.DataFrame(rows, columns=["figure", "configuration", "seed", "epochs_done"])


def seeds_of(paper: Paper, curves: Curves) -> list[int]:
    """Of the seeds with which any configuration of a paper's figures and claims was run, those of the first look."""
    wanted = [paper.configs[name] for _, name in _wanted(paper)]
    seeds = {seed for config in wanted for seed in curves.serving(recipe(config), config.training.epochs)}
    return sorted(seeds)[: look_size(1)]


def _wanted(paper: Paper) -> list[tuple[str, str]]:
    """Figures with the configurations that each shows, then those that claims alone name, under ""."""
    drawn = [(name, row) for name, figure in paper.figures.items() for row in figure.rows]
    rows = {row for _, row in drawn}
    claimed = dict.fromkeys(side for claim in paper.claims for side in claim.sides if side not in rows)
    return [*drawn, *(("", side) for side in claimed)]
