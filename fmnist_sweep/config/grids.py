"""Turn grids into the jobs of a sweep. A grid is a product of values, some of which may be paired."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from fmnist_sweep.config.overrides import MOST_JOBS, NUMBERS, target
from fmnist_sweep.errors import ConfigError

ZIP = "zip"
_GRIDS = "a list of mappings, such as [{optimizer: [adam, sgd], batch_size: [100, 500]}]"
_ZIP = "a mapping of keys to lists of the same length, such as {batch_size: [100, 500], optimizer.lr: [0.01, 0.05]}"


@dataclass(frozen=True)
class Grid:
    """A product of values.

    Attributes:
        lines: overrides, each with one or more values.
        zips: groups of keys whose values are paired: the first values of all keys in a group, the second, and so on.
    """

    lines: Sequence[str]
    zips: Sequence[Sequence[str]] = ()


def read(grids: Any, params: Mapping[str, Any]) -> list[Grid]:
    """Read the grids of a file, as plain values. Without any, the file has one grid, of `params` alone.

    Args:
        grids: mappings of keys to a value or a list of values. The key `zip` has such a mapping, or a list of them.
        params: values that all grids have.

    Raises:
        ConfigError: a grid does not have this form.
    """
    grids = [{}] if grids is None else grids
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise ConfigError(f"grids: must be {_GRIDS}")
    return [_grid(f"grids[{number}]", params, dict(grid)) for number, grid in enumerate(grids)]


def _grid(place: str, params: Mapping[str, Any], values: dict[str, Any]) -> Grid:
    zips = values.pop(ZIP, [])
    zips = zips if isinstance(zips, list) else [zips]
    keys = [key for paired in zips if isinstance(paired, dict) for key in paired]
    if not all(isinstance(paired, dict) for paired in zips):
        raise ConfigError(f"{place}: {ZIP}: must be {_ZIP}")
    for key in keys:
        if key in values or keys.count(key) > 1:
            raise ConfigError(f"{place}: {key}: is given twice, in {ZIP} and beside it; give it once")
    everything = {**params, **values, **{key: of_key for paired in zips for key, of_key in paired.items()}}
    return Grid([choices(key, of_key) for key, of_key in everything.items()], [list(paired) for paired in zips])


def typed_zips(value: Any, arguments: Sequence[Override]) -> list[list[str]]:
    """Read `zip=[a,b]` or `zip=[[a,b],[c,d]]` of the command line. Raise `ConfigError` for a key without values there.

    Args:
        value: the groups of keys.
        arguments: all overrides of the command line.
    """
    groups = value or []
    if not isinstance(groups, list) or not all(isinstance(one, list) for one in groups):
        groups = [groups]
    given = {target(override) for override in arguments}
    for group in groups:
        if not isinstance(group, list) or len(group) < 2:
            raise ConfigError(f"{ZIP}={written(value)}: must list keys to pair up, such as [batch_size,optimizer.lr]")
        for key in group:
            if NUMBERS.get(key, key) not in given:
                raise ConfigError(f"{ZIP}: {key} has no values on the command line; add {key}=a,b")
    return groups


def union(grids: Iterable[Grid], parser: OverridesParser) -> list[list[str]]:
    """Return the jobs of several grids in order, without duplicates. A job is a list of overrides."""
    jobs: dict[tuple[str, ...], list[str]] = {}
    for grid in grids:
        dimensions = _dimensions(grid, parser)
        size = math.prod(map(len, dimensions))
        if size > MOST_JOBS:
            raise ConfigError(f"{size} jobs: a sweep takes at most {MOST_JOBS}; split it, by seeds for example")
        for job in map(list, map(chain.from_iterable, product(*dimensions))):
            jobs.setdefault(tuple(sorted(job)), job)
    return list(jobs.values())


def _dimensions(grid: Grid, parser: OverridesParser) -> list[list[tuple[str, ...]]]:
    """Return the dimensions of a grid's product. Each has one override for each of its keys at each place."""
    key_of = {NUMBERS.get(key, key): key for keys in grid.zips for key in keys}
    group_of = {key: number for number, keys in enumerate(grid.zips) for key in keys}
    parsed = {one.get_key_element(): one for one in parser.parse_overrides(list(grid.lines))}
    dimensions: dict[int | str, dict[str, list[str]]] = {}
    for name, override in parsed.items():
        key = key_of.get(target(override), name)
        dimensions.setdefault(group_of.get(key, key), {})[key] = _values(override)
    for paired in dimensions.values():
        if len({*map(len, paired.values())}) > 1:
            said = ", ".join(f"{key} has {len(values)}" for key, values in paired.items())
            raise ConfigError(f"{ZIP}: keys must have equally many values to be paired, but {said}")
    return [list(zip(*paired.values(), strict=True)) for paired in dimensions.values()]


def _values(override: Override) -> list[str]:
    """Return one override `key=value` for each value of a sweep override."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise ConfigError(f"{override.input_line}: an interval has no single values; list them, or take range(a,b)")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def choices(key: str, value: Any) -> str:
    """Return the override that gives a key one or more values. A text is read as on the command line."""
    value = value.tolist() if hasattr(value, "tolist") else value
    values = list(value) if isinstance(value, list | tuple | range) else [value]
    if not values:
        raise ConfigError(f"{key}: has no values; give one at least")
    return f"{key}={','.join(map(written, values))}"


def written(value: Any) -> str:
    """Write a Python value in the form that it has in an override."""
    value = value.tolist() if hasattr(value, "tolist") else value  # numbers of NumPy and pandas
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple | range):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{written(one)}' for key, one in value.items())}}}"
    if isinstance(value, Path):
        return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
    return value if isinstance(value, str) else repr(value)
