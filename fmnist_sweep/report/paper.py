"""The paper's five figures: which runs they show, and the numbers that the text quotes from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from fmnist_sweep.report.collect import Collection

Measure = Literal["loss", "accuracy"]


@dataclass(frozen=True)
class Configuration:
    """One configuration, seeds aside; the defaults are the paper's base model with Adam."""

    optimizer: str = "adam"
    batch_size: int = 100
    dropout: float = 0.2
    epochs: int = 30
    hidden: str = "128-64"
    validation: str = "test"
    pixel_mean: float = 0.5
    pixel_std: float = 0.5


@dataclass(frozen=True)
class Quote:
    """A number that the paper's text reads off one of its figures.

    `curve` is `either` where the text does not say which curve it means; `above` marks a lower bound
    ("superiores a").
    """

    measure: Measure
    curve: Literal["train", "val", "either"]
    epoch: int
    value: float
    above: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a figure: loss on the left, accuracy on the right, of one configuration."""

    configuration: Configuration
    quotes: tuple[Quote, ...] = ()


# Sections III A to C of the paper. A value given without an epoch stands for the end of training.
FIGURES: dict[str, tuple[Row, ...]] = {
    "fig1": (
        Row(
            Configuration("adam"),
            (
                Quote("loss", "train", 1, 0.475),
                Quote("loss", "train", 30, 0.35),
                Quote("loss", "val", 1, 0.52),
                Quote("loss", "val", 30, 0.475),
                Quote("accuracy", "train", 1, 0.83),
                Quote("accuracy", "train", 30, 0.87),
                Quote("accuracy", "val", 30, 0.84),
            ),
        ),
        Row(
            Configuration("sgd"),
            (
                Quote("loss", "train", 30, 0.3),
                Quote("loss", "val", 30, 0.35),
                Quote("accuracy", "train", 1, 0.75),
                Quote("accuracy", "train", 30, 0.89),
                Quote("accuracy", "val", 30, 0.86),
            ),
        ),
    ),
    "fig2": (
        Row(
            Configuration("adam", batch_size=500),
            (Quote("loss", "val", 30, 0.4), Quote("accuracy", "val", 30, 0.84)),
        ),
    ),
    "fig3": (
        Row(
            Configuration("sgd", batch_size=500),
            (Quote("loss", "either", 30, 0.4, above=True), Quote("accuracy", "either", 30, 0.83)),
        ),
    ),
    "fig4": (
        Row(
            Configuration("adam", batch_size=1000),
            (Quote("loss", "either", 30, 0.4), Quote("accuracy", "either", 30, 0.83)),
        ),
    ),
    "fig5": (
        Row(
            Configuration("adam", epochs=100),
            (
                Quote("loss", "train", 100, 0.15),
                Quote("loss", "val", 100, 0.4),
                Quote("accuracy", "train", 100, 0.95),
                Quote("accuracy", "val", 100, 0.84),
            ),
        ),
    ),
}


def trajectories(collection: Collection, configuration: Configuration) -> pd.DataFrame:
    """The first `configuration.epochs` epochs of each seed: rows of `collection.metrics`.

    The learning rate is constant, so a longer run begins with the shorter one. Of the runs of a seed that
    differ only in epochs, the one that has most of the rows is taken; of equals, the one of the wanted
    length, then the shortest.
    """
    metrics = collection.metrics
    match = metrics["epoch"] <= configuration.epochs
    for column, value in vars(configuration).items():
        # A run of fewer epochs is another configuration, though it would pass for an unfinished one.
        match &= metrics[column] >= value if column == "epochs" else metrics[column] == value
    rows = metrics[match]
    runs = rows.groupby(["seed", "run"], as_index=False).agg(done=("epoch", "size"), epochs=("epochs", "first"))
    best = runs.sort_values(["done", "epochs"], ascending=[False, True]).drop_duplicates("seed")
    return rows[rows["run"].isin(best["run"])].sort_values(["seed", "epoch"], ignore_index=True)


def complete(rows: pd.DataFrame, epochs: int) -> pd.DataFrame:
    """Of `trajectories`, the seeds that have all `epochs`; if none has, all of them as far as they go."""
    lengths = rows.groupby("seed")["epoch"].transform("size")
    whole = rows[lengths == epochs]
    return rows if whole.empty else whole


def missing(collection: Collection, seeds: Iterable[int]) -> pd.DataFrame:
    """What the paper's figures lack.

    Returns:
        A row per figure, configuration and seed without all its epochs: figure, the fields of
        `Configuration`, seed, epochs_done.
    """
    absent: list[dict[str, Any]] = []
    for figure, rows in FIGURES.items():
        for row in rows:
            done = trajectories(collection, row.configuration).groupby("seed").size()
            for seed in seeds:
                epochs_done = int(done.get(seed, 0))
                if epochs_done < row.configuration.epochs:
                    wanted = {"figure": figure, **vars(row.configuration)}
                    absent.append({**wanted, "seed": seed, "epochs_done": epochs_done})
    return pd.DataFrame(absent, columns=["figure", *vars(Configuration()), "seed", "epochs_done"])


def seeds_of(collection: Collection) -> list[int]:
    """The seeds with which any configuration of the paper's figures was run."""
    seen: set[int] = set()
    for rows in FIGURES.values():
        for row in rows:
            seen |= set(trajectories(collection, row.configuration)["seed"])
    return sorted(seen)
