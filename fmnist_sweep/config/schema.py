"""What can be configured: what to train, apart from how to carry it out; what is checked; what tells runs apart.

`Config` decides a run's results and its name; `Execution` decides nothing of the kind. Both are read from the same
composed configuration (`parse`), and `Config` alone is what a run directory records.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Optional, TypeVar, get_args, get_type_hints

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from fmnist_sweep.config import optimizers
from fmnist_sweep.config.messages import of_omegaconf
from fmnist_sweep.data import CHECKSUMS, FILES, HOLDOUT_SIZE
from fmnist_sweep.errors import ConfigError, first_problem, nearest

# Raised whenever a change makes the same configuration give other numbers: old runs then keep their names.
TRAINING_VERSION = 1

_IMAGES = FILES["train-images-idx3-ubyte"][0]
TRAINING_IMAGES = {"test": _IMAGES, "holdout": _IMAGES - HOLDOUT_SIZE}

# In a wheel the configuration lies inside the package, in a checkout beside it.
_PACKAGE = Path(__file__).parents[1]
CONFIG_FOLDER = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"

# OmegaConf evaluates annotations on Python 3.10 too, so optional values are written Optional[...] here.
_CHECKED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_Whole = Annotated[int, Field(ge=1, lt=2**31)]


def _one_of(*options: str | None) -> AfterValidator:
    words = ["null" if option is None else option for option in options]

    def check(value: str | None) -> str | None:
        if value not in options:
            allowed = f"{', '.join(words)}{nearest(str(value), words)}"
            raise PydanticCustomError("one_of", "must be one of {allowed}", {"allowed": allowed})
        return value

    return AfterValidator(check)


@dataclass(config=_CHECKED)
class TrainingConfig:
    """How long and in what portions to train."""

    batch_size: _Whole = MISSING
    epochs: _Whole = MISSING


@dataclass(config=_CHECKED)
class ModelConfig:
    """The perceptron: units of each hidden layer, probability of dropping each of them."""

    # One unit would make products with one column, which depend on a model's company: see model.py.
    hidden: Annotated[list[Annotated[int, Field(ge=2, lt=2**31)]], Field(min_length=1, max_length=64)] = MISSING
    dropout: Annotated[float, Field(ge=0, lt=1)] = MISSING


@dataclass(config=_CHECKED)
class DataConfig:
    """Which images validate, how pixels are scaled: (x / 255 - mean) / std."""

    validation: Annotated[str, _one_of("test", "holdout")] = "test"
    mean: float = 0.5
    std: Annotated[float, Field(gt=0)] = 0.5


@dataclass(config=_CHECKED)
class Config:
    """One run: every value that can change its results."""

    optimizer: dict[str, Any] = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


@dataclass(config=_CHECKED)
class TensorBoardConfig:
    """TensorBoard; its event files go to a run's own directory, or below a folder."""

    folder: Optional[str] = None  # noqa: UP045


@dataclass(config=_CHECKED)
class MlflowConfig:
    """MLflow: the tracking URI, or what MLflow takes by itself, and the experiment that gets the runs."""

    uri: Optional[str] = None  # noqa: UP045
    experiment: Annotated[str, Field(min_length=1, max_length=500)] = "fmnist_sweep"


@dataclass(config=_CHECKED)
class WandbConfig:
    """Weights & Biases, offline: the project that gets the runs, and where the folder `wandb` is."""

    project: Annotated[str, Field(min_length=1, max_length=128)] = "fmnist_sweep"
    folder: str = "."


@dataclass(config=_CHECKED)
class TrackerConfig:
    """The trackers that are shown the runs; None for those that are not."""

    tensorboard: Optional[TensorBoardConfig] = None  # noqa: UP045
    mlflow: Optional[MlflowConfig] = None  # noqa: UP045
    wandb: Optional[WandbConfig] = None  # noqa: UP045


TRACKERS = tuple(item.name for item in fields(TrackerConfig))


@dataclass(config=_CHECKED)
class _How:
    device: Annotated[str, _one_of("auto", "cpu", "cuda", "mps")] = "auto"
    workers: Annotated[Optional[int], Field(ge=1)] = None  # noqa: UP045
    rerun: bool = False
    retry: Annotated[Optional[str], _one_of(None, "failed")] = None  # noqa: UP045
    lock: Annotated[str, _one_of("flock", "lease")] = "flock"
    dry_run: bool = False
    tracker: TrackerConfig = field(default_factory=TrackerConfig)


@dataclass(config=_CHECKED)
class Execution(_How):
    """How to carry a run out; the values of `SWEEP_WIDE` hold for all runs of a sweep."""

    data_dir: Optional[str] = None  # noqa: UP045


@dataclass(config=_CHECKED)
class _DataSection(DataConfig):
    dir: Optional[str] = None  # noqa: UP045


