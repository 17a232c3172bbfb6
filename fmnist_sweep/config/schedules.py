"""Compute the learning rate of each epoch, as torch's schedulers do when they step once an epoch.

A rate is a function of the configuration and the epoch alone. So a run resumes without the state of a scheduler. The
formulas are the closed forms in the documentation of `torch.optim.lr_scheduler`, whose class each schedule names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fmnist_sweep.errors import ConfigError, nearest

# The arguments of each schedule, and the default of those that have one.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "constant": {},
    "step": {"every": None, "factor": None},  # StepLR
    "multistep": {"at": None, "factor": None},  # MultiStepLR
    "exponential": {"factor": None},  # ExponentialLR
    "cosine": {"floor": 0.0},  # CosineAnnealingLR: Loshchilov and Hutter, SGDR, arXiv:1608.03983, equation 5
}
CONSTANT: dict[str, Any] = {"name": "constant", "warmup": 0}
DEPENDS_ON_LENGTH = ("cosine",)


def complete(schedule: Any) -> dict[str, Any]:
    """Return a schedule as a mapping with all its arguments. A word is the name of a schedule without arguments.

    Raises:
        ConfigError: there is no such schedule, or an argument is missing, unknown or out of range.
    """
    given = dict(schedule) if isinstance(schedule, Mapping) else {"name": schedule}
    name = given.setdefault("name", "constant")
    if name not in _ARGUMENTS:
        allowed = f"{', '.join(_ARGUMENTS)}{nearest(str(name), _ARGUMENTS)}"
        raise ConfigError(f"optimizer.schedule.name={name}: must be one of {allowed}")
    defaults = {**CONSTANT, **_ARGUMENTS[name]}
    for key, value in given.items():
        if key not in defaults:
            takes = ", ".join(key for key in defaults if key != "name")
            raise ConfigError(f"optimizer.schedule.{key}={value}: {name} does not take it; it takes {takes}")
    values: dict[str, Any] = {**defaults, **given}
    for key, value in values.items():
        if value is None:
            raise ConfigError(f"optimizer.schedule.{key}: is missing; {name} needs it: {_ALLOWED[key][0]}")
        if key != "name" and not _ALLOWED[key][1](value):
            raise ConfigError(f"optimizer.schedule.{key}={value}: must be {_ALLOWED[key][0]}")
    return values


def _is_epochs(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_between(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_milestones(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_epochs, value)) and sorted(set(value)) == value


_ALLOWED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "every": ("a whole number of epochs, such as 7", _is_epochs),
    "at": ("a rising list of numbers of epochs, such as [10,20]", _is_milestones),
    "factor": ("a number above 0 and at most 1, such as 0.1", lambda value: _is_between(value, 1e-300, 1)),
    "floor": ("a learning rate from 0 on, such as 0.0001", lambda value: _is_between(value, 0, 1e30)),
    "warmup": ("a whole number of epochs, such as 5", lambda value: _is_epochs(value, 0)),
}


def rate(schedule: Any, base: float, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch.

    During a warm-up of w epochs, epoch e has the rate `base * e / w` (LinearLR with `start_factor=1/w`). Then the
    schedule begins, as with SequentialLR.

    Args:
        schedule: the value of `optimizer.schedule`.
        base: the learning rate of the configuration.
        epoch: counts from 1.
        epochs: the length of the run.
    """
    values = complete(schedule)
    warmup: int = values["warmup"]
    if epoch <= warmup:
        return base * epoch / warmup
    passed = epoch - 1 - warmup  # epochs of the schedule that have been completed
    if values["name"] == "cosine":
        floor = float(values["floor"])
        return floor + (base - floor) * (1 + math.cos(math.pi * passed / (epochs - warmup))) / 2
    times = passed  # that the factor has been applied
    if values["name"] == "step":
        times = passed // values["every"]
    elif values["name"] == "multistep":
        times = sum(passed >= milestone for milestone in values["at"])
    return base * float(values.get("factor", 1)) ** times
