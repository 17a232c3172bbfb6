"""What can be configured: the schema that Hydra validates against, the checks beyond types, a run's name."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Optional, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_sweep import optimizers
from fmnist_sweep.data import CHECKSUMS, FILES, HOLDOUT_SIZE
from fmnist_sweep.errors import ConfigError, nearest, one_of

# Raised whenever a change makes the same configuration give other numbers: old runs then keep their names.
TRAINING_VERSION = 1

_IMAGES = FILES["train-images-idx3-ubyte"].shape[0]
TRAINING_IMAGES = {"test": _IMAGES, "holdout": _IMAGES - HOLDOUT_SIZE}

DEVICES = ("auto", "cpu", "cuda", "mps")

# In a wheel the configuration lies inside the package, in a checkout beside it.
_PACKAGE = Path(__file__).parent
CONFIG_FOLDER = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


@dataclass
class TrainingConfig:
    """How long and in what portions to train."""

    batch_size: int = MISSING
    epochs: int = MISSING


@dataclass
class ModelConfig:
    """The perceptron: units of each hidden layer, probability of dropping each of them."""

    hidden: list[int] = MISSING
    dropout: float = MISSING


@dataclass
class DataConfig:
    """Where Fashion-MNIST is, which images validate, how pixels are scaled."""

    dir: Optional[str] = None  # noqa: UP045 - OmegaConf evaluates this annotation
    validation: str = "test"
    mean: float = 0.5
    std: float = 0.5


@dataclass
class Config:
    """One run, and (from `device` on) how to carry it out."""

    optimizer: dict[str, Any] = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    device: str = "auto"
    workers: Optional[int] = None  # noqa: UP045
    rerun: bool = False
    retry: Optional[str] = None  # noqa: UP045
    dry_run: bool = False


def known_keys() -> list[str]:
    """Every key of the configuration, such as `model.dropout`; those of the optimizer are torch's."""
    return list(_leaves(Config))


def _leaves(cls: type, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(cls)
    for item in fields(cls):
        if is_dataclass(hints[item.name]):
            yield from _leaves(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield prefix + item.name


def register() -> None:
    """Make the schema and the resolver `${run_name:}` known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("run_name", lambda *, _root_: run_name(parse(_root_)), replace=True)


def parse(composed: DictConfig) -> Config:
    """Turn a composed configuration into checked dataclasses; `ConfigError` says what is wrong with it."""
    try:
        plain = {str(key): _plain(composed[key]) for key in composed if key != "hydra"}
        config: Config = _build(Config, plain)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    check(config)
    return config


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _build(cls: type[Any], values: dict[str, Any], prefix: str = "") -> Any:
    """The dataclass from composed values. Composing has checked their types, but lets through what `+` adds."""
    hints = get_type_hints(cls)
    for key in {**values, **hints}:
        if key not in hints:
            raise ConfigError(f"{prefix}{key}: there is no such key{nearest(prefix + key, known_keys())}")
        if key not in values:
            raise ConfigError(f"{prefix}{key}: is missing; do not remove it with ~")
        if is_dataclass(hints[key]):
            values[key] = _build(hints[key], values[key], f"{prefix}{key}.")
    return cls(**values)


def check(config: Config) -> None:
    """Raise `ConfigError` for values out of range and for values that do not go together."""

    def require(holds: bool, name: str, value: object, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{name}={value}: must be {allowed}")

    data, training, model = config.data, config.training, config.model
    one_of("data.validation", data.validation, ("test", "holdout"))
    images = TRAINING_IMAGES[data.validation]
    require(
        1 <= training.batch_size <= images,
        "batch_size",
        training.batch_size,
        f"from 1 to {images}, the number of training images with data.validation={data.validation}",
    )
    require(training.epochs >= 1, "epochs", training.epochs, "1 or more")
    require(0 <= model.dropout < 1, "dropout", model.dropout, "at least 0 and below 1")
    # One unit would make products with one column, which depend on a model's company: see model.py.
    widths_hold = bool(model.hidden) and all(width >= 2 for width in model.hidden)
    require(
        widths_hold,
        "model.hidden",
        model.hidden,
        "a list of one or more widths of 2 or more, such as [128,64]",
    )
    require(math.isfinite(data.mean), "data.mean", data.mean, "a finite number")
    require(0 < data.std < math.inf, "data.std", data.std, "a finite number above 0")
    require(0 <= config.seed < 2**63, "seed", config.seed, "0 or more, below 2**63")
    require(config.workers is None or config.workers >= 1, "workers", config.workers, "1 or more, or null")
    one_of("retry", config.retry, (None, "failed"))
    one_of("device", config.device, DEVICES)
    optimizers.check(config.optimizer)


def resolve_device(name: str) -> str:
    """The device type that `device` stands for: auto takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: there is no such device, or this machine has none.
    """
    import torch

    one_of("device", name, DEVICES)
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
    """Every value that can change the results, and nothing else; the names are those of the configuration."""
    everything = asdict(config)
    kept = {key: everything[key] for key in ("optimizer", "training", "model", "data", "seed")}
    del kept["data"]["dir"]
    return kept


def digest(config: Config) -> str:
    """Eight hex digits for all that can change the results but the number of epochs.

    Runs that differ only in epochs share the digits: one is the beginning of the other.
    """
    values = identity(config)
    del values["training"]["epochs"]
    values["optimizer"] = optimizers.complete(config.optimizer)
    values |= {"version": TRAINING_VERSION, "files": CHECKSUMS, "device": resolve_device(config.device)}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def run_name(config: Config) -> str:
    """The name of the run's directory, such as `adam-bs100-do0.2-ep30-seed0-1a2b3c4d`."""
    return (
        f"{config.optimizer['name'].lower()}-bs{config.training.batch_size}-do{config.model.dropout:g}"
        f"-ep{config.training.epochs}-seed{config.seed}-{digest(config)}"
    )
