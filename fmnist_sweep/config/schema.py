"""The schema of the configuration: all keys, their checks, and the identity of a run.

`Config` determines a run's results and its name; `Execution` determines neither. `parse` reads both from the same
composed configuration. A run directory records only `Config`.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Optional, get_args, get_type_hints

from omegaconf import MISSING
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from fmnist_sweep.data import IMAGES, Division
from fmnist_sweep.errors import ConfigError, nearest

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "elu", "gelu", "silu", "identity")
INITS = ("default", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "normal", "truncated_normal")
WITH_STD = ("normal", "truncated_normal")  # the only ones for which `model.init_std` is set
LOSSES = ("cross_entropy", "mse_softmax", "mse_logits")

# The configuration folder is inside the package in a wheel, and beside the package in a checkout.
_PACKAGE = Path(__file__).parents[1]
CONFIG_FOLDER = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"

# OmegaConf also evaluates annotations on Python 3.10, so optional values are written Optional[...] here.
_CHECKED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_Whole = Annotated[int, Field(ge=1, lt=2**31)]


def _refused(message: str, **values: str) -> PydanticCustomError:
    return PydanticCustomError("refused", message, values)


def _word_of(*options: str | None) -> Callable[[Any], Any]:
    words = ["null" if option is None else option for option in options]

    def check(value: Any) -> Any:
        if isinstance(value, list) or value not in options:
            raise _refused("must be one of {allowed}", allowed=f"{', '.join(words)}{nearest(str(value), words)}")
        return value

    return check


def _one_of(*options: str | None) -> AfterValidator:
    return AfterValidator(_word_of(*options))


def _each_layer(check: Callable[[Any], Any]) -> AfterValidator:
    """Take one value for all hidden layers, or a list with one for each. `validation` checks its length."""
    return AfterValidator(lambda value: list(map(check, value)) if isinstance(value, list) else check(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _probability(value: Any) -> float:
    if not _is_number(value) or not 0 <= value < 1:
        raise _refused("must be a number from 0 to less than 1, or a list of them, one for each hidden layer")
    return float(value)


def _scaling(*, positive: bool) -> AfterValidator:
    number = "a finite number above 0" if positive else "a finite number"

    def check(value: Any) -> Any:
        if value in ("train", "pixel"):
            return value
        if not _is_number(value) or not abs(value) <= sys.float_info.max or (positive and value <= 0):
            raise _refused("must be {number}, train or pixel", number=number)
        return float(value)

    return AfterValidator(check)


def _size(*, optional: bool) -> AfterValidator:
    """Take a number of images, or a fraction below 1. Fractions become floats and numbers of images ints."""
    null = "null, " if optional else ""

    def check(value: Any) -> Any:
        if value is None and optional:
            return None
        if not _is_number(value) or not 0 < value < IMAGES or (value >= 1 and value != int(value)):
            allowed = f"{null}a whole number of images from 1 to {IMAGES - 1}, or a fraction between 0 and 1"
            raise _refused("must be {allowed}", allowed=allowed)
        return float(value) if value < 1 else int(value)

    return AfterValidator(check)


@dataclass(config=_CHECKED)
class TrainingConfig:
    """Settings of the training: batch size and number of epochs."""

    batch_size: _Whole = MISSING
    epochs: _Whole = MISSING


@dataclass(config=_CHECKED)
class ModelConfig:
    """Settings of the perceptron.

    Attributes:
        hidden: the units of each hidden layer; an empty list for softmax regression.
        dropout: the probability of dropping a hidden unit, or a list with one for each hidden layer.
        activation: the activation function of all hidden layers, or a list with one for each.
        init: how weights are initialised; see `engine.initialisation`.
        init_std: the standard deviation for `normal` and `truncated_normal`.
        bias_init: how biases are initialised: as `nn.Linear` does, with zeros, or drawn as their layer's weights are.
        norm: `batch` for batch normalisation of each hidden layer.
        norm_after: the step of a hidden layer that normalisation follows; see `order`.
        dropout_after: the step of a hidden layer that dropout follows; see `order`.
        input_dropout: the probability of dropping a pixel.
    """

    # OmegaConf has no type for "a number or a list", so the fields with Any are checked by pydantic alone.
    hidden: Annotated[list[Annotated[int, Field(ge=1, lt=2**31)]], Field(max_length=64)] = MISSING
    dropout: Annotated[Any, _each_layer(_probability)] = MISSING
    activation: Annotated[Any, _each_layer(_word_of(*ACTIVATIONS))] = "relu"
    init: Annotated[str, _one_of(*INITS)] = "default"
    init_std: Annotated[Optional[float], Field(gt=0)] = None  # noqa: UP045
    bias_init: Annotated[str, _one_of("default", "zeros", "weights")] = "default"
    norm: Annotated[Optional[str], _one_of(None, "batch")] = None  # noqa: UP045
    norm_after: Annotated[str, _one_of("linear", "activation", "dropout")] = "linear"
    dropout_after: Annotated[str, _one_of("activation", "linear")] = "activation"
    input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def activations(self) -> list[str]:
        """Return the activation of each hidden layer."""
        return self.activation if isinstance(self.activation, list) else [self.activation] * len(self.hidden)

    @property
    def dropouts(self) -> list[float]:
        """Return the probability of dropping a unit of each hidden layer."""
        return self.dropout if isinstance(self.dropout, list) else [self.dropout] * len(self.hidden)

    @property
    def order(self) -> tuple[str, ...]:
        """Return what follows the linear step of each hidden layer, such as `("norm", "activation", "dropout")`."""
        steps = ["activation", "dropout"] if self.dropout_after == "activation" else ["dropout", "activation"]
        if self.norm is not None:
            steps.insert(["linear", *steps].index(self.norm_after), "norm")
        return tuple(steps)


@dataclass(config=_CHECKED)
class LossConfig:
    """The loss that is minimised and recorded, and its label smoothing; see `engine.losses`."""

    name: Annotated[str, _one_of(*LOSSES)] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(config=_CHECKED)
class SplitConfig:
    """Settings of `data.validation=split`: how many training images validate, and which."""

    size: Annotated[Any, _size(optional=False)] = 10_000
    take: Annotated[str, _one_of("last", "first", "random")] = "last"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


@dataclass(config=_CHECKED)
class DataConfig:
    """Settings of the data.

    Attributes:
        validation: the images for validation; see `data.split`.
        mean, std: the pixel scaling (x / 255 - mean) / std: numbers, `train` for the training images' mean and standard
            deviation, or `pixel` for those of each pixel.
        train_size: how many of the images that are left for training are used; None for all.
        shuffle: whether each epoch has a new order.
    """

    validation: Annotated[str, _one_of("test", "holdout", "split")] = "test"
    mean: Annotated[Any, _scaling(positive=False)] = 0.5
    std: Annotated[Any, _scaling(positive=True)] = 0.5
    split: SplitConfig = field(default_factory=SplitConfig)
    train_size: Annotated[Any, _size(optional=True)] = None
    shuffle: bool = True

    @property
    def tests_every_epoch(self) -> bool:
        """Return whether the run measures on the test images after each epoch."""
        return self.validation == "split"

    @property
    def division(self) -> Division:
        """Return how the images are divided into training, validation and test images."""
        return Division(self.validation, self.split.size, self.split.take, self.split.seed, self.train_size)


@dataclass(config=_CHECKED)
class Config:
    """The configuration of a run: every value that can change its results."""

    optimizer: dict[str, Any] = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    loss: LossConfig = field(default_factory=LossConfig)


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
    show: Annotated[Optional[str], _one_of(None, "runs", "plan")] = None  # noqa: UP045
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


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested values of which `values` are flat."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        section = result
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
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
