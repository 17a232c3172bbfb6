"""Compose many jobs of a sweep quickly.

Hydra reads and merges every file again for each job. Jobs that choose the same options differ only in values. So this
module composes each set of options once and sets each job's values on a copy, with Hydra's own function.
"""

import copy
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from fmnist_sweep.config import hydra_private
from fmnist_sweep.config.identity import digest, run_name
from fmnist_sweep.config.schema import Config, Execution, Schema, device_type
from fmnist_sweep.config.validation import parse_config


def register() -> None:
    """Register the schema and the resolver `${run_name:}` with Hydra."""
    ConfigStore.instance().store(name="schema", node=Schema)
    OmegaConf.register_new_resolver(
        "run_name", lambda *, _root_: _name(parse_config(_root_), _root_.device), replace=True
    )


def name_of(config: Config, execution: Execution) -> str:
    """Return the name of the run with this configuration and execution."""
    return _name(config, execution.device)


def _name(config: Config, device: str) -> str:
    return run_name(config, digest(config, device_type(device)))


class Composer:
    """A composer for the jobs of one sweep; `master` is the configuration of the sweep itself."""

    def __init__(self, loader: ConfigLoader, master: DictConfig):
        self._loader = loader
        self._master = master
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._choices: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the same configuration as `load_sweep_config` for these overrides."""
        parsed = [self._parse(line) for line in overrides]
        choices = tuple(line for line in overrides if not self._parse(line)[1])
        if choices not in self._choices:
            self._choices[choices] = self._loader.load_sweep_config(self._master, list(choices))
        composed = copy.deepcopy(self._choices[choices])
        hydra_private.set_values(composed, [override for override, sets_value in parsed if sets_value])
        job = composed.hydra.job
        dirname = job.config.override_dirname
        of_task = [override for override, _ in parsed if not override.is_hydra_override()]
        composed.hydra.overrides.task = [override.input_line for override in of_task]
        named = [str(o.input_line) for o in of_task if o.key_or_group not in dirname.exclude_keys]
        job.override_dirname = dirname.item_sep.join(sorted(named)).replace("=", dirname.kv_sep)
        return composed

    def _parse(self, line: str) -> tuple[Override, bool]:
        """Return the parsed override, and True if it sets a value instead of choosing an option of a group."""
        if line not in self._parsed:
            override = self._parser.parse_overrides([line])[0]
            special = override.is_hydra_override() or override.package or override.type == OverrideType.DEL
            sets_value = not special and not self._loader.get_group_options(override.key_or_group)
            self._parsed[line] = override, sets_value
        return self._parsed[line]
