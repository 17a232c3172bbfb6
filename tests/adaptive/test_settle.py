"""Until settled: seeds go where claims are open, and nowhere else; whatever happens on the way, the same verdicts."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import INLINE, call, run_command
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from made_up_runs import write_run
from running import started, wait_until

from fmnist_sweep import papers
from fmnist_sweep.config.compose import Composer
from fmnist_sweep.config.validation import parse
from fmnist_sweep.papers.verdicts import judge
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect

CLAIM = """
  - id: {of}-better
    section: Results
    quote: It is better.
    statement: {{en: It is better.}}
    kind: comparison
    of: {of}
    than: {than}
    metric: val_accuracy
    reduce: last
    expect: {expect}
    why: {{en: A direction.}}
"""
QUOTED = """
  - id: quoted
    section: Results
    quote: It ends at 0.5.
    statement: {en: It ends at 0.5.}
    kind: run
    of: base
    metric: val_accuracy
    reduce: last
    expect: {about: 0.5, tolerance: 0.005}
    why: {en: Half a unit.}
"""
PAPER = """
title: Made up
authors: [N. N.]
year: 2026
language: en
protocol: {{batch_size: 1000, epochs: 2, model.hidden: [16]}}
configurations: {configurations}
claims: {claims}
"""


def write_paper(folder: Path, configurations: str, claims: str) -> None:
    (folder / "own" / "paper").mkdir(parents=True)
    (folder / "own" / "paper" / "mine.yaml").write_text(PAPER.format(configurations=configurations, claims=claims))


SETTLE = ("-m", "--config-dir", "own", "paper=mine", "until=settled")


# Where seeds go, on runs with made-up numbers


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[tuple[float, int]]]:
    """Dropout and seed of what was asked for, batch by batch. Each run gets the accuracy that its dropout has here.

    Differences from dropout 0 alternate about the effect by 0.004, so that over an even number of seeds their mean is
    the effect.
    """
    effects = {0.0: 0.0, 0.1: 0.1, 0.2: 0.0037, 0.3: 0.0, 0.4: 0.0}
    batches: list[list[tuple[float, int]]] = []

    def launch(self: Any, jobs: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
        compose = Composer(self.hydra_context.config_loader, self.config).compose
        batches.append([])
        for job in jobs:
            config = parse(compose(job))[0]
            dropout, seed = config.model.dropout, config.seed
            batches[-1].append((dropout, seed))
            accuracy = 0.5 + effects[dropout] + (0.004 if dropout else 0.0001) * (-1) ** seed
            tested = config.data.validation == "split"
            write_run(
                tmp_path / "multirun",
                batch_size=1000,
                epochs=2,
                hidden=[16],
                dropout=dropout,
                seed=seed,
                validation=config.data.validation,
                curve=np.full((2, 8 if tested else 6), accuracy),
            )
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED) for job in jobs]

    launcher = Plugins.instance().class_name_to_class["hydra_plugins.fmnist_sweep_stacked.StackedLauncher"]
    monkeypatch.setattr(launcher, "launch", launch)
    configurations = (
        "{base: {dropout: 0}, strong: {dropout: 0.1}, weak: {dropout: 0.2}, same: {dropout: 0.3}, none: {dropout: 0.4}}"
    )
    claims = [CLAIM.format(of=of, than="base", expect="{above: 0}") for of in ("strong", "weak", "none")]
    claims.append(CLAIM.format(of="same", than="base", expect="{above: 0, margin: 0.01}"))
    write_paper(tmp_path, configurations, "".join([*claims, QUOTED]))
    return batches


def seeds(batches: list[list[tuple[float, int]]]) -> dict[float, int]:
    """How many seeds each dropout has got, none of them twice."""
    asked = [job for batch in batches for job in batch]
    assert len(asked) == len(set(asked))
    counted = Counter(dropout for dropout, _ in asked)
    assert set(asked) == {(dropout, seed) for dropout, count in counted.items() for seed in range(count)}
    return dict(counted)


def test_seeds_go_to_the_configurations_of_open_claims_alone(
    trained: list[list[tuple[float, int]]], tmp_path: Path
) -> None:
    done = call(*SETTLE, cwd=tmp_path)
    assert done.code == 0, done.err
    # Effect over deviation, and t quantiles for 4 claims: 5 seeds do for strong; 10 for same, within its margin; 20 for
    # weak; and none, which has neither effect nor margin, takes what there may be.
    assert seeds(trained) == {0.0: 40, 0.1: 5, 0.2: 20, 0.3: 10, 0.4: 40}
    assert [len(batch) for batch in trained] == [25, 20, 30, 40]
    assert "mine: 4 of 5 claims settled, 1 open" in done.err
    assert "none-better\n  seeds: 40\n" in done.err


def test_claims_on_the_test_images_ask_for_no_seeds(trained: list[list[tuple[float, int]]], tmp_path: Path) -> None:
    claim = CLAIM.format(of="none", than="base", expect="{above: 0}").replace("val_", "test_")
    configurations = "{base: {data.validation: split, dropout: 0}, none: {data.validation: split, dropout: 0.4}}"
    (tmp_path / "own" / "paper" / "mine.yaml").write_text(PAPER.format(configurations=configurations, claims=claim))
    done = call(*SETTLE, cwd=tmp_path)
    assert done.code == 0, done.err
    assert seeds(trained) == {0.0: 5, 0.4: 5}
    assert "mine: 0 of 1 claims settled, 1 open" in done.err


def test_seeds_go_to_a_number_whose_interval_they_can_sharpen(
    trained: list[list[tuple[float, int]]], tmp_path: Path
) -> None:
    # Half an interval is 0.0133, 0.0100, 0.0088 with 5, 10 and 20 seeds that alternate by 0.004; never below 0.0078.
    configurations = "{sharp: {dropout: 0.1}, finer: {dropout: 0.2}, blunt: {dropout: 0.3}, far: {dropout: 0.4}}"
    rows = (("sharp", 0.6, 0.02), ("finer", 0.504, 0.0151), ("blunt", 0.5, 0.008), ("far", 0.9, 0.008))
    stated = QUOTED + "    resolution: {value: VALUE, why: {en: So.}}\n"
    claims = []
    for of, about, value in rows:
        claim = stated.replace("quoted", of).replace("of: base", f"of: {of}").replace("about: 0.5", f"about: {about}")
        claims.append(claim.replace("VALUE", str(value)))
    (tmp_path / "own" / "paper" / "numbers.yaml").write_text(
        PAPER.format(configurations=configurations, claims="".join(claims))
    )
    done = call("-m", "--config-dir", "own", "paper=numbers", "until=settled", cwd=tmp_path)
    assert done.code == 0, done.err
    assert seeds(trained) == {0.1: 5, 0.2: 10, 0.3: 5, 0.4: 5}
    assert "numbers: 3 of 4 claims settled, 1 open" in done.err
    assert re.search(r"blunt\n  seeds: \d+\n(  would.*\n)?  why: .*One more run", done.err)


def test_it_stops_at_the_most_seeds_and_goes_on_from_there(
    trained: list[list[tuple[float, int]]], tmp_path: Path
) -> None:
    for most, expected in ((3, {0.0: 3, 0.1: 3, 0.2: 3, 0.3: 3, 0.4: 3}), (19, 10), (40, 40)):
        assert call(*SETTLE, f"max_seeds={most}", "tracker=[]", cwd=tmp_path).code == 0
        assert seeds(trained) == expected if isinstance(expected, dict) else seeds(trained)[0.4] == expected
    before = len(trained)
    assert call(*SETTLE, cwd=tmp_path).code == 0
    assert len(trained) == before  # there is nothing left to do


def test_a_look_that_was_interrupted_is_made_whole_before_the_next(
    trained: list[list[tuple[float, int]]], tmp_path: Path
) -> None:
    assert call(*SETTLE, "max_seeds=10", cwd=tmp_path).code == 0
    for path in (tmp_path / "multirun").glob("*-do0.2-*-seed[6-9]-*"):
        shutil.rmtree(path)
    trained.clear()
    assert call(*SETTLE, cwd=tmp_path).code == 0
    assert [{seed for _, seed in batch} for batch in trained] == [{6, 7, 8, 9}, {*range(10, 20)}, {*range(20, 40)}]
    assert {dropout for dropout, _ in trained[0]} == {0.2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["until=settled"],
            "until=settled: needs a paper; add paper=NAME, one of bordone2025, caprari2024, chaudhary2021, mine, oren",
        ),
        (["paper=mine", "until=finished"], "until=finished: must be settled"),
        (["paper=silent", "until=settled"], "until=settled: silent makes no claims"),
        ([*SETTLE[3:], "max_seeds=0"], "max_seeds=0: must be at least 1"),
        ([*SETTLE[3:], "max_seeds=many"], "must be a whole number"),
        ([*SETTLE[3:], "budget=0min"], "budget=0min: must be a time above zero, such as 90s, 30min or 2h"),
        ([*SETTLE[3:], "budget=soon"], "budget=soon: must be a time above zero"),
        ([*SETTLE[3:], "budget=30"], "budget=30: must be a time above zero"),
        ([*SETTLE[3:], "max_seeds=5,10"], "max_seeds=5,10: is a setting of the sweeper"),
        ([*SETTLE[3:], "batch_size=100"], "batch_size='100': the paper says what is trained"),
        ([*SETTLE[3:], "seed=1,2"], "seed=1,2: the paper says what is trained"),
        ([*SETTLE[3:], "optimizer.lr=1"], "optimizer.lr=1: the paper says what is trained"),
        ([*SETTLE[3:], "figure=grid"], "figure=: until=settled trains what the paper's claims need"),
        (["paper=mine", "budget=30min"], "budget=30min: there is no budget"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    arguments: list[str], message: str, trained: list[list[tuple[float, int]]], tmp_path: Path
) -> None:
    silent = PAPER.format(configurations="{base: {dropout: 0}}", claims="[]")
    (tmp_path / "own" / "paper" / "silent.yaml").write_text(silent)
    called = call("-m", "--config-dir", "own", *arguments, cwd=tmp_path)
    assert called.code == 2
    assert message in called.err
    assert called.err.count("\n") == 1
    assert not trained
    assert not (tmp_path / "multirun").exists()


# Real runs


CONFIGURATIONS = "{base: {optimizer: sgd}, adam: {optimizer: adam}, dropped: {optimizer: adam, dropout: 0.21}}"
REAL = CLAIM.format(of="adam", than="base", expect="{above: 0}") + CLAIM.format(
    of="dropped", than="adam", expect="{above: 0}"
)


def results(store: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(store.glob("*/metrics.csv"))}


def verdicts(folder: Path) -> list[tuple[str, str, int | None, float | None]]:
    paper = papers.read(str(folder / "own" / "paper" / "mine.yaml"))
    judged = judge(paper, Curves(collect(folder / "multirun", paper.covers)))
    return [(v.claim.id, v.verdict, v.look, v.p_value) for v in judged]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a paper of two claims, one of which ten seeds leave open."""
    folder = tmp_path_factory.mktemp("settled")
    write_paper(folder, CONFIGURATIONS, REAL)
    done = call(*SETTLE, INLINE, "max_seeds=10", cwd=folder)
    assert done.code == 0, done.err
    assert "mine: 1 of 2 claims settled, 1 open; 50 epochs in the store" in done.err
    return folder


