"""A Hydra launcher that trains the jobs of a sweep together, if the application supports this.

An application supports it with a method `start_sweep`, like `fmnist_sweep.cli.Application`. Jobs of other applications
run one after another, as with Hydra's basic launcher.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class StackedLauncherConf:
    """Settings: train stacks in processes on this machine. The application chooses the number of processes."""

    _target_: str = "hydra_plugins.fmnist_sweep_stacked.StackedLauncher"
    _convert_: str = "all"  # plain lists and dictionaries
    executor: str = "local"


@dataclass
class StackedSlurmConf(StackedLauncherConf):
    """Settings for Slurm, with the names of hydra-submitit-launcher. `sweeps/executors/slurm.py` trains the stacks."""

    executor: str = "slurm"
    partition: Optional[str] = None  # as in sbatch
    account: Optional[str] = None  # as in sbatch
    qos: Optional[str] = None  # as in sbatch
    timeout_min: int = 60  # minutes that a job may take
    cpus_per_task: int = 1  # stacks that a job trains side by side on CPUs
    gpus_per_node: Optional[int] = None  # 1: a job trains one wide stack at a time on a GPU
    mem_gb: Optional[float] = None  # memory of a job in GB
    array_parallelism: int = 16  # most jobs at a time
    max_num_timeout: int = 3  # how often a job that was lost or preempted is queued again
    setup: Optional[list[str]] = None  # shell commands before the work, such as [module load python]
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # further options of sbatch
    detach: bool = False  # leave the jobs to Slurm and return


@dataclass
class StackedRayConf(StackedLauncherConf):
    """Settings for Ray, on this machine if `address` is None. `sweeps/executors/ray.py` trains the stacks."""

    executor: str = "ray"
    address: Optional[str] = None  # address of a cluster, or auto; null: this machine
    num_cpus: float = 1  # CPUs of a stack
    num_gpus: float = 0  # GPUs of a stack
    max_retries: int = 3  # how often a stack that was lost with a node resumes from its checkpoints


for _name, _node in {
    "stacked": StackedLauncherConf,
    "stacked_slurm": StackedSlurmConf,
    "stacked_ray": StackedRayConf,
}.items():
    ConfigStore.instance().store(group="hydra/launcher", name=_name, node=_node, provider="fmnist_sweep")


class StackedLauncher(Launcher):
    """A launcher that composes and checks all jobs, trains them together, and ends each one as Hydra does."""

    checks_all_jobs = True  # before the first one starts, so a sweeper need not check them

    def __init__(self, **executor: Any):
        self.executor = executor
        self._stays: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the context, the task function and the configuration."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    @contextmanager
    def keep_workers(self, jobs: int, *, table: bool = True) -> Iterator[None]:
        """Keep the workers of a launch alive for the next launch.

        Args:
            jobs: the number of jobs of the largest launch.
            table: False if the sweeper prints a table of its own at the end.
        """
        if not hasattr(self.task_function, "start_sweep"):
            yield
            return
        with self.task_function.start_sweep(jobs, self.executor, table=table) as self._stays:
            try:
                yield
            finally:
                self._stays = None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs. Return their results in the order of `job_overrides`."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        if not hasattr(self.task_function, "start_sweep"):
            return self._launch_one_by_one(job_overrides, initial_job_idx)

        from fmnist_sweep.config.compose import Composer
        from fmnist_sweep.config.hydra_jobs import SweepJobs
        from fmnist_sweep.config.hydra_private import rehearse
        from fmnist_sweep.console import busy
        from fmnist_sweep.errors import count

        task, loader = self.task_function, self.hydra_context.config_loader
        hydra_jobs = SweepJobs(task, self.hydra_context)
        untrained = [JobReturn(overrides=list(job), status=JobStatus.COMPLETED) for job in job_overrides]
        begin = nullcontext(self._stays) if self._stays else task.start_sweep(len(job_overrides), self.executor)
        with begin as sweep:
            composer = Composer(loader, self.config, sweep.place)
            composed, jobs = {}, []
            with busy(f"checking {count(len(job_overrides), 'run')}"):
                for number, overrides in enumerate(job_overrides, initial_job_idx):
                    one = composer.job(overrides, number)
                    jobs.append(sweep.make_job(one.config, one.execution, one.directory))
                    composed.setdefault(jobs[-1], one)  # other overrides may give the same run
                rehearse(next(iter(composed.values())).hydra, loader)
            if not sweep.check(jobs):
                return untrained
            with busy(f"making the folders of {count(len(composed), 'run')}"):
                for one in composed.values():
                    hydra_jobs.begin(one)
            if not sweep.train(list(composed)):
                return untrained
            with busy(f"checking the results of {count(len(composed), 'run')}"):
                results = {
                    job: _ended(hydra_jobs, one, lambda job=job: sweep.outcome(job)) for job, one in composed.items()
                }
            return [results[job] for job in jobs]

    def _launch_one_by_one(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        from fmnist_sweep.config.hydra_private import begin_job, end_job, numbered

        results = []
        for number, overrides in enumerate(job_overrides, first):
            composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            begin_job(numbered(composed, number), self.task_function, self.hydra_context)
            results.append(end_job(composed, self.task_function, self.hydra_context))
        return results


def _ended(hydra_jobs: Any, composed: Any, outcome: Callable[[], Any]) -> JobReturn:
    """End a job as Hydra does. On an error, print it and return a failed result, so that the other jobs also end."""
    from fmnist_sweep.config.messages import reason
    from fmnist_sweep.errors import RunError

    try:
        result: JobReturn = hydra_jobs.end(composed, outcome)
    except Exception as error:
        print(f"fmnist_sweep: {composed.directory}: {reason(error)}", file=sys.stderr)
        result = JobReturn(status=JobStatus.FAILED)
        result.return_value = RunError(f"{composed.directory}: {reason(error)}")
    return result
