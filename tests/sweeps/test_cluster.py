"""Stacks on a real Slurm and a real Ray, of two nodes each: the same bytes, whatever becomes of the nodes."""

from __future__ import annotations

import functools
import json
import os
import pickle
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import clusters
import filelock
import pytest
import torch
from clusters import PATIENCE, Cluster, Ray, Slurm, wait_until
from small_runs import ADAM, MOMENTUM, config

from fmnist_sweep import data
from fmnist_sweep.config.compose import name_of
from fmnist_sweep.config.schema import Execution
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store import run_directory
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps import worker
from fmnist_sweep.sweeps.executors import Executor, queue
from fmnist_sweep.sweeps.executors.ray import RayExecutor
from fmnist_sweep.sweeps.executors.slurm import SlurmExecutor
from fmnist_sweep.sweeps.plan import Job

pytestmark = pytest.mark.cluster

EPOCHS = 12  # some seconds of work


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with clusters.slurm() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    with clusters.ray() as cluster:
        yield cluster


@pytest.fixture(params=["slurm", "ray"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    made: Cluster = request.getfixturevalue(request.param)
    return made


@pytest.fixture(scope="module")
def alone() -> Iterator[Callable[[Job], bytes]]:
    """The metrics.csv that runs must have: those of the same, trained in this process."""
    with tempfile.TemporaryDirectory() as folder:
        trained: dict[int, dict[str, bytes]] = {}

        def bytes_of(job: Job) -> bytes:
            if job.epochs not in trained:
                here = grid(Path(folder), job.epochs)
                threads = torch.get_num_threads()
                worker.train_stack([[one] for one in here], data.prepare(None))
                torch.set_num_threads(threads)
                trained[job.epochs] = {one.name: (one.directory / "metrics.csv").read_bytes() for one in here}
            return trained[job.epochs][job.name]

        yield bytes_of


def grid(folder: Path, epochs: int) -> list[Job]:
    """Eight runs."""
    configs = [
        config(optimizer, batch_size=1000, epochs=epochs, seed=seed)
        for optimizer in (ADAM, MOMENTUM)
        for seed in range(4)
    ]
    return [Job(one, Execution(), name_of(one, Execution()), folder / name_of(one, Execution())) for one in configs]


def begin(executor: Executor, jobs: Sequence[Job], stacks: int = 4) -> list[Future[list[int]]]:
    """Have jobs trained, as so many stacks."""
    piles = [[[job] for job in jobs[pile::stacks]] for pile in range(stacks)]
    return executor.submit([functools.partial(worker.train_stack, pile, data.prepare(None)) for pile in piles])


def rows(job: Job) -> int:
    return len(RunDirectory(job.directory).metrics())


def status(job: Job) -> str | None:
    try:
        return str(json.loads((job.directory / "run.json").read_bytes())["status"])
    except FileNotFoundError:
        return None


def timing(job: Job) -> list[str]:
    return (job.directory / "timing.csv").read_text().splitlines()


def assert_done(jobs: Sequence[Job], alone: Callable[[Job], bytes]) -> None:
    for job in jobs:
        assert status(job) == "done", job.name
        assert (job.directory / "metrics.csv").read_bytes() == alone(job), job.name


def test_a_grid_has_the_bytes_of_runs_trained_alone(
    cluster: Cluster, alone: Callable[[Job], bytes], tmp_path: Path
) -> None:
    jobs = grid(tmp_path, 2)
    with cluster.executor() as executor:
        assert executor.slots == 4
        assert [future.result(PATIENCE) for future in begin(executor, jobs)] == [[]] * 4
    assert_done(jobs, alone)


def test_what_a_killed_node_trained_is_trained_elsewhere(
    cluster: Cluster, alone: Callable[[Job], bytes], tmp_path: Path
) -> None:
    jobs = grid(tmp_path, EPOCHS)
    with cluster.executor() as executor:
        futures = begin(executor, jobs)
        wait_until(lambda: all(rows(job) for job in jobs))
        assert all(future.running() for future in futures)
        cluster.kill_a_node()
        assert "running" in map(status, jobs)
        assert [future.result(PATIENCE) for future in futures] == [[]] * 4
    cluster.mend()
    assert_done(jobs, alone)


def test_stopped_at_the_end_of_the_epoch_and_taken_up_again(
    cluster: Cluster, alone: Callable[[Job], bytes], tmp_path: Path
) -> None:
    jobs = grid(tmp_path, EPOCHS)
    with cluster.executor() as executor:
        futures = begin(executor, jobs, 8)
        wait_until(lambda: sum(rows(job) > 0 for job in jobs) >= executor.slots)
        executor.stop()
        for future in futures:
            try:
                assert future.result(PATIENCE) == []
            except CancelledError:
                continue
    stopped = {job.name: timing(job) for job in jobs if status(job) == "interrupted"}
    assert stopped
    assert {status(job) for job in jobs} - {"done"} == {None, "interrupted"}  # some may have got far ahead
    with cluster.executor() as executor:
        assert [future.result(PATIENCE) for future in begin(executor, jobs)] == [[]] * 4
    assert_done(jobs, alone)
    for job in jobs:
        before = stopped.get(job.name, [])
        assert timing(job)[: len(before)] == before  # nothing was trained again


def test_stopped_twice_it_ends_now(cluster: Cluster, tmp_path: Path) -> None:
    one = config(batch_size=1, hidden=[300, 300])  # an epoch of it takes a minute or more
    job = Job(one, Execution(), name_of(one, Execution()), tmp_path / name_of(one, Execution()))
    with cluster.executor() as executor:
        (future,) = begin(executor, [job], 1)
        wait_until(lambda: status(job) == "running")
        time.sleep(2)
        executor.stop()
        time.sleep(4)
        assert not future.done()
        executor.kill()
    lock = run_directory.lock(job.directory, job.name)

    def free() -> bool:
        try:
            with lock.acquire(timeout=0):
                return True
        except filelock.Timeout:
            return False

    wait_until(free)
    assert rows(job) == 0


class Unreadable:
    """A task that calls this function when it is read where it is to be done."""

    def __init__(self, function: Callable[[Any], Any], argument: Any):
        self._read = function, (argument,)

    def __call__(self, _: Callable[[], bool]) -> None: ...

    def __reduce__(self) -> tuple[Any, ...]:
        return self._read


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Unreadable(__import__, "no_such_module"), "No module named 'no_such_module'"),
        (Unreadable(os._exit, 1), r"job \d+ failed|worker died"),
    ],
    ids=["import", "exit"],
)
def test_a_task_that_cannot_be_read_there_is_told(cluster: Cluster, task: Unreadable, said: str) -> None:
    with cluster.executor() as executor:
        (future,) = executor.submit([task])
        assert re.search(said, str(future.exception(PATIENCE)))


