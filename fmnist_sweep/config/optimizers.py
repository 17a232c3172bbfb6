"""Check and build optimizers: any class in `torch.optim`, with arguments from the configuration.

The functions import torch themselves, so that Hydra's help and tab completion can load this module quickly.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fmnist_sweep.config.messages import reason
from fmnist_sweep.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torch

# Arguments that only select an implementation of the same formula. `build` makes this choice for the user.
_IMPLEMENTATION = {"foreach", "fused", "capturable", "differentiable"}


def build(optimizer: Mapping[str, Any], parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Build the optimizer for these parameters, with its fused implementation if there is one."""
    cls = _class(optimizer)
    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in optimizer.items() if k != "name"}
    if "fused" in inspect.signature(cls).parameters:
        arguments["fused"] = True
    return cls(parameters, **arguments)


def complete(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the name and arguments. Fill in torch's defaults, so that writing out a default changes nothing."""
    return dict(_complete(json.dumps(optimizer)))


@functools.cache  # a sweep has many jobs but few optimizers
def _complete(encoded: str) -> dict[str, Any]:
    optimizer = json.loads(encoded)
    values = {name: parameter.default for name, parameter in _arguments(_class(optimizer)).items()}
    values |= {key: value for key, value in optimizer.items() if key != "name"}
    return {"name": optimizer["name"], **{key: _canonical(values[key]) for key in sorted(values)}}


def _canonical(value: object) -> object:
    """Convert equal values to one form: whole numbers to floats, tuples to lists."""
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def takes(optimizer: Mapping[str, Any], argument: str) -> bool:
    """Return whether the optimizer's class takes an argument of this name."""
    return argument in _arguments(_class(optimizer))


def check(optimizer: Mapping[str, Any]) -> None:
    """Raise `ConfigError` if the optimizer cannot be built or cannot take a step on a perceptron's parameters."""
    _check(json.dumps(optimizer))


@functools.cache
def _check(encoded: str) -> None:
    import torch

    optimizer = json.loads(encoded)
    cls = _class(optimizer)
    arguments = _arguments(cls)
    for key, value in optimizer.items():
        if key != "name" and key not in arguments:
            allowed = ", ".join(arguments)
            raise ConfigError(
                f"optimizer.{key}={value}: {cls.__name__} does not take it; it takes {allowed}{nearest(key, arguments)}"
            )
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise ConfigError(f"optimizer.{key}={value}: must be finite")
    rate = optimizer.get("lr", 1)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate <= 0:
        raise ConfigError(f"optimizer.lr={rate}: must be a number above 0, such as 0.01")
    step = inspect.signature(cls.step).parameters.get("closure")
    if step is not None and step.default is inspect.Parameter.empty:
        raise ConfigError(f"optimizer.name={cls.__name__}: its step needs a closure, which this training does not give")
    trial = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), (2,))]
    for parameter in trial:
        parameter.grad = torch.zeros_like(parameter)
    try:
        build(optimizer, trial).step()
    except Exception as error:  # an argument of the wrong type fails where torch first uses it
        given = ", ".join(f"{key}={value}" for key, value in optimizer.items() if key != "name")
        raise ConfigError(f"optimizer {cls.__name__}({given}): torch refuses it: {reason(error)}") from error


def _class(optimizer: Mapping[str, Any]) -> type[torch.optim.Optimizer]:
    import torch

    known = {
        name: value
        for name, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    name = optimizer.get("name")
    if not isinstance(name, str) or name not in known:
        allowed = ", ".join(sorted(known))
        raise ConfigError(
            f"optimizer.name={name}: no such class in torch.optim, which has {allowed}{nearest(str(name), known)}"
        )
    return known[name]


def _arguments(cls: type[torch.optim.Optimizer]) -> dict[str, inspect.Parameter]:
    parameters = list(inspect.signature(cls).parameters.values())[1:]  # skip the first one, the model's parameters
    return {parameter.name: parameter for parameter in parameters if parameter.name not in _IMPLEMENTATION}
