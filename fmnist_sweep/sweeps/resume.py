"""Save and load checkpoints, and decide from which one each model resumes. The caller holds the lock of the runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from fmnist_sweep.config.schema import Config, device_type
from fmnist_sweep.engine import checkpoints
from fmnist_sweep.engine.checkpoints import Checkpoint
from fmnist_sweep.engine.machine import cpu
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.training import start
from fmnist_sweep.store import layout, run_directory
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps import plan
from fmnist_sweep.sweeps.plan import Job
from fmnist_sweep.sweeps.recording import elapsed, keep_failure, write_record

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT = 1

Begun = tuple[list[Job], Checkpoint]  # the runs of one model, and the checkpoint it starts from


def resume_trajectory(jobs: Sequence[Job], begun: list[Begun], later: list[tuple[Job, ...]]) -> None:
    """Complete the runs that need no training, and add the other runs to `begun` or `later`.

    Call this with the lock of the runs held. A run whose directory belongs to another run is skipped; `jobs.outcome`
    reports it.
    """
    jobs = [job for job in jobs if RunDirectory(job.directory).occupant(job.name) is None]
    if not jobs:
        return
    if jobs[0].execution.rerun:
        for job in jobs:
            with isolate_failure(job):
                _claim(job)
                RunDirectory(job.directory).reset()
    there = run_directory.runs_by_trajectory(jobs[0].directory.parent)
    trajectory = plan.plan_trajectory(jobs, plan.inspect(jobs, there))
    version = checkpoint_version(device_type(jobs[0].execution.device))
    for job in jobs:
        RunDirectory(job.directory).sweep_up()
    for job, longer in trajectory.cut:
        with isolate_failure(job):
            rows = first_rows(RunDirectory(longer), job.epochs, version, job.config)
            if rows is None:  # a checkpoint was damaged and has been set aside: decide again
                return resume_trajectory(jobs, begun, later)
            directory = RunDirectory(job.directory)
            if directory.record() is None:
                _claim(job)
            tests = job.config.data.tests_every_epoch
            directory.write_rows(*rows, tests=tests)
            record = RunDirectory(longer).record()
            trained_on = record.environment.get("cpu") if record else None
            files, seconds = layout.csv_files(*rows, tests=tests), elapsed(directory)
            write_record(job, "done", job.epochs, seconds, cut_from=longer.name, cpu=trained_on, files=files)
    if not trajectory.train:
        return
    loaded = (load_checkpoint(RunDirectory(path), epoch, version, jobs[0].config) for epoch, path in trajectory.sources)
    checkpoint = next(filter(None, loaded), None) or Checkpoint(start(jobs[0].config), [], [], cpu())
    if checkpoint.cpu and not checkpoint.cpu.endswith(cpu()):
        # Another CPU type may change the last digits. That costs less than starting again, as long as we report it.
        log.warning("%s: started on %s, continues on %s: bytes may differ", jobs[0].name, checkpoint.cpu, cpu())
        checkpoint.cpu += f", then {cpu()}"
    waiting = list(trajectory.train)
    for job in trajectory.train:
        directory = RunDirectory(job.directory)
        with isolate_failure(job, waiting):
            if directory.record() is None:
                _claim(job)
            directory.write_rows(checkpoint.metrics, checkpoint.seconds, tests=job.config.data.tests_every_epoch)
            write_record(job, "running", checkpoint.progress.epoch, elapsed(directory), cpu=checkpoint.cpu)
    if waiting:
        begun.append((waiting, checkpoint))
    if trajectory.later:
        later.append(trajectory.later)


def save_checkpoint(directory: RunDirectory, checkpoint: Checkpoint, version: str) -> None:
    """Write a checkpoint to a run's directory. Loading requires the same version; see `checkpoint_version`."""
    directory.write_checkpoint(checkpoint.progress.epoch, checkpoints.encode(checkpoint, version))


def load_checkpoint(directory: RunDirectory, epoch: int, version: str, config: Config) -> Checkpoint | None:
    """Load the checkpoint of an epoch.

    If it is damaged, or of another version or configuration, rename it to `.bad`, warn and return None.
    """
    try:
        content = directory.read_checkpoint(epoch, checkpoints.most_bytes(config))
        return checkpoints.decode(content, version, config, epoch)
    except Exception as error:  # a file from anyone may raise any exception
        directory.set_aside(epoch, str(error))
        return None


def first_rows(
    directory: RunDirectory, epochs: int, version: str, config: Config
) -> tuple[list[Metrics], list[float]] | None:
    """Return the metrics and times of a run's first `epochs`, from its CSV files or its newest checkpoint.

    Return None if that checkpoint cannot be loaded. `Found.reach` must be at least `epochs`.

    Raises:
        ValueError: the rows can no longer be read.
    """
    found = directory.inspect()
    rows, times = directory.metrics()[:epochs].tolist(), directory.seconds()[:epochs].tolist()
    if found.rows >= epochs and len(rows) == len(times) == epochs:  # reading may have failed since `look`
        return [Metrics(epoch, *row) for epoch, row in enumerate(rows, 1)], times
    newest = max(found.checkpoints, default=0)
    if newest < epochs:
        raise ValueError(f"{directory.path.name}: the rows of its first {epochs} epochs cannot be read")
    checkpoint = load_checkpoint(directory, newest, version, config)
    return None if checkpoint is None else (checkpoint.metrics[:epochs], checkpoint.seconds[:epochs])


def _claim(job: Job) -> None:
    """Write run.json before anything else, so that the directory is known to belong to this run."""
    run_directory.make_folder(job.directory)
    write_record(job, "running", 0, 0.0)


@contextmanager
def isolate_failure(job: Job, waiting: list[Job] | None = None) -> Iterator[None]:
    """Record an `OSError` or `ValueError` of the block as this run's failure, and remove the run from `waiting`."""
    try:
        yield
    except (OSError, ValueError) as error:
        keep_failure(job, error)
        if waiting is not None:
            waiting.remove(job)


def checkpoint_version(device: str) -> str:
    """Return the version string that a checkpoint must have to be continued on a device type.

    It names the torch version, because another version may round differently.
    """
    return f"{CHECKPOINT_FORMAT}/torch {torch.__version__}/{device}"
