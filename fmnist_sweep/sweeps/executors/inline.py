"""Do tasks in this process: for a single run, or in a process that may not start others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from fmnist_sweep.sweeps.executors import Executor, T, Task


class InlineExecutor(Executor):
    """An executor that does each task when it is submitted, so that `stop` cannot be called meanwhile.

    Args:
        should_stop: called between epochs, in place of `stop`.
    """

    slots = tasks_of_job = 1

    def __init__(self, should_stop: Callable[[], bool]):
        self._should_stop = should_stop

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]] = ()) -> list[Future[T]]:
        futures: list[Future[T]] = [Future() for _ in tasks]
        for task, future in zip(tasks, futures, strict=True):
            try:
                future.set_result(task(self._should_stop))
            except Exception as error:
                future.set_exception(error)
        return futures

    def death(self, error: BaseException) -> None:
        return None

    def stop(self) -> None:
        return None

    def kill(self) -> None:
        return None
