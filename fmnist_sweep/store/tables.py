"""Run directories -> data frames: the runs of a store, their metrics by epoch, and its problems.

Whatever cannot be used is listed as a problem, never passed over and never fatal. A store is read as it is at that
moment; a sweep may be filling it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from omegaconf import MISSING

from fmnist_sweep.config.identity import is_run_name
from fmnist_sweep.config.optimizers import complete
from fmnist_sweep.config.schema import Config, identity, leaves
from fmnist_sweep.engine.metrics import MEASURES, FloatArray
from fmnist_sweep.errors import one_line
from fmnist_sweep.store import layout
from fmnist_sweep.store.layout import MissingFileError, Record, RecordError

# What tells configurations apart for a reader: the optimizer in words, the rest as configuration keys.
FACTORS = tuple(key for key in leaves(Config) if key != "seed")
# What tells them apart for a program: all but the seed. A recipe is a configuration without its epochs.
CONFIGURATION = ["recipe", "training.epochs"]

# Of `Collection.runs`, with their types.
COLUMNS = dict.fromkeys(["name", "status", "recipe", *FACTORS, "optimizer_args"], "str") | {
    **dict.fromkeys(["training.batch_size", "training.epochs", "seed", "epochs_done"], "int64"),
    **dict.fromkeys(["model.dropout", "data.mean", "data.std", "seconds", "test_accuracy"], "float64"),
    "path": "object",  # what a folder is called need not be text that can be encoded
    "has_predictions": "bool",
}
_LONGEST_NAME = 2000  # nothing is cut: names would not be unique any more
_LONGEST_ARGUMENTS = 1000

_Problem = tuple[str, str, str]  # name, kind, message


@dataclass(frozen=True)
class Collection:
    """What a store holds of one protocol.

    Attributes:
        runs: a row per run directory whose run.json could be read: name (of the directory; its whole path where two
            have the same name), status (that of run.json, or `unreadable` where a finished run lacks rows), recipe, the
            columns `FACTORS`, seed, optimizer_args (all that were given, as JSON), epochs_done (rows of metrics),
            seconds (see `records.read_timing`), test_accuracy (nan without a final test), path (text), has_predictions.
        metrics: a row per run and epoch: run (its name), status, recipe, `FACTORS`, optimizer_args, seed, epoch,
            `MEASURES` and seconds (nan where unknown).
        problems: a row per directory that is incomplete or cannot be used: name, kind (`unreadable`, `failed`,
            `diverged`, `running`, `interrupted`, `foreign`: no run, `superseded`: another directory holds the same
            configuration and seed), message (one line).
        others: how many runs of another protocol were left out.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    problems: pd.DataFrame
    others: int

    def with_problem(self, name: str, kind: str, message: str) -> Collection:
        """Add a row to the problems."""
        row = pd.DataFrame([(name, kind, message)], columns=self.problems.columns, dtype="str")
        problems = pd.concat([self.problems, row]).sort_values("name", ignore_index=True)
        return replace(self, problems=problems)


class _Run(NamedTuple):
    record: Record
    columns: dict[str, Any]
    metrics: FloatArray  # (epochs_done, 6)
    seconds: FloatArray  # (epochs_done,)
    problem: _Problem | None


def recipe(config: Config) -> str:
    """A digest that two configurations share where they differ at most in seed and epochs."""
    rest = {key: value for key, value in identity(config).items() if key not in ("seed", "training.epochs")}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:12]


