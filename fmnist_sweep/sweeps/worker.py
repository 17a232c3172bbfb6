"""Train one stack in this process and keep its runs' directories.

The process holds the lock of every trajectory that it trains. It reads the store only after it has taken the lock,
because the store may have changed since the plan was made. When it is asked to stop, it finishes the current epoch and
saves a checkpoint.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import numpy as np
import torch
from numpy.typing import NDArray

from fmnist_sweep.config.schema import resolve_device
from fmnist_sweep.data import Data, load, prepare
from fmnist_sweep.engine.accelerators import step_key
from fmnist_sweep.engine.checkpoints import Checkpoint
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.training import Model, Progress, Trainer
from fmnist_sweep.stopping import STOPPED
from fmnist_sweep.store import layout, run_directory
from fmnist_sweep.store.layout import FINISHED, Status, Test
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps.plan import Job
from fmnist_sweep.sweeps.recording import keep_failure, write_record
from fmnist_sweep.sweeps.resume import Begun, checkpoint_version, isolate_failure, resume_trajectory, save_checkpoint

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 10.0

OnEpoch = Callable[[Metrics], None]


@dataclass(eq=False)
class StackMember:
    """One model of a stack in training."""

    model: Model
    waiting: list[Job]  # the unfinished runs that this model trains, shortest first
    metrics: list[Metrics]
    seconds: list[float]
    cpu: str
    saved: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Return the seconds of training so far."""
        return self.seconds[-1] if self.seconds else 0.0

    def finish(
        self,
        job: Job,
        status: Status,
        error: str | None = None,
        test: Test | None = None,
        predictions: NDArray[np.uint8] | None = None,
    ) -> None:
        RunDirectory(job.directory).sync_rows()  # before run.json has their digests
        files = layout.csv_files(self.metrics, self.seconds, tests=job.config.data.tests_every_epoch)
        if predictions is not None:
            RunDirectory(job.directory).write_predictions(predictions)
            files[layout.PREDICTIONS] = layout.encode_predictions(predictions)
        epochs = len(self.metrics)
        write_record(job, status, epochs, self.elapsed, error=error, test=test, cpu=self.cpu, files=files)

    def progress_if_due(self) -> Progress | None:
        """Return a copy of the model's state if it is time for a checkpoint. Training may go on while it is saved."""
        due = self.waiting and time.monotonic() - self.saved > CHECKPOINT_SECONDS
        return copy.deepcopy(self.model.progress()) if due else None

    def checkpoint(self, job: Job, progress: Progress) -> None:
        checkpoint = Checkpoint(progress, self.metrics, self.seconds, self.cpu)
        version = checkpoint_version(self.model.parameters[0].device.type)
        save_checkpoint(RunDirectory(job.directory), checkpoint, version)
        self.saved = time.monotonic()


def train_stack(
    groups: Sequence[Sequence[Job]],
    data_folder: Path | None,
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: OnEpoch = lambda _: None,
) -> list[int]:
    """Train trajectories as one stack until all their runs have ended or `should_stop` returns True.

    Args:
        groups: the jobs of each trajectory, shortest first.
        data_folder: the folder of the verified data files; None to find or fetch them on this machine.
        should_stop: called before each epoch.
        on_epoch: called with each new row of each model.

    Returns:
        Indices of the trajectories that another process is training. This process skips them.
    """
    if should_stop():
        return []
    torch.set_num_threads(1)  # rounding in matrix products depends on the number of threads
    config, execution = groups[0][0].config, groups[0][0].execution
    waiting = {index: _locks(jobs) for index, jobs in enumerate(groups)}
    begun: list[Begun] = []
    later: list[tuple[Job, ...]] = []
    # A lease expires only for a process that waits for it.
    until = time.monotonic() + (1.25 * run_directory.LEASE_SECONDS if execution.lock == "lease" else 0)
    with ExitStack() as locks:
        while True:
            for index, of_runs in list(waiting.items()):
                try:
                    with ExitStack() as held:
                        for lock in of_runs:
                            held.enter_context(lock.acquire(timeout=0))
                        locks.push(held.pop_all())
                    resume_trajectory(groups[index], begun, later)
                except filelock.Timeout:
                    continue
                except Exception as error:  # a trajectory that cannot start fails only its own runs
                    for job in groups[index]:
                        if RunDirectory(job.directory).status() not in FINISHED:
                            keep_failure(job, error)
                del waiting[index]
            if len(waiting) < len(groups) or time.monotonic() >= until or should_stop():
                break
            time.sleep(1)
        if begun:
            with _all_fail([jobs for jobs, _ in begun]):
                folder = data_folder or prepare(Path(execution.data_dir) if execution.data_dir else None)
                device = torch.device(resolve_device(execution.device))
                data = load(folder, config.data.division, device, config.data.mean, config.data.std)
            while begun:
                with _all_fail([jobs for jobs, _ in begun]):
                    StackTrainer(begun, data, should_stop, on_epoch).run()
                left, begun, later = [] if should_stop() else later, [], []
                for jobs in left:
                    resume_trajectory(jobs, begun, later)
    return list(waiting)


