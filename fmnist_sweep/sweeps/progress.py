"""Show progress while runs train: live lines on a terminal, and occasional plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fmnist_sweep.config.identity import identity
from fmnist_sweep.console import console
from fmnist_sweep.engine.metrics import MEASURES, FloatArray
from fmnist_sweep.errors import count
from fmnist_sweep.store.layout import FINISHED, RECORD, Record
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps.plan import Job, Plan, Trajectory

FIRST_SECONDS = 2.0  # until the first line of progress, where there is no terminal
CALM_SECONDS = 30.0  # between further ones
_WIDE = 110  # columns of a terminal in which a run's name, its metrics and a bar fit
_ENDED = (*FINISHED, "failed")
_LOSS, _ACCURACY = MEASURES.index("val_loss"), MEASURES.index("val_accuracy")


class SweepDisplay:
    """Progress of a sweep, read from the store: one line per stack in training and one for the whole sweep.

    Args:
        jobs: the runs of the sweep.
        failures: gets each run that fails or diverges in this sweep, with the reason.
    """

    def __init__(self, jobs: Sequence[Job], failures: dict[Job, str]):
        self._jobs = jobs
        self._failures = failures
        self._planned: set[Job] = set()
        self._before = {job: version(job) for job in jobs}
        self._started = time.monotonic()
        self._next = self._started + FIRST_SECONDS
        self._total = 0
        self._trained: dict[tuple[Trajectory, ...], int] = {}
        self._lines: dict[tuple[Trajectory, ...], TaskID] = {}
        self._ended: set[Job] = set()
        self._progress = _bars()
        self._overall = self._progress.add_task("planning", total=None)

    def __enter__(self) -> SweepDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()

    def start(self, plan: Plan) -> None:
        """Print what a plan will train, and add it to the total."""
        trajectories = [*plan.idle, *(member for stack in plan.stacks for member in stack)]
        self._planned.update(job for trajectory in trajectories for job in trajectory.jobs)
        if any(member.jobs for member in trajectories):
            if self._jobs[0].execution.show == "plan":
                for line in plan_details(plan):
                    self.say(line)
            self.say(plan_sentence(self._jobs, plan))
        self._total += plan.epochs_left
        self._progress.update(self._overall, description="starting", total=self._total or None)
        self.count(self._jobs)
        for job in (job for trajectory in trajectories for job in trajectory.done if job not in self._ended):
            record = RunDirectory(job.directory).record()
            if record and record.status in FINISHED:  # the others are unfinished runs that `retry=failed` skips
                self._ended.add(job)
                if record.status != "done":
                    self.say(f"{job.name} {record.status} in an earlier sweep: {record.error}")

    def say(self, line: str) -> None:
        """Print a line above the live ones."""
        self._progress.console.print(line)

    def update(self, active: Sequence[Sequence[Trajectory]]) -> None:
        """Read the store and show the progress of the active stacks."""
        for members in active:
            stack = tuple(members)
            has_name = len(stack) == 1 and console.width >= _WIDE
            title = stack[0].train[-1].name if has_name else _title(stack)
            line = self._lines.get(stack)
            if line is None:
                line = self._lines[stack] = self._progress.add_task(title, total=_epochs_left(stack))
            rows = self._count(stack)
            last = [r[-1] for r in rows if len(r)]
            losses, accuracies = ([row[column] for row in last] for column in (_LOSS, _ACCURACY))
            seen = f"  loss {_span(losses)}  accuracy {_span(accuracies)}" if last else ""
            self._progress.update(line, completed=self._trained[stack], description=title + seen)
        for stack in set(self._lines) - {tuple(members) for members in active}:
            self._count(stack)
            self._progress.remove_task(self._lines.pop(stack))
        self._show_overall()

    def _count(self, stack: tuple[Trajectory, ...]) -> list[FloatArray]:
        """Count a stack's epochs and ended runs. Return the metrics of each model's longest run."""
        rows = [RunDirectory(member.train[-1].directory).metrics() for member in stack]
        self._trained[stack] = sum(max(0, len(r) - member.start) for r, member in zip(rows, stack, strict=True))
        self.count(job for member in stack for job in member.jobs)
        return rows

    def count(self, jobs: Iterable[Job]) -> None:
        """Count the runs that have ended in this sweep, and print those that failed or diverged."""
        for job in jobs:
            record = None if job in self._ended else self._news(job)
            if record and record.status in _ENDED:
                self._ended.add(job)
                if record.status != "done":
                    self._failures[job] = f"{job.name} {record.status}: {record.error}"
                    self.say(self._failures[job])

    @property
    def left(self) -> int:
        """Return how many runs this sweep was to train or cut and has not."""
        return len(self._planned - self._ended)

    def has_ended(self, job: Job) -> bool:
        """Return True if a run has ended in this sweep, whether it succeeded or not."""
        record = self._news(job)
        return record is not None and record.status in _ENDED

    def _news(self, job: Job) -> Record | None:
        """Return a run's record if this sweep wrote it. An older record says nothing about this sweep."""
        return RunDirectory(job.directory).record() if version(job) != self._before[job] else None

    def _show_overall(self) -> None:
        trained = sum(self._trained.values())
        now = time.monotonic()
        elapsed = now - self._started
        text = f"{len(self._ended):,}/{count(len(self._jobs), 'run')}  {trained / elapsed:.2f} epochs/s"
        self._progress.update(self._overall, completed=trained, total=self._total, description=text)
        if not console.is_terminal and now > self._next:
            self._next = now + CALM_SECONDS
            left = f"  {minutes((self._total - trained) * elapsed / trained)} left" if trained else ""
            console.print(f"{text}  {trained:,}/{count(self._total, 'epoch')}{left}")


