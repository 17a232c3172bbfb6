"""Configurations as the command composes them, from overrides as a user types them."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from fmnist_sweep import config, overrides
from fmnist_sweep.composing import Composer
from fmnist_sweep.config import Config


@functools.cache
def loader(config_dir: Path | None = None) -> ConfigLoaderImpl:
    """Hydra's loader of the project's configuration, and of a folder given with --config-dir."""
    config.register()
    path = create_config_search_path(str(config.CONFIG_FOLDER))
    if config_dir is not None:
        path.prepend("command-line", f"file://{config_dir}", SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(path)


@functools.cache
def master(config_dir: Path | None = None) -> DictConfig:
    """The configuration of a sweep itself."""
    composed: DictConfig = loader(config_dir).load_configuration("config", [], RunMode.MULTIRUN)
    return composed


@functools.cache
def composer(config_dir: Path | None = None) -> Composer:
    """The composer of a sweep's jobs."""
    return Composer(loader(config_dir), master(config_dir))


def jobs(*typed: str, config_dir: Path | None = None) -> list[list[str]]:
    """The overrides of each job of the sweep that these arguments ask for."""
    lines = overrides.rewrite(typed, loader(config_dir))
    parsed = OverridesParser.create(loader(config_dir)).parse_overrides(lines)
    batches: list[list[list[str]]] = BasicSweeper.split_arguments(parsed, None)
    return list(itertools.chain(*batches))


def compose(*typed: str, config_dir: Path | None = None) -> list[DictConfig]:
    """The composed configuration of each of those jobs."""
    return [composer(config_dir).compose(job) for job in jobs(*typed, config_dir=config_dir)]


def configure(*typed: str) -> Config:
    """The checked configuration of the one run that these arguments ask for."""
    (composed,) = compose(*typed)
    return config.parse(composed)
