"""Sweeps of small feed-forward networks on Fashion-MNIST, configured with Hydra.

    import fmnist_sweep as fs

    runs = fs.sweep("optimizer=adam,sgd", epochs=3, seed=[0, 1])  # train as the command line does; returns a table
    fs.draw.curves(runs, "val_accuracy")
    fs.judge("multirun", paper="caprari2024")
    model = fs.load_model(runs["path"].iloc[0])

See `fmnist_sweep.api` and `fmnist_sweep.report.draw`. Both modules are loaded on first use.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import fmnist_sweep.report.draw as draw
    from fmnist_sweep.api import judge, load_model, read, sweep, train

__all__ = ["draw", "judge", "load_model", "read", "sweep", "train"]

# Without this setting, Intel MKL's rounding depends on memory alignment, and so on the other models in the stack.
# MKL reads it when torch first computes, so it must be set before torch is loaded.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def __getattr__(name: str) -> Any:
    if name == "draw":
        return importlib.import_module("fmnist_sweep.report.draw")
    if name in __all__:
        return getattr(importlib.import_module("fmnist_sweep.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
