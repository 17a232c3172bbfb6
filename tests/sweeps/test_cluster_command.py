"""The README's commands on a real Slurm and a real Ray."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest
from command import run_command
from slurm_cluster import SlurmCluster, slurm_cluster

from fmnist_sweep.sweeps import run

pytestmark = pytest.mark.cluster

GRID = ["-m", "optimizer=adam,sgd_momentum", "seed=range(0,4)", "epochs=2", "model.hidden=[16]", "batch_size=1000"]
SLURM = [
    "hydra/launcher=stacked_slurm",
    *("hydra.launcher.partition=main", "hydra.launcher.mem_gb=0.5", "hydra.launcher.timeout_min=5"),
    *("hydra.launcher.array_parallelism=2", "hydra.launcher.cpus_per_task=2"),
]
RAY = ["hydra/launcher=stacked_ray"]


@pytest.fixture(scope="module")
def slurm() -> Iterator[SlurmCluster]:
    with tempfile.TemporaryDirectory() as folder, slurm_cluster(Path(folder)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the metrics.csv of a sweep on this machine, by the name of the run."""
    folder = tmp_path_factory.mktemp("local")
    done = run_command(*GRID, cwd=folder)
    assert done.returncode == 0, done.stderr
    return metrics(folder)


def metrics(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("multirun/*/metrics.csv")}


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("launcher", [SLURM, [*SLURM, "lock=lease"], RAY], ids=["slurm", "lease", "ray"])
def test_a_sweep_has_the_names_and_bytes_of_one_on_this_machine(
    launcher: list[str], local: dict[str, bytes], tmp_path: Path
) -> None:
    done = run_command(*GRID, *launcher, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path) == local
    assert re.search(r"^best .* ± ", done.stderr, re.MULTILINE) and "8 done in " in done.stderr
    assert not list((tmp_path / "multirun" / ".locks").glob("probe*"))


def test_jobs_are_left_to_slurm_and_collected(slurm: SlurmCluster, local: dict[str, bytes], tmp_path: Path) -> None:
    left = run_command(*GRID, *SLURM, "hydra.launcher.detach=true", cwd=tmp_path)
    assert left.returncode == 0, left.stderr
    assert "8 models are queued or in training" in left.stderr
    assert len(slurm.ask("squeue", "--noheader", "--array").splitlines()) == 2  # of two stacks each
    collected = run_command(*GRID, *SLURM, cwd=tmp_path)
    assert collected.returncode == 0, collected.stderr
    assert metrics(tmp_path) == local
    assert len(list((tmp_path / "multirun" / ".slurm").glob("*/*_submitted.pkl"))) == 2  # nothing was queued twice


def begin(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fmnist_sweep", *arguments]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.usefixtures("slurm")
def test_two_sweeps_of_overlapping_grids_train_each_run_once(local: dict[str, bytes], tmp_path: Path) -> None:
    sweeps = [begin(*GRID, *SLURM, f"seed=range({first},{first + 3})", cwd=tmp_path) for first in (0, 1)]
    assert [sweep.wait(200) for sweep in sweeps] == [0, 0]
    assert metrics(tmp_path) == local


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("launcher", [SLURM, RAY], ids=["slurm", "ray"])
def test_a_sweep_that_is_interrupted_goes_on(launcher: list[str], local: dict[str, bytes], tmp_path: Path) -> None:
    longer = ["epochs=20" if word.startswith("epochs") else word for word in [*GRID, *launcher]]
    sweep = begin(*longer, cwd=tmp_path)
    end = time.monotonic() + 100
    while not any(content.count(b"\n") > 2 for content in metrics(tmp_path).values()):
        assert time.monotonic() < end and sweep.poll() is None
        time.sleep(0.1)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(100) == 130
    records = [json.loads(path.read_bytes()) for path in tmp_path.glob("multirun/*/run.json")]
    assert "interrupted" in {record["status"] for record in records} <= {"interrupted", "done"}
    assert run_command(*longer, cwd=tmp_path).returncode == 0
    trained = metrics(tmp_path)
    for name, content in local.items():
        whole = trained[name.replace("-ep2-", "-ep20-")]
        assert whole.startswith(content) and whole.count(b"\n") == 21


@pytest.mark.usefixtures("slurm")
def test_a_dry_run_says_what_it_would_cost(tmp_path: Path) -> None:
    planned = run_command(*GRID, *SLURM, "dry_run=true", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"4 stacks in 2 jobs of 2 side by side, about \S+ node-hours", planned.stdout)
    assert not metrics(tmp_path)


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ([*SLURM, "hydra.launcher.partition=nowhere"], "Invalid partition name specified; its partitions are main"),
        ([*SLURM, "hydra.launcher.gpus_per_node=2"], "a job takes one GPU"),
        ([*RAY, "hydra.launcher.address='127.0.0.1:1'"], "no Ray cluster answers"),
        ([*RAY, "hydra.launcher.num_cpus=4000"], "the Ray cluster has only"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line(launcher: list[str], said: str, tmp_path: Path) -> None:
    refused = run_command(*GRID, *launcher, cwd=tmp_path)
    assert refused.returncode == 2
    assert said in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    assert not metrics(tmp_path)


def test_a_file_that_is_locked_is_there_while_the_sweep_is(tmp_path: Path) -> None:
    with run._locked_file(tmp_path) as probe, pytest.raises(filelock.Timeout):
        filelock.FileLock(probe).acquire(timeout=0)
    assert not probe.exists()


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("launcher", [SLURM, RAY], ids=["slurm", "ray"])
def test_a_failure_stops_a_sweep_on_the_nodes(launcher: list[str], tmp_path: Path) -> None:
    grid = ["-m", "optimizer.lr=0.01,1e30", "batch_size=1000", "model.hidden=[8]", "epochs=1000", "max_failures=1"]
    stopped = run_command(*grid, *launcher, cwd=tmp_path)
    assert stopped.returncode == 1
    assert "max_failures=1: stopped, because 1 run did not end well" in stopped.stderr.splitlines()[-1]
    records = [json.loads(path.read_bytes()) for path in tmp_path.glob("multirun/*/run.json")]
    assert sorted(record["status"] for record in records) == ["diverged", "interrupted"]
    assert len(list(tmp_path.glob("multirun/*/checkpoint-*.pt"))) > 0


@pytest.mark.usefixtures("slurm")
def test_failures_of_jobs_that_are_left_to_slurm_cannot_be_counted(tmp_path: Path) -> None:
    refused = run_command(*GRID, *SLURM, "hydra.launcher.detach=true", "max_failures=1", cwd=tmp_path)
    assert refused.returncode == 2
    assert "max_failures=1: nobody counts them with hydra.launcher.detach=true" in refused.stderr
