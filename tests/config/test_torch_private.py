"""torch still has the private names that the package uses, and they still do what it needs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch
from small_runs import EVERY_OPTIMIZER

from fmnist_sweep.config import optimizers
from fmnist_sweep.config.torch_private import take_step

WRAPPED = ("add_param_group", "state_dict", "load_state_dict")

STEPS = """
import sys
import torch
from fmnist_sweep.config import optimizers
from fmnist_sweep.config.torch_private import take_step
from small_runs import EVERY_OPTIMIZER
for arguments in EVERY_OPTIMIZER:
    parameter = torch.nn.Parameter(torch.ones(3, 2))
    parameter.grad = torch.ones(3, 2)
    built = optimizers.build(arguments, [parameter])
    with torch.no_grad():
        take_step(built)
    built.load_state_dict(built.state_dict())
    assert not parameter.equal(torch.ones(3, 2)), arguments
assert "torch._dynamo" not in sys.modules, arguments
compiled = torch.compile(lambda x: x + 1, backend="eager")
assert compiled(torch.zeros(2)).equal(torch.ones(2))
built.load_state_dict(built.state_dict())
"""


def test_every_optimizer_steps_without_the_compiler() -> None:
    """And the compiler may be used after that."""
    done = subprocess.run([sys.executable, "-c", STEPS], cwd="tests", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", WRAPPED)
def test_a_method_of_every_optimizer_is_wrapped(name: str) -> None:
    source = inspect.getsource(torch._compile._disable_dynamo)
    assert "__dynamo_disable" in source
    assert getattr(torch.optim.Optimizer, name).__wrapped__.__name__ == name


@pytest.mark.parametrize("arguments", EVERY_OPTIMIZER, ids=str)
def test_a_step_is_that_of_torch(arguments: dict[str, object]) -> None:
    def trained(how: str) -> torch.Tensor:
        parameter = torch.nn.Parameter(torch.linspace(-1, 1, 6).view(3, 2))
        built = optimizers.build(arguments, [parameter])
        for number in range(3):
            parameter.grad = torch.full((3, 2), 0.5 - number)
            if how == "torch":
                built.step()
            else:
                with torch.no_grad():
                    take_step(built)
        return parameter.detach()

    assert trained("ours").equal(trained("torch"))
