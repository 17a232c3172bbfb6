"""Faults of processes: killed, interrupted, racing, with a clock that jumps, and many runs in one."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from unittest.mock import patch

import psutil
from small_runs import config

from faults import work
from faults.cases import Case
from fmnist_sweep.store import layout
from fmnist_sweep.sweeps import worker

PATIENCE = 300.0
SWEEP = ("-m", "optimizer=adam,sgd", "epochs=2,3", "model.hidden=[16]", "batch_size=1000", "workers=2")

context = multiprocessing.get_context("forkserver")  # whose children have all loaded, and no threads
context.set_forkserver_preload(["faults.warm"])


def _train_until_done(folder: Path, notes: Path) -> None:
    """Act as a process that is killed, or that races with others."""
    os.environ["FAULTS_EPOCHS"] = str(notes)
    with work.small():
        while work.train(folder) == "another process holds it":
            time.sleep(0.02)


@functools.cache
def _seconds() -> float:
    """How long a process takes to train the work, from its start to its end."""
    taken = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
            before = time.monotonic()
            process = context.Process(target=_train_until_done, args=(Path(place) / "store", Path(place) / "notes"))
            process.start()
            process.join()
            taken.append(time.monotonic() - before)
    return min(taken)


def killed_workers() -> list[Case]:
    """`kill -9` of a process that trains, at a random moment, three times in a row."""
    return [Case(f"kills-{number}", _kill_workers) for number in range(250)]


def _kill_workers(random: Random) -> int:
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        folder = Path(place).resolve() / "store"
        kills = kill_thrice(_train_until_done, folder, _seconds(), random)
        work.complete(folder)
    return kills


def kill_thrice(target: Callable[[Path, Path], None], folder: Path, seconds: float, random: Random) -> int:
    """Start what works on a store and kill it within so many seconds, three times. Returns how often it was there.

    Args:
        target: is given the store and the file of notes.
        folder: the store.
        seconds: that it takes undisturbed.
        random: chooses the moments.
    """
    kills = 0
    for _ in range(3):
        before = work.held(folder)
        with work.notes_beside(folder) as notes:
            process = context.Process(target=target, args=(folder, notes))
            process.start()
            time.sleep(random.uniform(0, seconds))
            process.kill()
            process.join()
        kills += process.exitcode == -signal.SIGKILL
        none_again(notes, before)
    return kills


def none_again(notes: Path, before: Mapping[str, int]) -> None:
    """No epoch that was noted was held before, by trajectory."""
    for trajectory, epoch in work.trained(notes):
        work.require(epoch > before.get(trajectory, 0), f"{trajectory}: epoch {epoch} is trained again")


def racing_workers() -> list[Case]:
    """Two to six processes want the same runs at once."""
    return [
        Case(f"{count}-at-once-{draw}", functools.partial(_race, count)) for count in range(2, 7) for draw in range(8)
    ]


def _race(count: int, random: Random) -> None:
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        folder = Path(place).resolve() / "store"
        with work.notes_beside(folder) as notes:
            processes = [context.Process(target=_train_until_done, args=(folder, notes)) for _ in range(count)]
            for process in processes:
                process.start()
                time.sleep(random.uniform(0, 0.05))
            for process in processes:
                process.join()
            _each_once(notes)
        work.complete(folder)


def _each_once(notes: Path) -> None:
    again = [epoch for epoch, times in Counter(work.trained(notes)).items() if times > 1]
    work.require(not again, f"trained more than once: {again}")


def jumping_clock() -> list[Case]:
    """The clock jumps by up to ten years each time that it is asked, backwards too."""
    return [Case(f"{lock}-{draw}", functools.partial(_jump, lock)) for lock in ("flock", "lease") for draw in range(10)]


def _jump(lock: str, random: Random) -> None:
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        folder = Path(place).resolve() / "store"
        now = time.time
        for until in (2, None):
            with patch.object(time, "time", lambda: now() + random.uniform(-3e8, 3e8)):
                problem = work.train(folder, until=until, lock=lock)
            work.require(not problem, problem)
        work.complete(folder)


def many_runs() -> list[Case]:
    """500 runs one after another in one process, whose memory and open files are counted."""
    return [Case("500-runs", _train_many)]


def _train_many(_: Random) -> None:
    process, seen = psutil.Process(), []
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        for seed in range(500):
            worker.train_stack([work.jobs(Path(place), config(epochs=1, batch_size=1000, seed=seed))], Path("."))
            if seed in (99, 499):
                seen.append((process.num_fds(), process.memory_info().rss))
    (files, memory), (files_later, memory_later) = seen
    work.require(files_later <= files, f"{files_later - files} more open files after 400 more runs")
    work.require(memory_later - memory < 20 << 20, f"{(memory_later - memory) >> 20} MiB more after 400 more runs")


class _Command:
    """The command in a session of its own."""

    def __init__(self, folder: Path, *more: str):
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes into it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faults.command", *SWEEP, f"hydra.sweep.dir={folder}", *more],
            cwd=folder.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def workers(self) -> list[psutil.Process]:
        """The processes that train."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return []

    def end(self) -> tuple[int, str]:
        """Its exit code and all that it printed; none of its processes may outlast it for long."""
        code = self.process.wait(PATIENCE)
        until = time.monotonic() + 60
        while left := [p for p in psutil.process_iter() if _session(p) == self.process.pid]:
            work.require(time.monotonic() < until, f"{len(left)} processes outlast the command")
            time.sleep(0.1)
        with self._output:
            self._output.seek(0)
            return code, self._output.read().decode()


