"""Compose many jobs of a sweep quickly.

Hydra reads and merges every file again for each job. Jobs that choose the same options differ only in values, most
often in their seeds. So this module composes each set of options once. The values of a job are then set on plain data,
and Hydra's own object is made only when somebody asks for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from fmnist_sweep.config import hydra_private, keys
from fmnist_sweep.config.identity import digest, run_name
from fmnist_sweep.config.schema import Config, Execution, Schema, decides, device_type, flat
from fmnist_sweep.config.validation import parse, parse_config, with_values
from fmnist_sweep.errors import ConfigError

_SUBDIR = "${run_name:}"


def register() -> None:
    """Register the schema and the resolvers `${run_name:}` and, for --help, `${keys_in_words:}` with Hydra."""
    ConfigStore.instance().store(name="schema", node=Schema)
    OmegaConf.register_new_resolver(
        "run_name", lambda *, _root_: _name(parse_config(_root_), _root_.device), replace=True
    )
    OmegaConf.register_new_resolver("keys_in_words", keys.text, replace=True)


def name_of(config: Config, execution: Execution) -> str:
    """Return the name of the run with this configuration and execution."""
    return _name(config, execution.device)


def _name(config: Config, device: str) -> str:
    return run_name(config, digest(config, device_type(device)))


@dataclass(slots=True)
class ComposedJob:
    """A composed job of a sweep.

    Attributes:
        config, execution: its checked values.
        directory: the directory of its run, absolute.
        overrides: the job's overrides as Hydra knows them.
        number: its number in the sweep.
        template: what it shares with jobs that differ from it only in plain values; None for a job of its own.
    """

    config: Config
    execution: Execution
    directory: Path
    overrides: Sequence[str]
    number: int
    template: Template | None
    _composer: Composer
    _hydra: DictConfig | None = None

    @property
    def hydra(self) -> DictConfig:
        """Return Hydra's own configuration of the job."""
        if self._hydra is None:
            self._hydra = self._composer.compose_numbered(self.overrides, self.number)
            hydra_private.place(self._hydra, "hydra.sweep.dir", "hydra.sweep.subdir")
        return self._hydra

    @property
    def varying(self) -> dict[str, Any]:
        """Return the values by dotted key in which `hydra` may differ from that of another job of the template."""
        assert self.template is not None
        plain, _ = self._composer.split(self.overrides)
        task, dirname = self._composer.task_overrides(self.overrides, self.template.hydra.hydra.job)
        return {
            **{key: hydra_private.converted(self.template.hydra, key, value) for key, value in plain.items()},
            "hydra.overrides.task": task,
            "hydra.job.override_dirname": dirname,
            "hydra.job.id": str(self.number),
            "hydra.job.num": self.number,
            "hydra.runtime.output_dir": str(self.directory),
        }


@dataclass(frozen=True)
class Template:
    """The part that is the same in all jobs that choose the same options.

    Attributes:
        config, execution: the checked values before a job's own.
        keys: the dotted keys of the configuration.
        store: the parent of the runs' directories, absolute; None if the directories have other names than the runs.
        hydra: Hydra's own configuration of them.
    """

    config: Config
    execution: Execution
    keys: Set[str]
    store: Path | None
    hydra: DictConfig


