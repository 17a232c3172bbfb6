"""Faults of clusters: a node of a real Slurm or a real Ray, each of two on this machine, is killed."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from unittest.mock import patch

import clusters
from small_runs import ADAM, MOMENTUM, config

from faults import work
from faults.cases import Case
from fmnist_sweep import data
from fmnist_sweep.store import layout
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps import worker
from fmnist_sweep.sweeps.plan import Job

EPOCHS = 12  # some seconds of work
CONFIGS = [config(how, batch_size=1000, epochs=EPOCHS, seed=seed) for how in (ADAM, MOMENTUM) for seed in (0, 1)]


def killed_nodes() -> list[Case]:
    """A node of a real Slurm (slurm-wlm and munge, as root) or Ray is killed at a random moment of a sweep."""
    there = {
        "slurm": os.geteuid() == 0 and bool(shutil.which("slurmctld") and shutil.which("munged")),
        "ray": find_spec("ray") is not None,
    }
    kinds = [kind for kind, is_there in there.items() if is_there]
    return [Case(f"{kind}-{draw}", functools.partial(_kill, kind)) for kind in kinds for draw in range(3)]


def _train(jobs: Sequence[Job], notes: Path, should_stop: Callable[[], bool]) -> list[int]:
    """Act as a node: keep a checkpoint after every epoch, and note it."""
    os.environ["FAULTS_EPOCHS"] = str(notes)
    if worker.CHECKPOINT_SECONDS > 0:  # or this process has done it for an earlier task
        worker.CHECKPOINT_SECONDS = -1.0
        work.note_epochs()
    return worker.train_stack([[job] for job in jobs], None, should_stop)


@functools.cache
def _undisturbed() -> Mapping[str, tuple[bytes, bytes]]:
    with tempfile.TemporaryDirectory() as folder, patch.object(worker, "load", data.load):
        jobs = work.jobs(Path(folder), *CONFIGS)
        worker.train_stack([[job] for job in jobs], data.prepare(None))
        names = (layout.METRICS, layout.PREDICTIONS)
        return {job.name: tuple((job.directory / name).read_bytes() for name in names) for job in jobs}


def _kill(kind: str, random: Random) -> None:
    expected = _undisturbed()
    path = os.pathsep.join(os.path.abspath(one) for one in sys.path if one)  # nodes are started elsewhere
    with tempfile.TemporaryDirectory() as place, patch.dict(os.environ, PYTHONPATH=path):
        folder, notes = Path(place).resolve() / "store", Path(place).resolve() / "notes"
        jobs = work.jobs(folder, *CONFIGS)
        with getattr(clusters, kind)() as cluster, cluster.executor() as executor:
            futures = executor.submit([functools.partial(_train, [job], notes) for job in jobs])
            victim, rows = RunDirectory(random.choice(jobs).directory), random.randrange(EPOCHS)
            clusters.wait_until(lambda: victim.path.exists() and len(victim.metrics()) >= rows)
            time.sleep(random.uniform(0, 0.3))
            cluster.kill_a_node()
            before = work.held(folder)
            seen = len(work.trained(notes))
            ended = [future.result(clusters.PATIENCE) for future in futures]
            work.require(ended == [[]] * len(jobs), f"{ended}")
        for trajectory, epoch in work.trained(notes)[seen:]:
            work.require(epoch > before.get(trajectory, 0), f"{trajectory}: epoch {epoch} is trained again")
        work.as_undisturbed(folder, expected)
