"""A Hydra sweeper for the union of several grids. Each grid is a product of values."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from fmnist_sweep.config.grids import Grid

_MOST_TOLD = 3  # failures that the error message lists


@dataclass
class GridSweeperConf:
    """Settings. `config/grids.py` describes the form of `grids`, `params` and `zip`.

    A file of the group `figure` sets `grids` and `params`; `zip` pairs up keys of the command line.
    """

    _target_: str = "hydra_plugins.fmnist_sweep_grids.GridSweeper"
    max_batch_size: Optional[int] = None  # runs launched together; null: all
    params: dict[str, Any] = field(default_factory=dict)  # values that all grids of a file have
    grids: Any = None  # the grids of a file
    zip: Any = None  # keys whose values are paired, such as [batch_size,optimizer.lr]


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridSweeperConf, provider="fmnist_sweep")


class GridSweeper(Sweeper):
    """A sweeper for the union of several grids. Without grids it makes a product, like Hydra's basic sweeper.

    Overrides on the command line apply to every grid and replace a grid's values for the same key. An optimizer on the
    command line also replaces the grid's arguments for its optimizer.
    """

    def __init__(self, **settings: Any):
        self.settings = GridSweeperConf(**settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the context and the configuration, and create the launcher."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def asked(self, arguments: Sequence[str]) -> list[list[str]]:
        """Return the jobs of all chosen figures without duplicates. Compose the file of each figure separately.

        Hydra would merge the files: the grids of the last file would replace the others, and the `params` of one file
        would apply to the grids of another.
        """
        from fmnist_sweep.config import grids
        from fmnist_sweep.config.overrides import FIGURE

        jobs: dict[tuple[str, ...], list[str]] = {}
        for own, config in self._figures(arguments):
            settings = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
            # Jobs of two figures can only be the same if their files choose the same options outside `hydra`.
            values = OmegaConf.to_yaml(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))
            for job in self.jobs(own, grids.read(settings["grids"], settings["params"] or {})):
                jobs.setdefault((values, *sorted(line for line in job if not line.startswith(FIGURE))), job)
        return list(jobs.values())

    def _figures(self, arguments: Sequence[str]) -> Iterator[tuple[list[str], DictConfig]]:
        """Yield, for each figure of `figure=[a,b]`, arguments that choose only it, and the sweep's configuration."""
        from fmnist_sweep.config.overrides import FIGURE, words

        parsed = OverridesParser.create().parse_overrides(list(arguments))
        lists = [
            one for one in parsed if one.key_or_group == "figure" and isinstance(one.value(), list) and one.value()
        ]
        if not lists:
            yield list(arguments), self.config
            return
        for name in words(lists[-1]):
            chosen = f"{FIGURE}'{name}'"
            composed = self.hydra_context.config_loader.load_configuration(
                self.config.hydra.job.config_name, [*self.config.hydra.overrides.hydra, chosen], RunMode.MULTIRUN
            )
            yield [chosen if line.startswith(FIGURE) else line for line in arguments], composed

    def sweep(self, arguments: list[str]) -> Any:
        """Compose the union of the grids and launch it. Raise `RunError` if runs failed; it says how many."""
        from fmnist_sweep.console import busy
        from fmnist_sweep.errors import ConfigError, count
        from fmnist_sweep.sweeps.jobs import check_jobs

        with busy("listing the runs"):
            jobs = self.asked(arguments)
        most = self.settings.max_batch_size
        size = len(jobs) if most in (None, -1) else most  # Hydra's -1 means all
        if size < 1:
            raise ConfigError(f"hydra.sweeper.max_batch_size={size}: must be at least 1")
        batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        is_ours = getattr(self.launcher, "checks_all_jobs", False)
        failures = OmegaConf.select(self.config, "max_failures")
        if failures is not None and not is_ours:
            raise ConfigError(f"max_failures={failures}: only the launchers stacked* count failures; leave one out")
        if len(batches) > 1 or not is_ours:
            with busy(f"checking {count(len(jobs), 'run')}"):
                check_jobs(jobs, self.hydra_context.config_loader, self.config)
        returns: list[Sequence[JobReturn]] = []
        with keep_workers(self.launcher, size), self.multirun_file():
            for batch in batches:
                first = sum(map(len, returns))
                try:
                    returns.append(self.launcher.launch(batch, initial_job_idx=first))
                except KeyboardInterrupt:
                    self._mark_interrupted(batch, first)
                    raise
        raise_failures(returns)
        return returns

    def _mark_interrupted(self, batch: Sequence[Sequence[str]], first: int) -> None:
        """Mark the runs of a batch as interrupted after a launcher has killed the processes that trained them."""
        from fmnist_sweep.config.compose import Composer
        from fmnist_sweep.sweeps import jobs

        if getattr(self.launcher, "checks_all_jobs", False):  # our own launcher marks its runs itself
            return
        composer = Composer(self.hydra_context.config_loader, self.config)
        for number, overrides in enumerate(batch, first):
            job = composer.job(overrides, number)
            jobs.mark_interrupted([jobs.make_job(job.config, job.execution, job.directory)])

    @contextmanager
    def multirun_file(self) -> Iterator[None]:
        """Save the sweep's configuration as multirun.yaml on exit, as Hydra's sweepers do, but not after an error."""
        from fmnist_sweep.errors import RunError

        try:
            yield
        except (KeyboardInterrupt, RunError):  # stopped by the user or by max_failures
            self._tell()
            raise
        self._tell()

    def _tell(self) -> None:
        folder = Path(self.config.hydra.sweep.dir)
        if folder.is_dir():  # a dry run makes no folder
            OmegaConf.save(self.config, folder / "multirun.yaml")

    def jobs(self, arguments: Sequence[str], grids: "Iterable[Grid]") -> list[list[str]]:
        """Return the jobs of grids combined with the arguments of the command line. A job is a list of overrides.

        A key of the command line leaves the `zip` of a grid. The other keys of that `zip` stay paired.
        """
        from fmnist_sweep.config.grids import Grid, typed_zips, union
        from fmnist_sweep.config.overrides import NUMBERS, rewrite, target, without_overridden

        loader = self.hydra_context.config_loader
        parser = OverridesParser.create(loader)
        typed = parser.parse_overrides(list(arguments))
        zips = typed_zips(OmegaConf.to_container(self.config.hydra.sweeper).get("zip"), typed)
        given, combined = {target(override) for override in typed}, []
        for grid in grids:
            lines = without_overridden(rewrite(grid.lines, loader), arguments, loader)
            kept = [[key for key in keys if NUMBERS.get(key, key) not in given] for keys in grid.zips]
            combined.append(Grid([*lines, *arguments], [*kept, *zips]))
        return union(combined, parser)