@pytest.mark.slow
def test_two_claims_are_settled_by_real_runs(settled: Path) -> None:
    names = Counter(re.sub(r"-seed\d+.*", "", name) for name in results(settled / "multirun"))
    assert names == {
        "sgd-bs1000-do0.2-ep2": 5,
        "adam-bs1000-do0.2-ep2": 10,
        "adam-bs1000-do0.21-ep2": 10,
    }
    assert [verdict for _, verdict, *_ in verdicts(settled)] == ["reproduced", "open"]


def test_runs_have_the_bytes_of_a_grid(settled: Path, tmp_path: Path) -> None:
    grid = ("optimizer=adam", "batch_size=1000", "epochs=2", "model.hidden=[16]", "seed=3,7", "dropout=0.21,0.2")
    assert call("-m", INLINE, *grid, cwd=tmp_path).code == 0
    made = results(tmp_path / "multirun")
    assert len(made) == 4
    assert made.items() <= results(settled / "multirun").items()


@pytest.mark.slow
def test_interrupted_at_random_and_continued_it_gives_the_same_verdicts(settled: Path, tmp_path: Path) -> None:
    write_paper(tmp_path, CONFIGURATIONS, REAL)
    chance = random.Random(3)
    for stop in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        had = _rows(tmp_path)
        goal = had + chance.randint(1, 12)
        with started(tmp_path, *SETTLE, "max_seeds=10", "workers=1") as command:
            wait_until(lambda goal=goal: _rows(tmp_path) >= goal or command.process.poll() is not None)  # type: ignore[misc]
            command.process.send_signal(stop)
            command.wait()
    done = call(*SETTLE, INLINE, "max_seeds=10", cwd=tmp_path)
    assert done.code == 0, done.err
    assert results(tmp_path / "multirun") == results(settled / "multirun")
    assert verdicts(tmp_path) == verdicts(settled)


