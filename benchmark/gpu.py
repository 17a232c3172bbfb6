"""Test and measure the engine on one device: `benchmark/gpu.sh` calls this for each part.

Each part writes what it finds as it goes, to gpu.json, and renders all parts that have been measured as gpu.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmark.contenders import Setting, scaled, tuned_loop
from benchmark.ensembles import jax_ensemble, torch_ensemble, wait_for
from fmnist_sweep import data
from fmnist_sweep.config.schema import Config, DataConfig, ModelConfig, TrainingConfig
from fmnist_sweep.engine import training
from fmnist_sweep.engine.checkpoints import Checkpoint, decode, encode
from fmnist_sweep.engine.machine import cpu
from fmnist_sweep.engine.training import Progress, Trainer, start

ARGUMENTS = {"adam": {"name": "Adam", "lr": 0.01}, "sgd": {"name": "SGD", "lr": 0.01}}
OTHERS = ("ASGD", "Adadelta", "Adafactor", "Adagrad", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop")
Row = dict[str, Any]


class Measuring:
    """The options, and the results so far."""

    def __init__(self, options: argparse.Namespace):
        self.device: str = options.device
        self.small: bool = options.small
        self.until = time.monotonic() + options.seconds - 10
        self.output: Path = options.output
        self._file = self.output / "gpu.json"
        self._results: dict[str, list[Row]] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.folder = data.prepare(None)

    def begin(self, *parts: str) -> None:
        """Forget earlier results of these parts."""
        for part in parts:
            self._results.pop(part, None)
        self._results["machine"] = [_machine(self.device)]

    def add(self, part: str, **row: Any) -> None:
        """Keep a result, write both files and print it."""
        self._results.setdefault(part, []).append(row)
        self._file.write_text(json.dumps(self._results, indent=1))
        (self.output / "gpu.md").write_text(_page(self._results))
        print(part, row, flush=True)

    def images(self, number: int) -> data.Data:
        """The first training images on the device, and a sixth as many for validation."""
        loaded = data.load(self.folder, data.Division("test"), torch.device(self.device))
        return dataclasses.replace(
            loaded,
            train_images=loaded.train_images[:number],
            train_labels=loaded.train_labels[:number],
            val_images=loaded.val_images[: number // 6],
            val_labels=loaded.val_labels[: number // 6],
        )


def _machine(device: str) -> Row:
    """Describe the machine of the results."""
    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return {
        "device": gpu.name if gpu else cpu(),
        "memory in GiB": gpu.total_memory >> 30 if gpu else "",
        "torch": torch.__version__,
        "CUDA": torch.version.cuda or "",
        "Python": sys.version.split()[0],
        "TF32": torch.backends.cuda.matmul.allow_tf32,
    }


def config(optimizer: Row, batch_size: int, seed: int, dropout: float = 0.2) -> Config:
    """The base model's configuration."""
    return Config(dict(optimizer), TrainingConfig(batch_size, 3), ModelConfig([128, 64], dropout), DataConfig(), seed)


def trainer(configs: Sequence[Config], images: data.Data, progress: Sequence[Progress] | None = None) -> Trainer:
    """A trainer in the accelerator's way, also on a CPU."""
    return Trainer(configs, progress or [start(one) for one in configs], images, accelerated=True)


# Tests


