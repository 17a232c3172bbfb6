"""Small runs of whole commands, and what a store must hold of them."""

from __future__ import annotations

import csv
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from small_runs import ADAM, MOMENTUM, config

from fmnist_sweep import data
from fmnist_sweep.config.compose import name_of
from fmnist_sweep.config.schema import Config, Execution
from fmnist_sweep.sweeps import worker
from fmnist_sweep.sweeps.plan import Job

OPTIMIZERS = {"adam": ADAM, "sgd_momentum": MOMENTUM}
SMALL = ["model.hidden=[16]", "batch_size=1000"]


def run(optimizer: str = "adam", seed: int = 0, epochs: int = 2, batch_size: int = 1000) -> Config:
    """The configuration that SMALL and these values give."""
    return config(OPTIMIZERS[optimizer], batch_size=batch_size, epochs=epochs, hidden=[16], seed=seed)


def run_name(one: Config) -> str:
    return name_of(one, Execution())


@functools.cache
def _trained_alone(name: str) -> list[bytes]:
    """The lines of metrics.csv of a run that is trained in this process and never interrupted."""
    one = _CONFIGS[name]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / name
        assert worker.train_stack([[Job(one, Execution(), name, directory)]], data.prepare(None)) == []
        lines = (directory / "metrics.csv").read_bytes().splitlines(keepends=True)
    torch.set_num_threads(threads)
    return lines


_CONFIGS: dict[str, Config] = {}


def alone(one: Config) -> bytes:
    """The metrics.csv that a run must have: the first rows of a run of three epochs or more."""
    longest = run(**{**key(one), "epochs": max(one.training.epochs, 3)})
    _CONFIGS[run_name(longest)] = longest
    return b"".join(_trained_alone(run_name(longest))[: one.training.epochs + 1])


def key(one: Config) -> dict[str, Any]:
    return {
        "optimizer": next(name for name, arguments in OPTIMIZERS.items() if arguments == one.optimizer),
        "seed": one.seed,
        "batch_size": one.training.batch_size,
    }


def directory(store: Path, one: Config) -> Path:
    return store / run_name(one)


def rows(store: Path, one: Config) -> int:
    """Whole rows that a run has so far."""
    try:
        return max((directory(store, one) / "metrics.csv").read_bytes().count(b"\n") - 1, 0)
    except FileNotFoundError:
        return 0


def status(store: Path, one: Config) -> str | None:
    try:
        content = json.loads((directory(store, one) / "run.json").read_bytes())
    except FileNotFoundError:
        return None
    return str(content["status"])


def timing(store: Path, one: Config) -> list[list[str]]:
    with (directory(store, one) / "timing.csv").open() as stream:
        return list(csv.reader(stream))


def assert_done(store: Path, *configs: Config) -> None:
    """These runs are done, with the bytes of a run alone."""
    for one in configs:
        assert status(store, one) == "done", run_name(one)
        assert (directory(store, one) / "metrics.csv").read_bytes() == alone(one), run_name(one)


def snapshot(store: Path) -> dict[str, tuple[int, int]]:
    """Results in a store: inode and time of change of every file that training writes."""
    names = ("metrics.csv", "timing.csv", "run.json", "predictions.npy", "*.pt")
    paths = [path for name in names for path in store.glob(f"*/{name}")]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}
