"""A Hydra sweeper for searches with Optuna. It asks for a batch of trials, launches them, reports, and asks again.

hydra-optuna-sweeper pins an old Optuna and cannot resume a search. This sweeper uses Optuna's samplers and storages.
Runs of this project have named objectives; jobs of another application return their values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.fmnist_sweep_grids import keep_workers

if TYPE_CHECKING:
    from fmnist_sweep.adaptive.problem import Problem
    from fmnist_sweep.adaptive.study import Batch, Study


@dataclass
class SearchSweeperConf:
    """Settings of a search. Overrides such as `lr=tag(log,interval(1e-4,1e-1))` define its space."""

    _target_: str = "hydra_plugins.fmnist_sweep_search.SearchSweeper"
    _convert_: str = "all"  # plain lists and dictionaries
    n_trials: int = 32  # number of trials, those of earlier calls included
    batch: int = 16  # number of trials launched together
    sampler: str = "tpe"  # any of optuna.samplers
    # Untyped, or OmegaConf would not accept a dictionary from the command line.
    sampler_args: Any = None  # a dictionary of its arguments, such as {multivariate:true}
    sampler_seed: int = 0  # seed of the sampler; another seed proposes other trials
    seeds: Optional[int] = None  # runs per trial, with seed=0, seed=1, ...; their mean counts
    objective: Any = None  # names of objectives; null: the default one, or the value that a job returns
    direction: Any = None  # for the value that a job returns: minimize | maximize, or a list of these
    rungs: Optional[list[int]] = None  # successive halving: the best trials of a batch go on to the next rung
    resource: str = "epochs"  # the key that the rungs set
    storage: Optional[str] = None  # URL or SQLite file; null: search.db in the sweep's folder
    study_name: str = "search"  # name of the search; two searches in one folder need two names
    params: dict[str, Any] = field(default_factory=dict)  # the search space, for configuration files
    grids: Any = None  # rejected: figure=NAME sets it for the sweeper `grids`


ConfigStore.instance().store(group="hydra/sweeper", name="search", node=SearchSweeperConf, provider="fmnist_sweep")


class SearchSweeper(Sweeper):
    """A sweeper that searches a space of overrides; see `SearchSweeperConf`."""

    def __init__(self, **settings: Any):
        self.settings = SearchSweeperConf(**settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the context and the configuration, and create the launcher."""
        from fmnist_sweep.cli import Application

        self.hydra_context = hydra_context
        self.config = config
        self.ours = isinstance(task_function, Application)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Search until the study has `n_trials` trials, including earlier ones. Raise `RunError` if none succeeded."""
        from fmnist_sweep.console import busy, output

        settings, loader = self.settings, self.hydra_context.config_loader
        with busy("checking the search"):
            from fmnist_sweep.adaptive.conclusion import check_free, conclude, progress
            from fmnist_sweep.adaptive.problem import build_problem, check
            from fmnist_sweep.adaptive.study import open_study, sampler

            problem = build_problem(settings, arguments, loader, ours=self.ours)
            make_sampler = sampler(settings.sampler, settings.sampler_args or {}, settings.sampler_seed, problem)
            if self.ours:
                check(problem, loader, self.config)
        folder = Path(self.config.hydra.sweep.dir)
        check_free(folder)
        is_dry = bool(OmegaConf.select(self.config, "dry_run", default=False))
        url = settings.storage or str(folder / "search.db")
        returns: list[Sequence[JobReturn]] = []
        with (
            open_study(url, settings.study_name, problem, make_sampler, copied=is_dry) as study,
            keep_workers(self.launcher, settings.batch * (problem.seeds or 1), table=False),
        ):
            while (batch := study.next_batch(settings.batch, settings.n_trials)).trials:
                progress(study.trials(), study.best(), problem.names, settings.n_trials)
                for results in self._carry_out(batch, study, problem):
                    returns.append(results)
                    if is_dry and len(batch.trials) < settings.n_trials:
                        output.print(f"this is the first batch, {len(batch.trials)} of {settings.n_trials} trials")
                    if any(result.working_dir is None for result in results):
                        return returns  # a dry run, or jobs left to a cluster
            if not is_dry:
                conclude(study.trials(), study.best(), problem.names, problem.directions, folder)
        return returns

    def _carry_out(self, batch: "Batch", study: "Study", problem: "Problem") -> Iterator[Sequence[JobReturn]]:
        """Launch a batch rung by rung and report to the study. Yield the results of each launch before each report."""
        running, rungs = list(batch.trials), problem.steps or (0,)
        for place, step in enumerate(rungs):
            waiting = [trial for trial in running if step not in trial.intermediate_values]
            jobs = [problem.jobs(trial.params, place) for trial in waiting]
            count = problem.seeds or 1
            first = (batch.trials[0].number * len(rungs) + place * batch.size) * count
            values = {trial.number: [trial.intermediate_values[step]] for trial in running if trial not in waiting}
            if jobs:
                results = self.launcher.launch([job for of_trial in jobs for job in of_trial], initial_job_idx=first)
                yield results
                for index, trial in enumerate(waiting):
                    found, notes = problem.judge(results[index * count : (index + 1) * count])
                    study.note(trial.number, **notes)
                    if found is None:
                        study.fail(trial.number)
                        continue
                    values[trial.number] = found
                    if problem.steps:
                        study.report(trial.number, step, found[0])
            sign = 1 if problem.directions[0] == "minimize" else -1
            running = sorted((t for t in running if t.number in values), key=lambda t: sign * values[t.number][0])
            if place + 1 < len(rungs):
                keep = max(1, batch.size * rungs[0] // rungs[place + 1])
                for trial in running[keep:]:
                    study.prune(trial.number)
                running = running[:keep]
        for trial in running:
            study.complete(trial.number, values[trial.number])
