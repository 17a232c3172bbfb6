"""Check that a sweep's display is true: runs that ended, runs that failed in it, and the source of their rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_up_runs import write_run

from fmnist_sweep.config.schema import Execution
from fmnist_sweep.store.layout import read_record
from fmnist_sweep.sweeps import plan, progress
from fmnist_sweep.sweeps.plan import Job
from fmnist_sweep.sweeps.progress import SweepDisplay, print_plan


def job(run: Path, execution: Execution) -> Job:
    """The job that asks for a run that there is."""
    return Job(read_record(run).config, execution, run.name, run)


def started(jobs: Sequence[Job]) -> SweepDisplay:
    """The display of a sweep of these jobs that has just been planned."""
    seen = SweepDisplay(jobs, {})
    seen.start(plan.plan_jobs(jobs, 1))
    return seen


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert "2 runs, 2 of them to train: 2 models in 1 stack, 60 model-epochs, 1 worker" in said
    assert "0/2 runs" in said
    assert "left" not in said  # nobody knows yet


def test_one_of_a_thing_is_named_in_the_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(write_run(tmp_path, epochs=1), Execution(rerun=True))]
    started(jobs)
    print_plan(plan.plan_jobs(jobs, 1), None, 1)
    said = capsys.readouterr().err
    assert "1 run, 1 of them to train: 1 model in 1 stack, 1 model-epoch, 1 worker" in said
    assert "1 model-epoch to train with 1 worker\n1 stack in 1 job of 1 side by side" in said


def test_the_closing_line_tells_what_was_trained_from_what_was_cut_or_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write_run(tmp_path, seed=9, epochs=2)
    names = [write_run(tmp_path / "elsewhere", seed=seed, epochs=epochs) for seed in (0, 1) for epochs in (2, 3)]
    jobs = [job(before, Execution())]
    for run in names:
        one = job(run, Execution())
        jobs.append(Job(one.config, one.execution, one.name, tmp_path / one.name))
    with SweepDisplay(jobs, {}):
        for run in names:
            record = read_record(run)
            if record.config.training.epochs == 2:
                cut = record.model_copy(update={"cut_from": "a longer run"})
                (run / "run.json").write_bytes(cut.encode())
            run.rename(tmp_path / run.name)
    assert "5 done (1 done before, 2 cut from longer runs, 2 trained) in " in capsys.readouterr().err
