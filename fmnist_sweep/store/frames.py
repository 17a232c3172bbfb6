"""Runs as a tidy pandas table, a row per run and epoch: how Python users read, filter and hand them on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store.tables import Collection, collect, gather

_LISTED = 20  # runs that are warned of


Runs: TypeAlias = pd.DataFrame | str | Path
"""Runs of a table, or all those in a folder."""


def read(store: str | Path = "multirun") -> pd.DataFrame:
    """The runs of a store, finished or not, as a tidy table; what cannot be used is warned of.

    Tables of several stores may be joined (`pd.concat`): a run is told apart by its path, and counts once where it is
    in several of them.

    Returns:
        A row per run and epoch: run (its name), path (its directory), status, recipe (a digest of all but seed and
        epochs), optimizer (in words), the other factors by whole key, such as `training.batch_size`, seed, epoch,
        train_loss, train_accuracy, running_loss, running_accuracy, val_loss, val_accuracy, and seconds: the run's share
        of its stack's training time up to the epoch's end, which is no time by the clock.

    Raises:
        ConfigError: there is no such folder.
    """
    collection = collect(_folder(store))
    _warn_of(collection, "unreadable", "superseded")
    return table_of(collection)


def collected(runs: Runs, covers: Callable[[Config], bool]) -> Collection:
    """Read again the runs of a table or a folder whose configuration `covers` accepts."""
    if isinstance(runs, pd.DataFrame):
        collection = gather(directories_of(runs), covers)
    else:
        collection = collect(_folder(runs), covers)
    _warn_of(collection, "superseded")
    return collection


def _warn_of(collection: Collection, *kinds: str) -> None:
    problems = collection.problems[collection.problems["kind"].isin(kinds)]
    warn_of_runs(zip(problems["name"], problems["message"], strict=True))


def warn_of_runs(left_out: Iterable[tuple[str, str]]) -> None:
    """Warn of the first runs that are left out, and say how many more there are; each is a run and why."""
    lines = [f"{run}: {why}" for run, why in left_out]
    more = [f"and {len(lines) - _LISTED} more runs are left out"] if len(lines) > _LISTED else []
    for line in lines[:_LISTED] + more:
        warnings.warn(line, stacklevel=4)


def table_of(collection: Collection) -> pd.DataFrame:
    """Return the rows of all runs, with the path of each run's directory."""
    table = collection.metrics
    table.insert(1, "path", table["run"].map(collection.runs.set_index("name")["path"]))
    return table


def _folder(store: str | Path) -> Path:
    if not Path(store).is_dir():
        raise ConfigError(f"{store}: is no folder; give that of a sweep")
    return Path(store).resolve()


def directories_of(runs: Runs) -> list[Path]:
    """Return the directories of the runs in a table, or the one that is given; `ConfigError` where one has gone."""
    if not isinstance(runs, pd.DataFrame):
        return [Path(runs)]
    check_paths(runs)
    directories = [Path(path) for path in dict.fromkeys(runs["path"])]
    for path in directories:
        if not path.is_dir():
            raise ConfigError(f"{path}: is no longer there; read the folder where the runs are now")
    return directories


def check_paths(runs: pd.DataFrame) -> None:
    """Raise `ConfigError` for a table that does not say where its runs are."""
    if "path" not in runs:
        raise ConfigError("the table has no column path; give one that read, train or sweep gave")
