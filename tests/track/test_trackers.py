"""Followers show runs to a real TensorBoard reader, a real MLflow server and W&B offline: every point once, always."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command import run_command
from made_up_runs import learning_curves, write_run
from tracked import (
    MlflowServer,
    Points,
    WandbRun,
    environment,
    event_file_names,
    event_files,
    grow,
    same,
    send,
    set_record,
    start_follower,
    tensorboard_points,
    tensorboard_status,
    until,
    wandb_run,
)

from fmnist_sweep.config.schema import MlflowConfig, TrackerConfig
from fmnist_sweep.store.layout import RECORD
from fmnist_sweep.sweeps import followers as alongside
from fmnist_sweep.track.runs import TrackedRun, read

pytestmark = [pytest.mark.tracker, pytest.mark.filterwarnings("default")]  # the libraries have warnings of their own

EXPERIMENT = "fmnist_sweep"
SMALL = ("batch_size=1000", "model.hidden=[8]")
ANY = pytest.mark.parametrize("tracker", ["tensorboard", "mlflow", "wandb"], indirect=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One server for all tests."""
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@dataclass(frozen=True)
class Shown:
    """A tracker as a test asks it.

    Attributes:
        arguments: those of the command line.
        points: what it has of a run.
        status: how it says that a run ended.
        place: where it keeps a run in training; another if the run was replaced.
    """

    arguments: tuple[str, ...]
    points: Callable[[Path], Points]
    status: Callable[[Path], str]
    place: Callable[[Path], str] = str

    def has(self, run: Path) -> bool:
        """Tell whether it has all of the run by now, once."""
        try:
            return same(self.points(run), read(run))
        except (AssertionError, KeyError, ValueError):  # no such experiment or run yet
            return False


