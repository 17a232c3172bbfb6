"""Executors, where no cluster is needed."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from small_runs import config

from fmnist_sweep import data
from fmnist_sweep.config.compose import name_of
from fmnist_sweep.config.schema import Execution
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps import run as launching
from fmnist_sweep.sweeps import worker
from fmnist_sweep.sweeps.executors import Executor, slurm
from fmnist_sweep.sweeps.executors.local import LocalExecutor
from fmnist_sweep.sweeps.executors.ray import RayExecutor
from fmnist_sweep.sweeps.executors.slurm import SlurmExecutor
from fmnist_sweep.sweeps.plan import Job


@pytest.mark.parametrize(
    ("package", "extra", "executor"),
    [("submitit", "slurm", functools.partial(SlurmExecutor, array_parallelism=1)), ("ray", "ray", RayExecutor)],
)
def test_a_package_that_is_not_there_is_told_with_its_extra(
    package: str, extra: str, executor: type[Executor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"^[^\n]*pip install {package}, or '\.\[{extra}\]' in the clone$"):
        executor(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_worker_that_is_asked_to_end_does_so_after_its_epoch(number: signal.Signals, tmp_path: Path) -> None:
    one = config(batch_size=1000, epochs=100)
    run = RunDirectory(tmp_path / name_of(one, Execution()))
    job = Job(one, Execution(), run.path.name, run.path)
    with LocalExecutor(1) as executor:
        (future,) = executor.submit([functools.partial(worker.train_stack, [[job]], data.prepare(None))])
        end = time.monotonic() + 60
        while len(run.metrics()) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        (process,) = multiprocessing.active_children()
        assert process.pid is not None
        os.kill(process.pid, number)
        assert future.result(60) == []
    assert run.status() == "interrupted"
    assert run.inspect().checkpoints == (len(run.metrics()),)
    assert not multiprocessing.active_children()


def test_what_is_submitted_before_or_after_a_stop_is_not_trained(tmp_path: Path) -> None:
    one = config(batch_size=1000, epochs=1000)
    run = RunDirectory(tmp_path / name_of(one, Execution()))
    task = functools.partial(worker.train_stack, [[Job(one, Execution(), run.path.name, run.path)]], data.prepare(None))
    with LocalExecutor(1) as executor:
        (before,) = executor.submit([task])  # whose worker has no handlers yet
        executor.stop()
        (after,) = executor.submit([task])
        assert after.result(120) == []
        assert before.cancelled()
    assert run.status() in (None, "interrupted")


def test_a_worker_that_starts_leaves_ctrl_c_to_its_parent(capfd: pytest.CaptureFixture[str]) -> None:
    with LocalExecutor(1) as executor:
        (process,) = multiprocessing.active_children()
        assert process.pid is not None
        (future,) = executor.submit([bool])
        while not future.done():
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.01)
        assert future.result() is True
    assert capfd.readouterr().err == ""


def test_a_process_of_the_caller_s_is_left_alone() -> None:
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=[300])
    other.start()
    try:
        with LocalExecutor(1) as executor:
            executor.kill()
        assert multiprocessing.active_children() == [other]
    finally:
        other.kill()
        other.join()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"executor": "slrum"},
            "hydra.launcher.executor=slrum: there is no such executor; take hydra/launcher=stacked ",
        ),
        ({"executor": "slurm"}, "hydra.launcher.executor=slurm: .*; take hydra/launcher=stacked_slurm"),
        ({"executor": "ray", "partition": "main"}, "hydra.launcher.executor=ray: .*; take hydra/launcher=stacked_ray"),
    ],
)
def test_an_executor_that_cannot_be_is_told(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{said}"), launching.Sweep(1, settings) as sweep:
        sweep._start(Job(config(), Execution(), "name", tmp_path / "name"))


def test_only_what_submitit_prints_is_swallowed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with contextlib.redirect_stderr(slurm._OtherThreads()):
        print("submitit's", file=sys.stderr)
        thread = threading.Thread(target=lambda: print("another's", file=sys.stderr))
        thread.start()
        thread.join()
    assert capsys.readouterr().err == "another's\n"


class _Elsewhere(Executor):
    """A cluster on which the sweep's own lock can be taken too."""

    slots = tasks_of_job = 1

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, tasks, names=()):
        for task in tasks:
            task(lambda: True)  # which trains nothing, but tries the lock
        return [Future() for _ in tasks]


@pytest.mark.parametrize("lock", ["flock", "lease"])
def test_locks_that_do_not_hold_between_machines_are_told(lock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launching, "_locked_file", lambda store: contextlib.nullcontext(store / "sweep.lock"))
    (tmp_path / "sweep.lock").touch()
    one, how = config(), Execution(lock=lock)
    job = Job(one, how, name_of(one, how), tmp_path / name_of(one, how))
    with launching.Sweep(1, {"executor": "ray"}) as sweep:
        sweep._executor = _Elsewhere()
        if lock == "lease":
            monkeypatch.setattr(sweep, "_wait", lambda _: [])
            assert sweep.train([job])
        else:
            with pytest.raises(ConfigError, match="locks do not hold between the machines; add lock=lease"):
                sweep.train([job])


def test_a_cluster_s_device_is_what_a_job_asks_for() -> None:
    for settings, device in (({}, "cpu"), ({"gpus_per_node": 1}, "cuda"), ({"num_gpus": 0.5}, "cuda")):
        composed = OmegaConf.create({"device": "auto"})
        launching.Sweep(1, {"executor": "slurm", **settings}).place(composed)
        assert composed.device == device
    composed = OmegaConf.create({"device": "auto"})
    launching.Sweep(1, {"executor": "local"}).place(composed)
    assert composed.device == "auto"
