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

from fmnist_sweep.config import schedules
from fmnist_sweep.config.messages import reason
from fmnist_sweep.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torch

# Arguments that only select an implementation of the same formula. `build` makes this choice for the user.
_IMPLEMENTATION = {"foreach", "fused", "capturable", "differentiable"}
# Keys beside the arguments of torch's class, which does not get them.
_OURS = {"name", "schedule", "decay"}
DEFAULTS = {"schedule": schedules.CONSTANT, "decay": "all"}


def build(
    optimizer: Mapping[str, Any], parameters: Iterable[torch.nn.Parameter], weight_dim: int = 2
) -> torch.optim.Optimizer:
    """Build the optimizer for these parameters, with its fused implementation if there is one.

    On CUDA its step can be recorded as a CUDA graph if torch's implementation allows that. With `decay: weights`, only
    weights have the weight decay; biases and a normalisation's parameters have none.

    Args:
        optimizer: the section `optimizer` of the configuration.
        parameters: of one model, or of several.
        weight_dim: the number of dimensions by which weights are known.
    """
    from fmnist_sweep.config.torch_private import spare_compiler

    spare_compiler()
    cls, parameters = _class(optimizer), list(parameters)
    arguments: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in optimizer.items() if k not in _OURS
    }
    on_cuda = parameters[0].device.type == "cuda"
    choices = inspect.signature(cls).parameters
    if "fused" in choices and not (on_cuda and cls.__name__ == "Adagrad"):  # older versions have none on CUDA
        arguments["fused"] = True
    if "capturable" in choices and on_cuda:
        arguments["capturable"] = True
    if optimizer.get("decay", "all") == "all":
        return cls(parameters, **arguments)
    weights: dict[str, Any] = {"params": [one for one in parameters if one.dim() == weight_dim]}
    others: dict[str, Any] = {"params": [one for one in parameters if one.dim() < weight_dim], "weight_decay": 0.0}
    return cls([weights, others], **arguments)


def parameters_of(built: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """Return an optimizer's parameters, in the order in which its `state_dict` numbers them."""
    return [parameter for group in built.param_groups for parameter in group["params"]]


def set_rate(built: torch.optim.Optimizer, optimizer: Mapping[str, Any], epoch: int, epochs: int) -> bool:
    """Set the learning rate that the schedule gives an epoch of a run of this length. Return whether it changes."""
    rate = schedules.rate(optimizer.get("schedule", "constant"), built.defaults["lr"], epoch, epochs)
    changes = any(group["lr"] != rate for group in built.param_groups)
    for group in built.param_groups:
        group["lr"] = rate
    return changes


def is_constant(optimizer: Mapping[str, Any]) -> bool:
    """Return whether all epochs have the same learning rate."""
    return schedules.complete(optimizer.get("schedule", "constant")) == schedules.CONSTANT


def depends_on_length(optimizer: Mapping[str, Any]) -> bool:
    """Return whether the first epochs of a longer run differ from a shorter run, because their learning rates do."""
    return schedules.complete(optimizer.get("schedule", "constant"))["name"] in schedules.DEPENDS_ON_LENGTH


def state_dict(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's `state_dict` without states that are empty, and with the same arguments on all devices.

    Its learning rate is the configuration's and not an epoch's, which follows from the configuration.
    """
    saved = optimizer.state_dict()
    saved["state"] = {key: state for key, state in saved["state"].items() if state}
    for group in saved["param_groups"]:
        group["lr"] = optimizer.defaults["lr"]
        group |= {key: value for key, value in (("fused", True), ("capturable", False)) if key in group}
    return saved


def load_state_dict(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load the `state_dict` of an optimizer with equal arguments, but keep the choice of implementation."""
    optimizer.load_state_dict({"state": state["state"], "param_groups": optimizer.state_dict()["param_groups"]})


def complete(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the name and arguments. Fill in all defaults, so that writing out a default changes nothing."""
    return dict(_complete(json.dumps(optimizer)))


@functools.cache  # a sweep has many jobs but few optimizers
def _complete(encoded: str) -> dict[str, Any]:
    optimizer = json.loads(encoded)
    values = {name: parameter.default for name, parameter in _arguments(_class(optimizer)).items()} | DEFAULTS
    values |= {key: value for key, value in optimizer.items() if key != "name"}
    values["schedule"] = schedules.complete(values["schedule"])
    if not values.get("weight_decay"):
        values["decay"] = "all"  # nothing decays
    return {"name": optimizer["name"], **{key: _canonical(values[key]) for key in sorted(values)}}


def _canonical(value: object) -> object:
    """Convert equal values to one form: whole numbers to floats, tuples to lists."""
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def takes(optimizer: Mapping[str, Any], argument: str) -> bool:
    """Return whether the optimizer's class, or this project for every class, takes an argument of this name."""
    return argument in _OURS or argument in _arguments(_class(optimizer))


def check(optimizer: Mapping[str, Any]) -> None:
    """Raise `ConfigError` if the optimizer cannot be built or cannot take a step on a perceptron's parameters."""
    _check(json.dumps(optimizer))


@functools.cache
def _check(encoded: str) -> None:
    import torch

    from fmnist_sweep.config.torch_private import take_step

    optimizer = json.loads(encoded)
    cls = _class(optimizer)
    arguments = _arguments(cls)
    schedules.complete(optimizer.get("schedule", "constant"))
    if optimizer.get("decay", "all") not in ("all", "weights"):
        raise ConfigError(f"optimizer.decay={optimizer['decay']}: must be one of all, weights")
    if optimizer.get("decay") == "weights" and "weight_decay" not in arguments:
        raise ConfigError(f"optimizer.decay=weights: {cls.__name__} has no weight decay; leave it out")
    for key, value in optimizer.items():
        if key not in _OURS and key not in arguments:
            allowed = ", ".join([*arguments, *sorted(_OURS - {"name"})])
            raise ConfigError(
                f"optimizer.{key}={value}: {cls.__name__} does not take it; it takes {allowed}{nearest(key, arguments)}"
            )
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise ConfigError(f"optimizer.{key}={value}: must be finite")
    rate = optimizer.get("lr", 1)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate <= 0:
        raise ConfigError(f"optimizer.lr={rate}: must be a number above 0, such as 0.01")
    closure = inspect.signature(cls.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ConfigError(f"optimizer.name={cls.__name__}: its step needs a closure, which this training does not give")
    trial = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), (2,))]
    for parameter in trial:
        parameter.grad = torch.zeros_like(parameter)
    try:
        with torch.no_grad():
            take_step(build(optimizer, trial))
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
