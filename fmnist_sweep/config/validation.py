"""Convert a composed configuration to `Config` and `Execution`, and check it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from fmnist_sweep.config import optimizers, schedules
from fmnist_sweep.config.messages import of_omegaconf
from fmnist_sweep.config.schema import KEYS, WITH_STD, Config, Execution, How
from fmnist_sweep.data import IMAGES
from fmnist_sweep.errors import ConfigError, first_problem

T = TypeVar("T")
_CONFIG: TypeAdapter[Config] = TypeAdapter(Config)
_EXECUTION: TypeAdapter[Execution] = TypeAdapter(Execution)


@contextmanager
def resolving(composed: DictConfig) -> Iterator[None]:
    """Resolve `${hydra:...}` from this configuration inside the `with` block, as in a job that Hydra runs."""
    setup_globals()
    current: Any = HydraConfig.instance()
    before = current.cfg
    if "hydra" in composed:  # else Hydra is already running this job
        current.cfg = composed
    try:
        yield
    finally:
        current.cfg = before


def parse(composed: DictConfig) -> tuple[Config, Execution]:
    """Convert a composed configuration to `Config` and `Execution`; raise `ConfigError` if it is invalid."""
    how = _plain(composed, [item.name for item in fields(How)])
    how["data_dir"] = _plain(composed, ["data"])["data"]["dir"]
    return parse_config(composed), _validated(_EXECUTION, how)


def parse_config(composed: DictConfig) -> Config:
    """Convert a composed configuration to `Config`. The run's name needs it before the run's directory is known."""
    of_execution = {item.name for item in fields(How)}
    keys = dict.fromkeys([*(item.name for item in fields(Config)), *map(str, composed)])
    plain = _plain(composed, [key for key in keys if key != "hydra" and key not in of_execution])
    del plain["data"]["dir"]
    config = _validated(_CONFIG, plain)
    check(config)
    return config


def with_values(config: Config, values: Mapping[str, object]) -> Config:
    """Return a checked copy of a configuration with other values for some dotted keys, which are all there.

    Raises:
        ConfigError: a value is wrong.
        ValidationError: a value is of another type than its key; Hydra might convert it.
    """
    changed = config
    for key, value in values.items():
        changed = _with_value(changed, key, value)
    check(changed)
    return changed


def _with_value(section: Any, key: str, value: object) -> Any:
    name, _, rest = key.partition(".")
    is_plain = isinstance(section, dict)
    if rest:
        value = _with_value(section[name] if is_plain else getattr(section, name), rest, value)
    return {**section, name: value} if is_plain else replace(section, **{name: value})


def check(config: Config) -> None:
    """Raise `ConfigError` if values of a configuration do not fit together."""
    _check_layers(config)
    _check_data(config)
    loss = config.loss
    if loss.label_smoothing and loss.name != "cross_entropy":
        raise ConfigError(f"loss.label_smoothing={loss.label_smoothing}: must be 0 with loss.name={loss.name}")
    optimizers.check(config.optimizer)
    schedule = schedules.complete(config.optimizer.get("schedule", "constant"))
    if schedule["name"] in schedules.DEPENDS_ON_LENGTH and schedule["warmup"] >= config.training.epochs:
        raise ConfigError(
            f"optimizer.schedule.warmup={schedule['warmup']}: leaves none of epochs={config.training.epochs} for "
            f"{schedule['name']}; it must be less"
        )


def _check_layers(config: Config) -> None:
    """Check what the keys of `model` ask of each other."""
    model, hidden = config.model, config.model.hidden
    for key, values in (("dropout", model.dropout), ("model.activation", model.activation)):
        if isinstance(values, list) and len(values) != len(hidden):
            many = f"{len(hidden)} values, one for each of model.hidden={hidden}"
            raise ConfigError(f"{key}={values}: must be one value, or a list of {many}".replace("'", ""))
    if (model.init_std is None) is (model.init in WITH_STD):
        needs = "takes none; leave it out" if model.init_std else "needs one, such as 0.01"
        raise ConfigError(
            f"model.init_std={'null' if model.init_std is None else model.init_std}: model.init={model.init} {needs}"
        )
    if model.norm is None and model.norm_after != "linear":
        raise ConfigError(
            f"model.norm_after={model.norm_after}: model.norm=null normalises nothing; leave it out, or take "
            "model.norm=batch"
        )


def _check_data(config: Config) -> None:
    """Check that the images make batches."""
    data, size = config.data, config.training.batch_size
    training, validation, _ = data.division.counts()
    left = IMAGES - (0 if data.validation == "test" else validation)
    if not 0 < training <= left:
        raise ConfigError(f"data.train_size={data.train_size}: must be from 1 to {left}, the images left for training")
    if not validation:
        raise ConfigError(f"data.split.size={data.split.size}: leaves no image for validation")
    if size > training:
        among = "" if data.train_size is None else f" and data.train_size={data.train_size}"
        count = f"the number of training images with data.validation={data.validation}{among}"
        raise ConfigError(f"batch_size={size}: must be from 1 to {training}, {count}")
    if config.model.norm == "batch" and config.model.hidden and 1 in (size, training % size):
        raise ConfigError(
            f"batch_size={size}: leaves a batch of one of {training} images, which model.norm=batch cannot normalise; "
            "choose another"
        )


def _plain(composed: DictConfig, keys: Sequence[str]) -> dict[str, Any]:
    """Return the values of some top-level keys with their interpolations resolved."""
    plain: dict[str, Any] = {}
    try:
        with resolving(composed):
            for key in filter(composed.__contains__, keys):
                value, is_node = composed[key], OmegaConf.is_config(composed[key])
                plain[key] = OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if is_node else value
    except OmegaConfBaseException as error:
        raise ConfigError(of_omegaconf(str(error))) from error
    for key in KEYS:
        section, _, last = key.rpartition(".")
        if (section or key) in keys and last not in (plain.get(section, {}) if section else plain):
            raise ConfigError(f"{key}: is missing; do not remove it with ~")
    return plain


def _validated(kind: TypeAdapter[T], plain: dict[str, Any]) -> T:
    try:
        # Validate JSON, as when reading run.json: strict mode accepts 1 for a float there.
        return kind.validate_json(json.dumps(plain))
    except ValidationError as error:
        # The user types a key that has a group by the group's name.
        problem = re.sub(r"^(training|model)\.(batch_size|epochs|dropout)=", r"\2=", first_problem(error, KEYS))
        raise ConfigError(problem) from error
