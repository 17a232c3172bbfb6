"""Executors train stacks. An executor starts workers and gives them tasks; workers write their own results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

T = TypeVar("T")
Task = Callable[[Callable[[], bool]], T]
"""Picklable work that may be done twice without harm; it is given `should_stop`, to be asked between epochs."""


class WorkerError(RuntimeError):
    """A worker died and its task is not restarted. The message says how the worker died."""


class Executor(AbstractContextManager["Executor"], Protocol):
    """A group of workers that each do one task at a time. No worker is left when the context ends.

    Attributes:
        slots: how many tasks run at a time.
        tasks_of_job: how many of these tasks share one cluster job.
        detach: True if tasks continue after this process ends, so that it need not wait for them.
    """

    slots: int
    tasks_of_job: int
    detach: bool = False

    def submit(self, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]] = ()) -> list[Future[T]]:
        """Submit tasks, which start in this order.

        Args:
            tasks: the tasks.
            names: the names of what each task trains. `queued` returns them in other processes.

        Raises:
            ConfigError: no worker can do the tasks.
        """

    def queued(self) -> set[str]:
        """Return the names of what other processes have submitted here and that has not ended yet."""
        return set()

    def death(self, error: BaseException) -> str | None:
        """Return how a worker died if its death made a future raise `error`; None for the task's own error."""

    def stop(self) -> None:
        """Ask running tasks to stop at the end of their epoch, and cancel waiting tasks."""

    def kill(self) -> None:
        """End every worker at once. The executor accepts no more tasks."""