def _locks(jobs: Sequence[Job]) -> list[filelock.BaseFileLock]:
    """Make the locks of a trajectory's runs: one in the store, and one in each directory not named after its run."""
    made = (run_directory.lock(job.directory, job.name, job.execution.lock) for job in jobs)
    return list({lock.lock_file: lock for lock in made}.values())


def train_elsewhere(
    groups: Sequence[Sequence[Job]], probe: Path | None, should_stop: Callable[[], bool] = lambda: False
) -> list[int]:
    """Call `train_stack` on a machine that finds its data itself.

    Args:
        groups: the jobs of each trajectory, shortest first.
        probe: a file that the waiting sweep process has locked; None if that process does not wait. If this process
            can lock the file too, locks do not hold between the two machines. It then reports this by creating a
            file of the same name with the suffix .free.
        should_stop: called before each epoch.

    Returns:
        Indices of the trajectories that another process is training, as for `train_stack`.
    """
    if probe is not None and probe.exists():
        with suppress(filelock.Timeout), filelock.FileLock(probe).acquire(timeout=0):
            probe.with_suffix(".free").touch()
    return train_stack(groups, None, should_stop)


@contextmanager
def _all_fail(waiting: Sequence[Sequence[Job]]) -> Iterator[None]:
    """Record an exception of the block as the failure of all waiting runs, and raise it again.

    If no process waits for this one, only the runs' directories can report the failure.

    Args:
        waiting: the runs of each model. A run is removed from its list when it ends.
    """
    try:
        yield
    except Exception as error:
        for jobs in waiting:
            for job in jobs:
                keep_failure(job, error)
        raise


def _neighbours(begun: Begun) -> tuple[object, ...]:
    """Return a sort key by which models that an accelerator can compute together are neighbours."""
    (*_, job), checkpoint = begun
    key = step_key(job.config.optimizer, checkpoint.progress.epoch, job.epochs)
    return *key, str(job.config.model.activation)


