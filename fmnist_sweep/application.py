"""What Hydra calls for a job, and what its launcher `stacked` and sweeper `search` ask of an application. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

Direction = Literal["minimize", "maximize"]


class JobsTogether(Protocol):
    """The jobs of one sweep, carried out together: all at once, or a batch after another."""

    def place(self, composed: DictConfig) -> None:
        """Set what depends on where jobs are carried out, before anything is named by it."""

    def make_job(self, composed: DictConfig, directory: Path) -> Any:
        """Check a composed configuration and return a job; it raises where one cannot be carried out."""

    def check(self, jobs: Sequence[Any]) -> bool:
        """Check jobs against one another, and what all of them need. Returns False where that is all: a dry run."""

    def train(self, jobs: Sequence[Any]) -> bool:
        """Carry out checked jobs. Returns False where there are no outcomes yet, as they are left to a cluster."""

    def outcome(self, job: Any) -> Any:
        """The result of a job, or its error raised."""


@runtime_checkable
class TrainsTogether(Protocol):
    """A task function that the launcher `stacked` can hand all jobs of a sweep."""

    def together(self, jobs: int, executor: Mapping[str, Any]) -> AbstractContextManager[JobsTogether]:
        """Begin a sweep, which may hold processes until it ends.

        Args:
            jobs: how many at once.
            executor: where they are carried out: the launcher's settings, with its kind under `executor`.
        """


@dataclass(frozen=True)
class Objective:
    """What a search goes by.

    Attributes:
        name: as it is asked for.
        direction: whether less is better or more.
        value: of the directories of a trial's runs, one for each seed; and what else is to be known of the trial.
        defaults: values as typed, of keys that are not given.
        cautions: what is to be said where an override is given.
        seeds: of each trial, where nothing is said of seeds.
        comparable: whether a run that is cut short has a value that tells of the whole.
    """

    name: str
    direction: Direction
    value: Callable[[Sequence[Path]], tuple[float, dict[str, Any]]]
    defaults: Mapping[str, str] = field(default_factory=dict)
    cautions: Mapping[str, str] = field(default_factory=dict)
    seeds: int | None = None
    comparable: bool = True


@runtime_checkable
class Searchable(Protocol):
    """A task function whose runs the sweeper `search` can judge by objectives with a name.

    Attributes:
        usual_objective: the one to go by where none is named.
    """

    usual_objective: str

    def objective(self, name: str, loader: ConfigLoader) -> Objective:
        """The objective of a name; `ConfigError` where there is none."""

    def rewrite(self, lines: Sequence[str], loader: ConfigLoader) -> list[str]:
        """Overrides as typed, in the form that Hydra takes."""

    def decides(self, key: str) -> bool:
        """Whether a key of the configuration can change a result."""

    def check(self, jobs: Sequence[Sequence[str]], loader: ConfigLoader, sweep: DictConfig) -> None:
        """Raise `ConfigError` for a job, given by its overrides, that cannot work in a sweep of this configuration."""


class Application(TrainsTogether, Searchable):
    """Trains a run, or the runs of a sweep or a search."""

    usual_objective = "val_loss"

    def __call__(self, composed: DictConfig) -> float | None:
        """Train one run. Returns its final validation loss, None for a dry run."""
        from fmnist_sweep.sweep import single

        train = single.prepare(composed, Path(HydraConfig.get().runtime.output_dir))
        return None if train is None else train()

    def together(self, jobs: int, executor: Mapping[str, Any]) -> AbstractContextManager[JobsTogether]:
        """Begin a sweep."""
        from fmnist_sweep.sweep.run import Sweep

        return Sweep(jobs, executor)

    def objective(self, name: str, loader: ConfigLoader) -> Objective:
        """A measure, final or best, or the distance to the numbers of a figure."""
        from fmnist_sweep.adaptive.objectives import objective

        return objective(name, loader)

    def rewrite(self, lines: Sequence[str], loader: ConfigLoader) -> list[str]:
        """Numbers choose options of groups, as on the command line."""
        from fmnist_sweep.config.overrides import rewrite

        return rewrite(lines, loader)

    def decides(self, key: str) -> bool:
        """All but what says how to carry a run out."""
        from fmnist_sweep.config.schema import Execution

        return key.replace("data.dir", "data_dir").split(".")[0] not in {item.name for item in fields(Execution)}

    def check(self, jobs: Sequence[Sequence[str]], loader: ConfigLoader, sweep: DictConfig) -> None:
        """Compose and check every job."""
        from fmnist_sweep.config.compose import check

        check(jobs, loader, sweep)
