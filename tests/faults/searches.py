"""Faults of a search: its storage is damaged, or its process killed."""

from __future__ import annotations

import functools
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch

from command import Called, call

from faults import work
from faults.cases import Case
from faults.damages import damage, damages
from faults.processes import context, kill_thrice, none_again
from fmnist_sweep.report.search_history import FILE, Trial, read_searches
from fmnist_sweep.store import layout
from fmnist_sweep.sweeps import run as launching
from fmnist_sweep.sweeps.executors import Executor, T, Task

SEARCH = (
    *("-m", "hydra/sweeper=search", "optimizer=adam,sgd", "dropout=interval(0,0.6)"),
    *("model.hidden=[16]", "batch_size=500", "hydra.sweeper.seeds=1"),
    *("hydra.sweeper.n_trials=6", "hydra.sweeper.batch=3", "hydra.sweeper.rungs=[1,2]"),
)
LAUNCHES = 4  # that it takes: two batches on two rungs


class _Here(Executor):
    """Tasks are done in this process, as they are submitted."""

    def __init__(self, _: int):
        self.slots = self.tasks_of_job = 1

    def __exit__(self, *_: object) -> None: ...

    def submit(self, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]] = ()) -> list[Future[T]]:
        futures: list[Future[T]] = []
        for task in tasks:
            futures.append(Future())
            futures[-1].set_result(task(lambda: False))
        return futures

    def death(self, error: BaseException) -> str | None:
        return None


@contextmanager
def _here() -> Iterator[None]:
    with patch.object(launching, "LocalExecutor", _Here), patch.object(launching, "POLL_SECONDS", 0.01):
        yield


def _search(folder: Path) -> Called:
    with _here():
        return call(*SEARCH, f"hydra.sweep.dir={folder}", cwd=folder.parent)


def searched(folder: Path) -> None:
    """The search has ended."""
    called = _search(folder)
    work.require(called.code == 0, called.err)


def stopped(folder: Path) -> None:
    """The search was stopped before its last launch."""
    launches, submit = 0, _Here.submit

    def stopping(here: _Here, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]]) -> list[Future[T]]:
        nonlocal launches
        launches += 1
        if launches == LAUNCHES:
            raise KeyboardInterrupt
        return submit(here, tasks, names)

    with patch.object(_Here, "submit", stopping):
        called = _search(folder)
    work.require(called.code == 130, called.err)


def committing(folder: Path) -> None:
    """The search was killed while SQLite wrote, which has left its journal."""
    searched(folder)
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        connection.execute("pragma cache_size=1")  # so that it writes before the end
        connection.execute("begin immediate")
        for table in ("trial_values", "trial_params", "trial_user_attributes", "trial_system_attributes", "trials"):
            connection.execute(f"delete from {table}")
        left = {path: path.read_bytes() for path in folder.glob(f"{FILE}*")}
        connection.execute("rollback")
    for path, content in left.items():
        path.write_bytes(content)
    work.require(len(left) == 2, "SQLite has left no journal")


@functools.cache
def _undisturbed() -> tuple[Mapping[int, Trial], Mapping[str, bytes]]:
    """The trials of a search that nothing disturbed, by number, and metrics.csv of each run."""
    with work.store_after(searched) as folder:
        return _trials(folder), {path.parent.name: path.read_bytes() for path in folder.glob(f"*/{layout.METRICS}")}


def _trials(folder: Path) -> Mapping[int, Trial]:
    """The trials that a report would show; none where it would say that their file is damaged."""
    searches, complaint = read_searches(folder)
    work.require(complaint is None or complaint.isprintable(), f"in several lines: {complaint}")
    return {trial.number: trial for search in searches for trial in search.trials if search.name == "search"}


def damaged_studies() -> list[Case]:
    """The storage of a search, or SQLite's journal, is cut, has bits flipped, bytes more or zeros, or is gone."""
    cases = []
    for before, flips in ((stopped, 12), (searched, 12), (committing, 4)):
        with work.small(), work.store_after(before) as folder:
            for path in sorted(folder.glob(f"{FILE}*")):
                for kind in damages(path.read_bytes(), flips):
                    case = functools.partial(_damage, before, path.name, kind)
                    cases.append(Case(f"{before.__name__}/{path.name}/{kind}", case))
    return cases


def _damage(before: Callable[[Path], None], file: str, name: str, random: Random) -> None:
    with work.store_after(before) as folder:
        damage(folder / file, name, random)
        for number, trial in _trials(folder).items():
            if trial.state != "running":
                work.require(trial == _undisturbed()[0][number], f"a report would show {trial}")
        _complete(folder)


def _complete(folder: Path) -> None:
    """Search once more; where that is refused, do what it says, and search again."""
    before = work.held(folder)
    with work.notes_beside(folder) as notes:
        called = _search(folder)
        if called.code == 2:
            work.require(called.err.startswith(f"fmnist_sweep: {folder / FILE}: "), called.err)
            work.require(called.err.count("\n") == 1 and "remove the file" in called.err, called.err)
            (folder / FILE).unlink()
            called = _search(folder)
        work.require(called.code == 0, called.err)
    none_again(notes, before)
    trials, files = _undisturbed()
    work.require(_trials(folder) == trials, "the trials are others")
    for run, metrics in files.items():
        work.require((folder / run / layout.METRICS).read_bytes() == metrics, f"{run}: metrics.csv differs")


def killed_searches() -> list[Case]:
    """`kill -9` of a search at a random moment, three times in a row."""
    return [Case(f"kills-{number}", _kill) for number in range(20)]


def _search_in_child(folder: Path, notes: Path) -> None:
    os.environ["FAULTS_EPOCHS"] = str(notes)
    with work.small():
        _search(folder)


@functools.cache
def _seconds() -> float:
    """How long a process takes to search, from its start to its end."""
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        before = time.monotonic()
        process = context.Process(target=_search_in_child, args=(Path(place) / "store", Path(place) / "notes"))
        process.start()
        process.join()
        return time.monotonic() - before


def _kill(random: Random) -> int:
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        folder = Path(place).resolve() / "store"
        kills = kill_thrice(_search_in_child, folder, _seconds(), random)
        called = _search(folder)
        work.require(called.code == 0, f"after a mere kill: {called.err}")
        _complete(folder)
    return kills
