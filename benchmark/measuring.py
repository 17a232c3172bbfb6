"""Measure the engine against the loops that a user would write, side by side.

Every contender uses all cores and does the work of the runs of figures 1 to 4; rounds are interleaved and medians are
given, since machines are shared and noisy.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

# As in the engine's workers: one thread a process, and the rounding mode that it asks for.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

import numpy as np
import psutil
import torch

from benchmark.contenders import FIGURES, Setting, plain_loop, tuned_loop
from benchmark.ensembles import jax_ensemble, torch_ensemble
from fmnist_sweep import data
from fmnist_sweep.config.schema import Config, DataConfig, ModelConfig, TrainingConfig
from fmnist_sweep.engine import products as onednn
from fmnist_sweep.engine import training
from fmnist_sweep.engine.machine import environment
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps import plan

CORES = len(os.sched_getaffinity(0))
SETTINGS = [Setting(optimizer, batch, seed) for seed, (optimizer, batch) in product(range(5), FIGURES)]
STACKS = (1, 2, 4, 8, 16)


def config(optimizer: str, batch_size: int, seed: int, epochs: int = 1) -> Config:
    """The engine's configuration for one run of the benchmark."""
    chosen = {"name": "Adam" if optimizer == "adam" else "SGD", "lr": 0.01}
    return Config(chosen, TrainingConfig(batch_size, epochs), ModelConfig([128, 64], 0.2), DataConfig(), seed)


def measure_plain(folder: Path, loader_workers: int) -> float:
    """Model-epochs per second of the plain loop: one seed, one epoch of each configuration."""
    torch.set_num_threads(CORES)
    began = time.perf_counter()
    for optimizer, batch_size in FIGURES:
        plain_loop(Setting(optimizer, batch_size, 0), folder, 1, loader_workers)
    return len(FIGURES) / (time.perf_counter() - began)


def best_loader_workers(folder: Path) -> int:
    """The number of DataLoader processes with which the plain loop is fastest here."""
    torch.set_num_threads(CORES)

    def seconds(workers: int) -> float:
        began = time.perf_counter()
        plain_loop(Setting("adam", 500, 0), folder, 1, workers, limit=12_000)
        return time.perf_counter() - began

    return min(range(CORES + 1), key=seconds)


def measure_tuned(folder: Path, epochs: int) -> float:
    """Model-epochs per second of the tuned loop in one process a core, without their start-up."""
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        pool.starmap(tuned_loop, [(Setting("sgd", 1000, 0), folder, 0)] * CORES, chunksize=1)
        began = time.perf_counter()
        pool.starmap(tuned_loop, [(setting, folder, epochs) for setting in SETTINGS], chunksize=1)
        return len(SETTINGS) * epochs / (time.perf_counter() - began)


def measure_joblib(folder: Path, epochs: int) -> float:
    """Model-epochs per second of the tuned loop under Hydra's joblib launcher, from the first run to the last."""
    with tempfile.TemporaryDirectory() as stamps:
        for optimizer, batches in (("adam", "100,500,1000"), ("sgd", "100,500")):
            grid = [f"optimizer={optimizer}", f"batch_size={batches}", "seed=0,1,2,3,4", f"epochs={epochs}"]
            places = [f"folder={folder}", f"stamps={stamps}", f"hydra.sweep.dir={stamps}/runs"]
            launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={CORES}"]
            command = [sys.executable, "-m", "benchmark.joblib_app", "-m", *grid, *places, *launcher]
            subprocess.run(command, check=True, capture_output=True)
        spans = [tuple(map(float, p.read_text().split())) for p in Path(stamps).iterdir() if p.is_file()]
    # There are two commands, since the grid is no product: the time between them is not counted.
    return len(SETTINGS) * epochs / _busy(spans)


