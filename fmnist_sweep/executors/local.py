"""Worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from fmnist_sweep.executors import Executor, T, Task

_stop = False  # set in a worker that is asked to stop


class LocalExecutor(Executor):
    """A pool of processes; they start at once, so that they load torch while jobs are composed and checked."""

    def __init__(self, slots: int):
        # Before torch loads in the workers: their products take one thread each, see worker.train_stack.
        os.environ["OMP_NUM_THREADS"] = "1"
        self.slots = self.tasks_of_job = slots
        self._pool = ProcessPool(slots, context=_Context(), initializer=_prepare)
        self._pool.schedule(_prepare)
        self._futures: list[Future[Any]] = []

    def __exit__(self, *_: object) -> None:
        self._pool.stop()
        self.kill()
        self._pool.join()

    def submit(self, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]] = ()) -> list[Future[T]]:
        futures: list[Future[T]] = [self._pool.schedule(_carry_out, args=(task, os.getpid())) for task in tasks]
        self._futures += futures
        return futures

    def death(self, error: BaseException) -> str | None:
        return f"exit code {error.exitcode}" if isinstance(error, ProcessExpired) else None

    def stop(self) -> None:
        for future in self._futures:
            if not future.running():
                future.cancel()
        _signal_workers(signal.SIGINT)

    def kill(self) -> None:
        _signal_workers(signal.SIGKILL)


class _Process(SpawnProcess):
    """Does without the main module: a script that sweeps would sweep again in each worker that loads it."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - its name there
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class _Context(SpawnContext):
    Process = _Process


def _signal_workers(number: int) -> None:
    for child in multiprocessing.active_children():
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)


def _carry_out(task: Task[T], parent: int) -> T:
    """Carry out a task, to be stopped by a signal or by the end of the process that asked for it."""
    return task(lambda: _stop or os.getppid() != parent)


def _prepare() -> None:
    # Both take seconds; the first is what torch imports once an optimizer is made.
    import torch._dynamo  # noqa: F401

    import fmnist_sweep.worker  # noqa: F401

    # Init systems and Slurm send the latter two to every process of a job.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, _ask_to_stop)


def _ask_to_stop(*_: object) -> None:
    global _stop
    _stop = True
