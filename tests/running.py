"""Commands that run while a test watches them, in processes that it can stop and kill."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from fmnist_sweep.config.compose import name_of
from fmnist_sweep.config.identity import trajectory_name
from fmnist_sweep.config.schema import Config, Execution

PATIENCE = 120.0  # seconds until something is given up that takes a few


class Command:
    """The command in a session of its own, so that all its processes can be found and ended."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path):
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        """Return its output so far."""
        return self._output.read_text()

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something to come about while the command runs."""
        wait_until(lambda: holds() or self.process.poll() is not None)
        assert self.process.poll() is None, self.output

    def workers(self) -> list[psutil.Process]:
        """The processes that train."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def worker_of(self, one: Config) -> psutil.Process:
        """The process that holds the lock of this run's trajectory."""
        lock = f"{trajectory_name(name_of(one, Execution()))}.lock"
        return next(w for w in self.workers() if any(file.path.endswith(lock) for file in w.open_files()))


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@contextmanager
def signal_when(number: signal.Signals, holds: Callable[[], bool]) -> Iterator[None]:
    """Send this process a signal once `holds()`, as long as the block has not ended."""
    has_ended = threading.Event()

    def send() -> None:
        while not has_ended.wait(0.02):
            if holds():
                os.kill(os.getpid(), number)
                return

    before = signal.signal(number, signal.SIG_IGN)  # a signal that comes too late must not end the tests
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()
        signal.signal(number, before)


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Command]:
    """Start `python -m fmnist_sweep` with these arguments; no process of it is left in the end."""
    number = next(_numbers)
    output = folder / f"output-{number}.txt"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "fmnist_sweep", *arguments],
            cwd=folder,
            env={**os.environ, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Command(process, output)
    finally:
        kill_all(process)


_numbers = itertools.count()


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for the command and all of its processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
