"""Any class in torch.optim can be named, with any arguments that it takes; what cannot train is refused in one line."""

import pytest
import torch
from composed import compose

from fmnist_sweep.config import optimizers
from fmnist_sweep.config.validation import parse
from fmnist_sweep.errors import ConfigError

CLASSES = sorted(name for name, cls in vars(torch.optim).items() if isinstance(cls, type) and name != "Optimizer")
REFUSED = {
    "LBFGS": "its step needs a closure",
    "SparseAdam": "does not support dense gradients",
    "Muon": "only supports 2D parameters",
}


def parameter():
    weights = torch.nn.Parameter(torch.ones(3, 2))
    weights.grad = torch.full((3, 2), 0.5)
    return weights


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_of_torch_trains_or_is_refused(name):
    optimizer = {"name": name, "lr": 0.01}
    if name in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[name]) as error:
            optimizers.check(optimizer)
        assert name in str(error.value) and "\n" not in str(error.value)
    else:
        optimizers.check(optimizer)
        weights = parameter()
        optimizers.build(optimizer, [weights]).step()
        assert not torch.equal(weights.detach(), torch.ones(3, 2))


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"name": "Adam", "lr": 0.1, "betas": [0.8, 0.9], "amsgrad": True},
        {"name": "RMSprop", "lr": 0.1, "momentum": 0.5, "centered": True},
    ],
    ids=lambda optimizer: str(optimizer["name"]),
)
def test_the_arguments_reach_torch(optimizer):
    optimizers.check(optimizer)
    ours, theirs = parameter(), parameter()
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in optimizer.items()}
    steps = optimizers.build(optimizer, [ours]), getattr(torch.optim, arguments.pop("name"))([theirs], **arguments)
    for _ in range(3):
        for one in steps:
            one.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_the_fused_implementation_is_taken_where_there_is_one(name):
    assert optimizers.build({"name": name, "lr": 0.01}, [parameter()]).defaults["fused"] is True


@pytest.mark.parametrize(
    ("short", "spelled_out"),
    [
        ({"name": "SGD", "lr": 0.01}, {"name": "SGD", "lr": 0.01, "momentum": 0, "nesterov": False}),
        ({"name": "SGD", "lr": 0.01}, {"name": "SGD", "momentum": 0.0, "lr": 1e-2, "weight_decay": 0.0}),
        ({"name": "SGD"}, {"name": "SGD", "lr": 0.001}),
        ({"name": "Adam", "lr": 1}, {"name": "Adam", "lr": 1.0, "betas": [0.9, 0.999], "eps": 1e-8}),
    ],
)
def test_a_default_spelled_out_is_the_same_optimizer(short, spelled_out):
    assert optimizers.complete(short) == optimizers.complete(spelled_out)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ({"name": "Adm"}, "optimizer.name=Adm: no such class in torch.optim, which has .*did you mean Adam"),
        ({"name": "adam"}, "optimizer.name=adam: no such class .*did you mean Adam"),
        ({"name": "Optimizer"}, "optimizer.name=Optimizer: no such class"),
        ({"name": "lr_scheduler"}, "optimizer.name=lr_scheduler: no such class"),
        ({}, "optimizer.name=None: no such class"),
        ({"name": "Adam", "lr": -1}, "optimizer.lr=-1: must be a number above 0, such as 0.01"),
        ({"name": "Adam", "lr": 0}, "optimizer.lr=0: must be a number above 0"),
        ({"name": "Adam", "lr": "fast"}, "optimizer.lr=fast: must be a number above 0"),
        ({"name": "Adam", "lr": True}, "optimizer.lr=True: must be a number above 0"),
        ({"name": "Adam", "lr": None}, "optimizer.lr=None: must be a number above 0"),
        ({"name": "Adam", "lr": float("nan")}, "optimizer.lr=nan: must be finite"),
        ({"name": "Adam", "lr": float("inf")}, "optimizer.lr=inf: must be finite"),
        ({"name": "Adam", "betas": [0.9, float("nan")]}, "optimizer.betas=.0.9, nan.: must be finite"),
        ({"name": "Adam", "momentum": 0.9}, "optimizer.momentum=0.9: Adam does not take it; it takes lr, betas, eps"),
        ({"name": "SGD", "momentun": 0.9}, "optimizer.momentun=0.9: SGD does not take it; .*did you mean momentum"),
        ({"name": "SGD", "params": 1}, "optimizer.params=1: SGD does not take it"),
        ({"name": "SGD", "fused": False}, "optimizer.fused=False: SGD does not take it"),
        ({"name": "SGD", "lr": 0.1, "momentum": -1}, r"optimizer SGD\(lr=0.1, momentum=-1\): torch refuses it: Inv"),
        ({"name": "SGD", "nesterov": True}, r"optimizer SGD\(nesterov=True\): torch refuses it: Nesterov momentum"),
        ({"name": "Adam", "betas": 3}, r"optimizer Adam\(betas=3\): torch refuses it: "),
        ({"name": "Adam", "betas": [0.9]}, r"optimizer Adam\(betas=\[0.9\]\): torch refuses it: "),
        ({"name": "Adam", "betas": [0.9, 2]}, r"optimizer Adam\(betas=\[0.9, 2\]\): torch refuses it: Invalid beta"),
        ({"name": "Adam", "eps": "tiny"}, r"optimizer Adam\(eps=tiny\): torch refuses it: "),
        ({"name": "Adam", "amsgrad": 3}, r"optimizer Adam\(amsgrad=3\): torch refuses it: "),
    ],
)
def test_what_cannot_train_is_refused_in_one_line(optimizer, message):
    with pytest.raises(ConfigError, match=f"^{message}") as error:
        optimizers.check(optimizer)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("typed", "optimizers_named"),
    [
        ("optimizer.name=Adamax optimizer.lr=0.002", [{"name": "Adamax", "lr": 0.002}]),
        ("optimizer.name=Adamax", [{"name": "Adamax"}]),  # with torch's learning rate, not that of the default option
        ("optimizer.name=NAdam,RAdam", [{"name": "NAdam"}, {"name": "RAdam"}]),
        ("optimizer.name=SGD optimizer.lr=0.1,0.2", [{"name": "SGD", "lr": 0.1}, {"name": "SGD", "lr": 0.2}]),
        ("optimizer=sgd_momentum optimizer.name=RMSprop", [{"name": "RMSprop", "lr": 0.01, "momentum": 0.9}]),
    ],
)
def test_a_class_of_torch_is_named_where_it_has_no_file(typed, optimizers_named):
    composed = [parse(one)[0].optimizer for one in compose(*typed.split())]
    assert composed == optimizers_named
