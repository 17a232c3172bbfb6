"""The small work that is broken: three runs of two trajectories on a few real images, and what must hold of it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import torch
from small_runs import ADAM, MOMENTUM, config, piece

from fmnist_sweep.config.compose import name_of
from fmnist_sweep.config.identity import trajectory_name
from fmnist_sweep.config.messages import reason
from fmnist_sweep.config.schema import Config, Execution
from fmnist_sweep.engine.training import Trainer
from fmnist_sweep.store import layout, run_directory
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps import plan, worker
from fmnist_sweep.sweeps.plan import Job

SHORT = config(ADAM, epochs=2, batch_size=500)
LONG = config(ADAM, epochs=3, batch_size=500)
OTHER = config(MOMENTUM, epochs=2, batch_size=500, seed=1, dropout=0.5)
CONFIGS = (SHORT, LONG, OTHER)
PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # in memory, where syncing costs nothing
EPOCHS = 5  # that these take: three of one trajectory and two of the other

_open, _write, _close = os.open, os.write, os.close  # which no fault reaches


class NotSurvivedError(AssertionError):
    """A condition that must hold after a fault does not hold."""


def name(one: Config) -> str:
    """A run's name."""
    return name_of(one, Execution())


def jobs(folder: Path, *configs: Config, **how: Any) -> list[Job]:
    """The jobs of these configurations in a store."""
    return [Job(one, Execution(**how), name(one), folder / name(one)) for one in configs or CONFIGS]


@contextlib.contextmanager
def small() -> Iterator[None]:
    """Train on a few images, with a checkpoint after each epoch, and note every epoch beside the store."""
    before = worker.load, worker.CHECKPOINT_SECONDS, worker.time, Trainer.train_epoch, torch.get_num_threads()
    worker.load = lambda *_: piece(2000, 300)
    worker.CHECKPOINT_SECONDS = -1.0
    # Each epoch takes the same time, so that timing.csv has the same bytes, and the same places to damage, every time.
    worker.time = SimpleNamespace(**{**vars(time), "perf_counter": itertools.count(step=0.25).__next__})
    torch.set_num_threads(1)
    note_epochs()
    try:
        yield
    finally:
        worker.load, worker.CHECKPOINT_SECONDS, worker.time, Trainer.train_epoch = before[:4]
        torch.set_num_threads(before[4])


@functools.cache
def _files(before: Callable[[Path], None]) -> Mapping[Path, bytes]:
    """Return the contents of a store that was used before, by relative path."""
    with small(), tempfile.TemporaryDirectory(prefix="faults-", dir=PLACE) as place:
        folder = Path(place).resolve() / "store"
        folder.mkdir()
        before(folder)
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def store_after(before: Callable[[Path], None]) -> Iterator[Path]:
    """A store in which something has been before."""
    with tempfile.TemporaryDirectory(prefix="faults-", dir=PLACE) as place:
        folder = Path(place).resolve() / "store"
        folder.mkdir()
        for path, content in _files(before).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        yield folder


def note_epochs() -> None:
    """Have every trained epoch noted in the file that `FAULTS_EPOCHS` names: process, trajectory, epoch."""
    train_epoch = Trainer.train_epoch

    def noting(trainer: Trainer) -> Any:
        rows = train_epoch(trainer)
        if path := os.environ.get("FAULTS_EPOCHS"):
            lines = [
                f"{os.getpid()} {trajectory_name(name(model.config))} {row.epoch}\n"
                for model, row in zip(trainer.models, rows, strict=True)
            ]
            file = _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            _write(file, "".join(lines).encode())
            _close(file)
        return rows

    Trainer.train_epoch = noting