def _session(process: psutil.Process) -> int | None:
    with suppress(OSError):
        return os.getsid(process.pid)
    return None


@functools.cache
def _swept() -> tuple[Mapping[str, tuple[bytes, bytes]], float]:
    """The files of an undisturbed sweep, as `work.undisturbed` has them, and the seconds that it took."""
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        folder = Path(place).resolve() / "store"
        before = time.monotonic()
        code, printed = _Command(folder).end()
        work.require(code == 0, printed)
        taken = time.monotonic() - before
        names = (layout.METRICS, layout.PREDICTIONS)
        runs = [path.parent for path in folder.glob("*/run.json")]
        return {run.name: tuple((run / name).read_bytes() for name in names) for run in runs}, taken


def _disturb(folder: Path, random: Random, how: str) -> str:
    """Start the sweep and break it at a random moment. Returns what it printed."""
    before = work.held(folder)
    with work.notes_beside(folder) as notes:
        command = _Command(folder)
        time.sleep(random.uniform(0.2, 1) * _swept()[1])
        kind, _, times = how.partition("-")
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if kind == "parent":
                command.process.kill()
            elif kind == "group":
                os.killpg(command.process.pid, signal.SIGKILL)
            elif kind == "worker":
                for victim in random.sample(command.workers(), 1) if command.workers() else []:
                    victim.kill()
            else:
                for _ in range(int(times)):
                    command.process.send_signal(signal.Signals[kind])
                    time.sleep(random.uniform(0, 0.3))
        _, printed = command.end()
        none_again(notes, before)
    return printed


def broken_commands() -> list[Case]:
    """A whole sweep: `kill -9` of its parent, a worker or all; SIGTERM, SIGHUP, SIGINT once to three times."""
    ways = ("parent", "worker", "group", "SIGTERM-1", "SIGHUP-1", "SIGINT-1", "SIGINT-2", "SIGINT-3")
    return [Case(f"{way}-{draw}", functools.partial(_break, way)) for draw in range(2) for way in ways]


def _break(way: str, random: Random) -> int:
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        folder = Path(place).resolve() / "store"
        for _ in range(2):
            printed = _disturb(folder, random, way)
            work.require("Traceback" not in printed, printed[-2000:])
            silent = way in ("parent", "group", "SIGHUP-1")
            work.require(silent or "fmnist_sweep:" in printed or " done in " in printed, f"not told: {printed}")
        _complete(folder)
    return 2


def _complete(folder: Path) -> None:
    before = work.held(folder)
    with work.notes_beside(folder) as notes:
        code, printed = _Command(folder).end()
    work.require(code == 0, printed[-2000:])
    none_again(notes, before)
    work.as_undisturbed(folder, _swept()[0])


def racing_commands() -> list[Case]:
    """Two to six sweeps over the same grid, started together in processes of their own."""
    return [Case(f"{count}-commands", functools.partial(_race_commands, count)) for count in (2, 3, 6)]


def _race_commands(count: int, random: Random) -> None:
    with tempfile.TemporaryDirectory(dir=work.PLACE) as place:
        folder = Path(place).resolve() / "store"
        with work.notes_beside(folder) as notes:
            commands = []
            for _ in range(count):
                commands.append(_Command(folder))
                time.sleep(random.uniform(0, 0.5))
            for command in commands:
                code, printed = command.end()
                work.require(code == 0, printed[-2000:])
            _each_once(notes)
        _complete(folder)
