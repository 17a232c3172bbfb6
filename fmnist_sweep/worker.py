"""Train one stack in this process and keep its runs' directories.

The process holds the lock of every trajectory that it trains, and looks at the store only once it holds it: what the
plan said may have changed since. It stops at the end of an epoch, with a checkpoint, when asked to or when the
process that started it is gone.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import torch

from fmnist_sweep import planning, store
from fmnist_sweep.config import identity, resolve_device
from fmnist_sweep.data import Data, load
from fmnist_sweep.machine import environment
from fmnist_sweep.planning import Job
from fmnist_sweep.store import Checkpoint, Found, RunDirectory
from fmnist_sweep.training import Metrics, Trainer, start

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 10.0
CHECKPOINT_FORMAT = 1

_stop = False


def stop_at_epoch_end(*_: object) -> None:
    """Signal handler: finish the epoch, keep a checkpoint, stop."""
    global _stop
    _stop = True


def stop_at_epoch_end_or_now(*_: object) -> None:
    """Signal handler of a single run: the same, and where that was asked for already, stop at once."""
    if _stop:
        raise KeyboardInterrupt
    print("\nstopping at the end of the epoch; once more to stop now", file=sys.stderr)
    stop_at_epoch_end()


def stopping() -> bool:
    """Whether this process has been asked to stop."""
    return _stop


def prepare_process() -> None:
    """Set up a process for training: products with several threads would round by their number; SIGINT waits."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, stop_at_epoch_end)


@dataclass
class _Member:
    """One model of a stack in training."""

    waiting: list[Job]  # the runs that it feeds, shortest first
    metrics: list[Metrics]
    seconds: list[float]
    saved: float = field(default_factory=time.monotonic)

    @property
    def longest(self) -> Job:
        return self.waiting[-1]


def train_stack(
    groups: Sequence[Sequence[Job]],
    data_folder: Path,
    parent: int | None = None,
    on_epoch: Callable[[Metrics], None] | None = None,
) -> list[int]:
    """Train trajectories as one stack until all their runs have ended or this process is asked to stop.

    Args:
        groups: the jobs of each trajectory, shortest first.
        data_folder: where the verified files are.
        parent: stop when this is no longer the parent process.
        on_epoch: called with each new row of each model.

    Returns:
        Indices of the trajectories that another process is training: they are left alone.
    """
    if stopping():
        return []
    config = groups[0][0].config
    device = torch.device(resolve_device(config.device))
    busy = []
    with ExitStack() as locks:
        members = []
        for index, jobs in enumerate(groups):
            lock = store.lock(jobs[-1].directory, jobs[-1].name)
            try:
                locks.enter_context(lock.acquire(timeout=0))
            except filelock.Timeout:
                busy.append(index)
                continue
            try:
                member = _take_up(jobs, device)
            except OSError as error:  # what cannot be read of a trajectory concerns its runs alone
                for job in jobs:
                    if RunDirectory(job.directory).status() not in store.FINISHED:
                        _keep_failure(job, error)
                continue
            if member is not None:
                members.append(member)
        if members:
            data = load(data_folder, config.data.validation, device, config.data.mean, config.data.std)
            _Session(members, data, parent, on_epoch).run()
    return busy