# Slurm alone


def test_jobs_that_slurm_queues_again_go_on_from_their_checkpoints(
    slurm: Slurm, alone: Callable[[Job], bytes], tmp_path: Path
) -> None:
    jobs = grid(tmp_path, EPOCHS)
    with slurm.executor() as executor:
        futures = begin(executor, jobs)
        wait_until(lambda: all(rows(job) for job in jobs))
        running = sorted(slurm.jobs_in("RUNNING"))
        for name, how in zip(running, (["scontrol", "requeue"], ["scancel", "--signal=USR2"]), strict=True):
            subprocess.run([*how, name], check=True)  # by hand; as before the end of a job's time
        wait_until(lambda: sorted(slurm.jobs_in("PENDING")) == running)
        stopped = {job: timing(job) for job in jobs}
        assert {status(job) for job in jobs} - {"done"} == {"interrupted"}  # some may have got far ahead
        assert [future.result(PATIENCE) for future in futures] == [[]] * 4
    assert_done(jobs, alone)
    for job, before in stopped.items():
        assert timing(job)[: len(before)] == before  # nothing was trained again


def test_a_job_that_dies_without_a_word_is_noticed(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "submitit.py").write_text("raise ImportError('no such thing on this node')")
    with slurm.executor(setup=[f"export PYTHONPATH={tmp_path}"]) as executor:
        futures = begin(executor, grid(tmp_path, 1))
        deaths = {executor.death(future.exception(PATIENCE) or RuntimeError()) for future in futures}
    assert len(deaths) == 2
    assert all("failed: ImportError: no such thing on this node" in (death or "") for death in deaths)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"partition": "nowhere"}, "Slurm refused the job: Invalid partition name specified; its partitions are main"),
        ({"mem_gb": 900}, "Slurm refused the job: Requested node configuration is not available"),
    ],
)
def test_what_slurm_does_not_take_is_told_at_once(
    parameters: dict[str, Any], message: str, slurm: Slurm, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with slurm.executor(**parameters) as executor, pytest.raises(ConfigError, match=message):
        begin(executor, grid(tmp_path, 1))
    assert capfd.readouterr() == ("", "")


def test_a_slurm_that_does_not_answer_is_told_at_once(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lone = tmp_path / "slurm.conf"
    lone.write_text(re.sub("SlurmctldPort=.*", "SlurmctldPort=1", Path(os.environ["SLURM_CONF"]).read_text()))
    with slurm.executor() as executor:
        monkeypatch.setenv("SLURM_CONF", str(lone))
        with pytest.raises(ConfigError, match=r"Slurm refused the job: \w"):
            begin(executor, grid(tmp_path, 1))


def test_a_job_takes_one_gpu_and_one_stack_at_a_time(slurm: Slurm) -> None:
    with slurm.executor(gpus_per_node=1) as executor:
        assert executor.slots == 2
    with pytest.raises(ConfigError, match="gpus_per_node=2: a job takes one GPU"):
        slurm.executor(gpus_per_node=2)


def test_no_slurm_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no Slurm here"):
        SlurmExecutor(tmp_path, array_parallelism=1)


def test_no_other_job_is_touched(slurm: Slurm) -> None:
    submitted = slurm.ask("sbatch", "--parsable", "--begin=now+1hour", "--output=/dev/null", "--wrap=true").strip()
    with slurm.executor() as executor:
        executor.stop()
        executor.kill()
    assert slurm.jobs_in("PENDING") == [submitted]
    slurm.ask("scancel", submitted)


def test_what_others_have_queued_is_known_and_nothing_of_it_executed(slurm: Slurm, tmp_path: Path) -> None:
    touched = tmp_path / "executed"
    submitted = slurm.ask(
        "sbatch", "--parsable", "--begin=now+1hour", "--array=0-0", "--output=/dev/null", "--wrap=true"
    )
    folder = slurm.jobs / "before"
    folder.mkdir(parents=True)
    for job, names in ((f"{submitted.strip()}_0", ["store/one", "store/two"]), ("1_0", ["store/ended"])):
        queue.note(folder, job, names)
        (folder / f"{job}_submitted.pkl").write_bytes(pickle.dumps(Unreadable(os.mkdir, str(touched))))
    with slurm.executor() as executor:
        assert executor.queued() == {"store/one", "store/two"}
    slurm.ask("scancel", submitted.strip())
    assert not touched.exists()


def test_a_job_is_lost_only_as_often_as_stated(slurm: Slurm, tmp_path: Path) -> None:
    job = grid(tmp_path, EPOCHS)[0]
    with slurm.executor(additional_parameters={"no-requeue": True}, max_num_timeout=1) as executor:
        (future,) = begin(executor, [job], 1)
        for _ in range(2):
            wait_until(lambda: bool(slurm.jobs_in("RUNNING")))
            node = slurm.ask("squeue", "--noheader", "--states=RUNNING", "--format=%N").strip()
            subprocess.run(["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test"], check=True)
            wait_until(lambda: not slurm.jobs_in("RUNNING"))
            subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], check=True)
        assert "node_fail" in (executor.death(future.exception(PATIENCE) or RuntimeError()) or "")


# Ray alone


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_no_ray_at_an_address(address: str) -> None:
    with pytest.raises(ConfigError, match=f"address={address}: no Ray cluster answers"):
        RayExecutor(address)


def test_a_ray_without_what_a_stack_takes(ray: Ray) -> None:
    with pytest.raises(ConfigError, match=r"num_gpus=1: .*"):
        ray.executor(num_gpus=1)


def test_a_ray_of_this_machine_alone(alone: Callable[[Job], bytes], tmp_path: Path) -> None:
    jobs = grid(tmp_path, 2)
    with RayExecutor(num_cpus=1) as executor:
        assert [future.result(PATIENCE) for future in begin(executor, jobs, 1)] == [[]]
    assert_done(jobs, alone)
