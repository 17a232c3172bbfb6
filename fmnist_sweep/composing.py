"""Compose many jobs of a sweep quickly.

Hydra reads and merges every file anew for every job. Jobs that choose the same options differ in values alone, so the
choices are composed once and each job's values are set on a copy, by the function with which Hydra sets them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig


class Composer:
    """Composes the jobs of one sweep.

    Args:
        loader: Hydra's.
        master: the sweep's own configuration.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig):
        self._loader = loader
        self._master = master
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._choices: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration that `load_sweep_config` gives for these overrides."""
        parsed = [self._parse(line) for line in overrides]
        values = [override for override, sets_value in parsed if sets_value]
        choices = tuple(line for line, (_, sets_value) in zip(overrides, parsed, strict=True) if not sets_value)
        if choices not in self._choices:
            self._choices[choices] = self._loader.load_sweep_config(self._master, list(choices))
        composed = copy.deepcopy(self._choices[choices])
        ConfigLoaderImpl._apply_overrides_to_config(values, composed)
        job = composed.hydra.job
        of_task = [override for override, _ in parsed if not override.is_hydra_override()]
        composed.hydra.overrides.task = [override.input_line for override in of_task]
        dirname = job.config.override_dirname
        job.override_dirname = get_overrides_dirname(
            overrides=of_task,
            kv_sep=dirname.kv_sep,
            item_sep=dirname.item_sep,
            exclude_keys=dirname.exclude_keys,
        )
        return composed

    def _parse(self, line: str) -> tuple[Override, bool]:
        """The override, and whether it sets a value and chooses no option of a group."""
        if line not in self._parsed:
            override = self._parser.parse_overrides([line])[0]
            special = override.is_hydra_override() or override.package or override.type == OverrideType.DEL
            sets_value = not special and not self._loader.get_group_options(override.key_or_group)
            self._parsed[line] = override, sets_value
        return self._parsed[line]
