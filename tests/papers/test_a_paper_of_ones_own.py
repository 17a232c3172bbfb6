"""From one file that nobody has seen before to verdicts, with the two commands of the README."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command import INLINE, Called, call, captured

from fmnist_sweep.report.__main__ import main as report_main

PAPER = """
title: On momentum
authors: [N. N.]
year: 2026
language: en
protocol: {optimizer.lr: 0.01, model.hidden: [16], batch_size: 1000, dropout: 0, epochs: 2, data.mean: 0, data.std: 1}
configurations:
  none: {optimizer: sgd, optimizer.momentum: 0}
  half: {optimizer: sgd, optimizer.momentum: 0.5}
  much: {optimizer: sgd, optimizer.momentum: 0.9}
figures:
  speed:
    title: {en: Momentum speeds training up}
    rows: [none, much]
reasons:
  direction: {en: Only a direction is claimed.}
claims:
  - id: much-beats-none
    section: Results
    figure: speed
    quote: With momentum the loss falls faster.
    statement: {en: The validation loss is lower with momentum 0.9 than without.}
    kind: comparison
    of: much
    than: none
    metric: val_loss
    reduce: last
    expect: {below: 0}
    why: direction
  - id: half-beats-much
    section: Results
    quote: A momentum of one half is best.
    statement: {en: The validation loss is lower with momentum 0.5 than with 0.9.}
    kind: comparison
    of: half
    than: much
    metric: val_loss
    reduce: last
    expect: {below: 0}
    why: direction
  - id: none-learns
    section: Results
    quote: Even without it the model learns.
    statement: {en: Without momentum the validation accuracy ends above one tenth.}
    kind: run
    of: none
    metric: val_accuracy
    reduce: last
    expect: {above: 0.1}
    why: direction
"""


def report(*arguments: str, cwd: Path) -> Called:
    """Call `python -m fmnist_sweep.report` in this process."""
    return captured(lambda: report_main([*arguments]), cwd)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the paper's file and the runs that its figure and claims need, and one of another protocol."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine" / "paper").mkdir(parents=True)
    (folder / "mine" / "paper" / "momentum.yaml").write_text(PAPER)
    done = call("-m", INLINE, "--config-dir", "mine", "paper=momentum", "seed=0,1,2", cwd=folder)
    assert done.code == 0, done.err
    other = ["optimizer=sgd", "batch_size=1000", "dropout=0", "epochs=1", "model.hidden=[8]"]
    assert call(*other, cwd=folder).code == 0
    return folder


def test_it_trains_what_figures_and_claims_name(trained: Path) -> None:
    names = sorted(path.name for path in (trained / "multirun").glob("sgd-*"))
    assert len(names) == 10
    assert sum(name.startswith("sgd-bs1000-do0-ep2-seed") for name in names) == 9


@pytest.mark.parametrize("given", ["mine/paper/momentum.yaml", "momentum.yaml", "momentum"])
def test_it_is_judged_by_its_own_runs(trained: Path, given: str) -> None:
    (trained / "momentum.yaml").write_text(PAPER)
    folder = ["--config-dir", "mine"] if given == "momentum" else []
    done = report("multirun", "--paper", given, *folder, "--output", "out", cwd=trained)
    assert done.code == 0, done.err
    verdicts = {row["id"]: row["verdict"] for row in json.loads((trained / "out" / "claims.json").read_text())}
    assert verdicts == {
        "much-beats-none": "reproduced",
        "half-beats-much": "not reproduced",
        "none-learns": "open",
    }
    assert "no verdict yet: 1 of 3 claims are numbers that one run gave and take 5 seeds" in done.out
    rows = list(csv.DictReader((trained / "out" / "summary.csv").read_text().splitlines()))
    assert [(row["n"], row["model.hidden"]) for row in rows] == [("3", "16")] * 3  # none of another protocol
    assert {row["configuration"] for row in rows} == {"none", "half", "much"}
    assert {"speed.png", "speed.pdf"} <= {path.name for path in (trained / "out").iterdir()}
    page = (trained / "out" / "index.html").read_text()
    assert "On momentum" in page and "N. N." in page and "Caprari" not in page


def test_another_language_is_refused_before_anything_is_written(trained: Path) -> None:
    done = report("multirun", "--paper", "mine/paper/momentum.yaml", "--lang", "es", "--output", "spanish", cwd=trained)
    assert done.code == 2 and len(done.err.splitlines()) == 1
    assert "speed" in done.err and "es" in done.err
    assert not (trained / "spanish").exists()


def test_a_paper_that_is_not_there_is_refused_with_the_nearest(trained: Path) -> None:
    for done in (
        call("-m", "--config-dir", "mine", "paper=momentun", "hydra.sweep.dir=elsewhere", cwd=trained),
        report("multirun", "--paper", "caprari2042", "--output", "elsewhere", cwd=trained),
    ):
        assert done.code == 2 and len(done.err.splitlines()) == 1, done.err
        assert "did you mean" in done.err
    assert not (trained / "elsewhere").exists()
