"""Read run directories into data frames: the runs of a store, their metrics by epoch, and the problems found.

Every directory that cannot be used is listed as a problem. It is never ignored, and it never stops the reading. A sweep
may be writing to the store at the same time.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
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

from fmnist_sweep.config.identity import is_run_name, trajectory_values
from fmnist_sweep.config.optimizers import complete
from fmnist_sweep.config.schema import Config, ModelConfig, TrainingConfig, flat, leaves
from fmnist_sweep.config.settings import SHORT, settings, varied
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES, FloatArray
from fmnist_sweep.errors import one_line
from fmnist_sweep.store import layout
from fmnist_sweep.store.layout import MissingFileError, Record, RecordError

# Columns by which a reader distinguishes configurations: the keys of the command line. The arguments of optimizers are
# further ones, which depend on the table; see `factors`.
_FIRST = ("optimizer", "batch_size", "dropout", "epochs")
FACTORS = tuple(dict.fromkeys([*_FIRST, *(SHORT.get(key, key) for key in leaves(Config) if key != "seed")]))
# Columns by which a program distinguishes them, apart from the seed. A recipe leaves out seed and epochs.
CONFIGURATION = ["recipe", "epochs"]

_ARGUMENT = "optimizer."  # the beginning of the columns of an optimizer's arguments
_EXAMPLE = Config({"name": "Adam", "lr": 0.01}, TrainingConfig(1, 1), ModelConfig([1], 0.0))

# The other columns of `Collection.runs`, and their types.
_BEFORE = dict.fromkeys(["name", "status", "recipe"], "str")
_AFTER = {
    **{"epochs_done": "int64", "seconds": "float64", "test_accuracy": "float64"},
    **{"path": "object", "has_predictions": "bool"},  # a folder's name may not be encodable as text
}
_LONGEST_NAME = 2000  # long enough to cut no name, since cut names might not be unique
_LONGEST_ARGUMENTS = 1000

_Problem = tuple[str, str, str]  # name, kind, message


@dataclass(frozen=True)
class Collection:
    """The runs of one protocol in a store.

    Attributes:
        runs: a row per run directory with a readable run.json: name (of the directory; its whole path if two have the
            same name), status (from run.json, or `unreadable` if a finished run lacks rows), recipe, the columns of
            `describe`, epochs_done (rows of metrics), seconds (see `layout.read_timing`), test_accuracy (after the last
            epoch; nan if it was not measured), path (text), has_predictions.
        metrics: a row per run and epoch: run (its name), status, recipe, the columns of `describe`, epoch, `MEASURES`,
            `TEST_MEASURES` if a run has them (nan for the others), and seconds (nan if unknown).
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
    metrics: FloatArray  # (epochs_done, 6), or (epochs_done, 8) with `TEST_MEASURES`
    seconds: FloatArray  # (epochs_done,)
    problem: _Problem | None


def recipe(config: Config) -> str:
    """Return a digest of a configuration without its seed.

    It leaves out the epochs too, unless the run's length decides about the learning rates.
    """
    rest = {key: value for key, value in trajectory_values(config).items() if key != "seed"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:12]


def describe(configs: Sequence[Config]) -> pd.DataFrame:
    """Return a row per configuration, in columns by the keys of the command line.

    Columns: `FACTORS`, seed, and after `optimizer` a column for each argument that one of the optimizers was given,
    such as `optimizer.lr`. It has the default if an optimizer was not given this argument, and is missing if the class
    has no such argument. A column is numeric if all its values are numbers; else it has them as they are typed, but
    widths are joined as in `128-64`.
    """
    if not configs:
        return describe([_EXAMPLE])[:0]
    given = {key for config in configs for key in config.optimizer}
    rows = []
    for config in configs:
        values = settings(config) | {"model.hidden": "-".join(map(str, config.model.hidden))}
        kept = [key for key in values if not key.startswith(_ARGUMENT) or key.split(".")[1] in given]
        rows.append({one_line(key, _LONGEST_NAME): cell(values[key]) for key in kept})
    found = sorted({key for row in rows for key in row if key.startswith(_ARGUMENT)})
    lr = [key for key in found if key == "optimizer.lr"]
    order = [*_FIRST[:1], *lr, *_FIRST[1:], *found, *FACTORS, "seed"]
    return pd.DataFrame(rows, columns=list(dict.fromkeys(order))).apply(_typed)


def factors(table: pd.DataFrame) -> list[str]:
    """Return the columns of a table that describe configurations: those of `FACTORS`, and optimizers' arguments."""
    return [column for column in table if column in FACTORS or str(column).startswith(_ARGUMENT)]


def ordered(levels: Iterable[Any]) -> list[Any]:
    """Sort the distinct levels of one factor. Numbers within words sort as numbers, so 64-32 comes before 128-64."""
    return sorted(set(levels), key=_order)


def _order(level: Any) -> Any:
    if not isinstance(level, str):
        return level
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", level)
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]