def measure_jax(folder: Path, epochs: int) -> float:
    """Model-epochs per second of JAX, which trains the five seeds of a configuration at once and takes all cores."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        tasks = [(folder, optimizer, batch_size, 5, epochs) for optimizer, batch_size in FIGURES]
        return len(SETTINGS) * epochs / sum(pool.starmap(jax_ensemble, tasks, chunksize=1))


def measure_torch_func(folder: Path, epochs: int) -> float:
    """Model-epochs per second of `torch.func`'s ensembles in one process a core, five seeds of a configuration each."""
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        tasks = [(folder, optimizer, batch_size, 5, epochs) for optimizer, batch_size in FIGURES * CORES]
        seconds = pool.starmap(torch_ensemble, tasks, chunksize=1)
    return len(SETTINGS) * CORES * epochs / (sum(seconds) / CORES)


def _busy(spans: list[tuple[float, ...]]) -> float:
    """Seconds in which at least one run was under way."""
    total, until = 0.0, 0.0
    for began, end in sorted(spans):
        total += max(0.0, end - max(began, until))
        until = max(until, end)
    return total


@dataclass(frozen=True)
class EngineResult:
    """Results of one sweep with the engine.

    Attributes:
        rate: model-epochs per second, from the first step to the end of the last run.
        start_up: seconds from the command to the first step.
        tail: seconds from the end of the last run to the command's end.
        busy: share of the cores' time between the first step and the end of the last run that went into epochs.
        peak: GFLOP/s of matrix products just before and after, in the mean.
        memory: of the largest worker, not shared, in MiB.
    """

    rate: float
    start_up: float
    tail: float
    busy: float
    peak: float
    memory: float


def measure_engine(folder: Path, epochs: int) -> EngineResult:
    """The engine's own command on the same runs, between two measurements of what the cores can do at that time."""
    before = matrix_product_peak()
    with tempfile.TemporaryDirectory() as store:
        grid = ["figure=fig1,fig2,fig3,fig4", "seed=0,1,2,3,4", f"epochs={epochs}", f"data.dir={folder}"]
        command = [sys.executable, "-m", "fmnist_sweep", "-m", *grid, f"hydra.sweep.dir={store}"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        parent, first, memory, last, looked = psutil.Process(process.pid), 0.0, 0.0, began, began
        while process.poll() is None:
            time.sleep(0.1)
            if not first and any(Path(store).glob("*/run.json")):
                first = time.perf_counter()
            if len(list(Path(store).glob("*/predictions.npy"))) < len(SETTINGS):
                last = time.perf_counter()
            if time.perf_counter() - looked > 5:  # it takes a core 10 ms a process
                looked = time.perf_counter()
                for child in parent.children(recursive=True):
                    with suppress(psutil.Error):
                        memory = max(memory, child.memory_full_info().uss)
        end = time.perf_counter()
        if process.returncode != 0:
            raise RuntimeError("the engine's sweep failed")
        in_epochs = sum(RunDirectory(record.parent).seconds()[-1] for record in Path(store).glob("*/run.json"))
    peak = (before + matrix_product_peak()) / 2
    rate, busy = len(SETTINGS) * epochs / (last - first), in_epochs / CORES / (last - first)
    return EngineResult(rate, first - began, end - last, busy, peak, memory / 2**20)


def matrix_product_peak() -> float:
    """GFLOP/s of matrix products with one thread on each core at the same time, summed over cores."""
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        return sum(pool.map(_core_peak, [0] * CORES, chunksize=1))


def _core_peak(_: int) -> float:
    """Return the rate of the fastest library and matrix size on this machine, as a median like the engine's rate.

    The libraries are MKL, which torch calls, oneDNN inside torch, and OpenBLAS inside NumPy. They take turns.
    """
    torch.set_num_threads(1)
    speeds = []
    for size in (256, 512, 1024):
        a, b, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
        products: list[Callable[[], object]] = [
            functools.partial(torch.mm, a, b, out=out),
            functools.partial(onednn.linear, a, b),
            functools.partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy()),
        ]
        repeats = int(1e10 / size**3)
        times: list[list[float]] = [[] for _ in products]
        for _ in range(7):
            for multiply, of_library in zip(products, times, strict=True):
                began = time.perf_counter()
                for _ in range(repeats):
                    multiply()
                of_library.append(time.perf_counter() - began)
        speeds += [2 * size**3 * repeats / statistics.median(of_library) / 1e9 for of_library in times]
    return max(speeds)


