"""Check that a sweep's display is true: runs that ended, runs that failed in it, and the source of their rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_up_runs import write_run

from fmnist_sweep.config.schema import Execution
from fmnist_sweep.store.layout import read_record
from fmnist_sweep.sweeps import progress
from fmnist_sweep.sweeps.plan import Job, plan_jobs
from fmnist_sweep.sweeps.progress import SweepDisplay, plan_cost, plan_sentence


def job(run: Path, execution: Execution) -> Job:
    """The job that asks for a run that there is."""
    return Job(read_record(run).config, execution, run.name, run)


def moved(one: Job, store: Path) -> Job:
    """The same job with its directory in another store."""
    return Job(one.config, one.execution, one.name, store / one.name)


def started(jobs: Sequence[Job]) -> SweepDisplay:
    """The display of a sweep of these jobs that has just been planned."""
    seen = SweepDisplay(jobs, {})
    seen.start(plan_jobs(jobs, 1))
    return seen


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_SECONDS", -1.0)
    monkeypatch.setattr(progress, "CALM_SECONDS", -1.0)


def test_an_old_failure_is_no_news_and_the_same_again_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = {"status": "failed", "error": "the disk is full", "epochs_done": 0}
    jobs = [job(write_run(tmp_path, seed=0, **failed), Execution()), job(write_run(tmp_path, seed=1), Execution())]
    seen = started(jobs)
    assert not seen.has_ended(jobs[0])
    assert "the disk is full" not in capsys.readouterr().err
    shutil.rmtree(jobs[0].directory)
    write_run(tmp_path, seed=0, **failed)
    seen.update([])
    assert seen.has_ended(jobs[0])
    seen.count(jobs)
    seen.update([])
    said = capsys.readouterr().err
    assert said.count(f"{jobs[0].name} failed: the disk is full") == 1
    assert "1/2 runs" in said and "2/2 runs" in said
    assert "nan" not in said


def test_a_run_that_has_diverged_before_is_said_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = job(write_run(tmp_path, status="diverged", error="not finite", epochs_done=3), Execution())
    started([one])
    assert f"{one.name} diverged in an earlier sweep: not finite" in capsys.readouterr().err


def test_with_rerun_nothing_has_ended_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(write_run(tmp_path, seed=seed), Execution(rerun=True)) for seed in (0, 1)]
    started(jobs).update([])
    said = capsys.readouterr().err
    assert said.startswith("2 runs = 1 configuration x 2 seeds; 0 done; 60 epochs to train\n")
    assert "0/2 runs" in said
    assert "left" not in said  # nobody knows yet


def sentence(jobs: Sequence[Job], seconds: float | None = None) -> str:
    plan = plan_jobs(jobs, 1)
    return plan_sentence(jobs, plan, None if seconds is None else [seconds] * len(plan.stacks))


def test_a_plan_counts_configurations_and_their_seeds(tmp_path: Path) -> None:
    wanted = [write_run(tmp_path / "elsewhere", seed=s, dropout=d, epochs=2) for d in (0.1, 0.2) for s in (0, 1, 2)]
    jobs = [moved(job(run, Execution()), tmp_path) for run in wanted]
    assert sentence(jobs, 1000) == "6 runs = 2 configurations x 3 seeds; 0 done; 12 epochs to train; about 17 min"
    write_run(tmp_path, seed=1, dropout=0.1, epochs=2)
    assert sentence([*jobs, *jobs]) == "6 runs = 2 configurations x 3 seeds; 1 done; 10 epochs to train"
    # One seed less of one of them, and as many seeds that are not the same ones.
    assert sentence(jobs[1:]) == "5 runs of 2 configurations with 2 to 3 seeds each; 1 done; 8 epochs to train"
    assert sentence([*jobs[:2], *jobs[4:]]).startswith("4 runs of 2 configurations with 2 seeds each; 1 done; ")
    assert sentence(jobs[:1], 7) == f"1 run, {jobs[0].name}; 2 epochs to train; about 7 s"
    assert sentence(jobs[1:2]) == f"1 run, {jobs[1].name}; done"


def test_a_plan_says_what_is_cut_and_what_retry_leaves(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0, epochs=30)
    shorter = moved(job(write_run(tmp_path / "elsewhere", seed=0, epochs=10), Execution()), tmp_path)
    other = moved(job(write_run(tmp_path / "elsewhere", seed=1, epochs=10), Execution()), tmp_path)
    assert sentence([shorter, other]).endswith("; 0 done; 1 to cut from longer runs; 10 epochs to train")
    left = [Job(one.config, Execution(retry="failed"), one.name, one.directory) for one in (shorter, other)]
    assert sentence(left) == "2 runs = 1 configuration x 2 seeds; 2 not failed, so left as they are"


def test_details_are_for_those_who_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path, epochs=1)]
    started([job(run, Execution(rerun=True)) for run in runs])
    assert "stack 1" not in capsys.readouterr().err
    jobs = [job(run, Execution(rerun=True, show="plan")) for run in runs]
    started(jobs)
    assert f"stack 1: batch size 100: 1 adam\n  train: {jobs[0].name}\n" in capsys.readouterr().err
    assert plan_cost(plan_jobs(jobs, 1), [3600.0], 1) == "1 stack in 1 job of 1 side by side, about 1 node-hours"
