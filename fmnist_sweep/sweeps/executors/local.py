"""Do tasks in worker processes on this machine."""

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

from fmnist_sweep.sweeps.executors import Executor, T, Task

# In a worker: set by a signal that asks it to stop, and the parent's request to stop.
_asked = False
_stopping: Any
_WORKERS_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


class LocalExecutor(Executor):
    """A pool of processes. They start at once, so that they load torch while jobs are composed and checked."""

    def __init__(self, slots: int):
        # Workers compute with one thread each (see worker.train_stack). This must be set before they load torch.
        os.environ["OMP_NUM_THREADS"] = "1"
        self.slots = self.tasks_of_job = slots
        self._context = _Context()
        # A value in shared memory also reaches a worker that is still starting; a signal would not. It has no lock,
        # because a killed worker would never release one.
        self._stopping = RawValue("b", 0)
        self._pool = ProcessPool(slots, context=self._context, initializer=_prepare, initargs=[self._stopping])
        self._futures: list[Future[Any]] = []

    def __enter__(self) -> LocalExecutor:
        try:
            with _signals_blocked():  # the pool's threads and the workers inherit the mask
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
    """Block signals in this process and in those that it starts meanwhile.

    Otherwise Ctrl-C would reach new processes before they have installed their handlers.
    """
    held = {signal.SIGINT, *_WORKERS_SIGNALS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        resource_tracker.ensure_running()  # a helper process of Python's; starting it unblocks some signals
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process(SpawnProcess):
    """A process that does not import the main module.

    If the main module is a script that starts a sweep, each worker that imported it would start the sweep again.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - its name there
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class _Context(SpawnContext):
    """A context that lists the pool's processes, because this process may have other child processes too."""

    def __init__(self) -> None:
        self.started: list[_Process] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # type: ignore[override]  # noqa: N802 - its name there
        self.started.append(_Process(*args, **kwargs))
        return self.started[-1]


def _carry_out(task: Task[T], parent: int) -> T:
    """Do a task until it ends, the parent asks it to stop, the parent ends, or a signal arrives."""
    return task(lambda: _asked or bool(_stopping.value) or os.getppid() != parent)


def _prepare(stopping: Any) -> None:
    global _stopping
    _stopping = stopping
    import fmnist_sweep.sweeps.worker  # noqa: F401 - this takes a second

    # Init systems, Slurm and terminals that close send these signals to every process, so each worker handles them. A
    # terminal sends Ctrl-C to every process too, but workers ignore it: the parent handles it and tells them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in _WORKERS_SIGNALS:
        signal.signal(number, _ask_to_stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, *_WORKERS_SIGNALS})


def _ask_to_stop(*_: object) -> None:
    global _asked
    _asked = True
