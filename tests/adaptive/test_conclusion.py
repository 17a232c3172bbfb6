"""Check what a search says at its end: its trials, the best first by its objective."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from made_up_runs import write_run
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from fmnist_sweep.adaptive.conclusion import conclude

RATES = {"lr": FloatDistribution(0, 1)}


def test_trials_come_best_first_with_mean_and_deviation_over_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = optuna.create_study(direction="maximize")
    for number, (state, value) in enumerate(
        [(TrialState.COMPLETE, 0.8), (TrialState.COMPLETE, 0.9), (TrialState.FAIL, None), (TrialState.PRUNED, 0.95)]
    ):
        runs = [write_run(tmp_path, batch_size=100 + number, seed=seed).name for seed in (0, 1)]
        trial = create_trial(
            state=state, value=value, params={"lr": number / 10}, distributions=RATES, user_attrs={"runs": runs}
        )
        study.add_trial(trial)
    conclude(study.trials, [study.best_trial], ["best_val_accuracy"], ["maximize"], tmp_path)
    header, *rows, last = capsys.readouterr().err.splitlines()
    assert header.split() == ["trial", "lr", "best_val_accuracy", "val_loss", "val_accuracy"]
    assert [row.split()[:3] for row in rows] == [
        ["best", "1", "0.1"],
        ["2", "0", "0"],
        ["pruned", "3", "0.3"],
        ["failed", "2", "0.2"],
    ]
    assert rows[0].count(" ± ") == 2 and rows[0].split()[3] == "0.9"
    assert last == "best best_val_accuracy 0.9: lr=0.1 (trial 1 of 2 complete, 1 failed, 1 pruned)"


def test_an_objective_that_is_a_measure_is_one_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study()
    runs = [write_run(tmp_path, seed=seed).name for seed in (0, 1)]
    study.add_trial(create_trial(value=0.4, params={"lr": 0.5}, distributions=RATES, user_attrs={"runs": runs}))
    conclude(study.trials, study.best_trials, ["val_loss"], ["minimize"], tmp_path)
    header, row, _ = capsys.readouterr().err.splitlines()
    assert header.split() == ["trial", "lr", "val_loss", "val_accuracy"]
    assert row.split()[:3] == ["best", "0", "0.5"] and row.count(" ± ") == 2


def test_the_front_comes_before_a_trial_that_is_better_in_one_objective(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    for values in [(1, 3), (2, 4), (3, 1)]:
        study.add_trial(create_trial(values=values, params={"lr": 0.5}, distributions=RATES))
    conclude(study.trials, study.best_trials, ["a", "b"], ["minimize", "minimize"], tmp_path)
    _, *rows, last = capsys.readouterr().err.splitlines()
    assert [row.split()[:2] for row in rows] == [["best", "0"], ["best", "2"], ["3", "1"]]
    assert last == "2 on the Pareto front, of 3 complete"