def _take_up(jobs: Sequence[Job], device: torch.device) -> tuple[_Member, Checkpoint] | None:
    """Settle what needs no training; return the model that does, and where it starts."""
    rerun = jobs[0].config.rerun
    if rerun:
        for job in jobs:
            with _apart(job):
                RunDirectory(job.directory).reset()
    trajectory = planning.trajectory(jobs, {} if rerun else look(jobs))
    for job, longer in trajectory.cut:
        directory = RunDirectory(job.directory)
        with _apart(job):
            directory.cut_from(RunDirectory(longer), job.epochs)
            directory.write_status("done", **_record(job, job.epochs, _elapsed(directory), cut_from=longer.name))
    if not trajectory.train:
        return None
    loaded = (
        RunDirectory(path).load_checkpoint(epoch, checkpoint_version(device)) for epoch, path in trajectory.sources
    )
    checkpoint = next(filter(None, loaded), None) or Checkpoint(start(jobs[0].config), [], [])
    waiting = list(trajectory.train)
    for job in trajectory.train:
        directory = RunDirectory(job.directory)
        with _apart(job, waiting):
            directory.write_rows(checkpoint.metrics, checkpoint.seconds)
            directory.write_status("running", **_record(job, checkpoint.progress.epoch, _elapsed(directory)))
    return (_Member(waiting, checkpoint.metrics, checkpoint.seconds), checkpoint) if waiting else None


@contextmanager
def _apart(job: Job, waiting: list[Job] | None = None) -> Iterator[None]:
    """What cannot be written within is this run's failure alone; it leaves those that wait for more epochs."""
    try:
        yield
    except OSError as error:
        _keep_failure(job, error)
        if waiting is not None:
            waiting.remove(job)


def look(jobs: Sequence[Job]) -> dict[Path, Found]:
    """What the store holds of these jobs' trajectory, runs not asked for included."""
    parent, name = jobs[0].trajectory
    paths = {*store.runs_by_trajectory(Path(parent)).get(name, []), *(job.directory for job in jobs)}
    return {path: RunDirectory(path).look() for path in sorted(paths)}


def checkpoint_version(device: torch.device) -> str:
    """What a checkpoint must agree with to be continued: another torch rounds otherwise."""
    return f"{CHECKPOINT_FORMAT}/torch {torch.__version__}/{device.type}"


