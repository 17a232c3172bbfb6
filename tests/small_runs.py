"""Configurations and portions of the real data with which tests of the engine stay quick."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
import torch
import yaml

from fmnist_sweep import data
from fmnist_sweep.config.schema import (
    ACTIVATIONS,
    CONFIG_FOLDER,
    Config,
    DataConfig,
    LossConfig,
    ModelConfig,
    TrainingConfig,
)
from fmnist_sweep.data import Data, Division
from fmnist_sweep.engine import training
from fmnist_sweep.engine.training import Model

ADAM = {"name": "Adam", "lr": 0.01}
SGD = {"name": "SGD", "lr": 0.01}
MOMENTUM = {"name": "SGD", "lr": 0.01, "momentum": 0.9}
RMSPROP = {"name": "RMSprop", "lr": 0.001}

_SHIPPED = [yaml.safe_load(path.read_text()) for path in sorted((CONFIG_FOLDER / "optimizer").glob("*.yaml"))]
_FURTHER: list[dict[str, Any]] = [
    {"name": "ASGD", "lr": 0.01},
    {"name": "Adadelta", "lr": 1.0},
    {"name": "Adafactor", "lr": 0.01},
    {"name": "Adagrad", "lr": 0.01},
    {"name": "Adam", "lr": 0.01, "betas": [0.8, 0.99], "amsgrad": True, "weight_decay": 0.01},
    {"name": "Adamax", "lr": 0.002},
    {"name": "NAdam", "lr": 0.002, "momentum_decay": 0.004},
    {"name": "RAdam", "lr": 0.01},
    {"name": "RMSprop", "lr": 0.001, "centered": True, "momentum": 0.9},
    {"name": "Rprop", "lr": 0.001},
    {"name": "SGD", "lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
]
EVERY_OPTIMIZER = [*_SHIPPED, *_FURTHER]

LOSSES = [
    {"name": "cross_entropy"},
    {"name": "cross_entropy", "label_smoothing": 0.1},
    {"name": "mse_softmax"},
    {"name": "mse_logits"},
]
# Every order of normalisation, activation and dropout, the default first; the last one of each pair drops.
ORDERS: list[dict[str, Any]] = [
    {"norm_after": norm_after, "dropout_after": dropout_after}
    for dropout_after in ("activation", "linear")
    for norm_after in ("linear", "activation", "dropout")
]
# Values of every key that changes the network, its loss, its steps or their order.
NEW_KEYS: list[dict[str, Any]] = [
    *({"activation": name} for name in ACTIVATIONS[1:]),
    {"activation": ["tanh", "gelu"], "dropout": [0.0, 0.5]},
    {"hidden": []},
    {"hidden": [1]},
    {"hidden": [3, 1], "activation": "tanh"},
    {"hidden": [], "input_dropout": 0.3},
    {"input_dropout": 0.3},
    {"norm": "batch"},
    {"norm": "batch", "activation": ["sigmoid", "elu"], "dropout": 0.0},
    {"norm": "batch", "hidden": [5, 1]},
    *({"norm": "batch", **steps} for steps in ORDERS[1:]),
    {"norm": "batch", **ORDERS[1], "activation": ["elu", "gelu"], "dropout": [0.3, 0.0]},
    {**ORDERS[3], "activation": ["relu", "sigmoid"]},
    {"init": "he_normal", "bias_init": "zeros"},
    {"init": "glorot_uniform", "bias_init": "weights"},
    *({"loss": loss} for loss in LOSSES[1:]),
    {"data": {"shuffle": False}},
    {"optimizer": MOMENTUM | {"weight_decay": 0.01, "decay": "weights"}},
    {"optimizer": SGD | {"schedule": {"name": "step", "every": 1, "factor": 0.5}}},
    {"optimizer": ADAM | {"schedule": {"name": "cosine", "warmup": 1}}},
]


def same_stack(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the keys that the models of a stack share."""
    shared = ("hidden", "norm", "norm_after", "dropout_after", "loss", "input_dropout")
    return {key: value for key, value in keys.items() if key in shared}


def config(
    optimizer: Mapping[str, Any] = ADAM,
    *,
    batch_size: int = 100,
    epochs: int = 2,
    hidden: Sequence[int] = (16,),
    dropout: float | list[float] = 0.2,
    seed: int = 0,
    validation: str = "test",
    data: Mapping[str, Any] = MappingProxyType({}),
    loss: Mapping[str, Any] = MappingProxyType({}),
    **model: Any,
) -> Config:
    """A run's configuration; `model` are further keys of that section."""
    return Config(
        optimizer=dict(optimizer),
        training=TrainingConfig(batch_size, epochs),
        model=ModelConfig(list(hidden), dropout, **model),
        data=DataConfig(validation=validation, **data),
        seed=seed,
        loss=LossConfig(**loss),
    )


@functools.cache
def whole(validation: str = "test") -> Data:
    """The real data."""
    return data.load(data.prepare(None), Division(validation), torch.device("cpu"))


def break_steps(patch: pytest.MonkeyPatch, of: Callable[[], Model | None], error: Exception) -> None:
    """Make torch raise `error` in every step that changes the model that `of` returns, after other models' steps."""

    take_step = training.take_step

    def take(optimizer: torch.optim.Optimizer) -> None:
        take_step(optimizer)
        model = of()
        if model is not None and any(
            one is model.parameters[0] for group in optimizer.param_groups for one in group["params"]
        ):
            raise error

    patch.setattr(training, "take_step", take)


def piece(training: int, validation: int = 300, split: str = "test") -> Data:
    """The first images of the real data."""
    full = whole(split)
    test = (
        {}
        if full.test_images is None or full.test_labels is None
        else {
            "test_images": full.test_images[:validation],
            "test_labels": full.test_labels[:validation],
        }
    )
    return replace(
        full,
        train_images=full.train_images[:training],
        train_labels=full.train_labels[:training],
        val_images=full.val_images[:validation],
        val_labels=full.val_labels[:validation],
        **test,
    )
