"""What Hydra calls for a job, and what its launcher `stacked` asks of an application. Nothing here loads torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


class JobsTogether(Protocol):
    """The jobs of one sweep, carried out together: all at once, or a batch after another."""

    def place(self, composed: DictConfig) -> None:
        """Set what depends on where jobs are carried out, before anything is named by it."""

    def make_job(self, composed: DictConfig, directory: Path) -> Any:
        """Check a composed configuration and return a job; it raises where one cannot be carried out."""

    def train(self, jobs: Sequence[Any]) -> bool:
        """Carry out jobs. Returns False where there are no outcomes yet: after a dry run, or left to a cluster."""

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


class Application(TrainsTogether):
    """Trains a run, or the runs of a sweep."""

    def __call__(self, composed: DictConfig) -> float | None:
        """Train one run. Returns its final validation loss, None for a dry run."""
        from fmnist_sweep import single

        train = single.prepare(composed, Path(HydraConfig.get().runtime.output_dir))
        return None if train is None else train()

    def together(self, jobs: int, executor: Mapping[str, Any]) -> AbstractContextManager[JobsTogether]:
        """Begin a sweep."""
        from fmnist_sweep.launching import Sweep

        return Sweep(jobs, executor)
