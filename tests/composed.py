"""Configurations as the command composes them, from overrides as a user types them."""

from __future__ import annotations

import functools
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from fmnist_sweep.config import compose as composing
from fmnist_sweep.config import hydra_private, overrides, validation
from fmnist_sweep.config.compose import Composer
from fmnist_sweep.config.grids import Grid, union
from fmnist_sweep.config.schema import Config
from fmnist_sweep.papers.paper_option import consume_paper_option


@functools.cache
def loader(config_dir: Path | None = None) -> ConfigLoader:
    """Hydra's loader of the project's configuration, and of a folder given with --config-dir."""
    composing.register()
    made = hydra_private.config_loader(config_dir)
    consume_paper_option([], made, trains=False)
    return made


@functools.cache
def composer(config_dir: Path | None = None) -> Composer:
    """The composer of a sweep's jobs."""
    return Composer(loader(config_dir), hydra_private.master(loader(config_dir)))


def compose(*typed: str, config_dir: Path | None = None) -> list[DictConfig]:
    """The composed configuration of each job of the sweep that these arguments ask for."""
    lines = overrides.rewrite(typed, loader(config_dir))
    jobs = union([Grid(lines)], OverridesParser.create(loader(config_dir)))
    return [composer(config_dir).compose(job) for job in jobs]


def configure(*typed: str) -> Config:
    """The checked configuration of the one run that these arguments ask for."""
    (composed,) = compose(*typed)
    return validation.parse(composed)[0]


def name(*typed: str) -> str:
    """The name of that run."""
    (composed,) = compose(*typed)
    return composing.name_of(*validation.parse(composed))
