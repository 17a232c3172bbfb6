"""Carry out a command line as one run or as a sweep. The Python interface calls the same functions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import version
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fmnist_sweep.config import compose, hydra_private, overrides
from fmnist_sweep.config.overrides import FIGURE
from fmnist_sweep.config.parsing import parse as parse_overrides
from fmnist_sweep.config.validation import parse
from fmnist_sweep.console import busy
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.papers.paper_option import consume_paper_option

if TYPE_CHECKING:
    from fmnist_sweep.sweeps.run import Sweep


class Application:
    """The task function that Hydra calls. The launcher `stacked` calls `start_sweep` instead."""

    def __call__(self, composed: DictConfig) -> float | None:
        """Train one run. Return its final validation loss, or None for a dry run."""
        from fmnist_sweep.sweeps.run import INLINE

        with self.start_sweep(1, INLINE) as sweep:
            job = sweep.make_job(*parse(composed), Path(HydraConfig.get().runtime.output_dir))
            return sweep.train_one(job) if sweep.check([job]) else None

    def start_sweep(self, jobs: int, executor: Mapping[str, Any], *, table: bool = True) -> Sweep:
        """Begin a sweep whose launches have at most `jobs` jobs.

        Args:
            executor: the launcher's settings.
            table: False if the sweeper prints a table of its own at the end.
        """
        with busy("starting"):  # this imports torch
            from fmnist_sweep.sweeps.run import Sweep

        return Sweep(jobs, executor, table=table)


def loader_for(typed: Sequence[str], folder: str | None = None, config_path: str | None = None) -> ConfigLoader:
    """Return a loader that knows every option that Hydra's own loader will know.

    Args:
        typed: overrides as typed; only `hydra.searchpath=` is used.
        folder: a folder with further options, from `--config-dir`.
        config_path: a configuration folder that replaces the project's own, from `--config-path`.
    """
    version.setbase("1.3")
    compose.register()
    if folder is not None and not os.path.isdir(folder):
        raise ConfigError(f"Additional config directory '{os.path.abspath(folder)}' not found")
    further = []
    for override in parse_overrides([line for line in typed if line.startswith("hydra.searchpath=")]):
        folders = override.value()
        for one in folders if isinstance(folders, list) else [folders]:
            path = str(one).removeprefix("file://")
            if not isinstance(folders, list) or not ("://" in path or os.path.isdir(path)):
                raise ConfigError(
                    f"{override.input_line}: must be a list of folders that are there, as in [file://{os.getcwd()}]"
                )
            further.append(str(one))
    return hydra_private.config_loader(folder, *further, config_path=config_path)


def rewrite(typed: Sequence[str], loader: ConfigLoader, *, trains: bool = True) -> list[str]:
    """Rewrite typed overrides for Hydra. `trains` has the same meaning as in `consume_paper_option`."""
    return overrides.rewrite(consume_paper_option(typed, loader, trains=trains), loader)


def carry_out(
    lines: Sequence[str], loader: ConfigLoader, *, multirun: bool = False, config_name: str | None = None
) -> list[Path]:
    """Train the runs that overrides request. Return the directories of the runs, or an empty list after a dry run.

    Args:
        lines: overrides rewritten for Hydra.
        loader: a loader from `loader_for`.
        multirun: if true, run a sweep even if no override gives several values.
        config_name: the primary configuration, if it is not the project's own.

    Raises:
        ConfigError: the configuration cannot work; nothing was trained.
        DataError: the data set is unavailable.
        RunError: some runs failed; the others are finished.
    """
    task = Application()
    several = overrides.is_sweep(lines)
    is_sweep = multirun or any(line.startswith(FIGURE) and line != f"{FIGURE}[]" for line in lines)
    if several and not is_sweep and not any(line.startswith("hydra.mode=") for line in lines):
        point = "; a decimal number is written with a point" if re.fullmatch(r"[^=]+=-?0,\d+", several) else ""
        raise ConfigError(f"{several}: several values make a sweep: add -m{point}")
    with hydra_private.HydraApplication(loader, config_name) as application:
        if is_sweep or several:
            return application.sweep(lines, task)
        with busy("reading the configuration"):
            composed = application.compose(lines)
        if composed.hydra.mode == RunMode.MULTIRUN:
            return application.sweep(lines, task)

        with busy("preparing the run"):  # this imports torch
            from fmnist_sweep.sweeps.run import INLINE

            directory = hydra_private.place(composed, "hydra.run.dir")
            application.rehearse(composed)
        with task.start_sweep(1, INLINE) as sweep:
            job = sweep.make_job(*parse(composed), directory)
            if not sweep.check([job]):
                return []
            application.run(composed, lambda _: sweep.train_one(job))
        return [job.directory]
