"""Check the configuration values of a file, write them as command-line overrides, and compose them with Hydra."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader

from fmnist_sweep.config import hydra_private, overrides
from fmnist_sweep.config.compose import Composer
from fmnist_sweep.config.messages import reason
from fmnist_sweep.config.schema import Config, leaves
from fmnist_sweep.errors import ConfigError, nearest

Values = dict[str, Any]

KEYS = [*overrides.NUMBERS, *(key for key in leaves(Config) if key != "seed"), "optimizer.name", "optimizer.lr"]
_ARGUMENT = re.compile(r"optimizer\.[a-z_]\w*(\.[a-z]+)?", re.ASCII)
_PLAIN = re.compile(r"[\w.+-]+", re.ASCII)  # excludes sweeps, interpolations and further keys


def check(place: str, values: Values, fixed: Values) -> None:
    """Raise `ConfigError` for a key or value that cannot be typed as an override, or that differs from `fixed`."""
    if {"optimizer", "optimizer.name"} <= {**fixed, **values}.keys():
        raise ConfigError(f"{place}: optimizer.name: optimizer names one already; give one of them")
    for key, value in values.items():
        if key not in KEYS and not _ARGUMENT.fullmatch(key):
            allowed = f"{', '.join(KEYS)} and other arguments of the optimizer"
            raise ConfigError(f"{place}: there is no key {key:.60}{nearest(key, KEYS)}; allowed: {allowed}")
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, int | float | None) and not (isinstance(item, str) and _PLAIN.fullmatch(item)):
                raise ConfigError(f"{place}: {key}: must be a number, a plain word or a list of them, not {item!s:.60}")
        if fixed.get(key, value) != value:
            raise ConfigError(f"{place}: {key}={value!s:.60}: the protocol fixes it at {fixed[key]!s:.60}")


def typed(values: Values) -> dict[str, str]:
    """Return the values in the form typed on the command line, such as `[128,64]`."""
    return {key: f"[{','.join(map(_word, v))}]" if isinstance(v, list) else _word(v) for key, v in values.items()}


def product(grids: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return one grid of all combinations of the values in several grids."""
    keys = dict.fromkeys(key for grid in grids for key in grid)
    return {key: ",".join(dict.fromkeys(grid[key] for grid in grids if key in grid)) for key in keys}


def compose(named: Mapping[str, Values], loader: ConfigLoader) -> dict[str, Config]:
    """Compose the configuration for each name's values; `ConfigError` names the first one that is invalid."""
    composer = Composer(loader, hydra_private.master(loader))
    configs = {}
    for name, values in named.items():
        # Pass numbers as values, not as options: Hydra composes every combination of options anew, which is slow.
        lines = [f"{overrides.NUMBERS.get(key, key)}={text}" for key, text in typed(values).items()]
        try:
            configs[name] = composer.config(overrides.rewrite(lines, loader))
        except Exception as error:  # Hydra, OmegaConf and torch check the values and raise many kinds
            raise ConfigError(f"configuration {name}: {reason(error)}") from error
    return configs


def _word(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