def trained(notes: Path) -> list[tuple[str, int]]:
    """Trajectory and epoch of each epoch that was noted."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [(trajectory, int(epoch)) for _, trajectory, epoch in map(str.split, lines)]


@contextlib.contextmanager
def notes_beside(folder: Path) -> Iterator[Path]:
    """A fresh file of notes, beside the store."""
    path = folder.with_name(f"{folder.name}.epochs")
    path.unlink(missing_ok=True)
    os.environ["FAULTS_EPOCHS"] = str(path)
    try:
        yield path
    finally:
        del os.environ["FAULTS_EPOCHS"]


def train(
    folder: Path,
    until: int | None = None,
    on_row: Callable[[int], None] | None = None,
    configs: Sequence[Config] = CONFIGS,
    **how: Any,
) -> str:
    """Train the work as a worker does. Returns what went wrong in one line, empty where nothing was raised.

    Args:
        folder: the store.
        until: stop at the end of an epoch once there are so many rows.
        on_row: called with the number of rows so far.
        configs: the runs.
        how: options of the execution.
    """
    rows = []

    def count(row: Any) -> None:
        rows.append(row)
        if on_row is not None:
            on_row(len(rows))

    told = _Errors()
    try:
        groups = plan.group(jobs(folder, *configs, **how))
        busy = worker.train_stack(groups, Path("."), lambda: until is not None and len(rows) >= until, count)
    except Exception as error:
        return reason(error)
    finally:
        told.close()
    return "another process holds it" if busy else told.last


class _Errors(logging.Handler):
    """Holds the last error that is logged, which a worker writes on the terminal."""

    last = ""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        logging.getLogger("fmnist_sweep").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep its message."""
        self.last = record.getMessage()

    def close(self) -> None:
        """Listen no more."""
        logging.getLogger("fmnist_sweep").removeHandler(self)
        super().close()


@functools.cache
def undisturbed() -> Mapping[str, tuple[bytes, bytes]]:
    """metrics.csv and predictions.npy of each run, trained alone and never disturbed, by name."""
    files = {}
    with small(), tempfile.TemporaryDirectory(dir=PLACE) as folder:
        for one in CONFIGS:
            (job,) = jobs(Path(folder) / name(one), one)
            worker.train_stack([[job]], Path("."))
            files[job.name] = tuple((job.directory / file).read_bytes() for file in (layout.METRICS, "predictions.npy"))
    return files


def held(folder: Path) -> dict[str, int]:
    """The furthest epoch that a whole checkpoint holds, by trajectory."""
    furthest: dict[str, int] = {}
    for path in folder.glob("*/checkpoint-*.pt"):
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content[:-32]).digest() == content[-32:]:
            trajectory = trajectory_name(path.parent.name)
            furthest[trajectory] = max(furthest.get(trajectory, 0), int(path.stem.split("-")[1]))
    return furthest


def complete(folder: Path) -> None:
    """Train once more, undisturbed, and look whether all is as if nothing had happened."""
    before = held(folder)
    with notes_beside(folder) as notes:
        problem = train(folder)
    require(not problem, f"the same again: {problem}")
    for trajectory, epoch in trained(notes):
        require(epoch > before.get(trajectory, 0), f"{trajectory}: epoch {epoch} is trained again")
    as_undisturbed(folder, undisturbed())


def as_undisturbed(folder: Path, expected: Mapping[str, tuple[bytes, bytes]]) -> None:
    """Every run is done with these bytes; no temporary file is left, and no lock held."""
    for run, (metrics, predictions) in expected.items():
        path = folder / run
        found = RunDirectory(path).inspect()
        require(found.status == "done", f"{run} is {found.status}: {found.error}")
        require((path / layout.METRICS).read_bytes() == metrics, f"{run}: metrics.csv differs")
        require(len(RunDirectory(path).seconds()) == len(RunDirectory(path).metrics()), f"{run}: times are missing")
        is_cut = json.loads((path / layout.RECORD).read_bytes())["cut_from"] is not None
        same = is_cut or (path / layout.PREDICTIONS).read_bytes() == predictions
        require(same, f"{run}: predictions.npy differs")
        try:
            run_directory.lock(path, run).acquire(timeout=0).lock.release()
        except filelock.Timeout:
            raise NotSurvivedError(f"{run}: its lock is held") from None
    left = [path.name for path in folder.rglob("*") if path.name.endswith((".tmp", ".lease"))]
    require(not left, f"left behind: {left}")


def require(holds: bool, otherwise: str) -> None:
    """Raise where something does not hold."""
    if not holds:
        raise NotSurvivedError(otherwise)


def said(folder: Path, problem: str) -> bool:
    """Tell whether the user was told what went wrong, or nothing did."""
    runs = [RunDirectory(job.directory).inspect() for job in jobs(folder)]
    return bool(problem) or all(found.status == "done" or found.error for found in runs)
