"""Read runs as a tidy pandas table with a row per run and epoch, for use from Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store.layout import FINISHED
from fmnist_sweep.store.published import read_results
from fmnist_sweep.store.tables import CONFIGURATION, Collection, collect, fill_defaults, gather

_LISTED = 20  # maximum number of runs to warn about


Runs: TypeAlias = pd.DataFrame | str | Path
"""Runs of a table, all those in a folder, or those of a report's results.csv."""


def read(store: str | Path = "multirun") -> pd.DataFrame:
    """Read the runs of a store, finished or not, as a tidy table. Warn about runs that cannot be used.

    You may join tables of several stores with `pd.concat`. A run is identified by its path, and counts once if it is
    in several of them.

    Args:
        store: the folder of a sweep, or the results.csv of a report.

    Returns:
        A row per run and epoch: run (its name), path (its directory), status, recipe (a digest of all but seed and
        epochs), the keys of the command line, such as `optimizer`, `optimizer.lr` and `batch_size`, seed, epoch,
        train_loss, train_accuracy, running_loss, running_accuracy, val_loss, val_accuracy, and seconds: the run's share
        of its stack's training time up to the epoch's end, which is not elapsed time. An optimizer has a column for
        each argument that a run was given; it is missing for classes without this argument.

    Raises:
        ConfigError: there is no such folder or file.
    """
    collection = _read(store)
    _warn_of(collection, "unreadable", "superseded")
    return table_of(collection)


def collected(runs: Runs, covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    """Read from disk the runs of a table, a folder or a results.csv whose configuration `covers` accepts."""
    collection = gather(directories_of(runs), covers) if isinstance(runs, pd.DataFrame) else _read(runs, covers)
    _warn_of(collection, "superseded")
    return collection


def tabled(runs: Runs) -> Collection:
    """Return the runs of a table as it is, without reading them from disk again; or those of a folder or a results.csv.

    Problems are not known of a table, and of several runs with the same configuration and seed only one counts.
    """
    if not isinstance(runs, pd.DataFrame):
        return collected(runs)
    rows = each_once(runs).drop(columns="run").rename(columns={"path": "run"})
    ends = rows.drop_duplicates("run", keep="last").rename(columns={"run": "name", "epoch": "epochs_done"})
    ends = ends.assign(test_accuracy=ends.get("test_accuracy", np.nan), path=ends["name"])
    problems = pd.DataFrame(columns=["name", "kind", "message"], dtype="str")
    return Collection(ends.reset_index(drop=True), rows, problems, 0)


def each_once(runs: pd.DataFrame) -> pd.DataFrame:
    """Keep one run of each configuration and seed, and warn of the others.

    Finished runs are preferred, then the run with the most epochs. Raise `ConfigError` if there are no runs.
    """
    check_paths(runs)
    if runs.empty:
        raise ConfigError("there are no such runs; train some, or filter less")
    rows = fill_defaults(runs.drop_duplicates(["path", "epoch"], ignore_index=True))
    key = [*CONFIGURATION, "seed"]
    found = rows.drop_duplicates("path").assign(rows=rows["path"].map(rows["path"].value_counts()))
    found["finished"] = found["status"].isin(FINISHED)
    found = found.sort_values(["finished", "rows"], ascending=False, kind="stable")
    kept = found.drop_duplicates(key)
    copies = found[~found["path"].isin(kept["path"])].merge(kept, on=key, suffixes=("", "_kept"))
    warn_of_runs(zip(copies["path"], "same configuration and seed as " + copies["path_kept"], strict=True))
    return rows[rows["path"].isin(kept["path"])]


def last_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the last epoch of finished runs. Raise `ConfigError` if there are none."""
    last = rows[(rows["status"] == "done") & (rows["epoch"] == rows["epochs"])]
    if last.empty:
        raise ConfigError("none of these runs is finished, or the table lacks their last epochs; filter less")
    return last


def _read(store: str | Path, covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    path = Path(store).resolve()
    if path.is_dir():
        return collect(path, covers)
    if path.suffix != ".csv" or not path.is_file():
        raise ConfigError(f"{store}: is not a folder; give the folder of a sweep, or a report's results.csv")
    try:
        collection = read_results(path, covers)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    collection.runs["path"] = [f"{path}/{name}" for name in collection.runs["name"]]  # unlike those of other tables
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


def directories_of(runs: Runs) -> list[Path]:
    """Return the directories of the runs in a table, or the single given directory.

    Raise `ConfigError` if a directory in the table no longer exists, or the table has no paths.
    """
    if not isinstance(runs, pd.DataFrame):
        return [Path(runs)]
    check_paths(runs)
    directories = [Path(path) for path in dict.fromkeys(runs["path"])]
    for path in directories:
        if path.parent.is_file():
            raise ConfigError(f"{path.parent}: is a table, without models and predictions; give its path, or a folder")
        if not path.is_dir():
            raise ConfigError(f"{path}: no longer exists; read the folder where the runs are now")
    return directories


def check_paths(runs: pd.DataFrame) -> None:
    """Raise `ConfigError` if the table has no column with the paths of its runs."""
    if "path" not in runs:
        raise ConfigError("the table has no column path; give one that read, train or sweep gave")