def tests(measuring: Measuring) -> None:
    """Run the tests that train. Commands and workers take the GPU by themselves, since `device` is `auto`."""
    measuring.begin("tests")
    modules = ["tests/engine", "tests/config/test_optimizers.py"]
    if not measuring.small:
        modules += ["tests/plugins", "tests/sweeps", "tests/test_command.py"]
    pytest = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        str(max(1, min(8, len(os.sched_getaffinity(0)) // 2))),
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "-W",
        "ignore",
    ]
    chosen = "not slow and not browser and not cluster and not tracker"
    began = time.monotonic()
    with subprocess.Popen([*pytest, "-m", chosen, *modules], stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            print(line, end="", flush=True)
            if line.startswith(("FAILED", "ERROR")) or " passed" in line or " failed" in line:
                measuring.add("tests", result=line.strip()[:300], seconds=round(time.monotonic() - began))


# Equality


def equality(measuring: Measuring) -> None:
    """Compare runs in stacks, resumed and cut with the same runs alone, to the last bit."""
    measuring.begin("equality", "products")
    images = measuring.images(1030 if measuring.small else 3030)
    of_products(measuring)
    kinds = [config(ARGUMENTS[name], 100, 0, dropout) for name, dropout in (("adam", 0.2), ("sgd", 0.0))]
    for one in kinds:
        name = one.optimizer["name"]
        alone = trainer([one], images)
        rows = [alone.train_epoch()[0] for _ in range(3)]
        end = alone.models[0].progress()
        again = trainer([one], images)
        compare(measuring, f"{name}, again", rows, [again.train_epoch()[0] for _ in range(3)], end, again.models[0])
        for size in (2, 64) if measuring.small else (2, 3, 64, 256):
            others = [config(ARGUMENTS[("adam", "sgd")[k % 3 == 1]], 100, k + 1) for k in range(size - 1)]
            configs = sorted([*others, one], key=lambda each: each.optimizer["name"])
            place = next(k for k, each in enumerate(configs) if each is one)
            stack = trainer(configs, images)
            found = [stack.train_epoch()[place] for _ in range(3)]
            compare(measuring, f"{name}, in a stack of {size}", rows, found, end, stack.models[place])
        first = trainer([one, config(ARGUMENTS["adam"], 100, 9)], images)
        row = first.train_epoch()[0]
        resumed = trainer([one], images, [_through_a_file(first, row, one)])
        found = [row, *(resumed.train_epoch()[0] for _ in range(2))]
        compare(measuring, f"{name}, resumed after a stack of 2", rows, found, end, resumed.models[0])
        cut = trainer([one], images)
        compare(measuring, f"{name}, cut after 1 epoch", rows[:1], cut.train_epoch(), None, cut.models[0])
    for name in OTHERS:
        configs = [config({"name": name, "lr": 0.002}, 100, seed) for seed in range(3)]
        stack = trainer(configs, images)
        begun = stack.train_epoch()
        alone = trainer(configs[1:2], images, [_through_a_file(stack, begun[1], configs[1], 1)])
        rows = [stack.train_epoch()[1]]
        end = stack.models[1].progress()
        compare(measuring, f"{name}, resumed alone after a stack of 3", rows, alone.train_epoch(), end, alone.models[0])


def _through_a_file(stack: Trainer, row: Any, one: Config, place: int = 0) -> Progress:
    """A model's progress, written as a checkpoint and read again."""
    content = encode(Checkpoint(stack.models[place].progress(), [row], [1.0], "a CPU"), "1")
    return decode(content, "1", one, 1).progress


def compare(
    measuring: Measuring, case: str, rows: Any, found: Any, end: Progress | None, model: training.Model
) -> None:
    """Add whether rows and parameters are equal, and how far apart the parameters are."""
    apart = [0.0]
    if end is not None:
        apart = [float((a - b).abs().max()) for a, b in zip(end.parameters, model.progress().parameters, strict=True)]
    measuring.add(
        "equality", case=case, rows_equal=rows == found, parameters_equal=max(apart) == 0, difference=max(apart)
    )


def of_products(measuring: Measuring) -> None:
    """Find which batched products depend on the size of the stack, and what each size costs a model."""
    device = torch.device(measuring.device)
    libraries = ["cublas", "cublaslt"] if device.type == "cuda" else ["CPU"]
    generator = torch.Generator().manual_seed(0)
    largest = 64 if measuring.small else 256
    for library, batch, (inputs, outputs) in product(libraries, (100, 1000), ((784, 128), (128, 64), (64, 10))):
        if library != "CPU":
            torch.backends.cuda.preferred_blas_library(library)
        x, w, g = (
            torch.randn(largest, *shape, generator=generator).to(device)
            for shape in ((batch, inputs), (outputs, inputs), (batch, outputs))
        )
        ones, bias = torch.ones(largest, 1, batch, device=device), torch.randn(largest, 1, outputs, device=device)
        calls: dict[str, Callable[[slice], torch.Tensor]] = {
            "forward": lambda s, x=x, w=w, b=bias: torch.baddbmm(b[s], x[s], w[s].transpose(1, 2)),
            "weights": lambda s, x=x, g=g: torch.bmm(g[s].transpose(1, 2), x[s]),
            "inputs": lambda s, w=w, g=g: torch.bmm(g[s], w[s]),
            "biases": lambda s, o=ones, g=g: torch.bmm(o[s], g[s]),
        }
        for name, call in calls.items():
            reference, row = (
                call(slice(0, 2))[1],
                {"library": library, "batch": batch, "layer": f"{inputs} x {outputs}"},
            )
            same = [
                size
                for size in (1, 2, 3, 8, 64, 256)[: None if largest == 256 else -1]
                if torch.equal(call(slice(1, 2))[0] if size == 1 else call(slice(0, size))[1], reference)
            ]
            for size in (1, 8, largest):
                seconds = _seconds(functools.partial(call, slice(0, size)), measuring.device)
                row[f"us a model in {size}"] = round(seconds / size * 1e6, 2)
            measuring.add("products", product=name, **row, same_as_in_2=" ".join(map(str, same)))
    if device.type == "cuda":
        torch.backends.cuda.preferred_blas_library("default")


def _seconds(work: Callable[[], object], device: str, repeats: int = 20) -> float:
    for _ in range(3):
        work()
    wait_for(device)
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    wait_for(device)
    return (time.perf_counter() - began) / repeats


# Speed


def settings(measuring: Measuring) -> Iterator[tuple[str, int]]:
    """Optimizers and batch sizes, the most important first, until the time is up."""
    for batch_size, optimizer in product((100, 1000), ("adam", "sgd")):
        if time.monotonic() < measuring.until:
            yield optimizer, batch_size


def speed(measuring: Measuring) -> None:
    """Measure seconds a model-epoch of the engine, one model after another in a plain loop, and `torch.func`."""
    measuring.begin("speed")
    images, device = measuring.images(3000 if measuring.small else 60_000), measuring.device
    part = 60_000 / len(images.train_images)
    sizes = (1, 8) if measuring.small else (1, 8, 64, 256, 1024)

    def engine(optimizer: str, batch_size: int, models: int) -> float:
        stack = trainer([config(ARGUMENTS[optimizer], batch_size, seed) for seed in range(models)], images)
        stack.train_epoch()
        began = time.perf_counter()
        stack.train_epoch()
        return (time.perf_counter() - began) * part

    def without_graph(optimizer: str, batch_size: int, models: int) -> float:
        can_be_recorded, training.can_be_recorded = training.can_be_recorded, lambda _: False
        try:
            return engine(optimizer, batch_size, models)
        finally:
            training.can_be_recorded = can_be_recorded

    def plain(optimizer: str, batch_size: int, models: int) -> float:
        scaled(measuring.folder, device)
        began = time.perf_counter()
        tuned_loop(Setting(optimizer, batch_size, 0), measuring.folder, 1, device)
        return time.perf_counter() - began

    def functional(optimizer: str, batch_size: int, models: int) -> float:
        return torch_ensemble(measuring.folder, optimizer, batch_size, models, 1, device)

    if not measuring.small:
        plain("adam", 1000, 1)  # warm up
    for optimizer, batch_size in settings(measuring):
        for models in sizes:
            _try(measuring, "engine", engine, optimizer, batch_size, models)
            if models < 1024:
                _try(measuring, "engine without graphs", without_graph, optimizer, batch_size, models)
        if not measuring.small:
            _try(measuring, "plain loop", plain, optimizer, batch_size, 1)
            for models in sizes[1:]:
                _try(measuring, "torch.func", functional, optimizer, batch_size, models)


def _try(
    measuring: Measuring, who: str, measure: Callable[[str, int, int], float], optimizer: str, batch: int, models: int
) -> None:
    """Add seconds a model-epoch, or the reason why there are none."""
    if time.monotonic() > measuring.until:
        return
    if measuring.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row: Row = {"who": who, "optimizer": optimizer, "batch": batch, "models": models}
    try:
        row["seconds"] = round(measure(optimizer, batch, models) / models, 6)
    except Exception as error:  # too little memory, say; the other measurements go on
        row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    if measuring.device == "cuda":
        row["peak GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        gc.collect()
        torch.cuda.empty_cache()
    measuring.add("speed", **row)


def jax(measuring: Measuring) -> None:
    """Measure JAX's `vmap`, if JAX is there and sees the device."""
    missing = [name for name in ("jax", "optax") if importlib.util.find_spec(name) is None]
    measuring.begin("jax")
    if missing:
        measuring.add("jax", result=f"not measured: no {' and no '.join(missing)} here")
        return
    import jax as library

    if measuring.device == "cuda" and library.default_backend() != "gpu":
        measuring.add("jax", result=f"not measured: JAX sees only {library.devices()}")
        return
    measuring.add("jax", result=f"JAX {library.__version__} on {library.devices()[0]}")
    for optimizer, batch_size in settings(measuring):
        for models in (1, 2) if measuring.small else (8, 64, 256, 1024):
            _try(measuring, "JAX", lambda *one: jax_ensemble(measuring.folder, *one, 1), optimizer, batch_size, models)


# Profile


def profile(measuring: Measuring) -> None:
    """Profile an epoch of 20 steps: kernels, launches, and the share of the time in which the device computes."""
    measuring.begin("profile")
    images = measuring.images(2000)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if measuring.device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    text = measuring.output / "profile.txt"
    text.write_text("")
    can_be_recorded = training.can_be_recorded
    for recorded, models in product((True, False), (2,) if measuring.small else (8, 256)):
        training.can_be_recorded = can_be_recorded if recorded else lambda _: False
        stack = trainer([config(ARGUMENTS["adam"], 100, seed) for seed in range(models)], images)
        for _ in range(2):
            stack.train_epoch()
        wait_for(measuring.device)
        with torch.profiler.profile(activities=activities) as profiled:
            began = time.perf_counter()
            stack.train_epoch()
            wait_for(measuring.device)
            seconds = time.perf_counter() - began
        events = profiled.key_averages()
        launches = sum(e.count for e in events if "LaunchKernel" in e.key or "GraphLaunch" in e.key)
        on_device = sum(e.self_device_time_total for e in events) / 1e6
        measuring.add(
            "profile",
            models=models,
            graphs=recorded,
            seconds=round(seconds, 5),
            launches=launches,
            device_seconds=round(on_device, 5),
            largest="; ".join(
                f"{e.key[:60]}: {e.count} x, {(e.self_device_time_total or e.self_cpu_time_total) / 1e3:.2f} ms"
                for e in sorted(events, key=lambda e: -(e.self_device_time_total or e.self_cpu_time_total))[:8]
            ),
        )
        order = "self_cuda_time_total" if measuring.device == "cuda" else "self_cpu_time_total"
        table = events.table(sort_by=order, row_limit=40, max_name_column_width=90)
        with text.open("a") as stream:
            stream.write(
                f"{models} models, graphs: {recorded}, {seconds:.5f} s for 20 steps and evaluations\n{table}\n\n"
            )
    training.can_be_recorded = can_be_recorded


# Page

TITLES = {
    "machine": "Machine",
    "tests": "Tests on the device",
    "equality": "Equal bytes: rows and parameters of a run against the same run alone",
    "products": "Products: stack sizes with the bytes of a stack of 2, and microseconds a model",
    "speed": "Seconds a model-epoch, evaluations included",
    "jax": "JAX",
    "profile": "An epoch of 20 steps, Adam, batch size 100, and its evaluations",
}


def _page(results: dict[str, list[Row]]) -> str:
    """Render all results as Markdown."""
    lines = ["# On a GPU", "", "Made by `benchmark/gpu.sh`."]
    for part, title in TITLES.items():
        if rows := results.get(part):
            columns = list(dict.fromkeys(name for row in rows for name in row))
            lines += ["", f"## {title}", "", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
            lines += [f"| {' | '.join(str(row.get(name, '')).replace('|', '/') for name in columns)} |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure one part."""
    parts = {part.__name__: part for part in (tests, equality, speed, jax, profile)}
    parser = argparse.ArgumentParser(prog="python -m benchmark.gpu", description=main.__doc__)
    parser.add_argument("part", choices=parts)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="few images and models, to try the script on a CPU")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts[options.part](Measuring(options))


if __name__ == "__main__":
    main()
