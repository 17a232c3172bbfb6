"""Show progress while runs train: live lines on a terminal, and occasional plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from fmnist_sweep.engine.metrics import MEASURES, FloatArray
from fmnist_sweep.errors import count
from fmnist_sweep.store.layout import FINISHED, RECORD, Record
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps.plan import Job, Plan, Trajectory

CALM_SECONDS = 30.0
_ENDED = (*FINISHED, "failed")
_LOSS, _ACCURACY = MEASURES.index("val_loss"), MEASURES.index("val_accuracy")

console = Console(stderr=True, highlight=False, soft_wrap=True)
if not console.is_terminal:
    console.width = 200  # only a terminal limits the width, and names must not be cut


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
        self._before = {job: _version(job) for job in jobs}
        self._started = time.monotonic()
        self._said = self._started
        self._total = 0
        self._trained: dict[tuple[Trajectory, ...], int] = {}
        self._lines: dict[tuple[Trajectory, ...], TaskID] = {}
        self._ended: set[Job] = set()
        self._progress = _bars()
        self._overall = self._progress.add_task("")

    def __enter__(self) -> SweepDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()
        self._close()

    def start(self, plan: Plan) -> None:
        """Print what a plan will train, and add it to the total."""
        trajectories = [*plan.idle, *(member for stack in plan.stacks for member in stack)]
        self._planned.update(job for trajectory in trajectories for job in trajectory.jobs)
        runs = sum(len(member.train) + len(member.later) for member in trajectories)
        if runs:
            models = sum(map(len, plan.stacks))
            self.say(
                f"{count(len(self._jobs), 'run')}, {runs} of them to train: {count(models, 'model')} in "
                f"{count(len(plan.stacks), 'stack')}, {count(plan.epochs_left, 'model-epoch')}, "
                f"{count(plan.workers, 'worker')}"
            )
        self._total += plan.epochs_left
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
            title = stack[0].train[-1].name if len(stack) == 1 else _title(stack)
            line = self._lines.get(stack)
            if line is None:
                line = self._lines[stack] = self._progress.add_task(title, total=_epochs_left(stack))
            rows = self._count(stack)
            last = [r[-1] for r in rows if len(r)]
            losses, accuracies = ([row[column] for row in last] for column in (_LOSS, _ACCURACY))
            seen = f"  val loss {_span(losses)}  val accuracy {_span(accuracies)}" if last else ""
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
        return RunDirectory(job.directory).record() if _version(job) != self._before[job] else None

    def _show_overall(self) -> None:
        trained = sum(self._trained.values())
        elapsed = time.monotonic() - self._started
        text = f"{len(self._ended)}/{count(len(self._jobs), 'run')}  {trained / elapsed:.2f} model-epochs/s"
        self._progress.update(self._overall, completed=trained, total=self._total, description=text)
        if not console.is_terminal and time.monotonic() - self._said > CALM_SECONDS:
            self._said = time.monotonic()
            left = f"  {minutes((self._total - trained) * elapsed / trained)} left" if trained else ""
            console.print(f"{text}  {trained}/{count(self._total, 'model-epoch')}{left}")

    def _close(self) -> None:
        """Print the closing table: the status and last metrics of every run."""
        table = Table(Column("run", overflow="fold"), "status", "epochs", "val loss", "val accuracy", "seconds")
        statuses: Counter[str] = Counter()
        origins: Counter[str] = Counter()
        cpus: Counter[str] = Counter()
        for job in self._jobs:
            directory = RunDirectory(job.directory)
            status, metrics, seconds = directory.inspect().status or "missing", directory.metrics(), directory.seconds()
            statuses[status] += 1
            record = directory.record()
            if record is not None and status == "done":
                is_new = _version(job) != self._before[job]
                origin = "cut from longer runs" if record.cut_from else "trained"
                origins[origin if is_new else "done before"] += 1
            if record is not None and len(metrics):
                cpus[str(record.environment.get("cpu"))] += 1
            last = [f"{metrics[-1][column]:.4f}" for column in (_LOSS, _ACCURACY)] if len(metrics) else ["", ""]
            elapsed = f"{seconds[-1]:.1f}" if len(seconds) else ""
            table.add_row(job.name, status, f"{len(metrics)}/{job.epochs}", *last, elapsed)
        console.print(table)
        if len(cpus) > 1:
            types = ", ".join(f"{cpu} ({count(runs, 'run')})" for cpu, runs in cpus.items())
            console.print(
                f"trained on different CPUs: {types}; results are equal byte for byte only on one type of CPU"
            )
        taken = minutes(time.monotonic() - self._started)
        parts = ", ".join(f"{n} {origin}" for origin, n in origins.items())
        ended = [
            f"{n} {status}{f' ({parts})' if status == 'done' and len(origins) > 1 else ''}"
            for status, n in statuses.items()
        ]
        console.print(f"{', '.join(ended)} in {taken}")


def _version(job: Job) -> tuple[int, int] | None:
    """Return the inode and modification time of run.json, which differ for each version; None if there is no file."""
    try:
        found = (job.directory / RECORD).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def print_plan(plan: Plan, seconds: Sequence[float] | None, tasks_of_job: int | None = None) -> None:
    """Print which runs are done, cut from a longer run or continued, the stacks to train, and the estimated time.

    Args:
        plan: the plan to print.
        seconds: estimated seconds of each stack on one core; None if there is no estimate.
        tasks_of_job: how many stacks a cluster job trains at the same time; None on this machine.
    """
    for member in [*plan.idle, *(member for stack in plan.stacks for member in stack)]:
        for job in member.done:
            console.print(f"done: {job.name}")
        for job, longer in member.cut:
            console.print(f"cut: {job.name} from {longer.name}")
    for number, stack in enumerate(plan.stacks, 1):
        console.print(f"stack {number}: {_title(stack)}")
        for member in stack:
            start = f"continue after epoch {member.start}" if member.start else "train"
            names = ", ".join(job.name for job in member.train)
            console.print(f"  {start}: {names}{' (one trajectory)' if len(member.train) > 1 else ''}")
            for job in member.later:
                console.print(f"  train after that: {job.name}")
    needed = ""
    if seconds:
        needed = f", about {minutes(max(sum(seconds) / plan.workers, *seconds))}"
    left, workers = count(plan.epochs_left, "model-epoch"), count(plan.workers, "worker")
    console.print(f"{left} to train with {workers}{needed}")
    if tasks_of_job is not None:
        size = range(0, len(plan.stacks), tasks_of_job)
        hours = sum(max(seconds[first : first + tasks_of_job]) for first in size) / 3600 if seconds else None
        cost = f", about {hours:.2g} node-hours" if hours is not None else ""
        stacks, jobs = count(len(plan.stacks), "stack"), count(len(size), "job")
        console.print(f"{stacks} in {jobs} of {tasks_of_job} side by side{cost}")


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
    """Format a time in seconds, or in minutes from 100 s on."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _bars() -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console, disable=not console.is_terminal)