@pytest.fixture(params=["tensorboard", "mlflow"])
def tracker(request: pytest.FixtureRequest) -> Shown:
    """Either tracker that shows runs as they grow; a test may ask for wandb too."""
    if request.param == "wandb":
        return Shown(
            ("wandb",),
            lambda run: wandb_run(read(run).name, run.parent).points,
            lambda run: {0: "FINISHED", 1: "FAILED"}[wandb_run(read(run).name, run.parent).exit_code],
        )
    if request.param == "tensorboard":
        return Shown(("tensorboard",), tensorboard_points, tensorboard_status, event_file_names)
    server: MlflowServer = request.getfixturevalue("server")
    experiment = request.node.name  # a test's own
    return Shown(
        ("mlflow", "--uri", server.uri, "--experiment", experiment),
        lambda run: server.points(run.name, experiment),
        lambda run: server.run(run.name, experiment).info.status,
        lambda run: server.run(run.name, experiment).info.run_id,
    )


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Make rows as those of `write_run`."""
    return learning_curves("adam", 100, 0.2, seed)(np.arange(1.0, count + 1))


# What is shown


def test_every_run_of_a_store_is_shown_and_nothing_twice(tracker: Shown, tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, epochs=200),
        write_run(tmp_path, seed=1, epochs=3, epochs_done=0, status="failed", error="no memory"),
        write_run(tmp_path, seed=2, epochs=9, epochs_done=5, status="running"),
        write_run(tmp_path, seed=3, epochs=4, validation="holdout"),
        write_run(tmp_path, seed=4, epochs=4, epochs_done=2, status="interrupted"),
    ]
    for _ in range(2):
        assert send(tmp_path, *tracker.arguments) == (0, f"runs up to date in {tracker.arguments[0]}: 5\n")
        for run in runs:
            assert tracker.has(run)
    assert [tracker.status(run) for run in runs[:2]] == ["FINISHED", "FAILED"]


def test_tensorboard_has_hyperparameters_and_a_picture(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    run = write_run(tmp_path, epochs=5)
    send(tmp_path, "tensorboard")
    found = event_files(run)
    content = found.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    shown = metadata.parse_session_start_info_plugin_data(content).hparams
    assert (shown["optimizer.name"].string_value, shown["training.batch_size"].number_value) == ("Adam", 100)
    assert shown["model.hidden"].string_value == "[128, 64]"
    (picture,) = found.Images("learning-curves")
    assert picture.encoded_image_string.startswith(b"\x89PNG") and len(picture.encoded_image_string) > 5_000
    assert np.allclose(np.diff([one.wall_time for one in found.Scalars("loss/val")]), 0.7)


def test_tensorboards_files_may_go_to_a_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", epochs=3)
    assert send(tmp_path / "runs", "tensorboard", "--folder", str(tmp_path / "board"))[0] == 0
    assert same(tensorboard_points(tmp_path / "board" / run.name), read(run))
    assert not list(run.glob("*tfevents*"))


def test_mlflow_has_parameters_tags_and_files(server: MlflowServer, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=5, batch_size=123)
    set_record(run, cut_from="a-longer-one-01234567")
    assert send(tmp_path, "mlflow", "--uri", server.uri)[0] == 0
    shown = server.run(run.name, EXPERIMENT)
    expected = {"training.batch_size": "123", "optimizer.name": "Adam", "seed": "0"}
    assert shown.data.params.items() >= expected.items()
    expected = {"cut_from": "a-longer-one-01234567", "environment.torch": "2.14.1"}
    assert shown.data.tags.items() >= expected.items()
    files = {file.path for file in server.client.list_artifacts(shown.info.run_id)}
    assert files == {"run.json", "metrics.csv", "timing.csv", "learning-curves.png"}
    assert shown.info.end_time - shown.info.start_time == pytest.approx(5 * 700, abs=2)


@pytest.mark.parametrize("tracker", ["wandb"], indirect=True)
def test_wandb_has_runs_that_have_ended_whole(tracker: Shown, tmp_path: Path) -> None:
    ended = [write_run(tmp_path, epochs=300), write_run(tmp_path, seed=1, epochs=4, validation="holdout")]
    ended.append(write_run(tmp_path, seed=2, epochs=3, epochs_done=0, status="failed", error="no memory"))
    write_run(tmp_path, seed=3, epochs=9, epochs_done=5, status="running")
    said = "runs up to date in wandb: 3\nin training, to be sent when they have ended: 1\n"
    assert send(tmp_path, "wandb") == (0, said)
    assert all(map(tracker.has, ended))
    assert [tracker.status(run) for run in ended] == ["FINISHED", "FINISHED", "FAILED"]
    first = wandb_run(ended[0].name, tmp_path)
    assert first.config.items() >= {"optimizer.name": "Adam", "optimizer.lr": 0.01, "seed": 0}.items()
    assert np.allclose(np.diff(list(first.times.values())), 0.7)
    (picture,) = first.pictures
    assert picture.read_bytes().startswith(b"\x89PNG")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("wandb/offline-run-*")}
    assert send(tmp_path, "wandb") == (0, said)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("wandb/*")} == before  # and nothing beside them


def test_a_run_may_go_to_several_projects_of_wandbs(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=3)
    for project in ("first", "second", "first"):
        assert send(tmp_path, "wandb", "--project", project) == (0, "runs up to date in wandb: 1\n")
    projects = [WandbRun(path).project for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")]
    assert sorted(projects) == ["first", "second"]


def test_wandbs_own_command_finds_the_runs_to_send(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", epochs=3)
    assert send(tmp_path / "runs", "wandb", "--folder", str(tmp_path))[0] == 0
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert wandb_run(run.name, tmp_path).folder.name in listed.stdout + listed.stderr


# What grows, goes on, is trained again


def test_points_are_appended_while_a_run_is_in_training(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=3, epochs_done=0, status="running")
    follower = start_follower(tmp_path, *tracker.arguments)
    places = set()
    for row in rows(3):
        grow(run, row[None])
        until(lambda: tracker.has(run))
        places.add(tracker.place(run))
    set_record(run, status="done", epochs_done=3)
    assert follower.communicate()[0] == ""
    assert follower.returncode == 0
    assert tracker.has(run) and tracker.status(run) == "FINISHED"
    assert places == {tracker.place(run)}


def test_a_follower_that_is_killed_again_and_again_leaves_each_point_once(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=60, epochs_done=1, status="running")
    for start in (1, 21, 41):
        follower = start_follower(tmp_path, *tracker.arguments)
        until(lambda: tracker.has(run))
        for row in rows(60)[start : start + 19]:  # so it is killed at any moment: within a request, between two
            grow(run, row[None])
            time.sleep(0.15)
        follower.kill()
        follower.communicate()
        grow(run, rows(60)[start + 19 : start + 20])
    set_record(run, status="done", epochs_done=60)
    assert send(tmp_path, *tracker.arguments)[0] == 0
    assert tracker.has(run) and tracker.status(run) == "FINISHED"


def test_a_follower_that_is_killed_while_it_writes_for_wandb_leaves_each_point_once(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=300)
    follower = start_follower(tmp_path, "wandb")
    until(lambda: list(tmp_path.glob("wandb/.*/wandb/offline-run-*")))
    follower.kill()
    follower.communicate()
    assert not list(tmp_path.glob("wandb/offline-run-*"))
    assert send(tmp_path, "wandb")[0] == 0
    assert same(wandb_run(run.name, tmp_path).points, read(run))
    assert [path.name[:8] for path in tmp_path.glob("wandb/*")] == ["offline-"]


@ANY
def test_a_run_that_is_trained_again_to_other_values_takes_the_place_of_the_first(tracker, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=6)
    send(tmp_path, *tracker.arguments)
    shutil.move(run, tmp_path / ".before")
    write_run(tmp_path, epochs=6, curve=rows(6, seed=9))
    for file in (tmp_path / ".before").glob("*tfevents*"):
        shutil.copy(file, run)  # which `rerun=true` leaves
    send(tmp_path, *tracker.arguments)
    assert tracker.has(run)


@ANY
def test_a_failed_run_that_goes_on_ends_well(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=6, epochs_done=2, status="failed", error="OSError: no space")
    send(tmp_path, *tracker.arguments)
    assert (tracker.has(run), tracker.status(run)) == (True, "FAILED")
    grow(run, rows(6)[2:])
    set_record(run, status="done", error=None, epochs_done=6, seconds=4.2)
    send(tmp_path, *tracker.arguments)
    assert (tracker.has(run), tracker.status(run)) == (True, "FINISHED")


@ANY
def test_a_run_that_has_diverged_is_shown_as_failed(tracker: Shown, tmp_path: Path) -> None:
    values = rows(3)
    values[2, 0], values[2, 4] = np.inf, np.nan
    run = write_run(tmp_path, epochs=9, epochs_done=3, status="diverged", error="not finite", curve=values)
    for _ in range(2):
        assert send(tmp_path, *tracker.arguments)[0] == 0
    assert tracker.status(run) == "FAILED"
    found = tracker.points(run)
    assert len(found) == len(dict(found)) == 3 * 6 + 1
    assert np.isnan(dict(found)["val_loss", 3]) and dict(found)["train_loss", 3] > 1e38


def test_an_event_file_that_was_torn_is_written_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=5)
    send(tmp_path, "tensorboard")
    (file,) = run.glob("*tfevents*")
    os.truncate(file, file.stat().st_size - 20)
    send(tmp_path, "tensorboard")
    assert same(tensorboard_points(run), read(run)) and tensorboard_status(run) == "FINISHED"


def test_a_tensorboard_that_is_open_shows_a_run_that_is_written_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=9, epochs_done=2, status="running")
    send(tmp_path, "tensorboard")
    opened = event_files(run)
    for count in (4, 9):
        grow(run, rows(count)[len(opened.Scalars("loss/val")) :])
        send(tmp_path, "tensorboard")
        opened.Reload()
        assert [one.step for one in opened.Scalars("loss/val")] == list(range(1, count + 1))


def test_a_follower_whose_standard_input_is_nowhere_goes_on_until_ctrl_c(tmp_path: Path) -> None:
    """As under cron, systemd and sbatch."""
    first = write_run(tmp_path, epochs=2)
    command = [sys.executable, "-m", "fmnist_sweep.track", str(tmp_path), "tensorboard", "--follow"]
    with subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, cwd=tmp_path) as follower:
        until(lambda: tensorboard_status(first) == "FINISHED")
        second = write_run(tmp_path, epochs=2, seed=1)
        until(lambda: tensorboard_status(second) == "FINISHED")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 0


def test_of_two_followers_of_a_store_one_sends(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=9, epochs_done=1, status="running")
    follower = start_follower(tmp_path, "tensorboard")
    until(lambda: list(run.glob("*tfevents*")))
    said = f"{tmp_path}: another process is sending its runs to tensorboard\nruns up to date in tensorboard: 0\n"
    assert send(tmp_path, "tensorboard") == (0, said)
    follower.communicate()
    assert send(tmp_path, "tensorboard") == (0, "runs up to date in tensorboard: 1\n")


# What cannot be used


@ANY
def test_what_is_no_run_is_told_and_keeps_nothing_else_back(tracker: Shown, tmp_path: Path) -> None:
    good = write_run(tmp_path, epochs=3)
    odd = write_run(tmp_path, epochs=3, seed=1).rename(tmp_path / "x\n[red]ü{0} $(touch y)")
    for name, content in (("empty", b""), ("junk", b"\xff{"), ("list", b"[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / RECORD).write_bytes(content)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / RECORD)
    (good / "timing.csv").unlink()
    os.mkfifo(good / "timing.csv")
    traversal = write_run(tmp_path, epochs=3, seed=2).rename(tmp_path / "traversal")
    set_record(traversal, name="../../../../elsewhere-01234567")
    damaged = write_run(tmp_path, epochs=3, seed=5)
    set_record(damaged, sha256={"metrics.csv": "0" * 64})
    code, said = send(tmp_path, *tracker.arguments)
    assert code == 0
    assert said.count("unusable: ") == 5 and f"unusable: {damaged.name}: metrics.csv: its SHA-256" in said
    assert tracker.has(good)
    assert not list(tmp_path.parent.glob("elsewhere*"))
    if tracker.arguments == ("tensorboard",):
        assert tracker.has(odd)


def test_what_mlflow_does_not_take_keeps_nothing_else_back(server: MlflowServer, tmp_path: Path) -> None:
    from mlflow.entities import ViewType

    good = write_run(tmp_path, epochs=3)
    bad = write_run(tmp_path, epochs=3, seed=1, optimizer_args={"lr": 0.01, "a\nb": 1})
    arguments = ("mlflow", "--uri", server.uri, "--experiment", "with-a-bad-run")
    for _ in range(2):
        code, said = send(tmp_path, *arguments)
        assert code == 1
        assert f"not sent: {bad.name}: " in said and said.count("\n") == 2
    assert same(server.points(good.name, "with-a-bad-run"), read(good))
    experiment = server.run(good.name, "with-a-bad-run").info.experiment_id
    runs = server.client.search_runs([experiment], run_view_type=ViewType.ALL)
    assert len(runs) == 2  # none is left deleted by each attempt


def test_where_mlflow_takes_no_files_it_has_all_else_and_gets_them_later(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run = write_run(tmp_path / "runs", epochs=3)
    uri, files = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "files"
    client = MlflowClient(uri)
    experiment = client.create_experiment("here", artifact_location=str(files))
    files.write_text("in the way")
    arguments = ("mlflow", "--uri", uri, "--experiment", "here")
    assert send(run.parent, *arguments)[0] == 1
    (first,) = client.search_runs([experiment])
    history = client.get_metric_history(first.info.run_id, "val_loss")
    assert [one.step for one in history] == [1, 2, 3] and first.info.status == "FINISHED"
    files.unlink()
    assert send(run.parent, *arguments)[0] == 0
    (shown,) = client.search_runs([experiment])
    assert shown.info.run_id == first.info.run_id
    assert {file.path for file in client.list_artifacts(shown.info.run_id)} > {"run.json", "learning-curves.png"}


# Beside a sweep


def trained(store: Path) -> list[TrackedRun]:
    return [read(path.parent) for path in sorted(store.glob(f"*/{RECORD}"))]


def train(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    done = run_command(*arguments, *SMALL, cwd=folder, PYTHONPATH=environment()["PYTHONPATH"])
    assert done.returncode == 0, done.stderr
    return done


def test_a_sweep_shows_its_runs_and_names_them_as_ever(server: MlflowServer, tmp_path: Path) -> None:
    sweep = ("-m", "optimizer=adam,sgd", "epochs=2")
    train(tmp_path / "bare", *sweep)
    done = train(tmp_path / "shown", *sweep, "tracker=tensorboard,mlflow,wandb", f"tracker.mlflow.uri={server.uri}")
    assert "tracker" not in done.stderr and "did not get everything" not in done.stderr
    runs = trained(tmp_path / "shown" / "multirun")
    assert len(runs) == 2
    for run in runs:
        bare = tmp_path / "bare" / "multirun" / run.directory.name
        assert (bare / "metrics.csv").read_bytes() == (run.directory / "metrics.csv").read_bytes()
        assert same(tensorboard_points(run.directory), run)
        assert same(server.points(run.name, EXPERIMENT), run)
        assert same(wandb_run(run.name, tmp_path / "shown").points, run)


def test_a_single_run_is_shown(tmp_path: Path) -> None:
    train(tmp_path, "epochs=1", "tracker=tensorboard")
    (run,) = trained(tmp_path / "multirun")
    assert same(tensorboard_points(run.directory), run)


def test_a_sweep_that_is_killed_and_goes_on_leaves_each_point_once(server: MlflowServer, tmp_path: Path) -> None:
    arguments = ["-m", "optimizer=adam,sgd", "seed=7", "epochs=12"]
    arguments += ["tracker=[mlflow,tensorboard]", f"tracker.mlflow.uri={server.uri}"]
    command = [sys.executable, "-m", "fmnist_sweep", *arguments, *SMALL]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command, cwd=tmp_path, env=environment(), **silent)
    until(lambda: any(path.read_text().count("\n") > 4 for path in tmp_path.glob("multirun/*/metrics.csv")))
    first.send_signal(signal.SIGKILL)
    first.wait()
    train(tmp_path, *arguments)
    runs = trained(tmp_path / "multirun")
    assert [run.record.status for run in runs] == ["done", "done"]
    for run in runs:
        assert same(tensorboard_points(run.directory), run)
        assert same(server.points(run.name, EXPERIMENT), run)


def test_a_server_that_is_down_holds_nothing_up_and_the_last_command_sends_the_rest(
    server: MlflowServer, tmp_path: Path
) -> None:
    with server.away():
        done = train(tmp_path, "-m", "seed=8,9", "epochs=1", "tracker=mlflow", f"tracker.mlflow.uri={server.uri}")
    warnings = [line for line in done.stderr.splitlines() if server.uri in line and "training continues" in line]
    assert len(warnings) == 1 and "Connection refused" in warnings[0]
    command = f"python -m fmnist_sweep.track multirun mlflow --uri={server.uri} --experiment={EXPERIMENT}"
    assert f"mlflow did not get everything; to send the rest, run: {command}" in done.stderr.splitlines()
    sent = subprocess.run(
        [sys.executable, *command.split()[1:]], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert (sent.returncode, sent.stdout, sent.stderr) == (0, "runs up to date in mlflow: 2\n", "")
    for run in trained(tmp_path / "multirun"):
        assert same(server.points(run.name, EXPERIMENT), run)


def test_a_server_that_comes_back_gets_what_it_missed(server: MlflowServer, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=40, epochs_done=1, status="running")
    follower = start_follower(tmp_path, "mlflow", "--uri", server.uri)
    assert follower.stdout is not None
    until(lambda: list(tmp_path.glob(".locks/*")))
    with server.away():
        grow(run, rows(5)[1:])
        assert "training continues" in follower.stdout.readline()
    assert follower.stdout.readline() == "mlflow: everything that was missing has been sent\n"
    assert same(server.points(run.name, EXPERIMENT), read(run))
    assert follower.communicate()[0] == ""
    assert follower.returncode == 0


def test_a_server_that_never_answers_is_left_after_a_while(tmp_path: Path, monkeypatch, capsys) -> None:
    write_run(tmp_path, epochs=2)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setattr(alongside, "DRAIN_SECONDS", 6.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        uri = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with alongside.Followers(TrackerConfig(mlflow=MlflowConfig(uri))) as followers:
            followers.follow([tmp_path])
            connection, _ = deaf.accept()  # the follower is asking
    connection.close()
    first, last = capsys.readouterr().err.splitlines()
    assert first == "sending the rest to mlflow; Ctrl-C leaves it"
    command = f"python -m fmnist_sweep.track {tmp_path} mlflow --uri={uri} --experiment={EXPERIMENT}"
    assert last == f"mlflow did not get everything; to send the rest, run: {command}"
