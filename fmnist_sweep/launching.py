"""Train a sweep's jobs as stacks, in the workers of an executor.

The parent plans and watches; workers train and write. They talk through the store alone: the parent reads the rows
that workers append, so a worker that is killed takes nothing with it but its own stack.
"""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from fmnist_sweep import config, jobs, planning
from fmnist_sweep.display import SweepDisplay
from fmnist_sweep.errors import reason
from fmnist_sweep.executors import Executor
from fmnist_sweep.executors.local import LocalExecutor
from fmnist_sweep.planning import Job, Plan, Trajectory

POLL_SECONDS = 0.5


@dataclass
class _Task:
    """A stack that a worker has or will have."""

    stack: Sequence[Trajectory]
    groups: list[list[Job]]
    future: Future[list[int]]
    ended: bool = False


class Sweep:
    """The parent's side of a sweep of `count` jobs. Workers start with the first job that is made."""

    def __init__(self, count: int):
        self._count = count
        self._executor: Executor | None = None
        self._workers = ExitStack()
        self._folders: dict[str | None, Path] = {}
        self._tasks: list[_Task] = []
        self._interrupts = 0

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.close()

    def make_job(self, composed: DictConfig, directory: Path) -> Job:
        """Check a composed configuration and return its job."""
        job = jobs.make_job(composed, directory)
        if self._executor is None and not job.execution.dry_run:
            device = config.resolve_device(job.execution.device)
            slots = min(planning.workers(job.execution.workers, device), self._count)
            self._executor = self._workers.enter_context(LocalExecutor(slots))
        return job

    def outcome(self, job: Job) -> float:
        """The final validation loss of a run that is done; `RunError` says why another is not."""
        return jobs.outcome(job)

    def train(self, wanted: Sequence[Job]) -> bool:
        """Train the jobs, as stacks. Returns False for a dry run, which prints the plan instead.

        Failures of runs are kept in their directories, where `outcome` finds them.

        Raises:
            ConfigError: the jobs differ in a value that holds for all of them.
            DataError: no run's data can be had.
            KeyboardInterrupt: the user stopped it; what was in training has a checkpoint.
        """
        config.agree([job.execution for job in wanted])
        if wanted[0].execution.dry_run:
            jobs.show_plan(wanted)
            return False
        for store in {job.directory.parent for job in wanted}:
            store.mkdir(parents=True, exist_ok=True)
        self._folders = jobs.find_data(wanted)
        with self._signals(), SweepDisplay(wanted) as display:
            self._train_until_done([job for job in wanted if job.execution.data_dir in self._folders], display)
        if self._interrupts:
            raise KeyboardInterrupt
        return True

    def _train_until_done(self, wanted: Sequence[Job], display: SweepDisplay) -> None:
        """Train; then again what other processes held, once they have let go of it."""
        while wanted and not self._interrupts:
            plan = planning.plan_jobs(wanted)
            display.start(plan)
            busy = self._settle(plan.idle) + self._train(plan, display)
            wanted = [job for group in busy for job in group]
            if wanted:
                display.say(f"another process is training {len(wanted)} of these runs: waiting for it")
                time.sleep(2 * POLL_SECONDS)

    def _settle(self, idle: Sequence[Trajectory]) -> list[list[Job]]:
        """Write the runs that are cut from longer ones. Returns those that another process holds."""
        from fmnist_sweep import worker

        cut = [[job for job, _ in trajectory.cut] for trajectory in idle if trajectory.cut]
        return [group for group in cut if worker.train_stack([group], self._folders[group[0].execution.data_dir])]

    def _train(self, plan: Plan, display: SweepDisplay) -> list[list[Job]]:
        """Train the stacks of a plan. Returns the jobs that other processes hold."""
        from fmnist_sweep import worker

        assert self._executor is not None
        stacks = [[[*(job for job, _ in member.cut), *member.train] for member in stack] for stack in plan.stacks]
        futures = self._executor.submit(
            [functools.partial(worker.train_stack, s, self._folders[s[0][0].execution.data_dir]) for s in stacks]
        )
        self._tasks = [_Task(*one) for one in zip(plan.stacks, stacks, futures, strict=True)]
        busy: list[list[Job]] = []
        while not all(task.ended for task in self._tasks) and self._interrupts < 2:
            time.sleep(POLL_SECONDS)
            for task in self._tasks:
                if task.future.done() and not task.ended:
                    task.ended = True
                    busy += self._end(task)
            display.update([task.stack for task in self._tasks if task.future.running()])
        return busy

    def _end(self, task: _Task) -> list[list[Job]]:
        """Take a task's result. Returns the jobs that another process holds."""
        assert self._executor is not None
        try:
            return [task.groups[index] for index in task.future.result()]
        except CancelledError:
            return []
        except Exception as error:
            death = self._executor.death(error)
            why = f"{type(error).__name__}: {reason(error)}"
            if death is not None:
                why = f"its worker died ({death}); the same command goes on from its checkpoint"
        for job in (job for group in task.groups for job in group):
            jobs.mark_failed(job, why)
        return []

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first interrupt ends with the epoch, the second at once."""
        handlers = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _interrupt(self, *_: object) -> None:
        assert self._executor is not None
        self._interrupts += 1
        if self._interrupts > 1:
            return self._executor.kill()
        self._executor.stop()
        print("\nstopping at the end of the epoch; once more to stop now", file=sys.stderr)
