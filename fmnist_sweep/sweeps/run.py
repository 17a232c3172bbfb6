"""Train a sweep's jobs as stacks, in the workers of an executor.

The parent plans and watches; workers train and write. They communicate only through the store: the parent reads the
rows that workers append. So a worker that is killed affects only its own stack.
"""

from __future__ import annotations

import functools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from omegaconf import DictConfig

from fmnist_sweep.config import schema
from fmnist_sweep.config.messages import reason
from fmnist_sweep.config.schema import Config, Execution
from fmnist_sweep.console import busy
from fmnist_sweep.errors import ConfigError, RunError, count
from fmnist_sweep.stopping import Stop, stoppable
from fmnist_sweep.sweeps import jobs
from fmnist_sweep.sweeps.closing import Closing
from fmnist_sweep.sweeps.executors import Executor
from fmnist_sweep.sweeps.executors.inline import InlineExecutor
from fmnist_sweep.sweeps.executors.local import LocalExecutor
from fmnist_sweep.sweeps.followers import Followers
from fmnist_sweep.sweeps.plan import Job, Plan, Trajectory, keep_apart, plan_jobs, workers
from fmnist_sweep.sweeps.progress import SweepDisplay

INLINE = {"executor": "inline"}  # trains in this process: for a single run
LAUNCHERS = {"local": "stacked", "slurm": "stacked_slurm", "ray": "stacked_ray"}  # the launcher for each executor

POLL_SECONDS = 0.5
CLUSTER_SECONDS = 10.0  # between polls of a cluster and its many stacks, so that waiting is cheap


@dataclass
class _Task:
    """A stack that was submitted to the executor."""

    stack: Sequence[Trajectory]
    groups: list[list[Job]]
    future: Future[list[int]]
    ended: bool = False