def keep_workers(launcher: Launcher, jobs: int, *, table: bool = True) -> AbstractContextManager[None]:
    """Keep a launcher's workers alive between launches of at most `jobs` jobs, if the launcher supports this.

    `table` is False for a sweeper that prints a table of its own at the end.
    """
    kept: AbstractContextManager[None] = (
        launcher.keep_workers(jobs, table=table) if hasattr(launcher, "keep_workers") else nullcontext()
    )
    return kept


def raise_failures(returns: Iterable[Sequence[JobReturn]]) -> None:
    """Raise `RunError` if runs failed. Its message has their number and the reasons of the first ones."""
    from fmnist_sweep.errors import RunError, count

    results = {id(result): result for batch in returns for result in batch}.values()  # equal runs share a result
    failed = [result for result in results if result.status != JobStatus.COMPLETED]
    if failed:
        told = list(map(_failure, failed[:_MOST_TOLD]))
        if more := len(failed) - len(told):
            told.append(f"and {more} more")
        raise RunError(f"{len(failed)} of {count(len(results), 'run')} did not end well: {'; '.join(told)}")


def _failure(result: JobReturn) -> str:
    from fmnist_sweep.config.hydra_private import error_of
    from fmnist_sweep.config.messages import reason
    from fmnist_sweep.errors import RunError

    error = error_of(result)
    return str(error) if isinstance(error, RunError) else f"{' '.join(result.overrides or [])}: {reason(error)}"
