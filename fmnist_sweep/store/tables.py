"""Read run directories into data frames: the runs of a store, their metrics by epoch, and the problems found.

Every directory that cannot be used is listed as a problem. It is never ignored, and it never stops the reading. A sweep
may be writing to the store at the same time.
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

from fmnist_sweep.config.identity import identity, is_run_name, trajectory_values
from fmnist_sweep.config.optimizers import complete
from fmnist_sweep.config.schema import Config, leaves
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES, FloatArray
from fmnist_sweep.errors import one_line
from fmnist_sweep.store import layout
from fmnist_sweep.store.layout import MissingFileError, Record, RecordError

# Columns by which a reader distinguishes configurations: the optimizer in words, the rest as configuration keys.
FACTORS = tuple(key for key in leaves(Config) if key != "seed")
# Columns by which a program distinguishes them, apart from the seed. A recipe leaves out seed and epochs.
CONFIGURATION = ["recipe", "training.epochs"]

# The columns of `Collection.runs` and their types.
COLUMNS = dict.fromkeys(["name", "status", "recipe", *FACTORS, "optimizer_args"], "str") | {
    **dict.fromkeys(["training.batch_size", "training.epochs", "seed", "epochs_done"], "int64"),
    **dict.fromkeys(["model.dropout", "data.mean", "data.std", "seconds", "test_accuracy"], "float64"),  # see `typed`
    "path": "object",  # a folder's name may not be encodable as text
    "has_predictions": "bool",
}
_LONGEST_NAME = 2000  # long enough to cut no name, since cut names might not be unique
_LONGEST_ARGUMENTS = 1000

_Problem = tuple[str, str, str]  # name, kind, message


@dataclass(frozen=True)
class Collection:
    """The runs of one protocol in a store.

    Attributes:
        runs: a row per run directory with a readable run.json: name (of the directory; its whole path if two have the
            same name), status (from run.json, or `unreadable` if a finished run lacks rows), recipe, the columns
            `FACTORS`, seed, optimizer_args (all given arguments, as JSON), epochs_done (rows of metrics), seconds (see
            `layout.read_timing`), test_accuracy (after the last epoch; nan if it was not measured), path (text),
            has_predictions.
        metrics: a row per run and epoch: run (its name), status, recipe, `FACTORS`, optimizer_args, seed, epoch,
            `MEASURES`, `TEST_MEASURES` (nan if they were not measured) and seconds (nan if unknown).
        problems: a row per directory that is incomplete or cannot be used: name, kind (`unreadable`, `failed`,
            `diverged`, `running`, `interrupted`, `waiting`: not started, `foreign`: not a run, `superseded`: another
            directory has the same configuration and seed), message (one line).
        others: the number of runs of other protocols, which are left out.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    problems: pd.DataFrame
    others: int

    def with_problem(self, name: str, kind: str, message: str) -> Collection:
        """Return a copy with one more problem."""
        row = pd.DataFrame([(name, kind, message)], columns=self.problems.columns, dtype="str")
        problems = pd.concat([self.problems, row]).sort_values("name", ignore_index=True)
        return replace(self, problems=problems)


class _Run(NamedTuple):
    record: Record
    columns: dict[str, Any]
    metrics: FloatArray  # (epochs_done, 8), columns MEASURES and TEST_MEASURES
    seconds: FloatArray  # (epochs_done,)
    problem: _Problem | None


def recipe(config: Config) -> str:
    """Return a digest of a configuration without its seed.

    It leaves out the epochs too, unless the run's length decides about the learning rates.
    """
    rest = {key: value for key, value in trajectory_values(config).items() if key != "seed"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:12]


