"""Measure what a sweep costs its parent: jobs planned, submitted and watched, while a made-up cluster trains them.

`python -m benchmark.scale` plans 5,000 runs and prints seconds, memory and the share of a core that waiting takes. The
cluster is another process that writes finished runs, one stack after another.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from fmnist_sweep.__main__ import main
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps import run
from fmnist_sweep.sweeps.executors import Executor
from fmnist_sweep.sweeps.plan import Job
from fmnist_sweep.sweeps.recording import write_record

SEEDS = 417  # with twelve configurations 5,004 runs
SLOTS = 234  # 702 stacks of the three batch sizes
WAITING = 60.0  # seconds that the made-up cluster takes
GRID = ["optimizer=adam,sgd", "batch_size=100,500,1000", "dropout=0.2,0.05", f"seed=range(0,{SEEDS})", "epochs=2"]

marks: dict[str, tuple[float, float]] = {}  # wall and CPU seconds at which a stage began


def mark(stage: str) -> None:
    own = psutil.Process().cpu_times()
    marks[stage] = time.perf_counter(), own.user + own.system


class MadeUpCluster(Executor):
    """Another process, which writes the runs of each stack as if they had been trained."""

    slots = tasks_of_job = SLOTS

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._ended = 0

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()

    def submit(self, tasks: Sequence[Any], names: Sequence[Sequence[str]] = ()) -> list[Future[list[int]]]:
        mark("waiting")
        futures = [self._process.submit(finish, task.args[0], WAITING / len(tasks)) for task in tasks]
        for future in futures:
            future.add_done_callback(lambda _: self._count(len(futures)))
        return futures

    def _count(self, stacks: int) -> None:
        self._ended += 1
        if self._ended == stacks:
            mark("closing")

    def death(self, error: BaseException) -> None:
        return None


def finish(groups: Sequence[Sequence[Job]], seconds: float) -> list[int]:
    """Write the runs of a stack as their end leaves them, and take some time over it."""
    for job in (job for group in groups for job in group):
        rows = [Metrics(epoch, 0.5, 0.8, 0.6, 0.8, 0.5, 0.8) for epoch in range(1, job.epochs + 1)]
        RunDirectory(job.directory).write_rows(rows, [0.5 * row.epoch for row in rows])
        write_record(job, "done", job.epochs, 0.5 * job.epochs)
    time.sleep(seconds)
    return []


if __name__ == "__main__":
    run.LocalExecutor = lambda _: MadeUpCluster()  # type: ignore[assignment, misc]
    with tempfile.TemporaryDirectory() as store:
        sys.argv = ["fmnist_sweep", "-m", *GRID, f"hydra.sweep.dir={store}", "hydra.job_logging.root.level=ERROR"]
        mark("planning")
        code = main()
        mark("end")
        runs = len(list(Path(store).glob("*/run.json")))
    stages = ["planning", "waiting", "closing", "end"]
    for stage, after in pairwise(stages):
        wall, cpu = (marks[after][i] - marks[stage][i] for i in (0, 1))
        print(f"{stage}: {wall:.1f} s, {cpu:.1f} s of CPU time, {100 * cpu / wall:.0f} % of a core")
    print(f"{runs} runs, exit code {code}; peak memory {psutil.Process().memory_info().rss / 2**20:.0f} MiB at the end")