def fill_defaults(table: pd.DataFrame) -> pd.DataFrame:
    """Fill the columns of arguments that are missing for a class that has them, as after joining tables of `describe`.

    A table has no column for an argument that none of its runs was given, so each of them had the default.
    """
    columns = [column for column in factors(table) if column.startswith(_ARGUMENT)]
    table = table.copy()
    for name in table.loc[table[columns].isna().any(axis=1), "optimizer"].unique():
        rows = table["optimizer"] == name
        defaults = {f"{_ARGUMENT}{key}": cell(value) for key, value in flat(complete({"name": name})).items()}
        for column in set(columns) & defaults.keys():
            table.loc[rows, column] = table.loc[rows, column].fillna(defaults[column])
    return table


def sorted_by(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Sort rows by the levels of some factors as `ordered` does. Missing levels come last."""

    def places(column: pd.Series) -> pd.Series:
        return column.map({level: place for place, level in enumerate(ordered(column.dropna()))})

    return table.sort_values(list(columns), key=places, kind="stable")


def varying(table: pd.DataFrame) -> list[str]:
    """Return the optimizer, and all other `factors` in which the rows of a table differ; see `settings.varied`."""
    rows = table[factors(table)].drop_duplicates().to_dict("records")
    found = varied([{key: value for key, value in row.items() if pd.notna(value)} for row in rows])
    return [key for key in factors(table) if key == "optimizer" or key in found]


def differing(table: pd.DataFrame) -> list[str]:
    """Return the keys of `varying` that have at least two levels."""
    return [key for key in varying(table) if table[key].nunique() > 1]


def runs_table(configs: Sequence[Config], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return `Collection.runs`, from the configuration of each run and its values in the other columns."""
    others = pd.DataFrame(rows, columns=[*_BEFORE, *_AFTER]).astype(_BEFORE | _AFTER)
    return pd.concat([others[list(_BEFORE)], describe(configs), others[list(_AFTER)]], axis=1)


def metrics_table(runs: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return `Collection.metrics`, from `Collection.runs` and columns run (its name), epoch and measures."""
    columns = ["status", "recipe", *factors(runs), "seed"]
    told = runs.set_index("name").loc[measured["run"], columns].reset_index(names="run")
    return pd.concat([told, measured.drop(columns="run").reset_index(drop=True)], axis=1)


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
    runs: dict[tuple[str, int, int], _Run] = {}
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
        key = (run.columns["recipe"], record.config.training.epochs, record.config.seed)
        if key in runs:
            run, loser = sorted((run, runs[key]), key=_precedence, reverse=True)
            message = f"same configuration and seed as {run.columns['name']}"
            problems.append((loser.columns["name"], "superseded", message))
        runs[key] = run
    found = sorted(runs.values(), key=lambda run: str(run.columns["name"]))
    table = runs_table([run.record.config for run in found], [run.columns for run in found])
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
    tested = epochs_done > 0 and metrics.shape[1] > len(MEASURES)
    last = metrics[epochs_done - 1, -1] if tested else math.nan
    columns = {
        "recipe": recipe(record.config),
        "name": name,
        "status": status,
        "epochs_done": epochs_done,
        "seconds": math.nan if record.seconds is None else record.seconds,
        "test_accuracy": record.test.accuracy if record.test else last,
        "path": str(path),
        "has_predictions": (path / layout.PREDICTIONS).is_file(),
    }
    return _Run(record, columns, metrics[:epochs_done], padded, problem)


def cell(value: Any) -> Any:
    """Return a value of a configuration as a table holds it: numbers and words, and anything else as it is typed."""
    if isinstance(value, list):
        return f"[{','.join(str(cell(one)) for one in value)}]"
    if isinstance(value, str):
        return one_line(value, _LONGEST_ARGUMENTS)
    return json.dumps(value) if value is None or isinstance(value, bool) else value


def _typed(column: pd.Series) -> pd.Series:
    """Give a column of cells one type: numbers if all are numbers, else text."""
    if all(isinstance(value, int | float) for value in column):
        return column.astype("float64" if any(isinstance(value, float) for value in column) else "int64")
    return pd.Series([value if pd.isna(value) else str(value) for value in column], name=column.name)


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
    measured = table[["name"]].rename(columns={"name": "run"}).loc[np.repeat(table.index, lengths)]
    measured["epoch"] = measured.groupby(level=0).cumcount() + 1
    columns = [*MEASURES, *TEST_MEASURES][: max((run.metrics.shape[1] for run in runs), default=len(MEASURES))]
    values = np.full((len(measured), len(columns)), np.nan)
    for run, rows in zip(runs, np.split(values, np.cumsum(lengths)[:-1]), strict=False):
        rows[:, : run.metrics.shape[1]] = run.metrics
    measured[columns] = values
    measured["seconds"] = np.concatenate([np.empty(0), *(run.seconds for run in runs)])
    return metrics_table(table, measured)