class Composer:
    """A composer for the jobs of one sweep.

    Args:
        loader: Hydra's loader.
        master: the configuration of the sweep itself.
        adjust: changes each composed configuration before it is checked.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, adjust: Callable[[DictConfig], None] = lambda _: None):
        self._loader = loader
        self._master = master
        self._adjust = adjust
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._choices: dict[tuple[str, ...], DictConfig] = {}
        self._templates: dict[tuple[str, ...], Template | None] = {}

    def job(self, overrides: Sequence[str], number: int) -> ComposedJob:
        """Compose and check one job of the sweep.

        Raises:
            Exception: the job cannot work; `messages.reason` describes the error in one line.
        """
        template, config = self._from_template(overrides)
        if template is not None and template.store is not None and config is not None:
            directory = template.store / name_of(config, template.execution)
            return ComposedJob(config, template.execution, directory, overrides, number, template, self)
        composed = self.compose_numbered(overrides, number)
        directory = hydra_private.place(composed, "hydra.sweep.dir", "hydra.sweep.subdir").absolute()
        return ComposedJob(*parse(composed), directory, overrides, number, None, self, composed)

    def config(self, overrides: Sequence[str]) -> Config:
        """Compose and check the configuration of a run, as `job` does, without a directory for it."""
        config = self._from_template(overrides)[1]
        return parse(self.compose(overrides))[0] if config is None else config

    def compose_numbered(self, overrides: Sequence[str], number: int) -> DictConfig:
        """Return Hydra's own configuration of a job of the sweep, before it has a directory."""
        composed = hydra_private.numbered(self.compose(overrides), number)
        self._adjust(composed)
        return composed

    def _from_template(self, overrides: Sequence[str]) -> tuple[Template | None, Config | None]:
        """Return the template of a job and the job's configuration; None if Hydra has to compose the job."""
        plain, others = self.split(overrides)
        key = tuple(others)
        if key not in self._templates:
            self._templates[key] = self._template(others)
        template = self._templates[key]
        if template is None or not all(self._may_set(one, template, others) for one in plain):
            return None, None
        try:
            return template, with_values(template.config, plain)
        except (ConfigError, ValidationError):  # Hydra may convert the value; if not, its message is the better one
            return None, None

    def split(self, overrides: Sequence[str]) -> tuple[dict[str, int | float], list[str]]:
        """Split a job's overrides into the numbers that they give to keys, and all others."""
        plain, others = {}, []
        for line in overrides:
            override, sets_value = self._parse(line)
            value = override.value()
            # A new argument of an optimizer may be added; see `overrides.rewrite`.
            changes = override.type == OverrideType.CHANGE or override.key_or_group.startswith("optimizer.")
            if sets_value and changes and isinstance(value, int | float) and decides(override.key_or_group):
                plain[override.key_or_group] = value
            else:
                others.append(line)
        return plain, others

    def _may_set(self, key: str, template: Template, others: Sequence[str]) -> bool:
        """Return whether a plain value may be set after all other overrides."""
        is_argument = key.startswith("optimizer.") and key.count(".") == 1
        keys = [override.key_or_group for override, sets_value in map(self._parse, others) if sets_value]
        is_apart = not any(f"{key}.".startswith(f"{one}.") or f"{one}.".startswith(f"{key}.") for one in keys)
        return is_apart and (key in template.keys or is_argument)

    def _template(self, overrides: Sequence[str]) -> Template | None:
        """Compose the options that jobs share; None if a value depends on others, so that it cannot be shared."""
        try:
            composed = self.compose_numbered(overrides, 0)
            config, execution = parse(composed)
        except Exception:  # a job's own values may be needed; if not, its own composition tells what is wrong
            return None
        if hydra_private.interpolates(composed):
            return None
        sweep = OmegaConf.to_container(composed.hydra.sweep, resolve=False)
        usual = isinstance(sweep, dict) and sweep["subdir"] == _SUBDIR and "${" not in str(sweep["dir"])
        store = Path(str(composed.hydra.sweep.dir)).absolute() if usual else None
        return Template(config, execution, flat(asdict(config)).keys(), store, composed)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the same configuration as `load_sweep_config` for these overrides."""
        parsed = [self._parse(line) for line in overrides]
        choices = tuple(line for line in overrides if not self._parse(line)[1])
        if choices not in self._choices:
            self._choices[choices] = self._loader.load_sweep_config(self._master, list(choices))
        composed = copy.deepcopy(self._choices[choices])
        hydra_private.set_values(composed, [override for override, sets_value in parsed if sets_value])
        job = composed.hydra.job
        composed.hydra.overrides.task, job.override_dirname = self.task_overrides(overrides, job)
        return composed

    def task_overrides(self, overrides: Sequence[str], job: DictConfig) -> tuple[list[str], str]:
        """Return a job's overrides outside `hydra`, and its `override_dirname` by the settings in `hydra.job`."""
        dirname = job.config.override_dirname
        of_task = [override for override, _ in map(self._parse, overrides) if not override.is_hydra_override()]
        named = [str(one.input_line) for one in of_task if one.key_or_group not in dirname.exclude_keys]
        name = dirname.item_sep.join(sorted(named)).replace("=", dirname.kv_sep)
        return [str(override.input_line) for override in of_task], name

    def _parse(self, line: str) -> tuple[Override, bool]:
        """Return the parsed override, and True if it sets a value instead of choosing an option of a group."""
        if line not in self._parsed:
            override = self._parser.parse_overrides([line])[0]
            special = override.is_hydra_override() or override.package or override.type == OverrideType.DEL
            sets_value = not special and not self._loader.get_group_options(override.key_or_group)
            self._parsed[line] = override, sets_value
        return self._parsed[line]