class StackTrainer:
    """Train one stack epoch by epoch, and write rows, checkpoints and results after each epoch.

    On an accelerator a thread writes an epoch's rows and checkpoints while the next epoch trains, unless a run ends.
    The members are that thread's until `_wait` returns.
    """

    def __init__(
        self,
        begun: Sequence[Begun],
        data: Data,
        should_stop: Callable[[], bool],
        on_epoch: OnEpoch,
    ):
        self.data = data
        self.should_stop = should_stop
        self.on_epoch = on_epoch
        begun = sorted(begun, key=_neighbours)
        configs = [waiting[-1].config for waiting, _ in begun]
        self.trainer = Trainer(configs, [checkpoint.progress for _, checkpoint in begun], data)
        self.members = [
            StackMember(model, waiting, checkpoint.metrics, checkpoint.seconds, checkpoint.cpu)
            for model, (waiting, checkpoint) in zip(self.trainer.models, begun, strict=True)
        ]
        self._writing: Future[None] | None = None

    def run(self) -> None:
        self._end_runs()
        with ThreadPoolExecutor(1) as writer:
            while self.members:
                if self.should_stop():
                    self._wait()
                    self._interrupt()
                    return
                before = time.perf_counter()
                rows = self.trainer.train_epoch()
                share = (time.perf_counter() - before) / len(rows)
                self._wait()
                finished = [  # a model that failed did not complete this epoch
                    (member, row, member.progress_if_due())
                    for member, row in zip(self.members, rows, strict=True)
                    if member.model.error is None
                ]
                if self.trainer.accelerated and not self._some_run_ends(rows):
                    self._writing = writer.submit(self._keep_all, finished, share)
                else:
                    self._keep_all(finished, share)
                    self._end_runs()

    def _wait(self) -> None:
        """Wait until the last epoch's rows and checkpoints are written."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _some_run_ends(self, rows: Sequence[Metrics]) -> bool:
        """Tell whether `_end_runs` will have something to do once these rows are kept."""
        return any(
            not member.waiting or member.model.error or not row.finite or member.waiting[0].epochs <= row.epoch
            for member, row in zip(self.members, rows, strict=True)
        )

    def _keep_all(self, finished: Sequence[tuple[StackMember, Metrics, Progress | None]], seconds: float) -> None:
        """Append each model's row to each of its waiting runs, and save its state as a checkpoint if there is one."""
        for member, row, progress in finished:
            member.metrics.append(row)
            member.seconds.append(member.elapsed + seconds)
            for job in list(member.waiting):
                with isolate_failure(job, member.waiting):
                    RunDirectory(job.directory).append_row(row, member.elapsed)
            if member.waiting and progress is not None:
                with isolate_failure(member.waiting[-1], member.waiting):
                    member.checkpoint(member.waiting[-1], progress)
            self.on_epoch(row)

    def _end_runs(self) -> None:
        """Finish the runs whose last epoch this was. Drop models that have failed, diverged or have no run left."""
        ending = {}
        for member in self.members:
            epoch = member.model.epoch
            if member.model.error is not None:
                for job in member.waiting:
                    keep_failure(job, member.model.error)
                member.waiting.clear()
            elif member.metrics and not member.metrics[-1].finite:
                for job in member.waiting:
                    with isolate_failure(job):
                        message = f"the loss is not finite after epoch {epoch}; try a smaller learning rate"
                        member.finish(job, "diverged", message)
                member.waiting.clear()
            elif jobs := [job for job in member.waiting if job.epochs <= epoch]:
                ending[member] = jobs
        if ending:
            self._complete(ending)
        kept = [member for member in self.members if member.waiting]
        if kept and len(kept) < len(self.members):
            self.trainer.keep([member.model for member in kept])
        self.members = kept

    def _complete(self, ending: dict[StackMember, list[Job]]) -> None:
        """Write what runs leave at their end: checkpoint, predictions and the single evaluation on the test set."""
        data = self.data
        predictions = self.trainer.evaluate(data.val_images, data.val_labels).predictions
        held_out = None
        if data.test_images is not None and data.test_labels is not None and not data.tests_every_epoch:
            held_out = self.trainer.evaluate(data.test_images, data.test_labels)
        for k, member in enumerate(self.members):
            for job in ending.get(member, []):
                with isolate_failure(job):
                    test = None
                    if held_out is not None:
                        test = Test(loss=float(held_out.loss[k]), accuracy=float(held_out.accuracy[k]))
                    member.checkpoint(job, member.model.progress())
                    member.finish(job, "done", test=test, predictions=predictions[k].numpy())
                member.waiting.remove(job)

    def _interrupt(self) -> None:
        for member in self.members:
            with isolate_failure(member.waiting[-1], member.waiting):
                member.checkpoint(member.waiting[-1], member.model.progress())
            for job in member.waiting:
                with isolate_failure(job):
                    member.finish(job, "interrupted", STOPPED)
