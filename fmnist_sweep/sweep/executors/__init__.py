"""Where stacks are trained. An executor starts workers and hands them tasks; what they train they write themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

T = TypeVar("T")
Task = Callable[[Callable[[], bool]], T]
"""Picklable work that may be done twice without harm; it is given `should_stop`, to be asked between epochs."""


class WorkerError(RuntimeError):
    """A worker died and its task is not begun again; the message says how it died."""


class Executor(AbstractContextManager["Executor"], Protocol):
    """Workers, each for one task at a time; none is left at the end.

    Attributes:
        slots: how many tasks run at a time.
        tasks_of_job: how many of them share a job of a cluster.
        detach: whether tasks go on when this process ends, which need not wait for them then.
    """

    slots: int
    tasks_of_job: int
    detach: bool = False

    def submit(self, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]] = ()) -> list[Future[T]]:
        """Have tasks done, begun in this order.

        Args:
            tasks: what to do.
            names: of what each task trains; they are what `queued` tells other processes.

        Raises:
            ConfigError: there is nothing that would do them.
        """

    def queued(self) -> set[str]:
        """Names of what other processes have left here to be trained, as far as that has not ended."""
        return set()

    def death(self, error: BaseException) -> str | None:
        """How a worker died, where that is what a future raised; None where it was the task's own error."""

    def stop(self) -> None:
        """Ask the tasks that run to stop at the end of their epoch, and drop those that wait."""

    def kill(self) -> None:
        """End every worker at once; it takes no more tasks."""
