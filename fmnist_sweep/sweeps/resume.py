"""Decide from which checkpoint each model resumes. The caller holds the lock of the runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from fmnist_sweep.config.schema import device_type
from fmnist_sweep.engine.checkpoints import Checkpoint
from fmnist_sweep.engine.machine import cpu
from fmnist_sweep.engine.training import start
from fmnist_sweep.store import layout, run_directory
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps import plan
from fmnist_sweep.sweeps.plan import Job
from fmnist_sweep.sweeps.recording import elapsed, keep_failure, write_record

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT = 1

Begun = tuple[list[Job], Checkpoint]  # the runs of one model, and the checkpoint it starts from


def take_up(jobs: Sequence[Job], begun: list[Begun], later: list[tuple[Job, ...]]) -> None:
    """Complete the runs that need no training, and add the other runs to `begun` or `later`.

    Call this with the lock of the runs held. A run whose directory belongs to another run is skipped; `jobs.outcome`
    reports it.
    """
    jobs = [job for job in jobs if RunDirectory(job.directory).occupant(job.name) is None]
    if not jobs:
        return
    if jobs[0].execution.rerun:
        for job in jobs:
            with apart(job):
                _claim(job)
                RunDirectory(job.directory).reset()
    trajectory = plan.trajectory(jobs, plan.look(jobs, run_directory.runs_by_trajectory(jobs[0].directory.parent)))
    version = checkpoint_version(device_type(jobs[0].execution.device))
    for job in jobs:
        RunDirectory(job.directory).sweep_up()
    for job, longer in trajectory.cut:
        with apart(job):
            rows = RunDirectory(longer).first_rows(job.epochs, version, job.config)
            if rows is None:  # a checkpoint was damaged and has been set aside: decide again
                return take_up(jobs, begun, later)
            directory = RunDirectory(job.directory)
            if directory.record() is None:
                _claim(job)
            directory.write_rows(*rows)
            record = RunDirectory(longer).record()
            trained_on = record.environment.get("cpu") if record else None
            files, seconds = layout.csv_files(*rows), elapsed(directory)
            write_record(job, "done", job.epochs, seconds, cut_from=longer.name, cpu=trained_on, files=files)
    if not trajectory.train:
        return
    loaded = (RunDirectory(path).load_checkpoint(epoch, version, jobs[0].config) for epoch, path in trajectory.sources)
    checkpoint = next(filter(None, loaded), None) or Checkpoint(start(jobs[0].config), [], [], cpu())
    if checkpoint.cpu and not checkpoint.cpu.endswith(cpu()):
        # Another CPU type may change the last digits. That costs less than starting again, as long as we report it.
        log.warning("%s: started on %s, continues on %s: bytes may differ", jobs[0].name, checkpoint.cpu, cpu())
        checkpoint.cpu += f", then {cpu()}"
    waiting = list(trajectory.train)
    for job in trajectory.train:
        directory = RunDirectory(job.directory)
        with apart(job, waiting):
            if directory.record() is None:
                _claim(job)
            directory.write_rows(checkpoint.metrics, checkpoint.seconds)
            write_record(job, "running", checkpoint.progress.epoch, elapsed(directory), cpu=checkpoint.cpu)
    if waiting:
        begun.append((waiting, checkpoint))
    if trajectory.later:
        later.append(trajectory.later)


def _claim(job: Job) -> None:
    """Write run.json before anything else, so that the directory is known to belong to this run."""
    run_directory.make_folder(job.directory)
    write_record(job, "running", 0, 0.0)


@contextmanager
def apart(job: Job, waiting: list[Job] | None = None) -> Iterator[None]:
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
