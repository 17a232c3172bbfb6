"""Take steps with torch's optimizers without importing torch's compiler.

An optimizer imports `torch._dynamo` when it is made and when it steps, only to keep the compiler away. This costs each
process a second and 150 MB. Nothing here is compiled, so this module calls what stands behind torch's wrappers.
`tests/config/test_torch_private.py` uses every private name, so its failures show what a release of torch changed.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch


@functools.cache
def spare_compiler() -> None:
    """Let torch make, save and load optimizers without its compiler, as long as nothing else imports it."""
    # torch's wrapper of a method calls this attribute of the method, and imports the compiler to make it.
    for wrapper in (
        torch.optim.Optimizer.add_param_group,
        torch.optim.Optimizer.state_dict,
        torch.optim.Optimizer.load_state_dict,
    ):
        method = inspect.unwrap(wrapper)
        method.__dynamo_disable = functools.partial(_call, method)


def _call(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if "torch._dynamo" not in sys.modules:
        return method(*args, **kwargs)
    import torch._dynamo

    method.__dynamo_disable = torch._dynamo.disable(method, wrapping=False)  # type: ignore[attr-defined, no-untyped-call]
    return method.__dynamo_disable(*args, **kwargs)  # type: ignore[attr-defined]


def take_step(optimizer: torch.optim.Optimizer) -> None:
    """Take the optimizer's step. Call this within `torch.no_grad`."""
    _plain_step(type(optimizer))(optimizer)  # type: ignore[arg-type]


@functools.cache
def _plain_step(cls: type[torch.optim.Optimizer]) -> Callable[[torch.optim.Optimizer], Any]:
    """Return a class's step without the wrappers that switch gradients off and notify profilers and hooks."""
    plain: Callable[[torch.optim.Optimizer], Any] = inspect.unwrap(cls.step)
    return plain
