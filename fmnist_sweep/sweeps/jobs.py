"""Make jobs from composed configurations, show their plan, find their data and return their results."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import filelock
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from fmnist_sweep import data
from fmnist_sweep.config import hydra_private, trackers
from fmnist_sweep.config.compose import Composer, name_of
from fmnist_sweep.config.messages import reason
from fmnist_sweep.config.schema import Config, Execution, agree, device_type, resolve_device
from fmnist_sweep.console import busy, output
from fmnist_sweep.data import DataError
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import ConfigError, RunError, count
from fmnist_sweep.stopping import STOPPED
from fmnist_sweep.store import run_directory
from fmnist_sweep.store.layout import FINISHED, is_ours
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps.executors import Executor
from fmnist_sweep.sweeps.plan import Job, Plan, keep_apart, plan_jobs, stack_cost, workers
from fmnist_sweep.sweeps.progress import plan_cost, plan_details, plan_sentence


def make_job(config: Config, execution: Execution, directory: Path, *, here: bool = True) -> Job:
    """Check that a configuration can be carried out, and return its job.

    Args:
        directory: the directory of the run.
        here: True if this machine trains the job.

    Raises:
        ConfigError: the configuration cannot work, or its directory is not free for it.
    """
    for name in trackers.chosen(execution.tracker):
        trackers.check(name)
    if here:
        resolve_device(execution.device)
    job = Job(config, execution, name_of(config, execution), directory.absolute())
    places = [directory.parent / ".locks", directory.parent / ".slurm"] if directory.name == job.name else []
    if os.path.lexists(directory):
        places += [directory] if directory.name == job.name else []
        places += [path for path in directory.glob("*") if is_ours(path.name) or path.name in (".hydra", "run.log")]
    for path in filter(os.path.islink, places):
        raise ConfigError(
            f"{path}: is a symbolic link, so the run would write elsewhere; replace it by what it points to"
        )
    _refuse_occupied(job)
    return job


def _refuse_occupied(job: Job) -> None:
    """Raise `ConfigError` if the job's directory belongs, or may belong, to another run."""
    if (occupant := RunDirectory(job.directory).occupant(job.name)) is not None:
        raise ConfigError(
            f"{job.directory}: {occupant}; choose another folder with hydra.run.dir (in a sweep hydra.sweep.subdir), "
            "or move away what is there"
        )


def make_folder_of(job: Job) -> None:
    """Make the parent folder of a run's directory. Raise `ConfigError` if it cannot be written."""
    folder = job.directory.parent
    try:
        run_directory.make_folder(folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except OSError as error:
        key = "hydra.sweep.dir" if job.directory.name == job.name else "hydra.run.dir"
        raise ConfigError(f"{error.filename}: {error.strerror}; choose another folder with {key}=FOLDER") from error


def show_plan(jobs: Sequence[Job], executor: Executor | None = None) -> None:
    """Print what would be trained, by `executor` or else by this process, an estimate of the time, and what to do next.

    This is the answer to `dry_run=true`, so it goes to standard output.
    """
    execution = jobs[0].execution
    with busy(f"planning {count(len(jobs), 'run')}"):
        plan = plan_jobs(jobs, executor.slots if executor else workers(execution))
        seconds = estimate(plan) if device_type(execution.device) == "cpu" else None
        lines = plan_details(plan) if execution.show == "plan" else []
        lines.append(plan_sentence(jobs, plan, seconds))
    if executor:
        lines.append(plan_cost(plan, seconds, executor.tasks_of_job))
    if plan.epochs_left:
        detail = "" if execution.show == "plan" else "; show=plan lists what each run needs"
        lines.append(f"to train: the same command without dry_run=true{detail}")
    for line in lines:
        output.print(line)


def find_data(jobs: Sequence[Job]) -> dict[str | None, Path]:
    """Return the verified data folder for each `data.dir`, and mark runs without data as failed.

    Raises:
        DataError: there are no data for any run.
    """
    folders, errors = {}, {}
    for name in dict.fromkeys(job.execution.data_dir for job in jobs):
        try:
            folders[name] = data.prepare(Path(name) if name else None)
        except DataError as error:
            errors[name] = error
    if not folders:
        raise next(iter(errors.values()))
    for job in jobs:
        if job.execution.data_dir in errors:
            mark_failed(job, reason(errors[job.execution.data_dir]))
    return folders


def mark_failed(job: Job, why: str) -> None:
    """Write in a run's directory that the run failed, unless it is finished."""
    from fmnist_sweep.sweeps.recording import write_ending

    if RunDirectory(job.directory).status() not in FINISHED:
        job.directory.mkdir(parents=True, exist_ok=True)
        write_ending(job, "failed", why)


def failed(jobs: Sequence[Job]) -> dict[Job, str]:
    """Return those of the jobs that are marked as failed, with the reason."""
    records = {job: RunDirectory(job.directory).record() for job in jobs}
    return {job: f"{job.name} failed: {one.error}" for job, one in records.items() if one and one.status == "failed"}


def mark_interrupted(jobs: Sequence[Job]) -> None:
    """Mark runs as interrupted if their status is "running" but no process is training them."""
    from fmnist_sweep.sweeps.recording import write_ending

    for job in jobs:
        directory = RunDirectory(job.directory)
        if directory.status() == "running":
            with (
                suppress(filelock.Timeout),
                run_directory.lock(job.directory, job.name, job.execution.lock).acquire(timeout=0),
            ):
                if directory.status() == "running":  # read again: another process may have held the lock in between
                    write_ending(job, "interrupted", STOPPED)


def outcome(job: Job) -> float | None:
    """Return the final validation loss of a run that is done; None for a run that `retry=failed` skips.

    Raises:
        ConfigError: another run has taken the directory since the job was made.
        RunError: the run failed or diverged, or was not trained.
    """
    _refuse_occupied(job)
    directory = RunDirectory(job.directory)
    found = directory.inspect()
    if job.execution.retry == "failed" and found.status not in ("done", "failed", "diverged"):
        return None
    if found.status != "done":
        raise RunError(f"{job.name} {found.status or 'was not trained'}: {found.error or 'see its directory'}")
    return float(directory.metrics()[job.epochs - 1, MEASURES.index("val_loss")])


# Training and evaluation reach this share of a core's best matrix product: see docs/explanation/benchmark.md.
EXPECTED_SHARE = 0.64


def estimate(plan: Plan) -> list[float]:
    """Estimate the seconds that each stack of a plan takes on one core, at the speed that this machine has now."""
    from fmnist_sweep.engine.machine import products_per_second

    rate = EXPECTED_SHARE * products_per_second() if plan.stacks else 1
    return [stack_cost(stack) / rate for stack in plan.stacks]


def check_jobs(jobs: Sequence[Sequence[str]], loader: ConfigLoader, master: DictConfig) -> None:
    """Compose and check every job of a sweep.

    Hydra rehearses only the first job, because all jobs share its Hydra settings.

    Raises:
        Exception: a job cannot work; `messages.reason` describes the error in one line.
    """
    composer = Composer(loader, master)
    wanted = []
    for number, overrides in enumerate(jobs):
        job = composer.job(overrides, number)
        wanted.append(Job(job.config, job.execution, name_of(job.config, job.execution), job.directory))
        if number == 0:
            hydra_private.rehearse(job.hydra, loader)
    agree([job.execution for job in wanted])
    keep_apart(wanted)
