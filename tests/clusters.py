"""Clusters on this machine for tests: a real Slurm and a real Ray, of two nodes with cores for two stacks each."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from slurm_cluster import SlurmCluster, slurm_cluster

from fmnist_sweep.sweeps.executors import Executor
from fmnist_sweep.sweeps.executors.ray import RayExecutor
from fmnist_sweep.sweeps.executors.slurm import SlurmExecutor

PATIENCE = 120.0  # seconds until something is given up that takes a few


class Cluster(Protocol):
    """Two nodes, each with cores for two stacks."""

    def executor(self) -> Executor:
        """Return the executor that trains on them."""

    def kill_a_node(self) -> None:
        """End a node and what it trains."""

    def mend(self) -> None:
        """Have two nodes again."""


class Slurm:
    """A Slurm whose jobs lie in a folder."""

    def __init__(self, cluster: SlurmCluster, jobs: Path):
        self.ask = cluster.ask
        self.jobs = jobs
        self._cluster = cluster

    def executor(self, **parameters: Any) -> SlurmExecutor:
        settings = {"array_parallelism": 2, "cpus_per_task": 2, "timeout_min": 5, "partition": "main", "mem_gb": 0.5}
        return SlurmExecutor(self.jobs, **settings | parameters)

    def kill_a_node(self) -> None:
        self._cluster.kill_node("node1")

    def mend(self) -> None:
        self._cluster.start_node("node1")
        wait_until(lambda: self.ask("sinfo", "--noheader", "--format=%T").split() == ["idle"])

    def jobs_in(self, state: str) -> list[str]:
        """Ids of the jobs in a state."""
        return self.ask("squeue", "--noheader", "--array", f"--states={state}", "--format=%i").split()


class Ray:
    """A Ray of the head and another node."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
        self._node = self._cluster.add_node(num_cpus=2)

    def executor(self, **settings: float) -> RayExecutor:
        return RayExecutor(self._cluster.address, **settings)

    def kill_a_node(self) -> None:
        self._cluster.remove_node(self._node, allow_graceful=False)

    def mend(self) -> None:
        self._node = self._cluster.add_node(num_cpus=2)

    def end(self) -> None:
        """End all of it."""
        self._cluster.shutdown()


@contextmanager
def slurm() -> Iterator[Slurm]:
    """A Slurm that is up, and asked every second."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,  # short: sockets lie in it
        patch("fmnist_sweep.sweeps.executors.slurm.POLL_SECONDS", 1.0),
        slurm_cluster(Path(folder)) as cluster,
    ):
        yield Slurm(cluster, Path(folder) / "jobs")


@contextmanager
def ray() -> Iterator[Ray]:
    """A Ray that is up."""
    # Nodes and those who use them must agree in this, whatever the user's home says.
    with patch.dict(os.environ, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0123456789abcdef"):
        cluster = Ray()
        try:
            yield cluster
        finally:
            cluster.end()


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for something, or fail once `PATIENCE` is at its end."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
