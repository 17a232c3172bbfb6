"""Hydra launcher that trains a sweep's jobs together where the application can, and one by one where it cannot.

An application offers to train together by an attribute of its task function: `together(loader, config, n)` returns a
context manager for a sweep of n jobs with the methods `compose(overrides)`, a job's configuration;
`make_job(config, directory)`, which checks one and returns a job; `train(jobs)`, which carries all of them out and
returns False for a dry run; and `outcome(job)`, which returns one job's result or raises its error.
Jobs of other task functions run one after another, as with Hydra's basic launcher.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass
class StackedLauncherConf:
    """The launcher has no settings of its own: how to train is the application's to say."""

    _target_: str = "hydra_plugins.stacked_launcher.StackedLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=StackedLauncherConf, provider="fmnist_sweep")


class StackedLauncher(Launcher):
    """Composes and checks all jobs, has them trained together, then closes each as Hydra does."""

    checks_all_jobs = True  # before the first starts, so that a sweeper need not

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what a launch needs."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Carry out the jobs. Returns their results, in the order of `job_overrides`."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        together = getattr(self.task_function, "together", None)
        if together is None:
            load = self.hydra_context.config_loader.load_sweep_config
            return [
                self._run(self.task_function, load(self.config, list(overrides)), number)
                for number, overrides in enumerate(job_overrides, initial_job_idx)
            ]
        with together(self.hydra_context.config_loader, self.config, len(job_overrides)) as sweep:
            jobs = [
                _make_job(sweep, _numbered(sweep.compose(overrides), number))
                for number, overrides in enumerate(job_overrides, initial_job_idx)
            ]
            if not sweep.train(jobs):
                return [JobReturn(overrides=list(job), status=JobStatus.COMPLETED) for job in job_overrides]
            # Composed once more rather than kept: a sweep may have thousands of jobs.
            return [
                self._run(_outcome_of(sweep, job), sweep.compose(overrides), number)
                for number, (job, overrides) in enumerate(zip(jobs, job_overrides, strict=True), initial_job_idx)
            ]

    def _run(self, task: TaskFunction, composed: DictConfig, number: int) -> JobReturn:
        result = run_job(
            hydra_context=self.hydra_context,
            task_function=task,
            config=_numbered(composed, number),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return result


def _numbered(composed: DictConfig, number: int) -> DictConfig:
    with open_dict(composed):
        composed.hydra.job.id = number
        composed.hydra.job.num = number
    return composed


def _make_job(sweep: Any, composed: DictConfig) -> Any:
    """Check a job, with the directory where `run_job` will put it: its keys are resolved in the job's own context."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(composed)
    try:
        directory = Path(str(composed.hydra.sweep.dir)) / str(composed.hydra.sweep.subdir)
    finally:
        HydraConfig.instance().cfg = before
    return sweep.make_job(OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"]), directory)


def _outcome_of(sweep: Any, job: Any) -> Callable[[Any], Any]:
    return lambda _: sweep.outcome(job)
