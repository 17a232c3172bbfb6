"""Tables about finished runs: one row a run, one row a configuration."""

import pandas as pd

from fmnist_sweep.report.collect import CONFIGURATION, Collection
from fmnist_sweep.report.statistics import mean_interval

FINAL = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]


def finals(collection: Collection) -> pd.DataFrame:
    """A row per finished run.

    Columns: run (its name), those of `CONFIGURATION` and seed, the four final metrics `FINAL`,
        best_val_accuracy (over all epochs),
    gap (final training minus final validation accuracy) and seconds (of training).
    """
    metrics = collection.metrics[collection.metrics["status"] == "done"]
    last = metrics[metrics["epoch"] == metrics["epochs"]]
    best = metrics.groupby("run", as_index=False).agg(best_val_accuracy=("val_accuracy", "max"))
    table = last[["run", *CONFIGURATION, "seed", *FINAL]].merge(best, on="run", how="left")
    table["gap"] = table["train_accuracy"] - table["val_accuracy"]
    seconds = collection.runs[["name", "seconds"]].rename(columns={"name": "run"})
    return table.merge(seconds, on="run", how="left")


def summary(collection: Collection) -> pd.DataFrame:
    """A row per configuration, over its seeds.

    Columns: those of `CONFIGURATION`; n, the number of finished runs, and unfinished, that of others; then
        mean and
    sample standard deviation (nan for one run) of `FINAL`, best_val_accuracy and seconds, as `<metric>_mean`
    and `<metric>_sd`.
    """
    counts = collection.runs.assign(n=collection.runs["status"] == "done")
    table = counts.groupby(CONFIGURATION, as_index=False).agg(n=("n", "sum"), runs=("n", "size"))
    table["unfinished"] = table.pop("runs") - table["n"]
    measures = [*FINAL, "best_val_accuracy", "seconds"]
    groups = finals(collection).groupby(CONFIGURATION)[measures]
    spread = groups.mean().add_suffix("_mean").join(groups.std().add_suffix("_sd"))
    paired = [f"{measure}_{kind}" for measure in measures for kind in ("mean", "sd")]
    return table.merge(spread[paired].reset_index(), on=CONFIGURATION, how="left")


def varying(table: pd.DataFrame) -> list[str]:
    """The columns of `CONFIGURATION` in which the rows of a table differ, and always the optimizer."""
    factors = [column for column in CONFIGURATION if column != "optimizer_args"]
    return [factor for factor in factors if factor == "optimizer" or table[factor].nunique() > 1]


def intervals(runs: pd.DataFrame, measure: str, by: list[str]) -> pd.DataFrame:
    """Mean of `measure` and its 95 % t interval over the rows of `runs` that agree in the columns `by`.

    Columns: `by`, mean, low, high (nan for one row).
    """
    groups = runs.dropna(subset=measure).groupby(by, sort=False)[measure]
    values = [(*key, *mean_interval(group.to_numpy())) for key, group in groups]
    return pd.DataFrame(values, columns=[*by, "mean", "low", "high"])


def main_effects(runs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """What each level of each factor does to `measure` on average over the levels of all others.

    Only combinations of the others that were run with every level of the factor and every seed count, so that no
    level and no seed gains from easier company. Left out are levels and seeds that were run in at most half as many
    combinations as the commonest one, and factors without two levels to compare.

    Args:
        runs: as `finals` gives them.
        measure: one of its columns.

    Returns:
        A row per factor and level: factor, level, combinations (that count), mean, low, high (the 95 % t
        interval over seeds, nan for one seed).
    """
    rows = []
    factors = varying(runs)
    for factor in (factor for factor in factors if runs[factor].nunique() > 1):
        cells = _balanced(runs, measure, factor, [other for other in factors if other != factor])
        if cells.empty or cells.shape[1] < 2:
            continue
        by_seed = cells.groupby("seed").mean()
        combinations = len(cells) // len(by_seed)
        for level, values in by_seed.items():
            rows.append((factor, level, combinations, *mean_interval(values.to_numpy())))
    return pd.DataFrame(rows, columns=["factor", "level", "combinations", "mean", "low", "high"])


def _balanced(runs: pd.DataFrame, measure: str, factor: str, others: list[str]) -> pd.DataFrame:
    """`measure` by levels of `factor` (columns) and by combinations of `others` and seed (rows), no cell empty."""
    cells = runs.pivot_table(index=[*others, "seed"], columns=factor, values=measure)
    counts = cells.count()
    cells = cells.loc[:, counts > counts.max() / 2].dropna()
    by_seed = cells.groupby("seed").size()
    seeds = by_seed.index[by_seed > by_seed.max() / 2]
    cells = cells[cells.index.get_level_values("seed").isin(seeds)]
    if not others:
        return cells
    return cells[cells.groupby(others)[cells.columns[0]].transform("size") == len(seeds)]


def reaching(collection: Collection, accuracy: float) -> pd.DataFrame:
    """When each run first reached a validation accuracy.

    Of finished runs that differ only in epochs the longest stands for all.

    Returns:
        A row per run: run, the columns `CONFIGURATION` and seed, epoch and seconds of training (both nan if
        never reached).
    """
    metrics = collection.metrics[collection.metrics["status"] == "done"]
    same = [*(column for column in CONFIGURATION if column != "epochs"), "seed"]
    runs = metrics[["run", *CONFIGURATION, "seed"]].drop_duplicates("run")
    longest = runs.sort_values("epochs", ascending=False).drop_duplicates(same)
    first = metrics[metrics["val_accuracy"] >= accuracy].drop_duplicates("run")[["run", "epoch", "seconds"]]
    return longest.sort_values(["run"]).merge(first, on="run", how="left")