@dataclass(config=_CHECKED)
class Schema(_How, Config):
    """The whole composed configuration, as Hydra validates it."""

    data: _DataSection = field(default_factory=_DataSection)


def leaves(cls: type) -> Iterator[str]:
    """Every key of a configuration class, such as `model.dropout`; those of the optimizer are torch's."""
    hints = get_type_hints(cls)
    for item in fields(cls):
        hint = hints[item.name]
        sections = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and is_dataclass(kind)]
        yield from (f"{item.name}.{key}" for section in sections for key in leaves(section))
        if not sections:
            yield item.name


KEYS = tuple(leaves(Schema))  # of the composed configuration
SWEEP_WIDE = tuple(key for key in leaves(_How) if key != "device")


def decides(key: str) -> bool:
    """Tell whether a key can change a result, and not only how a run is carried out."""
    return key.replace("data.dir", "data_dir").split(".")[0] not in {item.name for item in fields(Execution)}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their whole keys, such as `optimizer.lr`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


T = TypeVar("T")
_CONFIG: TypeAdapter[Config] = TypeAdapter(Config)
_EXECUTION: TypeAdapter[Execution] = TypeAdapter(Execution)


@contextmanager
def resolving(composed: DictConfig) -> Iterator[None]:
    """Within, `${hydra:...}` stands for what it does in this configuration, as in a job that Hydra runs."""
    setup_globals()
    current: Any = HydraConfig.instance()
    before = current.cfg
    if "hydra" in composed:  # else Hydra is running this very job
        current.cfg = composed
    try:
        yield
    finally:
        current.cfg = before


def parse(composed: DictConfig) -> tuple[Config, Execution]:
    """Turn a composed configuration into what to train and how; `ConfigError` says what is wrong with it."""
    how = _plain(composed, [item.name for item in fields(_How)])
    how["data_dir"] = _plain(composed, ["data"])["data"]["dir"]
    return parse_config(composed), _validated(_EXECUTION, how)


def parse_config(composed: DictConfig) -> Config:
    """Turn a composed configuration into what to train. A run is named by it before its directory is known."""
    of_execution = {item.name for item in fields(_How)}
    keys = dict.fromkeys([*(item.name for item in fields(Config)), *map(str, composed)])
    plain = _plain(composed, [key for key in keys if key != "hydra" and key not in of_execution])
    del plain["data"]["dir"]
    config = _validated(_CONFIG, plain)
    images = TRAINING_IMAGES[config.data.validation]
    if config.training.batch_size > images:
        count = f"the number of training images with data.validation={config.data.validation}"
        raise ConfigError(f"batch_size={config.training.batch_size}: must be from 1 to {images}, {count}")
    optimizers.check(config.optimizer)
    return config


def _plain(composed: DictConfig, keys: Sequence[str]) -> dict[str, Any]:
    """The values of some keys of the first level, with references followed."""
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
        # As JSON, the form in which run.json is read: 1 is a number there where a float is asked for.
        return kind.validate_json(json.dumps(plain))
    except ValidationError as error:
        # Keys that have a group are typed by its name.
        problem = re.sub(r"^(training|model)\.(batch_size|epochs|dropout)=", r"\2=", first_problem(error, KEYS))
        raise ConfigError(problem) from error


def agree(executions: Sequence[Execution]) -> None:
    """Raise `ConfigError` where the jobs of a sweep differ in a value that holds for all of them."""
    flattened = [flat(asdict(execution)) for execution in executions]
    for key in SWEEP_WIDE:
        values = dict.fromkeys(values.get(key) for values in flattened)
        if len(values) > 1:
            words = ",".join(json.dumps(value).strip('"') for value in values)
            raise ConfigError(f"{key}={words}: holds for all runs of a sweep; give it one value")


def device_type(name: str) -> str:
    """The device type that `device` stands for; auto is what this machine has: CUDA, then MPS, then the CPU."""
    return resolve_device(name) if name == "auto" else name


def resolve_device(name: str) -> str:
    """The same, where training is to happen.

    Raises:
        ConfigError: this machine has none.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(kind for kind, there in available.items() if there)
    if not available[name]:
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise ConfigError(
            f"device={name}: this machine has none that torch can use; take device=auto or one of: {there}"
        )
    return name


def identity(config: Config) -> dict[str, Any]:
    """Every value that can change the results, by whole key, with those arguments of the optimizer that torch sets.

    Two configurations with the same identity are the same one: this is the only place that says so.
    """
    return flat({**asdict(config), "optimizer": optimizers.complete(config.optimizer)})


def digest(config: Config, device: str) -> str:
    """Eight hex digits for all that can change the results on a device type but the number of epochs.

    Runs that differ only in epochs share the digits: one is the beginning of the other.
    """
    values = asdict(config)
    del values["training"]["epochs"]
    values["optimizer"] = optimizers.complete(config.optimizer)
    values |= {"version": TRAINING_VERSION, "files": CHECKSUMS, "device": device}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
