"""Sweeps of small feed-forward networks on Fashion-MNIST, configured with Hydra.

    import fmnist_sweep as fs

    runs = fs.sweep("optimizer=adam,sgd", epochs=3, seed=[0, 1])  # train as the command line does; returns a table
    fs.summary(runs)                                              # a row per configuration, the best first
    fs.draw.curves(runs, ["val_loss", "val_accuracy"])
    fs.compare(runs, {"optimizer": "Adam"}, {"optimizer": "SGD"}, metric="val_loss")
    model = fs.load_model(fs.best(runs).runs["path"].iloc[0])
    fs.judge("multirun", paper="caprari2024")

See `fmnist_sweep.api` and `fmnist_sweep.report.draw`. Both modules are loaded on first use.
"""

import importlib
import importlib.metadata
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import fmnist_sweep.report.draw as draw
    from fmnist_sweep.api import (
        best,
        compare,
        judge,
        load_model,
        predictions,
        read,
        summary,
        sweep,
        train,
        write_report,
    )
    from fmnist_sweep.data import DataError
    from fmnist_sweep.errors import ConfigError, RunError

    __version__: str

_MODULES = {"ConfigError": "errors", "RunError": "errors", "DataError": "data"}  # where names that are not in api are
__all__ = [
    "ConfigError",
    "DataError",
    "RunError",
    "best",
    "compare",
    "draw",
    "judge",
    "load_model",
    "predictions",
    "read",
    "summary",
    "sweep",
    "train",
    "write_report",
]

# Without this setting, Intel MKL's rounding depends on memory alignment, and so on the other models in the stack.
# MKL reads it when torch first computes, so it must be set before torch is loaded.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def __getattr__(name: str) -> Any:
    if name == "draw":
        return importlib.import_module("fmnist_sweep.report.draw")
    if name == "__version__":
        return importlib.metadata.version("fmnist-sweep")
    if name in __all__:
        return getattr(importlib.import_module(f"fmnist_sweep.{_MODULES.get(name, 'api')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return [*globals(), *__all__]
