"""Hydra sweeper that runs a list of grids: each is a product of values, and the sweep is their union."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus


@dataclass
class GridSweeperConf:
    """Named grids, each a mapping from a key to its values as on the command line: "a,b" or "range(1,4)"."""

    _target_: str = "hydra_plugins.grid_sweeper.GridSweeper"
    max_batch_size: Optional[int] = None  # noqa: UP045 - OmegaConf evaluates this annotation
    params: Optional[dict[str, str]] = None  # noqa: UP045
    grids: dict[str, Any] = field(default_factory=dict)  # OmegaConf cannot merge typed ones of the same name


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridSweeperConf, provider="fmnist_sweep")


class GridSweeper(BasicSweeper):
    """The basic sweeper, for the union of several grids instead of one; without grids it is the basic sweeper.

    Overrides on the command line apply to every grid: a key that a grid has too takes the command line's values.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        grids: dict[str, dict[str, str]] | None = None,
    ):
        super().__init__(max_batch_size, params)
        self.grids = grids or {}

    @staticmethod
    def union(grids: Sequence[Sequence[str]], parser: OverridesParser) -> list[list[str]]:
        """The jobs of several grids, each given by its overrides, in order and without duplicates."""
        jobs = {}
        for grid in grids:
            for job in BasicSweeper.split_arguments(parser.parse_overrides(list(grid)), None)[0]:
                jobs.setdefault(frozenset(job), job)
        return list(jobs.values())

    def sweep(self, arguments: list[str]) -> Any:
        """Compose the union of the grids and launch it; `RunError` counts the runs that did not end well."""
        from fmnist_sweep.errors import RunError
        from fmnist_sweep.overrides import rewrite, target

        assert self.config is not None and self.hydra_context is not None and self.launcher is not None
        loader = self.hydra_context.config_loader
        parser = OverridesParser.create(loader)
        given = {target(override) for override in parser.parse_overrides(arguments)}
        grids = []
        for grid in self.grids.values() or [{}]:
            lines = rewrite([f"{key}={values}" for key, values in {**self.params, **grid}.items()], loader)
            kept = [override for override in parser.parse_overrides(lines) if target(override) not in given]
            grids.append([*(str(override.input_line) for override in kept), *arguments])
        jobs = self.union(grids, parser)
        batches = list(self.split_overrides_to_chunks(jobs, self.max_batch_size))
        if len(batches) > 1 or not getattr(self.launcher, "checks_all_jobs", False):
            self.validate_batch_is_legal(jobs)
        returns: list[Sequence[JobReturn]] = []
        for batch in batches:
            returns.append(self.launcher.launch(batch, initial_job_idx=sum(map(len, returns))))
        done = [result.status == JobStatus.COMPLETED for results in returns for result in results]
        if not all(done):
            raise RunError(f"{done.count(False)} of {len(done)} runs did not end well")
        return returns

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Check the configuration of every job before the first starts."""
        from fmnist_sweep.composing import Composer
        from fmnist_sweep.config import parse

        assert self.config is not None and self.hydra_context is not None
        composer = Composer(self.hydra_context.config_loader, self.config)
        for job in batch:
            parse(composer.compose(job))
