"""Trackers are chosen like other groups, change no run, and are refused in one line where they cannot be had."""

from __future__ import annotations

import sys

import pytest
from command import call
from composed import compose, name
from made_up_runs import write_run

from fmnist_sweep.config import trackers
from fmnist_sweep.config.schema import MlflowConfig, TensorBoardConfig, TrackerConfig, WandbConfig, agree, decides
from fmnist_sweep.config.validation import parse
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.track.__main__ import main
from fmnist_sweep.track.runs import directories, read


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the extras."""
    trackers.check.cache_clear()
    for package in ("tensorboard", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)


def settings_of(*typed: str) -> TrackerConfig:
    (composed,) = compose(*typed)
    return parse(composed)[1].tracker


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], TrackerConfig()),
        (["tracker=null"], TrackerConfig()),
        (["tracker=[]"], TrackerConfig()),
        (["tracker=tensorboard"], TrackerConfig(TensorBoardConfig())),
        (["tracker=mlflow", "tracker.mlflow.uri=http://there:5"], TrackerConfig(None, MlflowConfig("http://there:5"))),
        (["tracker=[tensorboard,mlflow]"], TrackerConfig(TensorBoardConfig(), MlflowConfig())),
        # Not a sweep over trackers: `compose` gives one job.
        (["tracker=mlflow,tensorboard"], TrackerConfig(TensorBoardConfig(), MlflowConfig())),
        (["tracker=wandb", "tracker.wandb.project=x"], TrackerConfig(wandb=WandbConfig("x"))),
        (["tracker=tensorboard", "tracker.tensorboard.folder=/x"], TrackerConfig(TensorBoardConfig("/x"))),
    ],
)
def test_trackers_are_chosen_by_name_one_or_several(typed: list[str], expected: TrackerConfig) -> None:
    assert settings_of(*typed) == expected


def test_a_tracker_changes_no_name() -> None:
    assert name("tracker=[tensorboard,mlflow]", "tracker.mlflow.experiment=mine") == name()
    # A search goes on with another tracker.
    assert not any(map(decides, ("tracker", "tracker.mlflow.uri", "data.dir", "workers")))
    assert all(map(decides, ("optimizer.lr", "data.mean", "seed")))


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["tracker=comet"], "tracker=comet: must be one of mlflow, tensorboard, wandb"),
        (["tracker=tensorbord"], "must be one of mlflow, tensorboard, wandb; did you mean tensorboard?"),
        (["tracker.mlflow.uri=x"], "tracker.mlflow.uri=x: its tracker is not chosen; add tracker=mlflow"),
        (["tracker=mlflow", "tracker.mlflow.url=x"], "did you mean tracker.mlflow.uri?"),
        (["tracker=mlflow", "tracker.mlflow.experiment=''"], "tracker.mlflow.experiment=: must have at least 1 char"),
        (["+tracker=mlflow"], "+tracker=mlflow: tracker is there already; write it without +"),
    ],
)
def test_a_tracker_that_is_none_is_refused(typed: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(*typed)
    assert line in str(refused.value)


def test_a_sweep_has_one_place_for_its_points() -> None:
    with pytest.raises(
        ConfigError, match=r"tracker\.mlflow\.uri=a,b: must be the same for all runs of a sweep; give one value"
    ):
        agree([parse(one)[1] for one in compose("tracker=mlflow", "tracker.mlflow.uri=a,b")])


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("several", [[], ["-m", "seed=0,1"]])
def test_what_is_not_installed_is_said_before_anything_trains(several, tmp_path) -> None:
    called = call(*several, "tracker=mlflow", cwd=tmp_path)
    expected = (
        "fmnist_sweep: tracker=mlflow: mlflow is not installed; pip install mlflow, or '.[mlflow]' in the clone\n"
    )
    assert (called.code, called.err) == (2, expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["{store}", "tensorboard"], "tracker=tensorboard: tensorboard is not installed; pip install tensorboard"),
        (["{store}", "comet"], "argument TRACKER: invalid choice: 'comet' (choose from "),
        (["{store}"], "the following arguments are required: TRACKER; see --help"),
        (["{store}", "wandb", "--project="], "project=: must have at least 1 character"),
        (["{store}", "mlflow", "--experiment="], "experiment=: must have at least 1 character"),
    ],
)
def test_the_command_refuses_in_one_line(typed, line, tmp_path, capsys) -> None:
    try:
        code = main([word.format(store=tmp_path) for word in typed])
    except SystemExit as end:  # argparse's way
        code = end.code
    said = capsys.readouterr().err
    assert code == 2
    assert line in said and said.count("\n") == 1


def test_runs_are_found_newest_first_and_nothing_else(tmp_path) -> None:
    first, second = (write_run(tmp_path, seed=seed, epochs=3) for seed in (0, 1))
    for junk in ("report", ".hidden"):
        (tmp_path / junk).mkdir()
    (tmp_path / ".hidden" / "run.json").write_text("{}")
    (tmp_path / "run.txt").write_text("")
    assert list(directories(tmp_path)) == [second, first]
    assert list(directories(first)) == [first]
    before = directories(tmp_path)
    (second / "metrics.csv").write_text("epoch")
    assert directories(tmp_path)[second] != before[second]
    assert directories(tmp_path)[first] == before[first]


def test_the_last_epoch_of_a_run_that_has_ended_has_test_results_and_seconds(tmp_path) -> None:
    run = read(write_run(tmp_path, epochs=3, validation="holdout", seconds_per_epoch=2.0))
    *epochs, last = run.steps(after=1)
    assert [(epoch, list(values.values())) for epoch, values in epochs] == [
        (2, run.metrics[1].tolist()),
        (3, run.metrics[2].tolist()),
    ]
    assert last == (3, {"seconds": 6.0, "test_loss": 0.4, "test_accuracy": 0.86})
    assert [run.when(epoch) - run.started for epoch in range(4)] == [0.0, 2.0, 4.0, 6.0]
    assert run.hyperparameters["model.hidden"] == "[128, 64]" and run.hyperparameters["optimizer.lr"] == 0.01
    running = read(write_run(tmp_path, epochs=5, epochs_done=2, status="running"))
    assert [epoch for epoch, _ in running.steps()] == [1, 2]