def collect(store: Path, covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    """Read every run directory of `store` whose configuration is of the protocol that `covers` tells.

    Raises:
        OSError: if `store` itself cannot be listed.
    """
    problems: list[_Problem] = []
    directories = list(_directories(store, problems))
    return _collected(directories, covers, problems)


def gather(directories: Iterable[Path], covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    """The same of these run directories, of one store or several."""
    return _collected({path.resolve(): path for path in directories}.values(), covers, [])


def _collected(
    directories: Iterable[Path],
    covers: Callable[[Config], bool],
    problems: list[_Problem],
) -> Collection:
    runs: dict[tuple[Any, ...], _Run] = {}
    others = 0
    for path, name in _names(list(directories)).items():
        try:
            record = _checked(path)
        except RecordError as error:
            foreign = isinstance(error, MissingFileError) and not is_run_name(path.name)
            problems.append((name, "foreign" if foreign else "unreadable", str(error)))
            continue
        if not covers(record.config):
            others += 1
            continue
        run = _read(path, name, record)
        key = tuple(run.columns[column] for column in (*CONFIGURATION, "seed"))
        if key in runs:
            run, loser = sorted((run, runs[key]), key=_precedence, reverse=True)
            message = f"same configuration and seed as {run.columns['name']}"
            problems.append((loser.columns["name"], "superseded", message))
        runs[key] = run
    found = sorted(runs.values(), key=lambda run: str(run.columns["name"]))
    table = pd.DataFrame([run.columns for run in found], columns=list(COLUMNS))
    table["optimizer"] = optimizer_labels([run.record.config.optimizer for run in found])
    table = table.astype(COLUMNS)
    problems += [run.problem for run in found if run.problem]
    listed = pd.DataFrame(problems, columns=["name", "kind", "message"], dtype="str")
    return Collection(table, _metrics(table, found), listed.sort_values("name", ignore_index=True), others)


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """Name run directories so that no two share a name: as they are called, or by their whole path."""
    called = {path: one_line(path.name, _LONGEST_NAME) for path in paths}
    count = Counter(called.values())
    return {path: name if count[name] == 1 else quote(os.fsencode(path.resolve())) for path, name in called.items()}


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
            problems.append((one_line(entry.name, _LONGEST_NAME), "unreadable", f"{error.strerror}"))


def _checked(path: Path) -> Record:
    """A run's record; `RecordError` also where a value is missing or torch has no such optimizer."""
    record = layout.read_record(path)
    for key in leaves(Config):
        if attrgetter(key)(record.config) == MISSING:
            raise RecordError(f"{layout.RECORD}: config.{key}: is missing")
    try:
        if len(json.dumps(record.config.optimizer, allow_nan=False)) > _LONGEST_ARGUMENTS:
            raise ValueError(f"longer than {_LONGEST_ARGUMENTS} characters")
        recipe(record.config)
    except (ValueError, TypeError, OverflowError) as error:
        raise RecordError(one_line(f"{layout.RECORD}: config.optimizer: {error}")) from error
    return record


def _read(path: Path, name: str, record: Record) -> _Run:
    epochs = record.config.training.epochs
    metrics, metrics_complaint = layout.read_metrics(path, done=record.status == "done")
    metrics_complaint = metrics_complaint or layout.damage(path, record, layout.METRICS)
    seconds, timing_complaint = layout.read_timing(path)
    epochs_done = min(len(metrics), epochs)
    complaints = [complaint for complaint in (metrics_complaint, timing_complaint) if complaint]
    progress = f"{epochs_done} of {epochs} epochs"
    status: str = record.status
    if status == "done" and (metrics_complaint or epochs_done < epochs):
        status = "unreadable"
        complaints.insert(0, f"said to be done, but has {progress}")
    elif status in ("failed", "diverged"):
        complaints.insert(0, record.error or f"after {progress}")
    elif status in ("running", "interrupted"):
        complaints.insert(0, progress)
    kind = "unreadable" if status == "done" else status
    problem = (name, kind, one_line("; ".join(complaints))) if complaints else None
    padded = np.full(epochs_done, np.nan)
    padded[: len(seconds)] = seconds[:epochs_done]
    given = {key: value for key, value in record.config.optimizer.items() if key != "name"}
    columns = {
        **{key: value for key, value in identity(record.config).items() if key in FACTORS},
        "model.hidden": "-".join(map(str, record.config.model.hidden)),
        "optimizer_args": json.dumps(given, sort_keys=True, separators=(",", ":")),
        "recipe": recipe(record.config),
        "seed": record.config.seed,
        "name": name,
        "status": status,
        "epochs_done": epochs_done,
        "seconds": math.nan if record.seconds is None else record.seconds,
        "test_accuracy": record.test.accuracy if record.test else math.nan,
        "path": str(path),
        "has_predictions": (path / layout.PREDICTIONS).is_file(),
    }
    return _Run(record, columns, metrics[:epochs_done], padded, problem)


def optimizer_labels(given: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each optimizer in words: its class, and those of its arguments in which optimizers of that class differ here."""
    optimizers = [complete(one) for one in given]
    distinct = {str(optimizer): optimizer for optimizer in optimizers}
    labels: dict[str, str] = {}
    for spelling, one in sorted(distinct.items()):
        rivals = [other for other in distinct.values() if other["name"] == one["name"]]
        differing = [key for key in sorted(one) if any(other.get(key) != one[key] for other in rivals)]
        label = one_line(" ".join([one["name"], *(f"{key}={one[key]}" for key in differing)]), 80)
        # Two that are cut to the same words are not the same optimizer.
        alike = sum(other.startswith(label) for other in labels.values())
        labels[spelling] = f"{label} ({alike + 1})" if alike and label.endswith("…") else label
    return [labels[str(optimizer)] for optimizer in optimizers]


def _precedence(run: _Run) -> tuple[bool, bool, float, str]:
    """Order the directories of one run: a finished one counts first, then one of the run's own name, then the newer."""
    path = Path(run.columns["path"])
    try:
        written = (path / layout.RECORD).stat().st_mtime
    except OSError:
        written = 0.0
    return run.columns["status"] in layout.FINISHED, path.name == run.record.name, written, run.columns["name"]


def _metrics(table: pd.DataFrame, runs: Sequence[_Run]) -> pd.DataFrame:
    lengths = table["epochs_done"].to_numpy()
    metrics = table[["name", "status", "recipe", *FACTORS, "optimizer_args", "seed"]].rename(columns={"name": "run"})
    metrics = metrics.loc[np.repeat(table.index, lengths)]
    metrics["epoch"] = metrics.groupby(level=0).cumcount() + 1
    metrics[list(MEASURES)] = np.concatenate([np.empty((0, len(MEASURES))), *(run.metrics for run in runs)])
    metrics["seconds"] = np.concatenate([np.empty(0), *(run.seconds for run in runs)])
    return metrics.reset_index(drop=True)