class Sweep:
    """The parent's side of a sweep. Workers start when the first job is made, and stay for further batches.

    Args:
        count: the largest number of jobs in a batch.
        executor: the kind (inline, local, slurm, ray) under the key `executor`, and the settings of that kind.
        table: False if the sweeper prints a table of its own, such as a search's trials.
    """

    def __init__(self, count: int, executor: Mapping[str, Any], *, table: bool = True):
        self._count = count
        self._settings = dict(executor)
        self._kind = self._settings.pop("executor")
        if self._kind not in {*LAUNCHERS, INLINE["executor"]}:
            allowed = " or ".join(f"hydra/launcher={launcher}" for launcher in LAUNCHERS.values())
            raise ConfigError(f"hydra.launcher.executor={self._kind}: there is no such executor; take {allowed}")
        # A daemon, such as a worker of a multiprocessing.Pool, cannot start processes.
        self._is_inline = self._kind == "inline" or (self._kind == "local" and multiprocessing.current_process().daemon)
        self._is_local = self._kind in ("inline", "local")
        self._executor: Executor | None = None
        self._held = ExitStack()
        self._folders: dict[str | None, Path] = {}  # data folders here; on a cluster each job finds its own
        self._probe: Path | None = None  # a file to test if locks hold between this machine and the nodes
        self._followers: Followers | None = None
        self._tasks: list[_Task] = []
        self._stop = Stop()
        self._failures: dict[Job, str] = {}  # of all batches
        self._most_failures: int | None = None
        self._count_failures: Callable[[], None] = lambda: None
        self._closing = Closing(has_table=table)
        self._pause = 2 * POLL_SECONDS if self._is_local else CLUSTER_SECONDS

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        with self._held:
            self._closing.print()

    def place(self, composed: DictConfig) -> None:
        """Replace `device=auto` on a cluster by the device that a job requests.

        The name of a run must not depend on the devices of the machine that starts the sweep.
        """
        if composed.device == "auto" and not self._is_local:
            composed.device = "cuda" if self._settings.get("gpus_per_node") or self._settings.get("num_gpus") else "cpu"

    def make_job(self, config: Config, execution: Execution, directory: Path) -> Job:
        """Check that a configuration can be carried out, and return its job."""
        job = jobs.make_job(config, execution, directory, here=self._is_local)
        if self._executor is None and not (self._is_local and job.execution.dry_run):
            self._executor = self._held.enter_context(self._start(job))
        return job

    def _start(self, job: Job) -> Executor:
        try:
            return self._executor_for(job)
        except TypeError as error:  # the settings belong to another launcher
            launcher = LAUNCHERS[self._kind]
            raise ConfigError(
                f"hydra.launcher.executor={self._kind}: needs its own settings; take hydra/launcher={launcher}"
            ) from error

    def _executor_for(self, job: Job) -> Executor:
        if self._is_inline:
            return InlineExecutor(self._should_stop)
        if self._is_local:
            return LocalExecutor(min(workers(job.execution), self._count))
        if self._kind == "slurm":
            from fmnist_sweep.sweeps.executors.slurm import SlurmExecutor

            return SlurmExecutor(job.directory.parent / ".slurm", **self._settings)
        from fmnist_sweep.sweeps.executors.ray import RayExecutor

        return RayExecutor(**self._settings)

    def outcome(self, job: Job) -> float | None:
        """Return the result of a job; see `jobs.outcome`."""
        return jobs.outcome(job)

    def check(self, wanted: Sequence[Job]) -> bool:
        """Check that the jobs fit together, and find their data.

        Returns:
            False after a dry run, which prints the plan instead; else True.

        Raises:
            ConfigError: the jobs differ in a value that must be the same for all, two would share a directory,
                their folder cannot be written, or nobody would count their failures.
            DataError: there are no data for any run.
        """
        schema.agree([job.execution for job in wanted])
        keep_apart(wanted)
        most = wanted[0].execution.max_failures
        if most is not None and self._executor is not None and self._executor.detach:
            raise ConfigError(f"max_failures={most}: nobody counts them with hydra.launcher.detach=true; leave one out")
        if wanted[0].execution.dry_run:
            jobs.show_plan(wanted, self._executor)
            return False
        if self._is_local:
            with busy("checking the data"):
                self._folders = jobs.find_data(wanted)
        for job in {job.directory.parent: job for job in wanted}.values():
            jobs.make_folder_of(job)
        return True

    def train(self, wanted: Sequence[Job]) -> bool:
        """Train checked jobs as stacks. Return False if a cluster goes on with them.

        Failures of runs are recorded in their directories, where `outcome` finds them.

        Raises:
            ConfigError: the cluster rejects the jobs.
            RunError: as many runs failed as `max_failures` allows; the runs in training are marked as interrupted.
            Stopped: the user stopped the sweep; the runs in training are marked as interrupted.
        """
        self._closing.add(wanted)
        stores = {job.directory.parent for job in wanted}
        if self._followers is None:
            self._followers = self._held.enter_context(Followers(wanted[0].execution.tracker))
        self._followers.follow(stores)
        display, trainable = SweepDisplay(wanted, self._failures), wanted
        self._most_failures = wanted[0].execution.max_failures
        if self._is_local:
            trainable = [job for job in wanted if job.execution.data_dir in self._folders]
            self._failures |= jobs.failed([job for job in wanted if job.execution.data_dir not in self._folders])
        elif (
            self._probe is None and wanted[0].execution.lock == "flock" and self._executor and not self._executor.detach
        ):
            self._probe = self._held.enter_context(_locked_file(wanted[0].directory.parent))
        with display, stoppable(functools.partial(self._clean_up, wanted)) as self._stop:
            self._count_failures = functools.partial(display.count, wanted)
            is_complete = self._train_until_done(trainable, display)
            if self._are_enough_failures():
                self._count_failures()
                jobs.mark_interrupted(wanted)
        if self._are_enough_failures() and display.left:
            ended = f"{count(len(self._failures), 'run')} did not end well ({next(iter(self._failures.values()))})"
            raise RunError(
                f"max_failures={self._most_failures}: stopped, because {ended}; {count(display.left, 'run')} left: "
                "the same command goes on from here, without max_failures whatever fails"
            )
        return is_complete

    def train_one(self, job: Job) -> float | None:
        """Train one checked job. Return its outcome, as `jobs.outcome` does."""
        self.train([job])
        return self.outcome(job)

    def _train_until_done(self, wanted: Sequence[Job], display: SweepDisplay) -> bool:
        """Train; repeat for runs that other processes held. Return False if a cluster goes on with the jobs."""
        assert self._executor is not None
        waiting = 0
        while wanted and not self._stop.asked:
            queued = self._executor.queued()
            left = [job for job in wanted if _name(job) in queued]
            plan = plan_jobs([job for job in wanted if _name(job) not in queued], self._executor.slots)
            display.start(plan)
            busy = [] if self._are_enough_failures() else self._settle(plan.idle)
            display.count(job for trajectory in plan.idle for job in trajectory.jobs)
            if self._is_stopping():
                break
            self._submit(plan, display)
            if self._executor.detach:
                models = len({job.trajectory_key for job in left}) + sum(map(len, plan.stacks))
                if models:
                    verb = "is" if models == 1 else "are"
                    display.say(f"{count(models, 'model')} {verb} queued or in training; the same command tells more")
                return not models
            busy += [*self._wait(display), left]
            if self._are_enough_failures():
                break
            wanted = [job for group in busy for job in group]
            if len(wanted) not in (0, waiting):
                display.say(f"another process is training {len(wanted)} of these runs: waiting for it")
            waiting = len(wanted)
            self._rest(self._pause if wanted else 0)
        return True

    def _settle(self, idle: Sequence[Trajectory]) -> list[list[Job]]:
        """Write the runs that are cut from longer ones. Return those that another process holds."""
        from fmnist_sweep.sweeps import worker

        cut = [list(trajectory.jobs) for trajectory in idle if trajectory.cut]
        return [group for group in cut if worker.train_stack([group], self._folder(group), self._is_stopping)]

    def _folder(self, group: Sequence[Job]) -> Path | None:
        return self._folders.get(group[0].execution.data_dir)

    def _submit(self, plan: Plan, display: SweepDisplay) -> None:
        from fmnist_sweep.sweeps import worker

        assert self._executor is not None
        stacks = [[list(member.jobs) for member in stack] for stack in plan.stacks]
        tasks = []
        for stack, groups in zip(plan.stacks, stacks, strict=True):
            if not self._is_local:
                tasks.append(functools.partial(worker.train_elsewhere, groups, self._probe))
                continue
            task = functools.partial(worker.train_stack, groups, self._folder(groups[0]))
            if self._is_inline:  # the parent's loop waits meanwhile, so the task itself updates the display
                task.keywords["on_epoch"] = functools.partial(_show, display, stack)
            tasks.append(task)
        futures = self._executor.submit(tasks, [[_name(group[0]) for group in groups] for groups in stacks])
        self._tasks = [_Task(*one) for one in zip(plan.stacks, stacks, futures, strict=True)]

    def _wait(self, display: SweepDisplay) -> list[list[Job]]:
        """Watch the submitted tasks until they have ended. Return the jobs that other processes hold."""
        assert self._executor is not None
        busy: list[list[Job]] = []
        shown = 0.0
        is_told = False
        while True:
            if self._is_stopping() and not is_told:
                is_told = True
                if not self._stop.asked:
                    display.say(f"max_failures={self._most_failures} is reached: stopping at the end of the epoch")
                self._executor.stop()
            if self._probe is not None and self._probe.with_suffix(".free").exists():
                raise ConfigError(f"{self._probe.parent}: file locks do not hold between the machines; add lock=lease")
            for task in self._tasks:
                if task.future.done() and not task.ended:
                    task.ended = True
                    busy += self._end(task, display)
                    # A stack may begin and end between two looks.
                    display.count(job for group in task.groups for job in group)
            if self._is_local or time.monotonic() - shown > CLUSTER_SECONDS:
                shown = time.monotonic()
                display.update([task.stack for task in self._tasks if task.future.running()])
            if all(task.ended for task in self._tasks):
                return busy
            time.sleep(POLL_SECONDS)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stop.asked:
            time.sleep(POLL_SECONDS)

    def _end(self, task: _Task, display: SweepDisplay) -> list[list[Job]]:
        """Process the result of a task that ended. Return the jobs that another process holds."""
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
            if not display.has_ended(job):  # a run that ended has a more precise reason of its own
                jobs.mark_failed(job, why)
        return []

    def _are_enough_failures(self) -> bool:
        return self._most_failures is not None and len(self._failures) >= self._most_failures

    def _is_stopping(self) -> bool:
        return self._stop.asked or self._are_enough_failures()

    def _should_stop(self) -> bool:
        """Return whether a task of this process should stop. Nobody else counts its failures meanwhile."""
        if self._most_failures is not None:
            self._count_failures()
        return self._is_stopping()

    def _clean_up(self, wanted: Sequence[Job]) -> None:
        """End all workers unless they are detached, and mark the runs that they leave as interrupted."""
        assert self._executor is not None
        if not self._executor.detach:
            self._executor.kill()
        jobs.mark_interrupted(wanted)


def _show(display: SweepDisplay, stack: Sequence[Trajectory], _: object) -> None:
    display.update([stack])


def _name(job: Job) -> str:
    """Return the name of a job's trajectory, unique across stores."""
    return "/".join(job.trajectory_key)


@contextmanager
def _locked_file(store: Path) -> Iterator[Path]:
    """Make and lock a file in a store, and yield its path."""
    folder = store / ".locks"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=folder) as own:
        path = Path(own) / "sweep.lock"
        with filelock.FileLock(path):
            yield path
