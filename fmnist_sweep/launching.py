"""Carry out jobs: a single run in this process, a sweep in worker processes.

The parent plans and watches; workers train and write. They talk through the store alone: the parent reads the rows
that workers append, so a worker that is killed takes nothing with it but its own stack.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from fmnist_sweep import data, planning, store
from fmnist_sweep.composing import Composer
from fmnist_sweep.config import Config, parse, resolve_device, run_name
from fmnist_sweep.data import DataError
from fmnist_sweep.errors import ConfigError, RunError, one_line
from fmnist_sweep.planning import Job, Plan, Trajectory
from fmnist_sweep.progress import RunBar, SweepDisplay, print_plan
from fmnist_sweep.store import RunDirectory

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Of a core's best matrix product, what training and evaluation reach: see docs/benchmark.md.
EXPECTED_SHARE = 0.54


def make_job(composed: DictConfig | Config, directory: Path) -> Job:
    """The job for a configuration; `ConfigError` where its directory holds another run."""
    config = parse(composed) if isinstance(composed, DictConfig) else composed
    job = Job(config, run_name(config), directory.absolute())
    holds = RunDirectory(job.directory).name()
    if holds not in (None, job.name) and not config.rerun:
        raise ConfigError(f"hydra.run.dir={directory}: holds the run {holds}; choose another folder, or rerun=true")
    return job


def run_alone(config: Config, directory: Path) -> float | None:
    """Train one run in this process, or find it done. Returns its final validation loss, None for a dry run.

    Raises:
        RunError: it diverged, failed or was stopped.
        ConfigError: its directory holds another run.
        DataError: there are no data.
    """
    job = make_job(config, directory)
    if config.dry_run:
        _show(_plan([job]), resolve_device(config.device))
        return None
    folder = data.prepare(Path(config.data.dir) if config.data.dir else None)

    from fmnist_sweep import worker

    worker.prepare_process()
    signal.signal(signal.SIGINT, worker.stop_at_epoch_end_or_now)
    with RunBar(job) as bar:
        while worker.train_stack([[job]], folder, on_epoch=bar.update) and not worker.stopping():
            bar.wait()  # another process is training this very run
            time.sleep(POLL_SECONDS)
    loss = outcome(job)
    log.info("%s is done: validation loss %.4f; see %s", job.name, loss, job.directory)
    return loss


def outcome(job: Job) -> float:
    """The final validation loss of a run that is done; `RunError` says why another is not."""
    directory = RunDirectory(job.directory)
    found = directory.look()
    if found.status != "done":
        raise RunError(f"{job.name} {found.status or 'was not trained'}: {found.error or 'see its directory'}")
    return float(directory.read_rows("metrics.csv")[job.epochs - 1][5])


def _data_folders(jobs: Sequence[Job]) -> dict[str | None, Path]:
    """The verified folder behind each `data.dir`; runs whose data cannot be had are marked as failed.

    Raises:
        DataError: no run's data can be had.
    """
    folders, errors = {}, {}
    for name in {job.config.data.dir: None for job in jobs}:
        try:
            folders[name] = data.prepare(Path(name) if name else None)
        except DataError as error:
            errors[name] = error
    if not folders:
        raise next(iter(errors.values()))
    for job in jobs:
        finished = RunDirectory(job.directory).status() in store.FINISHED
        if job.config.data.dir in errors and not finished:
            _mark_failed(job, one_line(errors[job.config.data.dir]))
    return folders


def _mark_failed(job: Job, reason: str) -> None:
    from fmnist_sweep import worker

    job.directory.mkdir(parents=True, exist_ok=True)
    worker.write_failure(job, reason)


def _plan(jobs: Sequence[Job]) -> Plan:
    """Plan jobs from what their stores hold."""
    config = jobs[0].config
    siblings = {parent: store.runs_by_trajectory(parent) for parent in {job.directory.parent for job in jobs}}
    trajectories = []
    for group in planning.group(jobs):
        parent, name = group[0].trajectory
        paths = {*siblings[Path(parent)].get(name, []), *(job.directory for job in group)}
        found = {} if config.rerun else {path: RunDirectory(path).look() for path in paths}
        trajectories.append(planning.trajectory(group, found))
    device = resolve_device(config.device)
    largest_stack = planning.CPU_STACK if device == "cpu" else planning.ACCELERATOR_STACK
    return planning.plan(trajectories, _workers(config.workers, device), largest_stack)


def _show(plan: Plan, device: str) -> None:
    """Print a plan, with the time that it should take on a CPU as fast as this one is now."""
    seconds = None
    if device == "cpu" and plan.stacks:
        from fmnist_sweep import machine

        costs = [planning.stack_cost(stack) for stack in plan.stacks]
        seconds = max(sum(costs) / plan.workers, max(costs)) / (EXPECTED_SHARE * machine.products_per_second())
    print_plan(plan, seconds)


def _workers(wanted: int | None, device: str) -> int:
    """How many stacks train at a time: one a core, or one on an accelerator, which a wide stack fills."""
    if wanted is not None:
        return wanted
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Task:
    """A stack that a worker has or will have."""

    stack: Sequence[Trajectory]
    groups: list[list[Job]]
    future: ProcessFuture[list[int]]
    ended: bool = False


class Sweep:
    """The parent's side of a sweep, and what the stacked launcher asks for: see hydra_plugins/stacked_launcher.py.

    A context manager, since it holds worker processes. They start at once, so that they load torch while the jobs
    are composed and checked.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, jobs: int):
        self.compose = Composer(loader, master).compose
        self.make_job = make_job
        self.outcome = outcome
        self.workers = min(_workers(master.workers, resolve_device(master.device)), jobs)
        # Before torch loads in the workers: their products take one thread each, see worker.prepare_process.
        os.environ["OMP_NUM_THREADS"] = "1"
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(self.workers, context=context, initializer=_prepare_worker)
        if not master.dry_run:
            self._pool.schedule(_prepare_worker)
        self._tasks: list[_Task] = []
        self._interrupts = 0

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.stop()
        self._pool.join()

    def train(self, jobs: Sequence[Job]) -> bool:
        """Train the jobs, as stacks. Returns False for a dry run, which prints the plan instead.

        Failures of runs are kept in their directories, where `outcome` finds them.

        Raises:
            KeyboardInterrupt: the user stopped it; what was in training has a checkpoint.
        """
        if jobs[0].config.dry_run:
            _show(_plan(jobs), resolve_device(jobs[0].config.device))
            return False
        for store_folder in {job.directory.parent for job in jobs}:
            store_folder.mkdir(parents=True, exist_ok=True)
        self._folders = _data_folders(jobs)
        trainable = [job for job in jobs if job.config.data.dir in self._folders]
        handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with SweepDisplay(jobs) as display:
                self._train_until_done(trainable, display)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self._interrupts:
            raise KeyboardInterrupt
        return True

    def _train_until_done(self, jobs: Sequence[Job], display: SweepDisplay) -> None:
        """Train; then again what other processes held, once they have let go of it."""
        while jobs and not self._interrupts:
            plan = _plan(jobs)
            display.start(plan)
            busy = self._settle(plan.idle) + self._train(plan, display)
            jobs = [job for group in busy for job in group]
            if jobs:
                display.say(f"another process is training {len(jobs)} of these runs: waiting for it")
                time.sleep(2 * POLL_SECONDS)

    def _settle(self, idle: Sequence[Trajectory]) -> list[list[Job]]:
        """Write the runs that are cut from longer ones. Returns those that another process holds."""
        from fmnist_sweep import worker

        cut = [[job for job, _ in trajectory.cut] for trajectory in idle if trajectory.cut]
        return [group for group in cut if worker.train_stack([group], self._folders[group[0].config.data.dir])]

    def _train(self, plan: Plan, display: SweepDisplay) -> list[list[Job]]:
        """Train the stacks of a plan. Returns the jobs that other processes hold."""
        from fmnist_sweep import worker

        self._tasks = []
        for stack in plan.stacks:
            groups = [[*(job for job, _ in member.cut), *member.train] for member in stack]
            folder = self._folders[groups[0][0].config.data.dir]
            future = self._pool.schedule(worker.train_stack, args=(groups, folder, os.getpid()))
            self._tasks.append(_Task(stack, groups, future))
        busy: list[list[Job]] = []
        while not all(task.ended for task in self._tasks) and self._interrupts < 2:
            time.sleep(POLL_SECONDS)
            for task in self._tasks:
                if task.future.done() and not task.ended:
                    task.ended = True
                    busy += self._end(task, display)
            display.update([task.stack for task in self._tasks if task.future.running()])
        return busy

    def _end(self, task: _Task, display: SweepDisplay) -> list[list[Job]]:
        """Take a task's result. Returns the jobs that another process holds."""
        try:
            return [task.groups[index] for index in task.future.result()]
        except CancelledError:
            return []
        except ProcessExpired as error:
            reason = f"its worker died (exit code {error.exitcode}); the same command goes on from its checkpoint"
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
        for job in (job for group in task.groups for job in group):
            if RunDirectory(job.directory).status() not in (*store.FINISHED, "failed"):
                _mark_failed(job, reason)
        return []

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        for task in self._tasks:
            if not task.future.running():
                task.future.cancel()
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGINT if self._interrupts == 1 else signal.SIGKILL)
        if self._interrupts == 1:
            print("\nstopping at the end of the epoch; once more to stop now", file=sys.stderr)


def _prepare_worker() -> None:
    from fmnist_sweep import worker

    worker.prepare_process()
