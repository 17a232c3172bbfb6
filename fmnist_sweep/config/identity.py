"""Decide whether two runs are the same, and name runs and trajectories. Runs with the same name are the same run."""

import hashlib
import json
import re
from dataclasses import asdict
from typing import Any

from fmnist_sweep.config import optimizers
from fmnist_sweep.config.schema import Config, flat
from fmnist_sweep.data import CHECKSUMS

# Increase this whenever a change alters the results of a configuration. New runs then get other names than old ones.
TRAINING_VERSION = 2


_RUN_NAME = re.compile(r"(?P<head>.+)-ep(?P<epochs>\d+)-(?P<tail>seed\d+-(?P<digest>[0-9a-f]{8}))", re.DOTALL)


def run_name(config: Config, digest: str) -> str:
    """Return the name of a run's directory, such as `adam-bs100-do0.2-ep30-seed0-1a2b3c4d`."""
    return (
        f"{config.optimizer['name'].lower()}-bs{config.training.batch_size}-do{config.model.dropout:g}"
        f"-ep{config.training.epochs}-seed{config.seed}-{digest}"
    )


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
    return flat({**asdict(config), "optimizer": optimizers.complete(config.optimizer)})


def digest(config: Config, device: str) -> str:
    """Return eight hex digits of a hash of everything except epochs that can change the results on a device type.

    Runs that differ only in epochs have the same digest, because the shorter run is the beginning of the longer one.
    """
    values = asdict(config)
    del values["training"]["epochs"]
    values["optimizer"] = optimizers.complete(config.optimizer)
    values |= {"version": TRAINING_VERSION, "files": CHECKSUMS, "device": device}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
