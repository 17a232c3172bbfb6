"""Decide whether two runs are the same, and name runs and trajectories. Runs with the same name are the same run."""

import hashlib
import json
import re
from dataclasses import asdict
from typing import Any

from fmnist_sweep.config import optimizers
from fmnist_sweep.config.schema import Config, flat, nested
from fmnist_sweep.data import CHECKSUMS

# Increase this whenever a change alters the results of a configuration. New runs then get other names than old ones.
TRAINING_VERSION = 2


_RUN_NAME = re.compile(r"(?P<head>.+)-ep(?P<epochs>\d+)-(?P<tail>seed\d+-(?P<digest>[0-9a-f]{8}))", re.DOTALL)


def run_name(config: Config, digest: str) -> str:
    """Return the name of a run's directory, such as `adam-bs100-do0.2-ep30-seed0-1a2b3c4d`."""
    return (
        f"{config.optimizer['name'].lower()}-bs{config.training.batch_size}-do{_dropout(config)}"
        f"-ep{config.training.epochs}-seed{config.seed}-{digest}"
    )


def _dropout(config: Config) -> str:
    dropout = _shortest(config.model.dropout)
    return "-".join(f"{probability:g}" for probability in (dropout if isinstance(dropout, list) else [dropout]))


def _shortest(value: Any) -> Any:
    """Return the one value of a list of equal values, which holds for all layers; else the value itself."""
    return value[0] if isinstance(value, list) and len(set(value)) == 1 else value


def is_run_name(name: str) -> bool:
    """Return whether `name` has the form of a run's directory name."""
    return _RUN_NAME.fullmatch(name) is not None


def trajectory_name(name: str) -> str:
    """Return a run's name without its number of epochs. Runs that differ only in epochs share this name."""
    match = _RUN_NAME.fullmatch(name)
    return f"{match['head']}-{match['tail']}" if match else name


def identity(config: Config) -> dict[str, Any]:
    """Return every value that can change the results by dotted key, including torch's defaults for the optimizer.

    Two configurations are the same if their identities are equal. Only this function decides that.
    """
    values = flat({**asdict(config), "optimizer": optimizers.complete(config.optimizer)})
    for key in ("model.dropout", "model.activation"):
        values[key] = _shortest(values[key])
    # What nothing reads cannot change a result.
    unread = ["seed"] if config.data.split.take != "random" else []
    if config.model.init == "default" and config.model.bias_init == "weights":  # nn.Linear draws both alike
        values["model.bias_init"] = "default"
    for key in ("size", "take", "seed") if config.data.validation != "split" else unread:
        values[f"data.split.{key}"] = DEFAULTS[f"data.split.{key}"]
    return values


# A key that came after the first runs is left out of their digests while it has its default value. So a new key renames
# no run, and a table of runs that lacks it can be read.
_ALWAYS = (
    "training.batch_size",
    "training.epochs",
    "optimizer",
    "seed",
    "model.hidden",
    "model.dropout",
    "data.validation",
    "data.mean",
    "data.std",
)
DEFAULTS = {key: value for key, value in flat(asdict(Config())).items() if key not in _ALWAYS} | {
    f"optimizer.{key}": value for key, value in flat(optimizers.DEFAULTS).items()
}


def trajectory_values(config: Config) -> dict[str, Any]:
    """Return the values of `identity` that decide about an epoch, without defaults of keys that came later.

    They include the number of epochs only if the learning rate depends on it. Otherwise a shorter run is the beginning
    of a longer one.
    """
    values = {key: value for key, value in identity(config).items() if key not in DEFAULTS or value != DEFAULTS[key]}
    if not optimizers.depends_on_length(config.optimizer):
        del values["training.epochs"]
    return values


def digest(config: Config, device: str) -> str:
    """Return eight hex digits of a hash of everything that can change an epoch's results on a device type."""
    values = nested(trajectory_values(config))
    values |= {"version": TRAINING_VERSION, "files": CHECKSUMS, "device": device}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
