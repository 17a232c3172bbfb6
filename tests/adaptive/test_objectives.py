"""Test the objectives of a search, and searches over this project's own runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from command import INLINE, call, run_command
from composed import compose, loader
from made_up_runs import write_run
from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
from test_search import trials_of

from fmnist_sweep import papers
from fmnist_sweep.adaptive.conclusion import conclude
from fmnist_sweep.adaptive.objectives import objective
from fmnist_sweep.adaptive.problem import Problem, build_problem
from fmnist_sweep.config import validation
from fmnist_sweep.config.hydra_private import config_loader
from fmnist_sweep.config.overrides import rewrite
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.papers.nearest import nearest_configuration, quoted
from fmnist_sweep.report.search_history import read_searches
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect
from hydra_plugins.fmnist_sweep_search import SearchSweeperConf

SEARCH = ("-m", "hydra/sweeper=search")
SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "batch_size=500,1000", "model.hidden=[16]")


def curve(**measures: list[float]) -> np.ndarray:
    """Rows of the six measures; those not given are 0.5."""
    epochs = len(next(iter(measures.values())))
    return np.column_stack([measures.get(measure, [0.5] * epochs) for measure in MEASURES])


@pytest.mark.parametrize(
    ("name", "direction", "expected"),
    [
        ("val_loss", "minimize", 0.4),
        ("best_val_loss", "minimize", 0.25),
        ("val_accuracy", "maximize", 0.65),
        ("best_val_accuracy", "maximize", 0.85),
        ("train_loss", "minimize", 0.5),
    ],
)
def test_a_measure_is_the_mean_over_seeds_of_its_last_or_best_value(
    tmp_path: Path, name: str, direction: str, expected: float
) -> None:
    shapes = [
        curve(val_loss=[0.9, 0.3, 0.5], val_accuracy=[0.5, 0.8, 0.7]),
        curve(val_loss=[0.9, 0.2, 0.3], val_accuracy=[0.5, 0.9, 0.6]),
    ]
    runs = [write_run(tmp_path, epochs=3, seed=seed, curve=shape) for seed, shape in enumerate(shapes)]
    found = objective(name, loader())
    assert found.direction == direction
    assert found.value(runs)[0] == pytest.approx(expected)
    assert found.seeds == 3
    assert dict(found.defaults) == ({"data.validation": "holdout"} if "val" in name else {})


def test_the_distance_to_a_figure_is_that_of_the_report(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, epochs=100, seed=seed) for seed in range(1)]
    paper = papers.read("caprari2024", loader())
    claims = quoted(paper)["fig5", "adam-100-epochs"]
    collection = collect(tmp_path)
    table = nearest_configuration(claims, paper, collection, Curves(collection))
    value, notes = objective("caprari2024.fig5", loader()).value(runs)
    assert value == pytest.approx(table["distance"][0])
    assert notes == {"training": "evaluation"}


def test_the_training_measure_that_fits_better_is_taken_and_named(tmp_path: Path) -> None:
    quoted_values = {"train_loss": 0.15, "train_accuracy": 0.95, "val_loss": 0.4, "val_accuracy": 0.84}
    measured = {**quoted_values, "running_loss": 0.15, "running_accuracy": 0.95, "train_loss": 0.6}
    run = write_run(tmp_path, epochs=100, curve=curve(**{key: [value] * 100 for key, value in measured.items()}))
    value, notes = objective("caprari2024.fig5.adam-100-epochs", loader()).value([run])
    assert value == pytest.approx(0, abs=1e-9)
    assert notes == {"training": "running"}


def test_a_run_too_short_for_a_figure_has_no_distance(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=3)
    assert math.isnan(objective("caprari2024.fig5", loader()).value([run])[0])


OWN = """
title: Mine
authors: [N. N.]
year: 2026
language: en
configurations: {adam: {epochs: 3}}
figures: {fig1: {title: {en: One}, rows: [adam]}, fig2: {title: {en: Two}, rows: [adam]}}
claims:
  - {id: "{id}", section: "1", figure: "{figure}", quote: q, statement: {en: So.}, kind: run, of: adam, why: {en: Why.},
     metric: "{metric}", reduce: {at_best: val_loss}, expect: {about: 0.5, tolerance: 0.01}, each: [
     {id: a, figure: fig1, metric: val_accuracy}, {id: b, figure: fig1, metric: train_accuracy - val_accuracy},
     {id: c, figure: fig2, metric: accuracy_gap}]}
