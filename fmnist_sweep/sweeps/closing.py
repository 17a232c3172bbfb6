"""Say at the end of a sweep which configuration is best, and what became of the runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from fmnist_sweep.console import busy, console, print_table, sweep_program
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import count
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps.leaderboard import SHOWN, print_leaderboard
from fmnist_sweep.sweeps.plan import Job
from fmnist_sweep.sweeps.progress import minutes, version

_ORIGINS = ("trained", "cut from longer runs", "found done")
_LOSS, _ACCURACY = MEASURES.index("val_loss"), MEASURES.index("val_accuracy")


class Closing:
    """The account of a sweep, over all its batches.

    Args:
        has_table: False if the sweeper prints a table of its own.
    """

    def __init__(self, *, has_table: bool):
        self._has_table = has_table
        self._before: dict[Job, tuple[int, int] | None] = {}
        self._started = time.monotonic()

    def add(self, jobs: Iterable[Job]) -> None:
        """Add runs before they are trained."""
        for job in jobs:
            if job not in self._before:
                self._before[job] = version(job)

    def print(self) -> None:
        """Print what the runs reached, and how many were trained, cut from longer runs, found done or failed."""
        jobs = list(self._before)
        if len(jobs) == 1:
            self._print_one(jobs[0])
        elif jobs:
            if self._has_table:
                _print_table(jobs)
            self._print_counts(jobs)

    def _print_one(self, job: Job) -> None:
        directory = RunDirectory(job.directory)
        status, metrics = directory.inspect().status, directory.metrics()
        if status == "done":
            last = f"validation loss {metrics[-1, _LOSS]:.4f}, accuracy {metrics[-1, _ACCURACY]:.4f}"
            taken = minutes(time.monotonic() - self._started)
            how = "found done" if version(job) == self._before[job] else f"done in {taken}"
            console.print(f"{job.name}: {how}; {last}; see {job.directory}")
        elif status == "interrupted":
            console.print(f"{job.name}: interrupted after {len(metrics)} of {count(job.epochs, 'epoch')}")
        elif status != "failed" and job.execution.retry == "failed":
            console.print(f"{job.name}: has not failed, so retry=failed leaves it as it is")

    def _print_counts(self, jobs: Sequence[Job]) -> None:
        statuses: Counter[str] = Counter()
        origins: Counter[str] = Counter()
        cpus: Counter[str] = Counter()
        for job in jobs:
            record = RunDirectory(job.directory).record()
            status = record.status if record is not None else "not started"
            statuses[status] += 1
            if record is not None and status == "done":
                is_new = version(job) != self._before[job]
                origins[_ORIGINS[1 if record.cut_from else 0] if is_new else _ORIGINS[2]] += 1
            if record is not None and record.epochs_done:
                cpus[str(record.environment.get("cpu"))] += 1
        if len(cpus) > 1:
            types = ", ".join(f"{cpu} ({count(runs, 'run')})" for cpu, runs in cpus.items())
            console.print(
                f"trained on different CPUs: {types}; results are equal byte for byte only on one type of CPU"
            )
        how = ", ".join(f"{origins[origin]:,} {origin}" for origin in _ORIGINS if origins[origin])
        done = f"{statuses.pop('done', 0):,} done in {minutes(time.monotonic() - self._started)}"
        others = (f"{number:,} {status}" for status, number in statuses.items())
        console.print("; ".join([f"{done} ({how})" if how else done, *others]))


def _print_table(jobs: Sequence[Job]) -> None:
    if jobs[0].execution.show == "runs":
        columns = ["run", "status", "epochs", "val_loss", "val_accuracy", "seconds"]
        return print_table(console, columns, [_cells(job) for job in jobs])
    with busy(f"reading the results of {count(len(jobs), 'run')}"):
        # These imports take a second, which a sweep need not wait for at its start.
        from fmnist_sweep.store.summary import summary
        from fmnist_sweep.store.tables import gather

        table = summary(gather(job.directory for job in jobs))
    if table.empty:
        return None
    print_leaderboard(console, table, SHOWN)
    if len(table) > SHOWN:
        console.print(
            f"and {count(len(table) - SHOWN, 'configuration')} more: {sweep_program()} ls {jobs[0].directory.parent}"
        )
    return None


def _cells(job: Job) -> list[str]:
    directory = RunDirectory(job.directory)
    metrics, seconds = directory.metrics(), directory.seconds()
    last = [f"{metrics[-1, column]:.4f}" for column in (_LOSS, _ACCURACY)] if len(metrics) else ["", ""]
    elapsed = f"{seconds[-1]:.1f}" if len(seconds) else ""
    return [job.name, directory.inspect().status or "not started", f"{len(metrics)}/{job.epochs}", *last, elapsed]
