"""Followers show runs to a real TensorBoard reader, a real MLflow server and W&B offline: every point once, always."""

from __future__ import annotations

import os
import shutil
import signal
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
    WandbRun,
    environment,
    event_files,
    free_port,
    grow,
    mlflow_server,
    same,
    send,
    start_follower,
    tensorboard_points,
    until,
    wandb_run,
)

from fmnist_sweep import records
from fmnist_sweep.records import RECORD, read_record
from fmnist_sweep.track.runs import TrackedRun, read

pytestmark = [pytest.mark.tracker, pytest.mark.filterwarnings("default")]  # the libraries have warnings of their own

ALL = "tracker=tensorboard,mlflow,wandb"
SMALL = ("batch_size=1000", "model.hidden=[8]")
ANY = pytest.mark.parametrize("tracker", ["tensorboard", "mlflow", "wandb"], indirect=True)
TENSORBOARD = pytest.mark.parametrize("tracker", ["tensorboard"], indirect=True)
WANDB = pytest.mark.parametrize("tracker", ["wandb"], indirect=True)
MLFLOW = pytest.mark.parametrize("tracker", ["mlflow"], indirect=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One server for the tests that need none of their own."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), free_port()) as server:
        yield server


@dataclass(frozen=True)
class Shown:
    """A tracker as a test asks it: its arguments on the command line, and what it has of a run."""

    arguments: tuple[str, ...]
    points: Callable[[Path], list[tuple[tuple[str, int], float]]]
    status: Callable[[Path], str]

    def has(self, run: TrackedRun) -> bool:
        """Whether it has all of the run, once."""
        return same(self.points(run.directory), run.points)


@pytest.fixture(params=["tensorboard", "mlflow"])
def tracker(request: pytest.FixtureRequest) -> Shown:
    """Either tracker that shows runs as they grow."""
    if request.param == "wandb":
        ends = {0: "FINISHED", 1: "FAILED"}
        return Shown(
            ("wandb",),
            lambda run: wandb_run(read(run).name, run.parent).points,
            lambda run: ends[wandb_run(read(run).name, run.parent).exit_code],
        )
    if request.param == "tensorboard":
        return Shown(("tensorboard",), tensorboard_points, tensorboard_status)
    server: MlflowServer = request.getfixturevalue("server")
    experiment = request.node.name  # a test's own
    return Shown(
        ("mlflow", "--uri", server.uri, "--experiment", experiment),
        lambda run: server.points(run.name, experiment),
        lambda run: server.runs(experiment)[run.name][0]["info"]["status"],
    )


def tensorboard_status(folder: Path) -> str:
    """How the hyperparameters' page says that a run ended."""
    from tensorboard.plugins.hparams import api_pb2, metadata

    found = event_files(folder).summary_metadata
    content = found[metadata.SESSION_END_INFO_TAG].plugin_data.content
    status = metadata.parse_session_end_info_plugin_data(content).status
    return {api_pb2.STATUS_SUCCESS: "FINISHED", api_pb2.STATUS_FAILURE: "FAILED"}[status]


def set_status(run: Path, **values: object) -> None:
    """Write run.json with other values."""
    record = read_record(run)
    (run / RECORD).write_bytes(record.model_copy(update=values).encode())


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Rows of a run as `write_run` makes them."""
    return learning_curves("adam", 100, 0.2, seed)(np.arange(1.0, count + 1))


# What is shown


def test_every_run_of_a_store_is_shown_and_nothing_twice(tracker: Shown, tmp_path: Path) -> None:
    runs = [write_run(tmp_path, seed=seed, epochs=30) for seed in (0, 1)]
    runs.append(write_run(tmp_path, optimizer="sgd", epochs=200, epochs_done=170, status="running"))
    runs.append(write_run(tmp_path, seed=3, epochs=4, validation="holdout"))
    runs.append(write_run(tmp_path, seed=4, epochs=3, epochs_done=0, status="failed", error="no memory"))
    for _ in range(2):
        code, said = send(tmp_path, *tracker.arguments)
        assert (code, said) == (0, f"runs up to date in {tracker.arguments[0]}: 5\n")
        for run in runs:
            assert tracker.has(read(run))
    assert [tracker.status(run) for run in (runs[0], runs[4])] == ["FINISHED", "FAILED"]


@TENSORBOARD
def test_tensorboard_has_hyperparameters_and_a_picture(tracker: Shown, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    run = write_run(tmp_path, epochs=5)
    send(tmp_path, *tracker.arguments)
    found = event_files(run)
    content = found.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    shown = metadata.parse_session_start_info_plugin_data(content).hparams
    assert (shown["optimizer.name"].string_value, shown["training.batch_size"].number_value) == ("Adam", 100)
    assert shown["model.hidden"].string_value == "[128, 64]"
    (picture,) = found.Images("learning-curves")
    assert picture.encoded_image_string.startswith(b"\x89PNG") and len(picture.encoded_image_string) > 5_000
    times = [one.wall_time for one in found.Scalars("loss/val")]
    assert np.allclose(np.diff(times), 0.7)


def test_tensorboards_files_may_go_to_a_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", epochs=3)
    code, _ = send(tmp_path / "runs", "tensorboard", "--folder", str(tmp_path / "board"))
    assert code == 0
    assert same(tensorboard_points(tmp_path / "board" / run.name), read(run).points)
    assert not list(run.glob("*tfevents*"))


def test_mlflow_has_parameters_tags_and_files(server: MlflowServer, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=5, batch_size=123)
    set_status(run, cut_from="a-longer-one-01234567")
    assert send(tmp_path, "mlflow", "--uri", server.uri)[0] == 0
    (shown,) = server.runs()[run.name]
    parameters = {one["key"]: one["value"] for one in shown["data"]["params"]}
    assert parameters.items() >= {"training.batch_size": "123", "optimizer.name": "Adam", "seed": "0"}.items()
    tags = {one["key"]: one["value"] for one in shown["data"]["tags"]}
    assert tags.items() >= {"cut_from": "a-longer-one-01234567", "environment.torch": "2.14.1"}.items()
    assert server.files(run.name) == {"run.json", "metrics.csv", "timing.csv", "learning-curves.png"}
    assert shown["info"]["end_time"] - shown["info"]["start_time"] == pytest.approx(5 * 700, abs=2)


@WANDB
def test_wandb_has_runs_that_have_ended_whole(tracker: Shown, tmp_path: Path) -> None:
    ended = [write_run(tmp_path, epochs=300), write_run(tmp_path, seed=1, epochs=4, validation="holdout")]
    ended.append(write_run(tmp_path, seed=2, epochs=3, epochs_done=0, status="failed", error="no memory"))
    write_run(tmp_path, seed=3, epochs=9, epochs_done=5, status="running")
    said = "runs up to date in wandb: 3\nin training, taken once they have ended: 1\n"
    assert send(tmp_path, "wandb") == (0, said)
    for run in ended:
        assert tracker.has(read(run))
    first = wandb_run(ended[0].name, tmp_path)
    assert first.config.items() >= {"optimizer.name": "Adam", "optimizer.lr": 0.01, "seed": 0}.items()
    assert np.allclose(np.diff(list(first.times.values())), 0.7)
    (picture,) = first.pictures
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [tracker.status(run) for run in ended] == ["FINISHED", "FINISHED", "FAILED"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("wandb/offline-run-*")}
    assert send(tmp_path, "wandb") == (0, said)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("wandb/*")} == before  # and nothing beside them


@WANDB
def test_a_run_may_go_to_several_projects_of_wandbs(tracker: Shown, tmp_path: Path) -> None:
    write_run(tmp_path, epochs=3)
    for project in ("first", "second", "first"):
        assert send(tmp_path, "wandb", "--project", project) == (0, "runs up to date in wandb: 1\n")
    projects = [WandbRun(path).project for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")]
    assert sorted(projects) == ["first", "second"]


@WANDB
def test_wandbs_own_command_finds_the_runs_to_send(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", epochs=3)
    assert send(tmp_path / "runs", "wandb", "--folder", str(tmp_path))[0] == 0
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert wandb_run(run.name, tmp_path).folder.name in listed.stdout + listed.stderr


# What grows, goes on, is trained again


@ANY
def test_a_follower_that_is_killed_again_and_again_leaves_each_point_once(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=40, epochs_done=0, status="running")
    until_all = rows(40)
    for start in range(0, 40, 8):
        follower = start_follower(tmp_path, *tracker.arguments)
        for at in range(start, start + 8):
            grow(run, until_all[: at + 1][at:])
            time.sleep(0.4)
        # At a time of its own: within a request, between a point and the next, before it has begun.
        time.sleep(start / 8)
        follower.kill()
        follower.communicate()
    follower = start_follower(tmp_path, *tracker.arguments)
    set_status(run, status="done")
    assert follower.communicate()[0] == ""
    assert follower.returncode == 0
    assert tracker.has(read(run))
    assert tracker.status(run) == "FINISHED"


def test_points_come_while_a_run_is_in_training(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=40, epochs_done=0, status="running")
    follower = start_follower(tmp_path, *tracker.arguments)
    for count in (1, 2, 3):
        grow(run, rows(count)[count - 1 :])
        until(lambda: shown(tracker, run))
    assert follower.poll() is None
    follower.communicate()
    assert follower.returncode == 0


def shown(tracker: Shown, run: Path) -> bool:
    """Whether the tracker has the run's points by now."""
    try:
        return tracker.has(read(run))
    except (AssertionError, KeyError):  # no such experiment or run yet
        return False


@ANY
def test_a_run_that_is_trained_again_to_other_values_takes_the_place_of_the_first(tracker, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=6)
    send(tmp_path, *tracker.arguments)
    shutil.move(run, tmp_path / ".before")
    write_run(tmp_path, epochs=6, curve=rows(6, seed=9))
    for file in (tmp_path / ".before").glob("*tfevents*"):
        shutil.copy(file, run)  # which `rerun=true` leaves
    send(tmp_path, *tracker.arguments)
    assert tracker.has(read(run))


@ANY
def test_a_failed_run_that_goes_on_ends_well(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=6, epochs_done=2, status="failed", error="OSError: no space")
    send(tmp_path, *tracker.arguments)
    assert (tracker.has(read(run)), tracker.status(run)) == (True, "FAILED")
    grow(run, rows(6)[2:])
    set_status(run, status="done", error=None, epochs_done=6, seconds=4.2)
    send(tmp_path, *tracker.arguments)
    assert tracker.status(run) == "FINISHED"
    found = {key: value for key, value in tracker.points(run) if key[0] != "seconds"}
    assert found.keys() == {key for key in read(run).points if key[0] != "seconds"}


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


@TENSORBOARD
def test_a_record_that_was_torn_hides_nothing(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=9, epochs_done=5, status="running")
    send(tmp_path, *tracker.arguments)
    (file,) = run.glob("*tfevents*")
    os.truncate(file, file.stat().st_size - 20)
    grow(run, rows(9)[5:])
    set_status(run, status="done", epochs_done=9)
    send(tmp_path, *tracker.arguments)
    assert tracker.has(read(run))


def test_of_two_followers_of_a_store_one_sends(tracker: Shown, tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=9, epochs_done=1, status="running")
    followers = [start_follower(tmp_path, *tracker.arguments) for _ in range(2)]
    until(lambda: shown(tracker, run))
    code, said = send(tmp_path, *tracker.arguments)
    assert code == 0 and "another process is sending its runs" in said
    grow(run, rows(9)[1:])
    set_status(run, status="done", epochs_done=9)
    for follower in followers:
        assert follower.communicate() == ("", None)
        assert follower.returncode == 0
    assert tracker.has(read(run))


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
    traversal = write_run(tmp_path, epochs=3, seed=2).rename(tmp_path / "traversal")
    set_status(traversal, name="../../../../elsewhere-01234567")
    damaged = write_run(tmp_path, epochs=3, seed=5)
    set_status(damaged, sha256={"metrics.csv": "0" * 64})
    code, said = send(tmp_path, *tracker.arguments)
    assert code == 0
    assert said.count("unusable: ") == 5 and f"unusable: {damaged.name}: metrics.csv: its SHA-256" in said
    assert tracker.has(read(good))
    assert not list(tmp_path.parent.glob("elsewhere*"))
    if tracker.arguments == ("tensorboard",):
        assert same(tensorboard_points(odd), read(odd).points)


@MLFLOW
def test_what_mlflow_does_not_take_keeps_nothing_else_back(tracker: Shown, tmp_path: Path) -> None:
    good = write_run(tmp_path, epochs=3)
    bad = write_run(tmp_path, epochs=3, seed=1, optimizer_args={"lr": 0.01, "a\nb": 1})
    code, said = send(tmp_path, *tracker.arguments)
    assert code == 1
    assert f"not sent: {bad.name}: " in said and said.count("\n") == 2
    assert tracker.has(read(good))


# Beside a sweep


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("-m", *SMALL, *arguments, cwd=folder, **{"PYTHONPATH": environment()["PYTHONPATH"]})


def trained(store: Path) -> list[TrackedRun]:
    return [read(path.parent) for path in sorted(store.glob(f"*/{records.RECORD}"))]


def test_a_sweep_shows_its_runs_and_names_them_as_ever(server: MlflowServer, tmp_path: Path) -> None:
    for folder, more in (("bare", ()), ("shown", (ALL, f"tracker.mlflow.uri={server.uri}"))):
        (tmp_path / folder).mkdir()
        done = sweep(tmp_path / folder, "optimizer=adam,sgd", "epochs=2,3", *more)
        assert done.returncode == 0, done.stderr
        assert "tracker" not in done.stderr and "does not have everything" not in done.stderr
    runs = trained(tmp_path / "shown" / "multirun")
    assert len(runs) == 4
    for run in runs:
        bare = tmp_path / "bare" / "multirun" / run.directory.name
        assert (bare / "metrics.csv").read_bytes() == (run.directory / "metrics.csv").read_bytes()
        assert same(tensorboard_points(run.directory), run.points)
        assert same(server.points(run.name), run.points)
        assert same(wandb_run(run.name, tmp_path / "shown").points, run.points)


def test_a_single_run_is_shown(tmp_path: Path) -> None:
    done = run_command(*SMALL, "epochs=2", "tracker=tensorboard", cwd=tmp_path, PYTHONPATH=environment()["PYTHONPATH"])
    assert done.returncode == 0, done.stderr
    (run,) = trained(tmp_path / "multirun")
    assert same(tensorboard_points(run.directory), run.points)


def test_a_sweep_that_is_killed_and_goes_on_leaves_each_point_once(server: MlflowServer, tmp_path: Path) -> None:
    arguments = ["-m", *SMALL, "optimizer=adam,sgd", "seed=7", "epochs=25"]
    arguments += ["tracker=[mlflow,tensorboard]", f"tracker.mlflow.uri={server.uri}"]
    first = subprocess.Popen(
        [sys.executable, "-m", "fmnist_sweep", *arguments],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: any(len(read_rows(path)) > 4 for path in tmp_path.glob("multirun/*/metrics.csv")))
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = run_command(*arguments, cwd=tmp_path, PYTHONPATH=environment()["PYTHONPATH"])
    assert done.returncode == 0, done.stderr
    runs = trained(tmp_path / "multirun")
    assert [run.record.status for run in runs] == ["done", "done"]
    for run in runs:
        assert same(tensorboard_points(run.directory), run.points)
        assert same(server.points(run.name), run.points)


def read_rows(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_server_that_is_down_holds_nothing_up_and_is_caught_up_with(tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    done = sweep(tmp_path, "seed=0,1", "epochs=3", "tracker=mlflow", f"tracker.mlflow.uri={uri}")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 100
    warnings = [line for line in done.stderr.splitlines() if uri in line and "training goes on" in line]
    assert len(warnings) == 1 and "Connection refused" in warnings[0]
    command = f"python -m fmnist_sweep.track multirun mlflow --uri={uri} --experiment=fmnist_sweep"
    assert f"mlflow does not have everything; this sends the rest: {command}" in done.stderr.splitlines()
    with mlflow_server(tmp_path / "server", port) as server:
        assert send(tmp_path / "multirun", *command.split()[4:]) == (0, "runs up to date in mlflow: 2\n")
        for run in trained(tmp_path / "multirun"):
            assert same(server.points(run.name), run.points)


def test_a_server_that_comes_back_gets_what_it_missed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", epochs=40, epochs_done=1, status="running")
    port = free_port()
    with mlflow_server(tmp_path / "server", port) as server:
        follower = start_follower(tmp_path / "runs", "mlflow", "--uri", server.uri)
        until(lambda: shown_by(server, run))
    grow(run, rows(5)[1:])
    assert follower.stdout is not None
    assert "training goes on" in follower.stdout.readline()
    with mlflow_server(tmp_path / "server", port) as server:
        assert follower.stdout.readline() == "mlflow: all is sent that was missing\n"
        assert shown_by(server, run)
        assert follower.communicate()[0] == ""
        assert follower.returncode == 0


def shown_by(server: MlflowServer, run: Path) -> bool:
    return shown(Shown((), lambda path: server.points(path.name), lambda _: ""), run)


def test_a_server_that_never_answers_is_left_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        uri = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        done = sweep(tmp_path, "seed=0,1", "epochs=2", "tracker=mlflow", f"tracker.mlflow.uri={uri}")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 150
    assert "sending the rest to mlflow; Ctrl-C leaves it" in done.stderr.splitlines()
    assert "mlflow does not have everything; this sends the rest: python -m fmnist_sweep.track" in done.stderr