def _rows(folder: Path) -> int:
    return sum(max(0, content.count(b"\n") - 1) for content in results(folder / "multirun").values())


@pytest.mark.slow
def test_a_budget_ends_what_trains_with_a_checkpoint(tmp_path: Path) -> None:
    write_paper(tmp_path, CONFIGURATIONS, REAL)
    paper = tmp_path / "own" / "paper" / "mine.yaml"
    paper.write_text(paper.read_text().replace("epochs: 2,", "epochs: 2000,"))
    done = run_command(*SETTLE, "budget=15s", "workers=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the budget of 15s is spent; the same command goes on from here" in done.stderr
    statuses = [json.loads(path.read_text())["status"] for path in (tmp_path / "multirun").glob("*/run.json")]
    assert "interrupted" in statuses


@pytest.mark.parametrize("spelled", [str, "hydra.sweeper.{}".format], ids=["short", "whole"])
def test_a_dry_run_plans_the_first_look_and_leaves_nothing(spelled: Callable[[str], str], tmp_path: Path) -> None:
    write_paper(tmp_path, CONFIGURATIONS, REAL)
    planned = call(*SETTLE, spelled("max_seeds=10"), "dry_run=true", cwd=tmp_path)
    assert planned.code == 0, planned.err
    assert "30 epochs to train" in planned.out
    assert not (tmp_path / "multirun").exists()
