"""Write the command that trains a configuration."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_sweep.commands.folders import USUAL
from fmnist_sweep.config.grids import written
from fmnist_sweep.config.schema import CONFIG_FOLDER, Config, flat
from fmnist_sweep.config.settings import SHORT
from fmnist_sweep.console import sweep_program

_ALWAYS = ("training.batch_size", "model.dropout", "training.epochs")  # what a reader expects in the line


def command(config: Config, seeds: Iterable[int], folder: Path) -> str:
    """Return the command line that trains a configuration with these seeds in a folder."""
    listed = list(seeds)
    words = [*overrides(config), f"seed={','.join(map(str, listed))}"]
    if folder != USUAL:
        words.append(f"hydra.sweep.dir={folder}")
    return " ".join([sweep_program(), *(["-m"] if len(listed) > 1 else []), *map(shlex.quote, words)])


def overrides(config: Config) -> list[str]:
    """Return the overrides that give a configuration, without its seed. Values of conf/config.yaml are left out."""
    usual = _values(CONFIG_FOLDER / "config.yaml")
    values = {key: value for key, value in flat(asdict(config)).items() if not key.startswith(("optimizer.", "seed"))}
    told = [*_ALWAYS, *(key for key, value in values.items() if key not in _ALWAYS and usual.get(key) != value)]
    return [*_optimizer(flat(config.optimizer)), *(f"{SHORT.get(key, key)}={written(values[key])}" for key in told)]


def _optimizer(given: dict[str, Any]) -> list[str]:
    """Return the overrides that give an optimizer: an option of conf/optimizer if one fits, else its class."""
    options = {path.stem: _values(path) for path in sorted((CONFIG_FOLDER / "optimizer").glob("*.yaml"))}
    fitting = {
        name: [key for key in given if key not in option or option[key] != given[key]]
        for name, option in options.items()
        if option["name"] == given["name"] and option.keys() <= given.keys()
    }
    if fitting:
        name = min(fitting, key=lambda name: len(fitting[name]))
        return [f"optimizer={name}", *(f"optimizer.{key}={written(given[key])}" for key in fitting[name])]
    return [f"optimizer.{key}={written(value)}" for key, value in given.items()]


def _values(path: Path) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    return flat(content)
