"""Check what a sweep says at its end: which configuration is best, and what became of the runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import write_run

from fmnist_sweep.config.schema import Execution
from fmnist_sweep.console import console
from fmnist_sweep.store.layout import read_record
from fmnist_sweep.sweeps.closing import Closing
from fmnist_sweep.sweeps.plan import Job


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines, but for those that depend on the speed of the machine."""
    return [
        re.sub(r"\bin \d+ s\b", "in 0 s", line)
        for line in capsys.readouterr().err.splitlines()
        if not line.endswith(" …")
    ]


def closing_of(
    store: Path, runs: Sequence[dict[str, Any]], show: str | None = None, *, table: bool = True
) -> list[Job]:
    """Print the end of a sweep that has just written these runs, or found those that say `before`."""
    jobs, closing = [], Closing(has_table=table)
    elsewhere = [
        (write_run(store / "elsewhere", **{k: v for k, v in run.items() if k != "before"}), run) for run in runs
    ]
    for path, _ in elsewhere:
        jobs.append(Job(read_record(path).config, Execution(show=show), path.name, store / path.name))
    for path, run in elsewhere:
        if run.get("before"):
            path.rename(store / path.name)
    closing.add(jobs)
    closing.add(jobs[:1])  # in a further batch
    for path, run in elsewhere:
        if not run.get("before"):
            path.rename(store / path.name)
    closing.print()
    return jobs


def test_the_best_configuration_comes_first_and_what_failed_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sgd = {"optimizer": "sgd", "batch_size": 1000}
    wild = {"optimizer": "sgd", "optimizer_args": {"lr": 9.0}, "status": "diverged", "error": "nan", "epochs_done": 1}
    closing_of(tmp_path, [{**sgd, "seed": 0}, {**sgd, "seed": 1}, {"seed": 0}, {"seed": 1, "before": True}, wild])
    header, *rows, last = said(capsys)
    assert header.split() == ["optimizer", "optimizer.lr", "batch_size", "runs", "val_loss", "val_accuracy"]
    assert [row.split()[:5] for row in rows] == [
        ["best", "Adam", "0.01", "100", "2"],
        ["2", "SGD", "0.01", "1000", "2"],
        ["SGD", "9", "100", "1", "diverged"],
    ]
    accuracies = [float(row.split()[-3]) for row in rows[:2]]
    assert accuracies == sorted(accuracies, reverse=True) and rows[0].count("±") == 2
    assert last == "4 done in 0 s (3 trained, 1 found done); 1 diverged"


def test_a_narrow_terminal_gets_blocks_instead_of_cut_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", 40)
    closing_of(tmp_path, [{"seed": 0}, {"seed": 1}, {"optimizer": "sgd"}])
    lines = said(capsys)
    assert lines[:4] == ["best", "  optimizer: SGD", "  runs: 1", lines[3]] and lines[3].startswith("  val_loss: 0.")
    assert lines[5:7] == ["2", "  optimizer: Adam"]


def test_runs_by_name_are_for_those_who_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = {"seed": 1, "status": "failed", "error": "the disk is full", "epochs_done": 0}
    jobs = closing_of(tmp_path, [{"seed": 0}, failed], show="runs")
    header, *rows, last = said(capsys)
    assert header.split() == ["run", "status", "epochs", "val_loss", "val_accuracy", "seconds"]
    assert [row.split()[:3] for row in rows] == [[jobs[0].name, "done", "30/30"], [jobs[1].name, "failed", "0/30"]]
    assert last == "1 done in 0 s (1 trained); 1 failed"


def test_a_search_prints_its_own_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closing_of(tmp_path, [{"seed": 0}, {"seed": 1, "before": True}], table=False)
    assert said(capsys) == ["2 done in 0 s (1 trained, 1 found done)"]


@pytest.mark.parametrize(("before", "how"), [(True, "found done"), (False, "done in 0 s")])
def test_a_run_alone_gets_one_line(before: bool, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (job,) = closing_of(tmp_path, [{"before": before}])
    (line,) = said(capsys)
    assert line.startswith(f"{job.name}: {how}; validation loss 0.") and ", accuracy 0." in line
    assert line.endswith(f"; see {job.directory}")


def test_what_was_cut_and_other_cpus_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closing = Closing(has_table=False)
    runs = [write_run(tmp_path / "new", seed=s, epochs=2, environment={"cpu": f"type {s % 2}"}) for s in (0, 1, 2)]
    jobs = [Job(read_record(run).config, Execution(), run.name, tmp_path / run.name) for run in runs]
    closing.add(jobs)
    cut = read_record(runs[0]).model_copy(update={"cut_from": "a longer run"})
    (runs[0] / "run.json").write_bytes(cut.encode())
    for run in runs:
        run.rename(tmp_path / run.name)
    closing.print()
    first, last = said(capsys)
    assert first.startswith("trained on different CPUs: type 0 (2 runs), type 1 (1 run); ")
    assert last == "3 done in 0 s (2 trained, 1 cut from longer runs)"


def test_of_many_configurations_the_best_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closing_of(tmp_path, [{"batch_size": size, "epochs": 1} for size in range(100, 125)])
    lines = said(capsys)
    assert len(lines) == 1 + 20 + 2
    assert lines[-2] == f"and 5 configurations more: python -m fmnist_sweep ls {tmp_path}"
