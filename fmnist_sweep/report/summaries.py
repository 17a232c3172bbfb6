"""Summary tables of runs, with a row per run, configuration or training, and the epochs that a paper still lacks."""

import pandas as pd

from fmnist_sweep.papers.looks import look_size
from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.store import summary as by_configuration
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import Collection, factors, recipe

FINAL = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]


def finals(collection: Collection) -> pd.DataFrame:
    """Return a row per finished run.

    Columns: run (its name), `tables.factors`, recipe, seed, the four final metrics `FINAL`, best_val_accuracy (over all
    epochs), gap (final training minus final validation accuracy), seconds (of training).
    """
    metrics = collection.metrics[collection.metrics["status"] == "done"]
    columns = ["run", *factors(metrics), "recipe", "seed", *FINAL]
    table = metrics.loc[metrics["epoch"] == metrics["epochs"], columns]
    # Without runs, pandas with pyarrow would make this a text column.
    table["best_val_accuracy"] = table["run"].map(metrics.groupby("run")["val_accuracy"].max()).astype(float)
    table["gap"] = table["train_accuracy"] - table["val_accuracy"]
    table["seconds"] = table["run"].map(collection.runs.set_index("name")["seconds"]).astype(float)
    return table.reset_index(drop=True)


def summary(collection: Collection, paper: Paper | None) -> pd.DataFrame:
    """Return `store.summary` with all factors and the recipe, and first each configuration's name in the paper's file.

    The name is "" for configurations of none. Without a paper there is no column of names.
    """
    table = by_configuration.summary(collection, [*factors(collection.runs), "recipe"])
    if paper is None:
        return table
    names: dict[tuple[str, int], list[str]] = {}
    for name, config in paper.configs.items():
        names.setdefault((recipe(config), config.training.epochs), []).append(name)
    rows = zip(table["recipe"], table["epochs"], strict=True)
    table.insert(0, "configuration", [", ".join(names.get(row, [])) for row in rows])
    return table


def reaching(collection: Collection, accuracy: float) -> pd.DataFrame:
    """Find the epoch in which each training first reached a validation accuracy.

    Finished runs that differ only in epochs are one training, and only the longest of them is used.

    Returns:
        A row per recipe and seed. Columns: `tables.factors`, where epochs is that of the longest run, recipe, seed and
        reached_epoch (nan if never reached).
    """
    training = ["recipe", "seed"]
    metrics = collection.metrics[collection.metrics["status"] == "done"]
    longest = metrics.groupby(training)["epochs"].transform("max")
    metrics = metrics[metrics["epochs"] == longest]
    first = metrics[metrics["val_accuracy"] >= accuracy].groupby(training)["epoch"].min().rename("reached_epoch")
    table = metrics.drop_duplicates(training)[[*factors(metrics), "recipe", "seed"]]
    return table.join(first, on=training).reset_index(drop=True)


def target_accuracy(paper: Paper) -> float | None:
    """Return the validation accuracy that a paper quotes for the end of its first configuration, or None."""
    name, config = next(iter(paper.configs.items()))
    epochs = config.training.epochs
    for claim in paper.claims:
        quoted = claim.is_number and claim.expect.tolerance is not None and not claim.unnamed
        if quoted and (claim.of, claim.metric, claim.reduce.epoch(epochs)) == (name, "val_accuracy", epochs):
            return claim.expect.value
    return None


def missing(paper: Paper, curves: Curves) -> pd.DataFrame:
    """Return a row for each configuration of a paper's figures and claims and each seed for which epochs are missing.

    A configuration needs the seeds of `seeds_of` and every further seed that was begun. It needs no others, because
    only open claims are given more. Columns: figure ("" if only claims need the configuration), configuration (its
    name), seed, epochs_done.
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
    """Return the lowest seeds, as many as the first look takes, with which the paper's configurations were run.

    Only the configurations of its figures and claims count.
    """
    wanted = [paper.configs[name] for _, name in _wanted(paper)]
    seeds = {seed for config in wanted for seed in curves.serving(recipe(config), config.training.epochs)}
    return sorted(seeds)[: look_size(1)]


def _wanted(paper: Paper) -> list[tuple[str, str]]:
    """List each figure with each configuration that it shows, then "" with each configuration that only claims name."""
    drawn = [(name, row) for name, figure in paper.figures.items() for row in figure.rows]
    rows = {row for _, row in drawn}
    claimed = dict.fromkeys(side for claim in paper.claims for side in claim.sides if side not in rows)
    return [*drawn, *(("", side) for side in claimed)]
