"""A Hydra sweeper that adds seeds to a paper's configurations until its claims have verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from omegaconf import MISSING

from hydra_plugins.fmnist_sweep_grids import GridSweeper, keep_workers, raise_failures


@dataclass
class SettlingSweeperConf:
    """Settings: the paper, the largest number of seeds, and the time limit `budget`, such as 30min."""

    _target_: str = "hydra_plugins.fmnist_sweep_settle.SettlingSweeper"
    paper: str = MISSING  # set by paper=NAME
    max_seeds: int = 40  # the most seeds of a configuration
    budget: Optional[str] = None  # how long to train, such as 90s, 30min or 2h; null: no limit


ConfigStore.instance().store(group="hydra/sweeper", name="settle", node=SettlingSweeperConf, provider="fmnist_sweep")


class SettlingSweeper(GridSweeper):
    """A sweeper that trains runs for open claims, reads the store and repeats. `adaptive/settle.py` selects runs."""

    def __init__(self, **settings: Any):
        self.settings = SettlingSweeperConf(**settings)

    def sweep(self, arguments: list[str]) -> Any:
        """Launch jobs until no more runs are needed. Raise `RunError` if runs failed; it says how many."""
        from fmnist_sweep.config.grids import read
        from fmnist_sweep.config.hydra_private import resolve
        from fmnist_sweep.console import busy

        loader, settings = self.hydra_context.config_loader, self.settings
        with busy("reading the paper"):
            from fmnist_sweep.adaptive.settle import Settling

            settling = Settling(settings.paper, loader, arguments, settings.max_seeds, settings.budget)
        store = resolve(self.config, "hydra.sweep.dir")
        returns: list[Sequence[JobReturn]] = []
        with keep_workers(self.launcher, settling.most), settling.within_budget(), self.multirun_file():
            while grids := settling.look(store):
                jobs = self.jobs(arguments, read(grids, {}))
                returns.append(self.launcher.launch(jobs, initial_job_idx=sum(map(len, returns))))
        settling.close(store)
        raise_failures(returns)
        return returns