"""


def test_the_distance_goes_by_what_is_quoted_of_the_best_epoch(tmp_path: Path) -> None:
    (tmp_path / "mine" / "paper").mkdir(parents=True)
    (tmp_path / "mine" / "paper" / "own.yaml").write_text(OWN)
    found = config_loader(str(tmp_path / "mine"))
    run = write_run(tmp_path, epochs=3, curve=curve(val_loss=[0.5, 0.3, 0.4], val_accuracy=[0.6, 0.8, 0.9]))
    assert objective("own.fig1", found).value([run])[0] == pytest.approx(30)  # at epoch 2, in tolerances
    with pytest.raises(ConfigError, match=r"objective=own\.fig2: must be one of own\.fig1"):  # it has differences alone
        objective("own.fig2", found)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("val_los", r"must be one of train_loss, .*did you mean val_loss\?"),
        ("best_loss", "must be one of"),
        ("test_loss", "^objective=test_loss: the test images never choose; take objective=val_loss$"),
        (
            "best_test_accuracy",
            "^objective=best_test_accuracy: the test images never choose; take objective=best_val_acc",
        ),
        ("caprari.fig5", r"paper=caprari: must be one of .*did you mean caprari2024\?"),
        ("caprari2024.fig6", "must be one of caprari2024.fig1.adam, caprari2024.fig1.sgd, caprari2024.fig2, .*did you"),
        ("caprari2024.fig1", "must be one of caprari2024.fig1.adam, "),
        ("caprari2024.fig1.adm", r"did you mean caprari2024.fig1.adam\?"),
    ],
)
def test_an_unknown_objective_is_refused_with_what_there_is(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        objective(name, loader())
    assert "\n" not in str(error.value)


# The command, in which a dry run says what would be trained


def dry(*typed: str, cwd: Path) -> Any:
    called = call(*SEARCH, "dry_run=true", "show=plan", "hydra.sweeper.n_trials=2", *typed, cwd=cwd)
    # A stack of one run has the run's name in its title too; how many there are depends on the speed of the machine.
    called_names = [line.split()[-1] for line in called.out.splitlines() if line.startswith("  train: ")]
    assert not list(cwd.iterdir())
    return called, called_names


def test_a_dry_run_shows_the_first_batch_and_leaves_nothing(tmp_path: Path) -> None:
    called, names = dry(*SPACE, cwd=tmp_path)
    assert called.code == 0
    assert len(names) == 6 and {name.split("-")[4] for name in names} == {"seed0", "seed1", "seed2"}
    assert "test set" not in called.err
    assert "first batch" not in called.out
    assert "this is the first batch, 16 of 64 trials" in dry(*SPACE, "hydra.sweeper.n_trials=64", cwd=tmp_path)[0].out


@pytest.mark.parametrize(
    ("typed", "starts"),
    [
        ([], "adam-bs100-do0."),
        (["batch_size=1000"], "adam-bs1000-do0."),
        (["optimizer=sgd"], "sgd-bs100-do0."),
    ],
)
def test_a_search_for_a_figure_varies_what_is_given_alone(tmp_path: Path, typed: list[str], starts: str) -> None:
    _, names = dry("hydra.sweeper.objective=caprari2024.fig5", "dropout=interval(0,0.6)", *typed, cwd=tmp_path)
    assert len(names) == 2
    assert all(name.startswith(starts) and "-ep100-seed0-" in name for name in names)


def test_every_key_can_be_searched(tmp_path: Path) -> None:
    space = [
        "model.activation=relu,[tanh,gelu]",
        "dropout=[0.1,0.2],0.5",
        "model.init=he_normal,glorot_uniform",
        "model.norm=null,batch",
        "model.input_dropout=interval(0,0.3)",
        "loss.label_smoothing=interval(0,0.2)",
        "optimizer.name=SGD,Adamax",
        "optimizer.schedule=cosine,{name:step,every:2,factor:0.5}",
    ]
    called, names = dry(*space, "data.validation=split", "data.split.size=5000", cwd=tmp_path)
    assert called.code == 0, called.err
    assert len(set(names)) == 6


def test_the_user_is_told_where_the_test_set_chooses(tmp_path: Path) -> None:
    called, _ = dry(*SPACE, "data.validation=test", cwd=tmp_path)
    assert called.code == 0 and "the test set chooses here" in called.err


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["dropout=interval(0,1.5)"], "dropout=1.5: "),
        (["batch_size=500,70000"], "batch_size=70000: "),
        (["optimizer=adam,adamw", "optimizer.momentum=interval(0,1)"], "momentum"),
        (["dropout=interval(0.6,0)"], "must begin below its end"),
        (["dropout=0.2"], "nothing to search"),
        (["dropout=interval(0,0.5)", "hydra.sweeper.rungs=[1,3]", "epochs=3"], "sets epochs; leave one"),
        (["dropout=interval(0,0.5)", "hydra.sweeper.objective=caprari2024.fig5", "hydra.sweeper.rungs=[1,3]"], "whole"),
        (["dropout=interval(0,0.5)", "hydra.sweeper.direction=minimize"], "val_loss has its own; leave it out"),
        (["dropout=interval(0,0.5)", "figure=fig1"], "a search takes a space"),
        (["drpout=interval(0,0.5)"], "did you mean dropout?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_work_is_refused_before_anything_is_kept(tmp_path: Path, typed: list[str], says: str) -> None:
    called = call(*SEARCH, *typed, cwd=tmp_path)
    assert called.code == 2
    assert says in called.err and called.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


# Real training


@pytest.mark.slow
def test_sixteen_real_trials_on_rungs_train_each_epoch_once_and_leave_runs_as_a_grid_does(tmp_path: Path) -> None:
    arguments = [*SEARCH, *SPACE, "dropout=interval(0,0.6)", "hydra.sweep.dir=runs"]
    arguments += ["hydra.sweeper.n_trials=16", "hydra.sweeper.rungs=[1,2]", "hydra.sweeper.seeds=1"]
    done = run_command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trials = trials_of(tmp_path / "runs" / "search.db")
    assert [t.state.name for t in trials].count("PRUNED") == [t.state.name for t in trials].count("COMPLETE") == 8
    for trial in trials:
        (name,) = trial.user_attrs["runs"]
        last = (tmp_path / "runs" / name / "metrics.csv").read_text().splitlines()[-1].split(",")
        assert float(last[1 + MEASURES.index("val_loss")]) == trial.values[0]
    for longer in (tmp_path / "runs").glob("*-ep2-*"):
        shorter = longer.with_name(longer.name.replace("-ep2-", "-ep1-"))
        for file in ("metrics.csv", "timing.csv"):  # times differ wherever an epoch is trained again
            assert (longer / file).read_bytes().startswith((shorter / file).read_bytes())
    again = run_command(*arguments, cwd=tmp_path)
    assert again.returncode == 0 and "to train" not in again.stdout + again.stderr
    best = min((trial for trial in trials if trial.state.name == "COMPLETE"), key=lambda trial: trial.values[0])
    given = [f"{key}={value}" for key, value in best.params.items()]
    alone = ["model.hidden=[16]", "epochs=2", "data.validation=holdout", "hydra.sweep.dir=grid", *given]
    assert run_command("-m", *alone, cwd=tmp_path).returncode == 0
    (name,) = best.user_attrs["runs"]
    assert (tmp_path / "grid" / name / "metrics.csv").read_bytes() == (
        tmp_path / "runs" / name / "metrics.csv"
    ).read_bytes()


def test_trials_that_diverge_fail_and_the_search_ends_well(tmp_path: Path) -> None:
    space = ["optimizer=sgd", "optimizer.lr=0.05,1e30", "model.hidden=[16]", "batch_size=1000", "epochs=1"]
    settings = ["n_trials=6", "sampler=random", "seeds=1", "objective=val_accuracy"]
    typed = [*SEARCH, INLINE, *space, *(f"hydra.sweeper.{one}" for one in settings)]
    done = call(*typed, cwd=tmp_path)
    assert done.code == 0, done.err
    trials = trials_of(tmp_path / "multirun" / "search.db")
    assert {(t.params["optimizer.lr"] > 1, t.state.name) for t in trials} == {(True, "FAIL"), (False, "COMPLETE")}
    assert "failed" in done.err + done.out


# Arguments that not every optimizer takes

CONDITIONAL = (
    *("optimizer=adam,sgd", "optimizer.momentum=interval(0,0.9)", "optimizer.betas=[0.9,0.99],[0.8,0.9]"),
    *("optimizer.lr=tag(log,interval(1e-4,1e-1))", "optimizer.dampening=0"),
)


def posed(*arguments: str) -> Problem:
    """The problem of a search with these overrides."""
    return build_problem(SearchSweeperConf(), rewrite(arguments, loader()), loader(), ours=True)


@pytest.mark.parametrize("sampler", [TPESampler, RandomSampler, NSGAIISampler])
def test_an_argument_is_searched_only_with_the_optimizers_that_take_it(sampler: Any) -> None:
    space, study = posed(*CONDITIONAL).space, optuna.create_study(sampler=sampler(seed=0))
    seen = set()
    for number in range(30):
        params = space.ask(study).params
        study.tell(number, params["optimizer.lr"])
        is_sgd = params["optimizer"] == "sgd"
        own = {"optimizer.momentum"} if is_sgd else {"optimizer.betas"}
        assert set(params) == {"optimizer", "optimizer.lr"} | own
        job = space.overrides(params)
        assert ("++optimizer.dampening=0" in job) == is_sgd == any("momentum" in line for line in job)
        (configured,) = compose(*job)
        validation.parse(configured)  # torch takes all that is left
        seen.add(params["optimizer"])
    assert seen == {"adam", "sgd"}


def test_the_corners_of_a_space_have_each_argument_with_an_optimizer_that_takes_it() -> None:
    corners = [" ".join(sorted(corner)) for corner in posed(*CONDITIONAL).space.corners()]
    assert any("momentum=0.9" in corner and "optimizer=sgd" in corner for corner in corners)
    for corner in corners:
        assert ("betas" in corner) == ("optimizer=adam" in corner)
        assert ("momentum" in corner) == ("optimizer=sgd" in corner)


def test_the_description_of_a_search_has_its_conditions_and_no_more() -> None:
    described = posed(*CONDITIONAL).described()["space"]
    assert described["optimizer.momentum"]["only"] == {"optimizer": ["sgd"]}
    assert "only" not in described["optimizer.lr"]
    ours = posed("optimizer=adam,sgd", "optimizer.momentum=0,0.9", "optimizer.schedule=constant,cosine").described()
    assert "only" not in ours["space"]["optimizer.schedule"]  # every optimizer has it
    named = posed("optimizer.name=Adam,SGD", "optimizer.momentum=0,0.9").described()["space"]
    assert named["optimizer.momentum"]["only"] == {"optimizer.name": ["SGD"]}
    for alone in (posed("optimizer=sgd", *CONDITIONAL[1:2]), posed("optimizer=sgd,sgd_momentum", *CONDITIONAL[1:2])):
        assert "only" not in alone.described()["space"]["optimizer.momentum"]  # as in searches of earlier versions


def test_an_argument_that_no_optimizer_takes_is_refused(tmp_path: Path) -> None:
    called = call(*SEARCH, "optimizer=adam,sgd", "optimizer.momentun=0,0.9", cwd=tmp_path)
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert called.err.startswith("fmnist_sweep: optimizer.momentun=0: Adam does not take it; it takes "), called.err


def test_a_conditional_search_trains_goes_on_and_is_reported(tmp_path: Path) -> None:
    small = ("epochs=1", "batch_size=1000", "model.hidden=[8]", INLINE, "seeds=1", "hydra.sweep.dir=runs", "batch=4")
    first = call(*SEARCH, *CONDITIONAL, *small, "n_trials=4", cwd=tmp_path)
    assert first.code == 0, first.err
    done = call(*SEARCH, *CONDITIONAL, *small, "n_trials=10", cwd=tmp_path)
    assert done.code == 0, done.err
    trials = trials_of(tmp_path / "runs" / "search.db")
    assert len(trials) == 10 and {trial.state.name for trial in trials} == {"COMPLETE"}
    for trial in trials:
        (run,) = trial.user_attrs["runs"]
        assert run.startswith(trial.params["optimizer"])
        recorded = json.loads((tmp_path / "runs" / run / "run.json").read_text())["config"]["optimizer"]
        assert recorded.get("momentum") == trial.params.get("optimizer.momentum")
    ((search,), complaint) = read_searches(tmp_path / "runs")
    assert complaint is None
    assert set(search.importances) == {"optimizer", "optimizer.lr", "optimizer.momentum", "optimizer.betas"}
    changed = call(*SEARCH, "optimizer=sgd,sgd_momentum", *CONDITIONAL[1:2], *small, "n_trials=12", cwd=tmp_path)
    assert changed.code == 2 and "the study search has other space" in changed.err


def test_a_front_of_trials_with_different_keys_is_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=RandomSampler(seed=0))
    space = posed(*CONDITIONAL).space
    for number in range(12):
        study.tell(space.ask(study), [number, -number])
    conclude(study.trials, study.best_trials, ["a", "b"], ["minimize", "minimize"], tmp_path)
    told = capsys.readouterr().err
    assert "optimizer.momentum" in told and "optimizer.betas" in told and "12 on the Pareto front" in told