def version(job: Job) -> tuple[int, int] | None:
    """Return the inode and modification time of run.json, which differ for each version; None if there is no file."""
    try:
        found = (job.directory / RECORD).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def plan_sentence(jobs: Sequence[Job], plan: Plan, seconds: Sequence[float] | None = None) -> str:
    """Say in one line how many runs of how many configurations there are, what is done, and what is left to train.

    Args:
        jobs: the requested runs; one that was requested twice counts once.
        plan: their plan.
        seconds: estimated seconds of each stack on one core; None if there is no estimate.
    """
    runs = list(dict.fromkeys(jobs))
    trajectories = [*plan.idle, *(member for stack in plan.stacks for member in stack)]
    done, cut = (sum(len(getattr(one, kind)) for one in trajectories) for kind in ("done", "cut"))
    parts = [f"{done:,} {'done' if runs[0].execution.retry is None else 'not failed, so left as they are'}"]
    if len(runs) == 1:
        parts = ["done"] if done else []
    if cut:
        parts.append(f"{cut:,} to cut from longer runs")
    if plan.epochs_left:
        parts.append(f"{count(plan.epochs_left, 'epoch')} to train")
    if seconds:
        parts.append(f"about {minutes(max(sum(seconds) / plan.workers, *seconds))}")
    return "; ".join([_product(runs), *parts])


def _product(runs: Sequence[Job]) -> str:
    """Describe runs as configurations times seeds."""
    if len(runs) == 1:
        return f"1 run, {runs[0].name}"
    seeds: dict[str, set[int]] = {}
    for job in runs:
        values = identity(job.config)
        seed = values.pop("seed")
        seeds.setdefault(str(values), set()).add(seed)
    configurations = count(len(seeds), "configuration")
    several = [len(of_one) for of_one in seeds.values()]
    if len({frozenset(of_one) for of_one in seeds.values()}) == 1:
        return f"{count(len(runs), 'run')} = {configurations} x {count(several[0], 'seed')}"
    low, high = min(several), max(several)
    each = count(high, "seed") if low == high else f"{low} to {count(high, 'seed')}"
    return f"{count(len(runs), 'run')} of {configurations} with {each} each"


def plan_details(plan: Plan) -> list[str]:
    """List which runs are done, cut from a longer run or continued, and which train together as a stack."""
    lines = []
    for member in [*plan.idle, *(member for stack in plan.stacks for member in stack)]:
        lines += [f"done: {job.name}" for job in member.done]
        lines += [f"cut: {job.name} from {longer.name}" for job, longer in member.cut]
    for number, stack in enumerate(plan.stacks, 1):
        lines.append(f"stack {number}: {_title(stack)}")
        for member in stack:
            start = f"continue after epoch {member.start}" if member.start else "train"
            names = ", ".join(job.name for job in member.train)
            lines.append(f"  {start}: {names}{' (one trajectory)' if len(member.train) > 1 else ''}")
            lines += [f"  train after that: {job.name}" for job in member.later]
    return lines


def plan_cost(plan: Plan, seconds: Sequence[float] | None, tasks_of_job: int) -> str:
    """Say how many jobs of a cluster a plan needs, and for how long.

    Args:
        plan: the plan.
        seconds: estimated seconds of each stack on one core; None if there is no estimate.
        tasks_of_job: how many stacks a cluster job trains at the same time.
    """
    size = range(0, len(plan.stacks), tasks_of_job)
    hours = sum(max(seconds[first : first + tasks_of_job]) for first in size) / 3600 if seconds else None
    cost = f", about {hours:.2g} node-hours" if hours is not None else ""
    stacks, jobs = count(len(plan.stacks), "stack"), count(len(size), "job")
    return f"{stacks} in {jobs} of {tasks_of_job} side by side{cost}"


def _epochs_left(stack: Sequence[Trajectory]) -> int:
    return sum(member.epochs_left for member in stack)


def _title(stack: Sequence[Trajectory]) -> str:
    names = Counter(member.train[-1].config.optimizer["name"].lower() for member in stack)
    models = ", ".join(f"{count} {name}" for name, count in names.items())
    return f"batch size {stack[0].train[-1].config.training.batch_size}: {models}"


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def minutes(seconds: float) -> str:
    """Format a time in seconds, in minutes from 100 s on, and in hours from 100 minutes on."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _bars() -> Progress:
    is_wide = console.width >= _WIDE
    times = [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()] if is_wide else [MofNCompleteColumn()]
    columns = [SpinnerColumn(), TextColumn("{task.description}"), *times]
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
