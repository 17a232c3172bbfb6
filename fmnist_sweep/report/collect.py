"""Run directories -> data frames.

Three tables come out of a store: its runs, their metrics by epoch, and its problems: whatever could not be
used is listed there, never passed over and never fatal. A store is read as it is at that moment; a sweep may
be filling it.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnist_sweep.report import run_files

# What tells configurations apart; runs that agree in all of them differ by seed alone.
CONFIGURATION = [
    "optimizer",
    "optimizer_args",
    "batch_size",
    "dropout",
    "epochs",
    "hidden",
    "validation",
    "pixel_mean",
    "pixel_std",
]

_CONFIGURATION_TYPES = {
    "optimizer": "str",
    "optimizer_args": "str",
    "batch_size": "int64",
    "dropout": "float64",
    "epochs": "int64",
    "hidden": "str",
    "validation": "str",
    "pixel_mean": "float64",
    "pixel_std": "float64",
    "seed": "int64",
}
_RUN_TYPES = {
    "name": "str",
    "status": "str",
    "error": "object",
    **_CONFIGURATION_TYPES,
    "digest": "str",
    "epochs_done": "int64",
    "seconds": "float64",
    "test_loss": "float64",
    "test_accuracy": "float64",
    "path": "object",
    "has_predictions": "bool",
}
_LONGEST_NAME = 2000  # nothing is cut: names would not be unique any more
_RUN_NAME = re.compile(r".+-ep\d+-seed\d+-[0-9a-f]{8}", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Collection:
    """What a store holds.

    Attributes:
        store: the folder that was read.
        runs: a row per run directory whose `run.json` could be read: name (of the directory), status (that of
            `run.json`, or `unreadable` where a finished run lacks rows), error, the columns `CONFIGURATION`
            and seed, digest, epochs_done (rows of metrics), seconds, test_loss, test_accuracy (nan without a
            final test), path (text), has_predictions.
        metrics: a row per run and epoch: run (its name), status, the columns `CONFIGURATION` and seed, the
            columns of `metrics.csv` and seconds since the start of training (nan where unknown).
        problems: a row per directory that is incomplete or cannot be used: name, kind (`unreadable`,
            `failed`, `diverged`, `running`, `interrupted`, `foreign`: no run, `superseded`: another directory
            holds the same configuration and seed), message (one line).
    """

    store: Path
    runs: pd.DataFrame
    metrics: pd.DataFrame
    problems: pd.DataFrame


@dataclass(frozen=True)
class _Run:
    columns: dict[str, Any]
    metrics: NDArray[np.float64]  # (epochs_done, 6)
    seconds: NDArray[np.float64]  # (epochs_done,)


@dataclass(frozen=True)
class _Problem:
    name: str
    kind: str
    message: str


def collect(store: Path) -> Collection:
    """Read every run directory of `store`.

    Raises:
        OSError: if `store` itself cannot be listed.
    """
    runs: dict[tuple[Any, ...], _Run] = {}
    problems: list[_Problem] = []
    superseded: dict[str, str] = {}
    for path in _directories(store, problems):
        run = _read(path, problems)
        if run is None:
            continue
        key = tuple(run.columns[column] for column in (*CONFIGURATION, "seed"))
        rival = runs.get(key)
        if rival is not None:
            run, loser = sorted((run, rival), key=_precedence, reverse=True)
            superseded[loser.columns["name"]] = f"same configuration and seed as {run.columns['name']}"
        runs[key] = run
    found = sorted(runs.values(), key=lambda run: str(run.columns["name"]))
    table = pd.DataFrame([run.columns for run in found], columns=list(_RUN_TYPES)).astype(_RUN_TYPES)
    problems = [problem for problem in problems if problem.name not in superseded]
    problems += [_Problem(name, "superseded", message) for name, message in superseded.items()]
    listed = pd.DataFrame(problems, columns=["name", "kind", "message"], dtype="str")
    return Collection(store, table, _metrics(table, found), listed.sort_values("name", ignore_index=True))


def predictions(path: str | Path) -> NDArray[np.uint8]:
    """The final validation predictions of the run at `path` (column `path` of the runs).

    Returns:
        uint8 class indices of shape `(n_validation,)`, in data set order.

    Raises:
        RunFileError: if the run holds none, or something else in their place.
    """
    return run_files.read_predictions(Path(path))


def _directories(store: Path, problems: list[_Problem]) -> Iterator[Path]:
    with os.scandir(store) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.name.startswith(".") or entry.name.endswith(".tmp"):
            continue
        try:
            if entry.is_dir():
                yield Path(entry.path)
            elif entry.is_symlink():
                entry.stat()  # raises where the link leads nowhere
        except OSError as error:
            problems.append(_Problem(run_files.one_line(entry.name, _LONGEST_NAME), "unreadable", f"{error.strerror}"))


def _read(path: Path, problems: list[_Problem]) -> _Run | None:
    name = run_files.one_line(path.name, _LONGEST_NAME)
    try:
        columns = run_files.read_info(path)
    except run_files.RunFileError as error:
        foreign = isinstance(error, run_files.MissingFileError) and not _RUN_NAME.fullmatch(path.name)
        problems.append(_Problem(name, "foreign" if foreign else "unreadable", str(error)))
        return None
    metrics, metrics_complaint = run_files.read_metrics(path, columns["status"] == "done")
    seconds, timing_complaint = run_files.read_timing(path)
    epochs_done = min(len(metrics), columns["epochs"])
    complaints = [complaint for complaint in (metrics_complaint, timing_complaint) if complaint]
    progress = f"{epochs_done} of {columns['epochs']} epochs"
    if columns["status"] == "done" and (metrics_complaint or epochs_done < columns["epochs"]):
        columns["status"] = "unreadable"
        complaints.insert(0, f"said to be done, but has {progress}")
    kind = columns["status"] if columns["status"] != "done" else "unreadable"
    if kind in ("failed", "diverged"):
        complaints.insert(0, columns["error"] or f"after {progress}")
    elif kind in ("running", "interrupted"):
        complaints.insert(0, progress)
    if complaints:
        problems.append(_Problem(name, kind, run_files.one_line("; ".join(complaints))))
    padded = np.full(epochs_done, np.nan)
    padded[: len(seconds)] = seconds[:epochs_done]
    has_predictions = os.path.isfile(path / "predictions.npy")
    columns |= {
        "name": name,
        "path": str(path),
        "epochs_done": epochs_done,
        "has_predictions": has_predictions,
    }
    return _Run(columns, metrics[:epochs_done], padded)


def _precedence(run: _Run) -> tuple[bool, float, str]:
    """Of two directories for one run, a copy under another name loses, then the older one."""
    written = run_files.written(Path(run.columns["path"]))
    return run.columns["name"] == run.columns["own_name"], written, run.columns["name"]


def _metrics(table: pd.DataFrame, runs: list[_Run]) -> pd.DataFrame:
    lengths = table["epochs_done"].to_numpy()
    metrics = table[["name", "status", *_CONFIGURATION_TYPES]].rename(columns={"name": "run"})
    metrics = metrics.loc[np.repeat(table.index, lengths)].reset_index(drop=True)
    metrics["epoch"] = np.concatenate([np.arange(1, n + 1) for n in lengths] or [np.empty(0, int)])
    values = np.concatenate([run.metrics for run in runs] or [np.empty((0, len(run_files.MEASURES)))])
    for measure, column in zip(run_files.MEASURES, values.T, strict=True):
        metrics[measure] = column
    metrics["seconds"] = np.concatenate([run.seconds for run in runs] or [np.empty(0)])
    return metrics