def stack_costs(folder: Path) -> dict[tuple[str, int], list[float]]:
    """Seconds per model-epoch in stacks of 1, 2, 4, 8 and 16, on each core while the others do the same."""
    costs: dict[tuple[str, int], list[list[float]]] = {}
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        for _ in range(3):
            for (optimizer, batch_size), models in product(FIGURES, STACKS):
                same = [(folder, optimizer, batch_size, models)] * CORES
                rows = costs.setdefault((optimizer, batch_size), [[] for _ in STACKS])
                rows[STACKS.index(models)] += pool.starmap(_stack_cost, same, chunksize=1)
    return {key: [statistics.median(values) for values in rows] for key, rows in costs.items()}


def _stack_cost(folder: Path, optimizer: str, batch_size: int, models: int) -> float:
    """Seconds per model-epoch, from a fifth of the images."""
    torch.set_num_threads(1)
    whole = data.load(folder, data.Division("test"), torch.device("cpu"))
    fifth = data.Data(
        whole.train_images[:12_000], whole.train_labels[:12_000], whole.val_images[:2000], whole.val_labels[:2000],
        None, None, 0.5, 0.5,
    )  # fmt: skip
    configs = [config(optimizer, batch_size, seed) for seed in range(models)]
    trainer = training.Trainer(configs, [training.start(c) for c in configs], fifth)
    trainer.train_epoch()
    began = time.perf_counter()
    trainer.train_epoch()
    return (time.perf_counter() - began) * 5 / models


