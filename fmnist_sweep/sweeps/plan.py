"""Plan a sweep: group jobs into trajectories, and trajectories into stacks.

Thirty epochs are the first 30 of 100, unless a schedule of the learning rate depends on the length of a run. Runs that
differ only in epochs share a *trajectory*. It is trained once, up to the epochs of its longest run, from the furthest
usable checkpoint. Trajectories with the same batch size, widths, normalisation, loss and data train as one *stack*. The
plan does not depend on the order of the jobs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

from fmnist_sweep.config.identity import trajectory_name
from fmnist_sweep.config.schema import Config, Execution, device_type, flat
from fmnist_sweep.data import CLASS_NAMES, PIXELS
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store.run_directory import Found, RunDirectory, runs_by_trajectory

# On a CPU, 4 to 8 models are enough to make the overhead of a step small. More would not fit in the cache.
CPU_STACK = 8
ACCELERATOR_STACK = 256


@dataclass(frozen=True, slots=True)
class Job:
    """A requested run: its configuration, execution settings, name and directory."""

    config: Config = field(compare=False)  # equal names mean equal configurations
    execution: Execution = field(compare=False)
    name: str
    directory: Path

    @property
    def epochs(self) -> int:
        """Return the number of epochs of the run."""
        return self.config.training.epochs

    @property
    def trajectory_key(self) -> tuple[str, str]:
        """Return the store and the trajectory's name, which are equal for runs that differ only in epochs."""
        return str(self.directory.parent), trajectory_name(self.name)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One model to train, and the runs that it serves.

    Attributes:
        train: the runs that need training, shortest first; empty if there is nothing to train.
        later: runs with fewer epochs than the checkpoint from which the longer runs continue. They cannot be cut from
            a longer run, so they are trained from the beginning after the longer runs have ended.
        cut: pairs of a run and the directory of a longer run, whose first rows are the run's rows.
        done: runs that are finished or that `retry=failed` skips.
        sources: checkpoints to start from, as (epoch, directory), furthest first. Training starts from epoch zero if
            none can be loaded.
    """

    train: tuple[Job, ...]
    later: tuple[Job, ...]
    cut: tuple[tuple[Job, Path], ...]
    done: tuple[Job, ...]
    sources: tuple[tuple[int, Path], ...]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Return the runs that are not finished."""
        return (*(job for job, _ in self.cut), *self.later, *self.train)

    @property
    def start(self) -> int:
        """Return the number of epochs that need not be trained again."""
        return self.sources[0][0] if self.sources else 0

    @property
    def epochs_left(self) -> int:
        """Return the number of epochs to train."""
        anew = self.later[-1].epochs if self.later else 0
        return anew + self.train[-1].epochs - self.start if self.train else 0


@dataclass(frozen=True)
class Plan:
    """Stacks in starting order, trajectories that need no training, and how many stacks train at a time."""

    stacks: tuple[tuple[Trajectory, ...], ...]
    idle: tuple[Trajectory, ...]
    workers: int

    @property
    def epochs_left(self) -> int:
        """Return the total number of model-epochs to train."""
        return sum(trajectory.epochs_left for stack in self.stacks for trajectory in stack)


def plan_jobs(jobs: Sequence[Job], slots: int) -> Plan:
    """Plan the jobs of a sweep from the contents of their stores; `slots` stacks train at a time."""
    there = {store: runs_by_trajectory(store) for store in {job.directory.parent for job in jobs}}
    trajectories = [plan_trajectory(runs, inspect(runs, there[runs[0].directory.parent])) for runs in group(jobs)]
    on_cpu = all(device_type(job.execution.device) == "cpu" for job in jobs)
    return plan(trajectories, slots, CPU_STACK if on_cpu else ACCELERATOR_STACK)


def inspect(jobs: Sequence[Job], there: Mapping[str, Sequence[Path]]) -> dict[Path, Found]:
    """Return the contents of all run directories of a trajectory; an empty dict for a rerun.

    The store may hold runs of the trajectory that were not requested. They are included.

    Args:
        jobs: runs that differ only in epochs.
        there: the run directories in their store, as `runs_by_trajectory` returns them.
    """
    if jobs[0].execution.rerun:
        return {}
    paths = {*there.get(jobs[0].trajectory_key[1], []), *(job.directory for job in jobs)}
    return {path: RunDirectory(path).inspect() for path in sorted(paths)}


def keep_apart(jobs: Sequence[Job]) -> None:
    """Raise `ConfigError` if jobs with different configurations would share a directory."""
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(os.path.realpath(job.directory), job)
        if other.name != job.name:
            values, others = (flat(asdict(one.config)) for one in (job, other))
            differing = [key for key in {**others, **values} if others.get(key) != values.get(key)]
            raise ConfigError(
                f"{job.directory}: would hold both {other.name} and {job.name}; add "
                f"${{{differing[0] if differing else 'device'}}} to hydra.sweep.subdir, or leave that out"
            )


