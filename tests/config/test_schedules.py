"""The learning rate of each epoch is that of torch's own schedulers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from fmnist_sweep.config import optimizers, schedules
from fmnist_sweep.errors import ConfigError

EPOCHS, BASE = 12, 0.05


def torchs(make: Callable[[torch.optim.Optimizer], theirs.LRScheduler], warmup: int = 0) -> list[float]:
    """The rates of a scheduler of torch's that steps once an epoch, after a linear warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = make(optimizer)
    if warmup:
        linear = theirs.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
        scheduler = theirs.SequentialLR(optimizer, [linear, make(optimizer)], milestones=[warmup])
    rates = []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def ours(**schedule: Any) -> list[float]:
    return [schedules.rate(schedule, BASE, epoch, EPOCHS) for epoch in range(1, EPOCHS + 1)]


@pytest.mark.parametrize("warmup", [0, 1, 4])
@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        ({"name": "constant"}, lambda w: lambda one: theirs.ConstantLR(one, 1.0)),
        ({"name": "step", "every": 3, "factor": 0.2}, lambda w: lambda one: theirs.StepLR(one, 3, 0.2)),
        (
            {"name": "multistep", "at": [2, 7], "factor": 0.1},
            lambda w: lambda one: theirs.MultiStepLR(one, [2, 7], 0.1),
        ),
        ({"name": "exponential", "factor": 0.9}, lambda w: lambda one: theirs.ExponentialLR(one, 0.9)),
        ({"name": "cosine"}, lambda w: lambda one: theirs.CosineAnnealingLR(one, EPOCHS - w)),
        ({"name": "cosine", "floor": 0.01}, lambda w: lambda one: theirs.CosineAnnealingLR(one, EPOCHS - w, 0.01)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_rates_are_those_of_torchs_schedulers(schedule: dict[str, Any], make: Any, warmup: int) -> None:
    assert ours(**schedule, warmup=warmup) == pytest.approx(torchs(make(warmup), warmup), rel=1e-12)


def test_a_word_is_a_schedule_without_arguments() -> None:
    assert schedules.complete("cosine") == {"name": "cosine", "floor": 0.0, "warmup": 0}
    assert schedules.complete({"warmup": 3}) == {"name": "constant", "warmup": 3}
    assert optimizers.is_constant({"name": "SGD"}) and optimizers.is_constant({"name": "SGD", "schedule": "constant"})


def test_only_a_cosine_depends_on_the_length_of_the_run() -> None:
    for schedule in ({"name": "step", "every": 3, "factor": 0.2}, {"name": "exponential", "factor": 0.9}, "constant"):
        assert schedules.rate(schedule, BASE, 5, 10) == schedules.rate(schedule, BASE, 5, 100)
        assert not optimizers.depends_on_length({"name": "SGD", "schedule": schedule})
    assert schedules.rate("cosine", BASE, 5, 10) != schedules.rate("cosine", BASE, 5, 100)
    assert optimizers.depends_on_length({"name": "SGD", "schedule": "cosine"})


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"name": "step", "every": 0, "factor": 0.1}, "every=0: must be a whole number of epochs, such as 7"),
        ({"name": "step", "every": 2.5, "factor": 0.1}, "every=2.5: must be a whole number of epochs"),
        ({"name": "step", "every": 3, "factor": 0}, "factor=0: must be a number above 0 and at most 1, such as 0.1"),
        ({"name": "exponential", "factor": 2}, "factor=2: must be a number above 0 and at most 1"),
        ({"name": "multistep", "at": [5, 3], "factor": 0.1}, r"at=\[5, 3\]: must be a rising list of numbers of epoch"),
        ({"name": "multistep", "at": 5, "factor": 0.1}, "at=5: must be a rising list"),
        ({"name": "cosine", "floor": -1}, "floor=-1: must be a learning rate from 0 on"),
        ({"name": "cosine", "warmup": True}, "warmup=True: must be a whole number of epochs"),
        ({"name": "cosine", "every": 3}, "every=3: cosine does not take it; it takes warmup, floor"),
    ],
)
def test_a_wrong_schedule_is_refused_in_one_line(schedule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^optimizer\.schedule\.{message}"):
        optimizers.check({"name": "SGD", "lr": 0.1, "schedule": schedule})


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_only_weights_decay_if_the_configuration_says_so(name: str) -> None:
    def moved(**arguments: Any) -> list[bool]:
        parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in ((3, 2), (3,))]
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizers.build({"name": name, "lr": 0.1, "weight_decay": 0.5, **arguments}, parameters).step()
        return [not torch.equal(parameter.detach(), torch.ones_like(parameter)) for parameter in parameters]

    assert moved() == moved(decay="all") == [True, True]
    assert moved(decay="weights") == [True, False]