def page(rounds: int, epochs: int, say: Callable[[str], None]) -> str:
    """Measure everything and return the page."""
    folder = data.prepare(None)
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for name in data.FILES:
            (raw / name).symlink_to(folder / name)
        loader_workers = best_loader_workers(Path(root))
        results: dict[str, list[float]] = {name: [] for name in "abcdef"}
        engine: list[EngineResult] = []
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            engine.append(measure_engine(folder, epochs))
            results["d"].append(engine[-1].rate)
            results["b"].append(measure_tuned(folder, max(1, epochs // 4)))
            results["c"].append(measure_joblib(folder, max(1, epochs // 4)))
            results["e"].append(measure_jax(folder, max(1, epochs // 4)))
            results["f"].append(measure_torch_func(folder, max(1, epochs // 4)))
            results["a"].append(measure_plain(Path(root), loader_workers))
            say("model-epochs per second: " + ", ".join(f"{k} {v[-1]:.3f}" for k, v in results.items()))
    say("stacks of 1 to 16")
    costs = stack_costs(folder)
    return _render(results, engine, costs, loader_workers, rounds, epochs)


def _render(
    results: dict[str, list[float]],
    engine: list[EngineResult],
    costs: dict[tuple[str, int], list[float]],
    loader_workers: int,
    rounds: int,
    epochs: int,
) -> str:
    median = {name: statistics.median(values) for name, values in results.items()}
    ratio = {name: [d / x for d, x in zip(results["d"], results[name], strict=True)] for name in "abcef"}
    flops = statistics.mean(plan.epoch_cost(config(o, b, 0)) for o, b in FIGURES) / 1e9
    names = {
        "a": f"(a) plain loop: torchvision data set, DataLoader with {loader_workers} workers",
        "b": "(b) tuned loop: tensors preloaded, fused optimizer, one process a core",
        "c": "(c) Hydra's joblib launcher around (b)",
        "e": "(e) JAX: `vmap` over five models, `lax.scan` over steps, one `jit` an epoch, all cores",
        "f": "(f) `torch.func` ensembles of five models, one process a core",
        "d": "(d) this engine: `python -m fmnist_sweep -m figure=fig1,fig2,fig3,fig4 seed=0,1,2,3,4`",
    }
    lines = [
        "# Benchmark",
        "",
        "Made by `make bench`. The work: the runs of figures 1 to 4 (five configurations) with 5 seeds and all metrics",
        f"of every epoch; {rounds} interleaved rounds, medians. (d) trained {epochs} epochs a run,",
        f"(b), (c), (e) and (f) {max(1, epochs // 4)}, (a) one epoch with one seed. Rates are over",
        "training proper; start-up and tail are given apart. The best matrix product is measured before and after (d)",
        "in every round.",
        "",
        *_machine(),
        "",
        "| contender | model-epochs per second | (d) is faster by | range of that ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in "abcef":
        r = ratio[name]
        lines.append(
            f"| {names[name]} | {median[name]:.3f} | {statistics.median(r):.2f} x | {min(r):.2f} to {max(r):.2f} |"
        )
    lines.append(f"| {names['d']} | {median['d']:.3f} | | |")
    start_up = statistics.median(result.start_up for result in engine)
    tail = statistics.median(result.tail for result in engine)
    busy = 100 * statistics.median(result.busy for result in engine)
    peak = statistics.median(result.peak for result in engine)
    reached = [result.rate * flops for result in engine]
    shares = [100 * result.rate * flops / result.peak for result in engine]
    lines += [
        "",
        "| figure | measured | target |",
        "| --- | ---: | ---: |",
        f"| (d) against (a) | {statistics.median(ratio['a']):.1f} x | 60 x |",
        f"| (d) against (b) | {statistics.median(ratio['b']):.2f} x | 2.2 x |",
        f"| (d) against (e) | {statistics.median(ratio['e']):.2f} x | 1.5 x |",
        f"| GFLOP/s of (d), training and evaluation, all cores | {statistics.median(reached):.0f} | |",
        f"| best matrix product of MKL, oneDNN or OpenBLAS, all cores, GFLOP/s | {peak:.0f} | |",
        f"| share of it that (d) reaches | {statistics.median(shares):.0f} % | 60 % |",
        f"| share of the cores' time that goes into epochs, from first step to last run | {busy:.0f} % | |",
        f"| start-up of (d): command to first step, {len(SETTINGS)} jobs | {start_up:.1f} s | 4 s |",
        f"| tail of (d): the last run's end to the command's | {tail:.1f} s | |",
        f"| peak memory of a worker of (d), not shared | {max(e.memory for e in engine):.0f} MiB | |",
        "",
        f"One model's epoch counts as {flops:.1f} GFLOP: its products in training and in both evaluations.",
        "",
        "## Cost against the size of a stack",
        "",
        "Seconds per model and epoch on a core, while the others do the same.",
        "",
        "| optimizer, batch size | " + " | ".join(f"K = {k}" for k in STACKS) + " |",
        "| --- |" + " ---: |" * len(STACKS),
    ]
    for (optimizer, batch_size), row in costs.items():
        lines.append(f"| {optimizer}, {batch_size} | " + " | ".join(f"{cost:.3f}" for cost in row) + " |")
    return "\n".join(lines) + "\n"


def _machine() -> list[str]:
    known, memory = environment("cpu"), psutil.virtual_memory().total / 2**30
    lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    facts = {name.strip(): value.strip() for name, value in lines}
    family = f"family {facts.get('cpu family')}, model {facts.get('model')}"
    return [
        f"Machine: {known['cpu']} ({family}), {CORES} cores, {memory:.0f} GiB; {platform.system()}.",
        f"Versions: Python {known['python']}, torch {known['torch']}; `MKL_CBWR={os.environ['MKL_CBWR']}`.",
    ]
