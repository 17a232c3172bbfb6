"""The schema of the configuration: all keys, their checks, and the identity of a run.

`Config` determines a run's results and its name; `Execution` determines neither. `parse` reads both from the same
composed configuration. A run directory records only `Config`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Optional, get_args, get_type_hints

from omegaconf import MISSING
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from fmnist_sweep.data import FILES, HOLDOUT_SIZE
from fmnist_sweep.errors import ConfigError, nearest

_IMAGES = FILES["train-images-idx3-ubyte"][0]
TRAINING_IMAGES = {"test": _IMAGES, "holdout": _IMAGES - HOLDOUT_SIZE}

# The configuration folder is inside the package in a wheel, and beside the package in a checkout.
_PACKAGE = Path(__file__).parents[1]
CONFIG_FOLDER = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"

# OmegaConf also evaluates annotations on Python 3.10, so optional values are written Optional[...] here.
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
    """Settings of the training: batch size and number of epochs."""

    batch_size: _Whole = MISSING
    epochs: _Whole = MISSING


@dataclass(config=_CHECKED)
class ModelConfig:
    """Settings of the perceptron: the units of each hidden layer, and the probability of dropping a unit."""

    # With one unit, a product has one column, and its result depends on the other models in the stack: see model.py.
    hidden: Annotated[list[Annotated[int, Field(ge=2, lt=2**31)]], Field(min_length=1, max_length=64)] = MISSING
    dropout: Annotated[float, Field(ge=0, lt=1)] = MISSING


@dataclass(config=_CHECKED)
class DataConfig:
    """Settings of the data: the images for validation, and the pixel scaling (x / 255 - mean) / std."""

    validation: Annotated[str, _one_of("test", "holdout")] = "test"
    mean: float = 0.5
    std: Annotated[float, Field(gt=0)] = 0.5


@dataclass(config=_CHECKED)
class Config:
    """The configuration of a run: every value that can change its results."""

    optimizer: dict[str, Any] = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


@dataclass(config=_CHECKED)
class TensorBoardConfig:
    """Settings of TensorBoard: event files go to each run's directory, or below `folder` if it is set."""

    folder: Optional[str] = None  # noqa: UP045


@dataclass(config=_CHECKED)
class MlflowConfig:
    """Settings of MLflow: the tracking URI (None: MLflow's default) and the experiment for the runs."""

    uri: Optional[str] = None  # noqa: UP045
    experiment: Annotated[str, Field(min_length=1, max_length=500)] = "fmnist_sweep"


@dataclass(config=_CHECKED)
class WandbConfig:
    """Settings of Weights & Biases in offline mode: the project for the runs, and the parent of the folder `wandb`."""

    project: Annotated[str, Field(min_length=1, max_length=128)] = "fmnist_sweep"
    folder: str = "."


@dataclass(config=_CHECKED)
class TrackerConfig:
    """Settings of each tracker that receives the runs; None for trackers that are not chosen."""

    tensorboard: Optional[TensorBoardConfig] = None  # noqa: UP045
    mlflow: Optional[MlflowConfig] = None  # noqa: UP045
    wandb: Optional[WandbConfig] = None  # noqa: UP045


TRACKERS = tuple(item.name for item in fields(TrackerConfig))


@dataclass(config=_CHECKED)
class How:
    device: Annotated[str, _one_of("auto", "cpu", "cuda", "mps")] = "auto"
    workers: Annotated[Optional[int], Field(ge=1)] = None  # noqa: UP045
    rerun: bool = False
    retry: Annotated[Optional[str], _one_of(None, "failed")] = None  # noqa: UP045
    max_failures: Annotated[Optional[int], Field(ge=1)] = None  # noqa: UP045
    lock: Annotated[str, _one_of("flock", "lease")] = "flock"
    dry_run: bool = False
    tracker: TrackerConfig = field(default_factory=TrackerConfig)


@dataclass(config=_CHECKED)
class Execution(How):
    """Settings for carrying out a run. Those in `SWEEP_WIDE` must be the same for all runs of a sweep."""

    data_dir: Optional[str] = None  # noqa: UP045


@dataclass(config=_CHECKED)
class _DataSection(DataConfig):
    dir: Optional[str] = None  # noqa: UP045


@dataclass(config=_CHECKED)
class Schema(How, Config):
    """The schema with which Hydra validates the whole composed configuration."""

    data: _DataSection = field(default_factory=_DataSection)


def leaves(cls: type) -> Iterator[str]:
    """Yield every key of a configuration class, such as `model.dropout`. The optimizer's arguments are not included."""
    hints = get_type_hints(cls)
    for item in fields(cls):
        hint = hints[item.name]
        sections = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and is_dataclass(kind)]
        yield from (f"{item.name}.{key}" for section in sections for key in leaves(section))
        if not sections:
            yield item.name


KEYS = tuple(leaves(Schema))  # of the composed configuration
SWEEP_WIDE = tuple(key for key in leaves(How) if key != "device")


def decides(key: str) -> bool:
    """Return whether a key can change a result. The other keys only change how a run is carried out."""
    return key.replace("data.dir", "data_dir").split(".")[0] not in {item.name for item in fields(Execution)}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested values to a dictionary with dotted keys, such as `optimizer.lr`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def agree(executions: Sequence[Execution]) -> None:
    """Raise `ConfigError` if the jobs of a sweep differ in a value that must be the same for all of them."""
    flattened = [flat(asdict(execution)) for execution in executions]
    for key in SWEEP_WIDE:
        values = dict.fromkeys(values.get(key) for values in flattened)
        if len(values) > 1:
            words = ",".join(json.dumps(value).strip('"') for value in values)
            raise ConfigError(f"{key}={words}: must be the same for all runs of a sweep; give one value")


def device_type(name: str) -> str:
    """Return the device type for a value of `device`. auto means the first available of CUDA, MPS and the CPU."""
    return resolve_device(name) if name == "auto" else name


def resolve_device(name: str) -> str:
    """Return the device type for a value of `device`, and check that this machine has such a device.

    Raises:
        ConfigError: this machine has no such device.
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