def collect(store: Path, covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    """Read every run directory of `store` whose configuration `covers` accepts.

    Raise `OSError` if `store` itself cannot be listed.
    """
    problems: list[_Problem] = []
    directories = list(_directories(store, problems))
    return _collected(directories, covers, problems)


def gather(directories: Iterable[Path], covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    """Read these run directories, of one store or several, as `collect` does."""
    return _collected({path.resolve(): path for path in directories}.values(), covers, [])


def _collected(directories: Iterable[Path], covers: Callable[[Config], bool], problems: list[_Problem]) -> Collection:
    runs: dict[tuple[Any, ...], _Run] = {}
    others = 0
    for path, name in _names(list(directories)).items():
        try:
            record = _checked(path)
        except RecordError as error:
            problems.append((name, *_complaint(path, error)))
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
    table = typed(table)
    problems += [run.problem for run in found if run.problem]
    listed = pd.DataFrame(problems, columns=["name", "kind", "message"], dtype="str")
    return Collection(table, _metrics(table, found), listed.sort_values("name", ignore_index=True), others)


def _complaint(path: Path, error: RecordError) -> tuple[str, str]:
    """Return the kind and the message of the problem that a directory without a usable run.json is."""
    if isinstance(error, MissingFileError):
        if not is_run_name(path.name):
            return "foreign", str(error)
        # A sweep makes all its directories before it trains. One that was stopped leaves some with Hydra's files only.
        if not any(layout.is_ours(file.name) for file in path.glob("*")):
            return "waiting", "not started; the same command trains it"
    return "unreadable", str(error)


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """Give each run directory a unique name: its own name, or its whole path if another has the same name."""
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
                entry.stat()  # raises if the link is broken
        except OSError as error:
            problems.append((one_line(entry.name, _LONGEST_NAME), "unreadable", f"{error.strerror}"))


def _checked(path: Path) -> Record:
    """Read a run's record. Raise `RecordError` also if a value is missing or torch has no such optimizer."""
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
    measured = np.full((epochs_done, len(MEASURES) + len(TEST_MEASURES)), np.nan)
    measured[:, : metrics.shape[1]] = metrics[:epochs_done]
    last = measured[-1, -1] if epochs_done else math.nan
    columns = {
        **{key: cell(value) for key, value in identity(record.config).items() if key in FACTORS},
        "model.hidden": "-".join(map(str, record.config.model.hidden)),
        "optimizer_args": json.dumps(given, sort_keys=True, separators=(",", ":")),
        "recipe": recipe(record.config),
        "seed": record.config.seed,
        "name": name,
        "status": status,
        "epochs_done": epochs_done,
        "seconds": math.nan if record.seconds is None else record.seconds,
        "test_accuracy": record.test.accuracy if record.test else last,
        "path": str(path),
        "has_predictions": (path / layout.PREDICTIONS).is_file(),
    }
    return _Run(record, columns, measured, padded, problem)


def cell(value: Any) -> Any:
    """Return a value of a configuration as a table holds it: numbers and words, and anything else as it is typed."""
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else value


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of a table that `COLUMNS` names their types, but text to those numbers that may be words."""
    columns = {name: kind for name, kind in COLUMNS.items() if name in table}
    for name in ("model.dropout", "data.mean", "data.std"):
        if pd.to_numeric(table[name], errors="coerce").isna().any():
            columns[name] = "str"
    return table.astype(columns)


def optimizer_labels(given: Iterable[Mapping[str, Any]]) -> list[str]:
    """Describe each optimizer in words: its class, and the arguments in which the given optimizers of it differ."""
    optimizers = [complete(one) for one in given]
    distinct = {str(optimizer): optimizer for optimizer in optimizers}
    labels: dict[str, str] = {}
    for spelling, one in sorted(distinct.items()):
        rivals = [other for other in distinct.values() if other["name"] == one["name"]]
        differing = [key for key in sorted(one) if any(other.get(key) != one[key] for other in rivals)]
        label = one_line(" ".join([one["name"], *(f"{key}={one[key]}" for key in differing)]), 80)
        # Number different optimizers whose labels were cut to the same words.
        alike = sum(other.startswith(label) for other in labels.values())
        labels[spelling] = f"{label} ({alike + 1})" if alike and label.endswith("…") else label
    return [labels[str(optimizer)] for optimizer in optimizers]


def _precedence(run: _Run) -> tuple[bool, bool, float, str]:
    """Return a sort key by which the best of several directories of one run is the greatest.

    A finished run is better, then a directory with the run's own name, then the newer one.
    """
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
    measures = [*MEASURES, *TEST_MEASURES]
    metrics[measures] = np.concatenate([np.empty((0, len(measures))), *(run.metrics for run in runs)])
    metrics["seconds"] = np.concatenate([np.empty(0), *(run.seconds for run in runs)])
    return metrics.reset_index(drop=True)
