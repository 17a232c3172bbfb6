"""Read runs as a tidy pandas table with a row per run and epoch, for use from Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store.tables import Collection, collect, gather

_LISTED = 20  # maximum number of runs to warn about


Runs: TypeAlias = pd.DataFrame | str | Path
"""Runs of a table, or all those in a folder."""


def read(store: str | Path = "multirun") -> pd.DataFrame:
    """Read the runs of a store, finished or not, as a tidy table. Warn about runs that cannot be used.

    You may join tables of several stores with `pd.concat`. A run is identified by its path, and counts once if it is
    in several of them.

    Returns:
        A row per run and epoch: run (its name), path (its directory), status, recipe (a digest of all but seed and
        epochs), the keys of the command line, such as `optimizer`, `optimizer.lr` and `batch_size`, seed, epoch,
        train_loss, train_accuracy, running_loss, running_accuracy, val_loss, val_accuracy, and seconds: the run's share
        of its stack's training time up to the epoch's end, which is not elapsed time.

    Raises:
        ConfigError: there is no such folder.
    """
    collection = collect(_folder(store))
    _warn_of(collection, "unreadable", "superseded")
    return table_of(collection)


def collected(runs: Runs, covers: Callable[[Config], bool]) -> Collection:
    """Read from disk the runs of a table or a folder whose configuration `covers` accepts."""
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
    """Warn about the first runs that are left out, and count the rest. Each item is a run's name and the reason."""
    lines = [f"{run}: {why}" for run, why in left_out]
    more = [f"and {len(lines) - _LISTED} more runs are left out"] if len(lines) > _LISTED else []
    for line in lines[:_LISTED] + more:
        warnings.warn(line, stacklevel=4)


def table_of(collection: Collection) -> pd.DataFrame:
    """Return the rows of all runs, with the path of the run's directory in each row."""
    table = collection.metrics
    table.insert(1, "path", table["run"].map(collection.runs.set_index("name")["path"]))
    return table


def _folder(store: str | Path) -> Path:
    if not Path(store).is_dir():
        raise ConfigError(f"{store}: is not a folder; give the folder of a sweep")
    return Path(store).resolve()


def directories_of(runs: Runs) -> list[Path]:
    """Return the directories of the runs in a table, or the single given directory.

    Raise `ConfigError` if a directory in the table no longer exists, or the table has no paths.
    """
    if not isinstance(runs, pd.DataFrame):
        return [Path(runs)]
    check_paths(runs)
    directories = [Path(path) for path in dict.fromkeys(runs["path"])]
    for path in directories:
        if not path.is_dir():
            raise ConfigError(f"{path}: no longer exists; read the folder where the runs are now")
    return directories


def check_paths(runs: pd.DataFrame) -> None:
    """Raise `ConfigError` if the table has no column with the paths of its runs."""
    if "path" not in runs:
        raise ConfigError("the table has no column path; give one that read, train or sweep gave")
