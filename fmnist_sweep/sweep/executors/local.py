"""Worker processes on this machine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.sharedctypes import RawValue
from types import ModuleType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from fmnist_sweep.sweep.executors import Executor, T, Task

# In a worker: whether a signal asked it to stop, and whether its parent does.
_asked = False
_stopping: Any
_WORKERS_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


class LocalExecutor(Executor):
    """A pool of processes; they start at once, so that they load torch while jobs are composed and checked."""

    def __init__(self, slots: int):
        # Before torch loads in the workers: their products take one thread each, see worker.train_stack.
        os.environ["OMP_NUM_THREADS"] = "1"
        self.slots = self.tasks_of_job = slots
        self._context = _Context()
        # A value in shared memory, not a signal: a worker that is still starting sees it too. It needs no lock, which
        # a worker that is killed would keep.
        self._stopping = RawValue("b", 0)
        self._pool = ProcessPool(slots, context=self._context, initializer=_prepare, initargs=[self._stopping])
        self._futures: list[Future[Any]] = []

    def __enter__(self) -> LocalExecutor:
        try:
            with _signals_blocked():  # the pool's threads and their workers inherit it
                self._pool.schedule(int)  # the first task starts the pool
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._pool.join()

    def submit(self, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]] = ()) -> list[Future[T]]:
        futures: list[Future[T]] = [self._pool.schedule(_carry_out, args=(task, os.getpid())) for task in tasks]
        self._futures += futures
        return futures

    def death(self, error: BaseException) -> str | None:
        return f"exit code {error.exitcode}" if isinstance(error, ProcessExpired) else None

    def stop(self) -> None:
        self._stopping.value = 1
        for future in self._futures:
            if not future.running():
                future.cancel()

    def kill(self) -> None:
        self._pool.stop()
        for process in list(self._context.started):
            if process.pid is not None:
                process.kill()
                process.join()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Hold signals back, from all processes that start here too: Ctrl-C reaches those that have no handlers yet."""
    held = {signal.SIGINT, *_WORKERS_SIGNALS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        resource_tracker.ensure_running()  # Python's own helper; to start it lets some through again
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
    """Knows the processes that it started: this process may have others, which are not the pool's."""

    def __init__(self) -> None:
        self.started: list[_Process] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # type: ignore[override]  # noqa: N802 - its name there
        self.started.append(_Process(*args, **kwargs))
        return self.started[-1]


def _carry_out(task: Task[T], parent: int) -> T:
    """Carry out a task, to be stopped by the process that asked for it, by that one's end, or by a signal."""
    return task(lambda: _asked or bool(_stopping.value) or os.getppid() != parent)


def _prepare(stopping: Any) -> None:
    global _stopping
    _stopping = stopping
    # Both take seconds; the first is what torch imports once an optimizer is made.
    import torch._dynamo  # noqa: F401

    import fmnist_sweep.sweep.worker  # noqa: F401

    # Init systems, Slurm and terminals that close send these to every process. Ctrl-C, which a terminal sends so too,
    # is for the parent, which then tells its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in _WORKERS_SIGNALS:
        signal.signal(number, _ask_to_stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, *_WORKERS_SIGNALS})


def _ask_to_stop(*_: object) -> None:
    global _asked
    _asked = True