class _Session:
    """The loop over epochs for one stack, and what is kept after each."""

    def __init__(
        self,
        members: Sequence[tuple[_Member, Checkpoint]],
        data: Data,
        parent: int | None,
        on_epoch: Callable[[Metrics], None] | None,
    ):
        self.members = [member for member, _ in members]
        self.data = data
        self.parent = parent
        self.on_epoch = on_epoch
        configs = [member.longest.config for member in self.members]
        self.trainer = Trainer(configs, [checkpoint.progress for _, checkpoint in members], data)

    def run(self) -> None:
        try:
            self._end_runs()
            while self.members:
                if stopping() or (self.parent is not None and os.getppid() != self.parent):
                    self._interrupt()
                    return
                before = time.perf_counter()
                rows = self.trainer.train_epoch()
                share = (time.perf_counter() - before) / len(rows)
                self._keep(rows, share)
                self._end_runs()
        except Exception as error:
            for k in range(len(self.members)):
                self._fail(k, error)
            raise

    def _keep(self, rows: Sequence[Metrics], seconds: float) -> None:
        """Append each model's row to the runs that it feeds; save a checkpoint where one is due."""
        for k, (member, row) in enumerate(zip(self.members, rows, strict=True)):
            if self.trainer.errors[k] is not None:
                continue  # its epoch is not whole
            member.metrics.append(row)
            member.seconds.append((member.seconds[-1] if member.seconds else 0.0) + seconds)
            for job in list(member.waiting):
                with _apart(job, member.waiting):
                    RunDirectory(job.directory).append_row(row, member.seconds[-1])
            if member.waiting and time.monotonic() - member.saved > CHECKPOINT_SECONDS:
                with _apart(member.longest, member.waiting):
                    self._checkpoint(k, member.longest)
            if self.on_epoch is not None:
                self.on_epoch(row)

    def _checkpoint(self, k: int, job: Job) -> None:
        member = self.members[k]
        checkpoint = Checkpoint(self.trainer.progress(k), member.metrics, member.seconds)
        version = checkpoint_version(self.data.train_images.device)
        RunDirectory(job.directory).save_checkpoint(checkpoint, version)
        member.saved = time.monotonic()

    def _end_runs(self) -> None:
        """Finish the runs whose last epoch this was, drop models that feed no run any more or have diverged."""
        ending = {}
        for k, member in enumerate(self.members):
            error, epoch = self.trainer.errors[k], self.trainer.epochs[k]
            if error is not None:
                self._fail(k, error)
                member.waiting.clear()
            elif member.metrics and not member.metrics[-1].finite:
                message = f"the loss is not finite after epoch {epoch}; try a smaller learning rate"
                for job in member.waiting:
                    with _apart(job):
                        self._finish(member, job, "diverged", message)
                member.waiting.clear()
            elif jobs := [job for job in member.waiting if job.epochs <= epoch]:
                ending[k] = jobs
        if ending:
            self._complete(ending)
        kept = [k for k, member in enumerate(self.members) if member.waiting]
        if len(kept) < len(self.members):
            self.members = [self.members[k] for k in kept]
            if kept:
                self.trainer.keep(kept)

    def _complete(self, ending: dict[int, list[Job]]) -> None:
        """Keep the last things of runs at their end: checkpoint, predictions, the test set's one evaluation."""
        data = self.data
        predictions = self.trainer.evaluate(data.val_images, data.val_labels).predictions
        held_out = None
        if data.test_images is not None and data.test_labels is not None:
            held_out = self.trainer.evaluate(data.test_images, data.test_labels)
        for k, jobs in ending.items():
            member, test = self.members[k], None
            if held_out is not None:
                test = {"loss": float(held_out.loss[k]), "accuracy": float(held_out.accuracy[k])}
            for job in jobs:
                with _apart(job):
                    self._checkpoint(k, job)
                    RunDirectory(job.directory).write_predictions(predictions[k].numpy())
                    self._finish(member, job, "done", None, test)
                member.waiting.remove(job)

    def _finish(
        self, member: _Member, job: Job, status: str, error: str | None, test: dict[str, float] | None = None
    ) -> None:
        elapsed = member.seconds[-1] if member.seconds else 0.0
        record = _record(job, len(member.metrics), elapsed, error=error, test=test)
        RunDirectory(job.directory).write_status(status, **record)

    def _interrupt(self) -> None:
        for k, member in enumerate(self.members):
            with _apart(member.longest, member.waiting):
                self._checkpoint(k, member.longest)
            for job in member.waiting:
                with _apart(job):
                    self._finish(member, job, "interrupted", "stopped; the same command goes on from here")

    def _fail(self, k: int, error: BaseException) -> None:
        for job in self.members[k].waiting:
            _keep_failure(job, error)


def _keep_failure(job: Job, error: BaseException) -> None:
    """Leave a failure's traceback and reason in the run's directory, as far as that can be written."""
    try:
        RunDirectory(job.directory).write_traceback("".join(traceback.format_exception(error)))
        write_failure(job, f"{type(error).__name__}: {error}".splitlines()[0])
    except OSError:
        log.exception("%s: its failure cannot be kept there", job.directory)


def write_failure(job: Job, reason: str) -> None:
    """Mark a run as failed, with the epochs that it has."""
    directory = RunDirectory(job.directory)
    record = _record(job, len(directory.read_rows("timing.csv")), _elapsed(directory), error=reason)
    directory.write_status("failed", **record)


def _elapsed(directory: RunDirectory) -> float:
    """Seconds of training that a run's rows took."""
    rows = directory.read_rows("timing.csv")
    return float(rows[-1][1]) if rows else 0.0


def _record(
    job: Job,
    epochs_done: int,
    seconds: float,
    error: str | None = None,
    test: dict[str, float] | None = None,
    cut_from: str | None = None,
) -> dict[str, object]:
    """What run.json says besides the status."""
    return {
        "name": job.name,
        "error": error,
        "epochs_done": epochs_done,
        "seconds": round(seconds, 3),
        "cut_from": cut_from,
        "test": test,
        "config": identity(job.config),
        "environment": environment(resolve_device(job.config.device)),
    }
