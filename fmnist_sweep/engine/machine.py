"""Describe the training machine for a run's record, and measure its speed."""

import functools
import platform
import subprocess
import time
from pathlib import Path

import torch
from torch import nn

from fmnist_sweep.data import CHECKSUMS, PIXELS
from fmnist_sweep.engine import products


def products_per_second() -> float:
    """Measure products of a first layer as the engine computes them, on one core for 0.2 s.

    Returns:
        Floating-point operations per second.
    """
    torch.set_num_threads(1)
    batch, units = 500, 128
    images, weights = torch.randn(batch, PIXELS), torch.randn(units, PIXELS)
    multiply = products.linear if products.suits(weights.unsqueeze(0), batch) else nn.functional.linear
    operations, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < 0.2:
        multiply(images, weights)
        operations += 2 * batch * PIXELS * units
    return operations / elapsed


_COMMIT = ("--always", "--dirty", "--exclude=*", "--abbrev=40")  # the full hash, even if there are tags


@functools.cache
def environment(device: str) -> dict[str, object]:
    """Return the versions, machine, commit and data checksums for a run's record."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cpu": cpu(),
        "device": torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else device,
        "threads": torch.get_num_threads(),
        "git_commit": _git_commit(),
        "data_sha256": CHECKSUMS,
    }


@functools.cache
def cpu() -> str:
    """Return the type of this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """Return the commit of this package, with the suffix `-dirty` if tracked files have changed since.

    Return None if no repository tracks the package. A repository that merely contains the virtual environment says
    nothing about the package.
    """
    git = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent)]
    try:
        for command in (["ls-files", "--error-unmatch", Path(__file__).name], ["describe", *_COMMIT]):
            done = subprocess.run([*git, *command], capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
