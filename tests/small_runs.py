"""Configurations and portions of the real data with which tests of the engine stay quick."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from fmnist_sweep import data
from fmnist_sweep.config.schema import Config, DataConfig, ModelConfig, TrainingConfig
from fmnist_sweep.data import Data

ADAM = {"name": "Adam", "lr": 0.01}
SGD = {"name": "SGD", "lr": 0.01}
MOMENTUM = {"name": "SGD", "lr": 0.01, "momentum": 0.9}
RMSPROP = {"name": "RMSprop", "lr": 0.001}


def config(
    optimizer: Mapping[str, Any] = ADAM,
    *,
    batch_size: int = 100,
    epochs: int = 2,
    hidden: Sequence[int] = (16,),
    dropout: float = 0.2,
    seed: int = 0,
    validation: str = "test",
    **rest: Any,
) -> Config:
    """A run's configuration."""
    return Config(
        optimizer=dict(optimizer),
        training=TrainingConfig(batch_size, epochs),
        model=ModelConfig(list(hidden), dropout),
        data=DataConfig(validation=validation),
        seed=seed,
        **rest,
    )


@functools.cache
def whole(validation: str = "test") -> Data:
    """The real data."""
    return data.load(data.prepare(None), validation, torch.device("cpu"), 0.5, 0.5)


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