def workers(execution: Execution) -> int:
    """Return how many stacks this machine trains at a time.

    The default is one per CPU core, or one on an accelerator, because one wide stack fills it.
    """
    if execution.workers is not None:
        return execution.workers
    if device_type(execution.device) != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def group(jobs: Sequence[Job]) -> list[list[Job]]:
    """Group jobs by trajectory and drop duplicates. Sort trajectories by store and name, and their runs by epochs."""
    trajectories: dict[tuple[str, str], dict[Path, Job]] = {}
    for job in sorted(jobs, key=lambda job: (job.trajectory_key, job.epochs, str(job.directory))):
        trajectories.setdefault(job.trajectory_key, {})[job.directory] = job
    return [list(runs.values()) for runs in trajectories.values()]


def plan_trajectory(jobs: Sequence[Job], found: Mapping[Path, Found]) -> Trajectory:
    """Decide what one trajectory's runs need.

    Args:
        jobs: runs that differ only in epochs, shortest first.
        found: the contents of this trajectory's directories, as `inspect` returns them.
    """
    retry = jobs[0].execution.retry
    done, cut, train = [], [], []
    longest = max(sorted(found), key=lambda path: found[path].reach, default=None)
    for job in jobs:
        state = found.get(job.directory, Found())
        if state.finished or (retry == "failed" and state.status != "failed"):
            done.append(job)
        elif longest is not None and _can_be_cut(job, found[longest]):
            cut.append((job, longest))
        else:
            train.append(job)
    longest_run = train[-1].epochs if train else 0
    there = [(epoch, path) for path, state in found.items() for epoch in state.checkpoints if epoch <= longest_run]
    furthest = max((epoch for epoch, _ in there), default=0)
    later = [job for job in train if job.epochs < furthest]
    train = train[len(later) :]
    sources = sorted([s for s in there if train and s[0] <= train[0].epochs], key=lambda s: (-s[0], str(s[1])))
    return Trajectory(tuple(train), tuple(later), tuple(cut), tuple(done), tuple(sources))


def _can_be_cut(job: Job, longer: Found) -> bool:
    # The only evaluation on a held-out test set needs the model of the run's last epoch, which the longer run does not
    # keep. If a schedule depends on the length of a run, longer runs are of other trajectories: see `identity`.
    return longer.reach > job.epochs and job.config.data.validation != "holdout"


def plan(trajectories: Sequence[Trajectory], workers: int, largest_stack: int) -> Plan:
    """Combine trajectories into stacks so that the workers finish at about the same time.

    Args:
        trajectories: the trajectories, in any order and without duplicates.
        workers: how many stacks train at the same time.
        largest_stack: the largest number of models in a stack.
    """
    groups: dict[tuple[object, ...], list[Trajectory]] = {}
    for member in trajectories:
        if member.train:
            groups.setdefault(stack_key(member.train[0]), []).append(member)
    stacks = []
    for members in groups.values():
        members.sort(key=lambda member: (-member.epochs_left, member.train[0].trajectory_key))
        # Divide each group among all workers if it has enough members. Deal members out in turn, longest first.
        rounds = math.ceil(len(members) / (workers * largest_stack))
        piles = min(rounds * workers, len(members))
        stacks += [tuple(members[pile::piles]) for pile in range(piles)]
    stacks.sort(key=lambda stack: (-stack_cost(stack), stack[0].train[0].trajectory_key))
    idle = sorted((t for t in trajectories if not t.train), key=_first_name)
    return Plan(tuple(stacks), tuple(idle), workers)


def stack_key(job: Job) -> tuple[object, ...]:
    """Return the values that must be equal for models to train as one stack."""
    config, execution = job.config, job.execution
    data = config.data
    images = (data.division, data.mean, data.std, execution.data_dir or "")
    # A stack in which some models drop inputs draws more random words for all of them.
    model = config.model
    shapes = (config.training.batch_size, tuple(model.hidden), model.order, model.input_dropout > 0)
    return *shapes, config.loss.name, config.loss.label_smoothing, *images, execution.device


def stack_cost(stack: Sequence[Trajectory]) -> float:
    """Return the floating-point operations needed to train a stack to its end."""
    return sum(member.epochs_left * epoch_cost(member.train[0].config) for member in stack)


def epoch_cost(config: Config) -> float:
    """Return the floating-point operations of a model's epoch: the products of training and both evaluations."""
    products = [2 * a * b for a, b in pairwise([PIXELS, *config.model.hidden, len(CLASS_NAMES)])]
    forward, backward = sum(products), 2 * sum(products) - products[0]
    training, validation, test = config.data.division.counts()
    return training * (forward + backward) + (training + validation + test) * forward


def _first_name(trajectory: Trajectory) -> str:
    jobs = [*trajectory.done, *(job for job, _ in trajectory.cut)]
    return min(str(job.directory) for job in jobs)
