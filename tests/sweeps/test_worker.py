"""A stack in training keeps its runs' directories: the same bytes in company, in pieces and after any crash."""

from __future__ import annotations

import errno
import functools
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import ADAM, MOMENTUM, NEW_KEYS, RMSPROP, SGD, break_steps, config, piece, same_stack

from fmnist_sweep.api import load_model
from fmnist_sweep.config.compose import name_of
from fmnist_sweep.config.schema import Config, Execution
from fmnist_sweep.data import Division
from fmnist_sweep.engine import machine, training
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.training import Model, Trainer, start
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store import run_directory
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.store.tables import collect
from fmnist_sweep.sweeps import jobs, plan, resume, worker
from fmnist_sweep.sweeps.plan import Job

FOLDER = Path("not looked at")  # the images come from `small_runs.piece`
MIXED = [
    {"optimizer": ADAM, "dropout": 0.2},
    {"optimizer": SGD, "dropout": 0.0},
    {"optimizer": MOMENTUM, "dropout": 0.5, "seed": 1},
    {"optimizer": RMSPROP, "dropout": 0.05, "seed": 2},
]


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train with one thread on a few of the real images."""

    def load(_: Path, division: Division, *__: object) -> training.Data:
        return piece(430, 250, division.validation)

    monkeypatch.setattr(os, "fsync", lambda _: None)  # a process that dies takes nothing written with it
    monkeypatch.setattr(worker, "load", load)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint at every epoch's end."""
    monkeypatch.setattr(worker, "CHECKPOINT_SECONDS", -1.0)


def run_name(one: Config) -> str:
    return name_of(one, Execution())


def job(folder: Path, one: Config, **how: Any) -> Job:
    return Job(one, Execution(**how), run_name(one), folder / run_name(one))


def train(folder: Path, *configs: Config, until: int | None = None, **how: Any) -> list[Metrics]:
    """Train runs as one stack, as a worker does, or stop after so many rows; the rows of all epochs trained."""
    rows: list[Metrics] = []
    groups = plan.group([job(folder, one, **how) for one in configs])
    busy = worker.train_stack(groups, FOLDER, lambda: until is not None and len(rows) >= until, rows.append)
    assert busy == []
    return rows


def metrics(folder: Path, one: Config) -> bytes:
    return (job(folder, one).directory / "metrics.csv").read_bytes()


def run_json(folder: Path, one: Config) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((job(folder, one).directory / "run.json").read_bytes())
    return content


def statuses(folder: Path, *configs: Config) -> list[str]:
    return [run_json(folder, one)["status"] for one in configs]


@pytest.fixture
def alone(tmp_path: Path) -> Callable[[Config], bytes]:
    """The metrics.csv of a run that is trained alone and never interrupted."""

    def of(one: Config) -> bytes:
        folder = tmp_path / "alone"
        if not job(folder, one).directory.exists():
            train(folder, one)
        return metrics(folder, one)

    return of


# Company


@pytest.mark.parametrize(
    ("batch_size", "hidden"), [(1, [9]), (7, [17, 9]), (77, [30]), (100, [100, 50, 25]), (430, [17, 9])]
)
def test_a_run_has_the_same_bytes_alone_and_in_a_mixed_stack(
    batch_size: int, hidden: list[int], tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    configs = [config(batch_size=batch_size, hidden=hidden, **own) for own in MIXED]
    train(tmp_path, *configs)
    for one in configs:
        assert metrics(tmp_path, one) == alone(one)
        assert metrics(tmp_path, one).count(b"\n") == 3
        files = [folder / job(tmp_path, one).name / "predictions.npy" for folder in (tmp_path, tmp_path / "alone")]
        assert files[0].read_bytes() == files[1].read_bytes()
        assert np.load(files[0], allow_pickle=False).shape == (250,)
    assert statuses(tmp_path, *configs) == ["done"] * 4


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("keys", NEW_KEYS, ids=str)
def test_a_run_has_the_same_bytes_by_every_route_with_any_key(
    keys: dict[str, Any], tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    base = {"batch_size": 77, "hidden": [17, 9]}
    mixed = [config(**{**base, **keys}, epochs=epochs) for epochs in (2, 3)]
    mixed += [config(**{**base, **same_stack(keys), **own}, epochs=3) for own in MIXED[1:]]
    train(tmp_path / "stack", *mixed)
    train(tmp_path / "resumed", *mixed[:2], until=1)
    train(tmp_path / "resumed", mixed[1], mixed[2])
    train(tmp_path / "resumed", mixed[0])
    for one in mixed:
        assert metrics(tmp_path / "stack", one) == alone(one)
    for one in mixed[:2]:
        assert metrics(tmp_path / "resumed", one) == alone(one)
        assert statuses(tmp_path / "resumed", one) == ["done"]


def test_a_stack_whose_runs_end_at_different_epochs(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    configs = [config(epochs=epochs, **own) for own in MIXED for epochs in (1, 2, 3)]
    configs += [config(epochs=1, seed=9), config(SGD, epochs=5, seed=9)]
    rows = train(tmp_path, *configs)
    assert len(rows) == 4 * 3 + 1 + 5  # each trajectory once
    for one in configs:
        assert metrics(tmp_path, one) == alone(one)
        record = run_json(tmp_path, one)
        assert (record["status"], record["epochs_done"]) == ("done", one.training.epochs)
        assert record["cut_from"] is None
        predictions = [f / job(tmp_path, one).name / "predictions.npy" for f in (tmp_path, tmp_path / "alone")]
        assert predictions[0].read_bytes() == predictions[1].read_bytes()


def test_a_run_directory_says_everything(tmp_path: Path) -> None:
    one = config(MOMENTUM, seed=5)
    row = train(tmp_path, one)[-1]
    record = run_json(tmp_path, one)
    assert record["name"] == run_name(one)
    assert record["config"]["optimizer"] == MOMENTUM
    assert record["config"]["training"] == {"batch_size": 100, "epochs": 2}
    assert (record["error"], record["test"], record["epochs_done"]) == (None, None, 2)
    assert record["environment"]["torch"] == torch.__version__
    seconds = RunDirectory(job(tmp_path, one).directory).seconds()
    assert 0 < seconds[0] <= seconds[1] == record["seconds"]
    predictions = np.load(job(tmp_path, one).directory / "predictions.npy", allow_pickle=False)
    labels = piece(430, 250).val_labels.numpy()
    assert (predictions == labels).mean() == row.val_accuracy


def test_the_commit_of_a_run_is_that_of_this_package_or_none(tmp_path: Path) -> None:
    def git(*command: str) -> str:
        who = ("-c", "user.name=N", "-c", "user.email=n@n", "-c", "commit.gpgsign=false")
        return subprocess.check_output(["git", "-C", str(tmp_path), *who, *command], text=True).strip()

    def commit() -> object:
        spec = importlib.util.spec_from_file_location("installed", installed)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.environment("cpu")["git_commit"]

    installed = tmp_path / ".venv" / "fmnist_sweep" / "machine.py"
    installed.parent.mkdir(parents=True)
    installed.write_bytes(Path(machine.__file__).read_bytes())
    assert commit() is None
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "a thesis, with a virtual environment in its folder")
    git("tag", "v1")
    assert commit() is None
    git("add", ".")
    git("commit", "-q", "-m", "the package")
    assert commit() == git("rev-parse", "HEAD")
    installed.write_bytes(installed.read_bytes() + b"\n")
    assert commit() == git("rev-parse", "HEAD") + "-dirty"


# Nothing is trained twice


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    one = config()
    train(tmp_path, one)
    before = snapshot(tmp_path)
    assert train(tmp_path, one) == []
    assert snapshot(tmp_path) == before


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time of change and content, locks aside."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_more_epochs_go_on_where_fewer_ended(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    short, long = config(epochs=2), config(epochs=5)
    train(tmp_path, short)
    assert [row.epoch for row in train(tmp_path, long)] == [3, 4, 5]
    assert metrics(tmp_path, long) == alone(long)
    assert metrics(tmp_path, short) == alone(short)
    timing = [(job(tmp_path, one).directory / "timing.csv").read_text().splitlines() for one in (short, long)]
    assert timing[1][:3] == timing[0]
    assert run_json(tmp_path, long)["seconds"] > run_json(tmp_path, short)["seconds"]


def test_fewer_epochs_are_cut_from_more(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    short, long = config(epochs=2), config(epochs=4)
    train(tmp_path, long)
    assert train(tmp_path, short) == []
    assert metrics(tmp_path, short) == alone(short)
    record = run_json(tmp_path, short)
    assert (record["status"], record["cut_from"], record["epochs_done"]) == ("done", run_name(long), 2)
    assert not (job(tmp_path, short).directory / "predictions.npy").exists()
    middle = config(epochs=3)
    assert train(tmp_path, middle, short, long) == []
    assert metrics(tmp_path, middle) == alone(middle)


def test_a_run_is_cut_from_a_longer_one_that_is_not_done_yet(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    short, long = config(epochs=2), config(epochs=6)
    train(tmp_path, long, until=4)
    assert [row.epoch for row in train(tmp_path, short, long)] == [5, 6]
    assert metrics(tmp_path, short) == alone(short)
    assert metrics(tmp_path, long) == alone(long)


@pytest.mark.parametrize(
    ("schedule", "trained"),
    [({"name": "step", "every": 1, "factor": 0.5}, 0), ({"warmup": 3}, 0), ({"name": "cosine"}, 2)],
)
def test_a_run_is_cut_from_a_longer_one_only_if_the_schedule_allows_it(
    schedule: dict[str, Any], trained: int, tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    short, long = (config(SGD | {"schedule": schedule}, epochs=epochs) for epochs in (2, 4))
    train(tmp_path, long)
    assert len(train(tmp_path, short)) == trained
    for one in (short, long):
        assert metrics(tmp_path, one) == alone(one)
    assert (run_json(tmp_path, short)["cut_from"] is None) is (trained > 0)
    # A shorter run's checkpoint is no beginning of a longer run either.
    longer = config(SGD | {"schedule": schedule}, epochs=5)
    assert len(train(tmp_path, longer)) == (5 if trained else 1)
    assert metrics(tmp_path, longer) == alone(longer)


def test_rows_that_a_disk_has_changed_are_cut_into_no_other_run(
    tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    short, long = config(epochs=2), config(epochs=4)
    train(tmp_path, long)
    path = job(tmp_path, long).directory / "metrics.csv"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    assert train(tmp_path, short, long) == []
    assert [metrics(tmp_path, one) for one in (short, long)] == [alone(short), alone(long)]


def test_rerun_trains_again_from_the_start(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    one = config(epochs=2)
    train(tmp_path, one, config(epochs=3))
    assert [row.epoch for row in train(tmp_path, config(epochs=2), rerun=True)] == [1, 2]
    assert metrics(tmp_path, one) == alone(one)
    assert statuses(tmp_path, one, config(epochs=3)) == ["done", "done"]


def test_a_run_that_another_process_holds_is_left_alone(tmp_path: Path) -> None:
    held, free = job(tmp_path, config(seed=1)), job(tmp_path, config())
    with run_directory.lock(held.directory, held.name):
        assert worker.train_stack([[free], [held]], FOLDER) == [1]
    assert not held.directory.exists()
    assert statuses(tmp_path, config()) == ["done"]


# Folders of the user's choice


def chosen(folder: Path, one: Config, **how: Any) -> Job:
    return Job(one, Execution(**how), run_name(one), folder)


class Killed(BaseException):
    """Ends a process where it is."""


@pytest.mark.parametrize("rerun", [False, True])
@pytest.mark.parametrize("folder", ["named", "chosen"])
def test_a_run_that_is_killed_at_any_write_is_completed(
    folder: str, rerun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: Callable[[Config], bytes]
) -> None:
    one = config(epochs=1)
    for strike in range(1, 100):
        place = tmp_path / f"{strike}" / (run_name(one) if folder == "named" else folder)
        if rerun:
            assert worker.train_stack([[chosen(place, one)]], FOLDER) == []
        place.mkdir(parents=True, exist_ok=True)
        (place / "best.json").write_text("the user's")
        calls = itertools.count(1)

        def fsync(_: int, calls: Iterator[int] = calls, strike: int = strike) -> None:
            if next(calls) == strike:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            try:
                worker.train_stack([[chosen(place, one, rerun=rerun)]], FOLDER)
                break
            except Killed:
                pass
        assert worker.train_stack([[chosen(place, one)]], FOLDER) == []
        assert (place / "metrics.csv").read_bytes() == alone(one)
        assert RunDirectory(place).status() == "done"
        assert (place / "best.json").read_text() == "the user's"
        assert not list(place.glob("*.tmp"))
    assert 10 < strike < 99


@pytest.mark.parametrize("how", [{}, {"rerun": True}, {"retry": "failed"}, {"lock": "lease"}])
def test_of_two_runs_that_want_one_folder_the_second_leaves_it_alone(how: dict[str, Any], tmp_path: Path) -> None:
    first = chosen(tmp_path / "mine", config(epochs=1))
    others = [chosen(first.directory, one, **how) for one in (config(epochs=1, seed=1), config(epochs=3))]
    assert worker.train_stack([[first]], FOLDER) == []
    before = snapshot(tmp_path)
    for other in others:
        assert worker.train_stack([[other]], FOLDER) == []
        jobs.mark_failed(other, "its worker died")
        with pytest.raises(ConfigError, match=f"mine: holds the run {first.name}; choose another folder"):
            jobs.outcome(other)
    assert snapshot(tmp_path) == before


def test_of_a_trajectory_only_the_run_whose_folder_is_taken_is_left_out(tmp_path: Path) -> None:
    taken, free = (chosen(tmp_path / f"{epochs}", config(epochs=epochs)) for epochs in (1, 2))
    assert worker.train_stack([[chosen(taken.directory, config(epochs=1, seed=1))]], FOLDER) == []
    before = snapshot(taken.directory)
    assert worker.train_stack([[taken, free]], FOLDER) == []
    assert snapshot(taken.directory) == before
    assert RunDirectory(free.directory).status() == "done"


def test_runs_of_one_trajectory_in_folders_of_their_own_are_all_kept_from_others(tmp_path: Path) -> None:
    both = [chosen(tmp_path / f"{epochs}", config(epochs=epochs)) for epochs in (1, 2)]
    for held in both:
        with run_directory.lock(held.directory, held.name):
            assert worker.train_stack([both], FOLDER) == [0]
    assert worker.train_stack([both], FOLDER) == []
    assert [RunDirectory(job.directory).status() for job in both] == ["done", "done"]


# Interruptions


@pytest.mark.parametrize("stops", [(1,), (2, 1), (1, 1, 1), (3,)])
@pytest.mark.parametrize("own", MIXED, ids=["adam", "sgd", "momentum", "rmsprop"])
def test_interrupted_and_resumed(
    stops: Sequence[int], own: dict[str, Any], tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    one = config(epochs=4, **own)
    done = 0
    for epochs in stops:
        train(tmp_path, one, until=epochs)
        done += epochs
        record = run_json(tmp_path, one)
        assert (record["status"], record["epochs_done"]) == ("interrupted", done)
        assert metrics(tmp_path, one) == b"".join(alone(one).splitlines(keepends=True)[: done + 1])
    assert [row.epoch for row in train(tmp_path, one)] == list(range(done + 1, 5))
    assert metrics(tmp_path, one) == alone(one)
    assert statuses(tmp_path, one) == ["done"]


def test_a_stack_that_is_interrupted_goes_on_in_other_company(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    configs = [config(epochs=3, **own) for own in MIXED]
    train(tmp_path, *configs, until=2)  # the models at the end of the first epoch all the same
    assert statuses(tmp_path, *configs) == ["interrupted"] * 4
    late = [config(epochs=2, seed=30), config(SGD, epochs=4, seed=30)]
    train(tmp_path, late[0], configs[3], configs[1])
    train(tmp_path, configs[0], late[1], configs[2])
    for one in [*configs, *late]:
        assert metrics(tmp_path, one) == alone(one)


def test_what_has_not_begun_when_a_stop_is_asked_for_stays_untouched(tmp_path: Path) -> None:
    assert train(tmp_path, config(), until=0) == []
    assert not job(tmp_path, config()).directory.exists()


# Damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def make_older(path: Path) -> None:
    """Save it again as if by another torch."""
    epoch = int(path.stem.split("-")[1])
    directory = RunDirectory(path.parent)
    checkpoint = resume.load_checkpoint(
        directory, epoch, worker.checkpoint_version(torch.device("cpu")), config(MOMENTUM)
    )
    assert checkpoint is not None
    resume.save_checkpoint(directory, checkpoint, "1/torch 1.0/cpu")


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("damage", [truncate, flip, make_older, delete])
@pytest.mark.parametrize("damaged", [(3,), (3, 2)], ids=["the newest", "both"])
def test_training_goes_on_from_the_checkpoint_before_or_from_zero(
    damage: Callable[[Path], None],
    damaged: Sequence[int],
    tmp_path: Path,
    alone: Callable[[Config], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = config(MOMENTUM, epochs=5)
    train(tmp_path, one, until=3)
    directory = job(tmp_path, one).directory
    assert RunDirectory(directory).inspect().checkpoints == (3, 2)
    for epoch in damaged:
        damage(directory / f"checkpoint-{epoch}.pt")
    first = 3 if damaged == (3,) else 1
    assert [row.epoch for row in train(tmp_path, one)] == list(range(first, 6))
    assert metrics(tmp_path, one) == alone(one)
    set_aside = [record for record in caplog.records if "set aside" in record.getMessage()]
    assert len(set_aside) == (0 if damage is delete else len(damaged))


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("file", ["metrics.csv", "timing.csv", "run.json", "predictions.npy"])
@pytest.mark.parametrize("keep", [0, 3, -5, None], ids=["empty", "three bytes", "torn", "gone"])
def test_any_torn_file_is_made_whole(
    file: str, keep: int | None, tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    one, longer = config(epochs=4), config(epochs=6)
    train(tmp_path, one, until=3)
    path = job(tmp_path, one).directory / file
    if keep is None:
        path.unlink(missing_ok=True)
    else:
        content = path.read_bytes() if path.exists() else b"something"
        path.write_bytes(content[:keep])
    train(tmp_path, one, longer)
    for run in (one, longer):
        assert metrics(tmp_path, run) == alone(run)
        assert statuses(tmp_path, run) == ["done"]
        assert len(RunDirectory(job(tmp_path, run).directory).seconds()) == run.training.epochs
        assert len(np.load(job(tmp_path, run).directory / "predictions.npy", allow_pickle=False)) == 250


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_run_that_says_done_but_lost_its_rows_is_completed(
    rows: int, tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    one = config(epochs=4)
    train(tmp_path, one)
    path = job(tmp_path, one).directory / "metrics.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: rows + 1])[:-1])
    train(tmp_path, one)
    assert metrics(tmp_path, one) == alone(one)
    assert statuses(tmp_path, one) == ["done"]


# One run's failure is its own


def failing(monkeypatch: pytest.MonkeyPatch, seed: int, epoch: int) -> None:
    """Make the optimizer of the run with this seed raise in the middle of an epoch."""
    step = Trainer._step

    def raising(trainer: Trainer, batch: Any, noise: Any) -> Any:
        chosen = [model for model in trainer.models if (model.config.seed, model.epoch) == (seed, epoch)]
        broken[:] = chosen
        return step(trainer, batch, noise)

    broken: list[Model] = []
    monkeypatch.setattr(Trainer, "_step", raising)
    failure = RuntimeError("no such luck\nsecond line")
    break_steps(monkeypatch, lambda: broken[0] if broken else None, failure)


@pytest.mark.usefixtures("often")
def test_a_run_that_raises_fails_alone_and_can_be_completed(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    bad, good = config(epochs=4, seed=13), [config(epochs=4, **own) for own in MIXED]
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, seed=13, epoch=3)
        train(tmp_path, bad, *good)
    for one in good:
        assert metrics(tmp_path, one) == alone(one)
    record = run_json(tmp_path, bad)
    assert (record["status"], record["epochs_done"]) == ("failed", 2)
    assert record["error"] == "RuntimeError: no such luck"
    assert "in take" in (job(tmp_path, bad).directory / "traceback.txt").read_text()
    assert metrics(tmp_path, bad) == b"".join(alone(bad).splitlines(keepends=True)[:3])
    assert [row.epoch for row in train(tmp_path, bad)] == [3, 4]
    assert metrics(tmp_path, bad) == alone(bad)
    assert statuses(tmp_path, bad) == ["done"]


def test_only_failed_runs_are_trained_with_retry(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    bad, good, new = config(seed=13), config(), config(seed=77)
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, seed=13, epoch=1)
        train(tmp_path, bad, good)
    assert statuses(tmp_path, bad, good) == ["failed", "done"]
    assert [row.epoch for row in train(tmp_path, bad, good, new, retry="failed")] == [1, 2]
    assert statuses(tmp_path, bad, good) == ["done", "done"]
    assert not job(tmp_path, new).directory.exists()
    assert metrics(tmp_path, bad) == alone(config(seed=13))


@pytest.mark.parametrize("file", ["metrics.csv", "timing.csv", "run.json"])
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_folder_in_the_way_of_one_run_stops_no_other(
    file: str, epochs: int, tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    configs = [config(epochs=1), config(epochs=2), config(epochs=3), config(SGD, epochs=2)]
    bad = next(one for one in configs if one.training.epochs == epochs)
    (job(tmp_path, bad).directory / file).mkdir(parents=True)
    train(tmp_path, *configs)
    for one in configs:
        if one is not bad:
            assert metrics(tmp_path, one) == alone(one)
            assert statuses(tmp_path, one) == ["done"]
    if file != "run.json":
        assert statuses(tmp_path, bad) == ["failed"]
        assert "directory" in run_json(tmp_path, bad)["error"].lower()
    (job(tmp_path, bad).directory / file).rmdir()
    train(tmp_path, bad)
    assert metrics(tmp_path, bad) == alone(bad)
    assert statuses(tmp_path, bad) == ["done"]


def test_a_folder_that_gets_in_the_way_at_the_end_stops_no_other(
    tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    configs = [config(epochs=1), config(epochs=2), config(SGD, epochs=2)]
    (job(tmp_path, configs[0]).directory / "predictions.npy").mkdir(parents=True)
    train(tmp_path, *configs)
    assert statuses(tmp_path, *configs) == ["failed", "done", "done"]
    assert [metrics(tmp_path, one) for one in configs] == [alone(one) for one in configs]


def test_a_failure_to_cut_or_to_start_leaves_finished_runs_of_the_trajectory_done(tmp_path: Path) -> None:
    short, long = config(epochs=1), config(epochs=3)
    train(tmp_path, long, until=2)
    (job(tmp_path, config(epochs=4)).directory / "metrics.csv").mkdir(parents=True)
    train(tmp_path, short, long, config(epochs=4))
    assert statuses(tmp_path, short, long, config(epochs=4)) == ["done", "done", "failed"]


def test_a_run_that_diverges_keeps_its_rows_and_stays_diverged(
    tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    wild, sane = config(MOMENTUM | {"lr": 1e30}, epochs=3), config(epochs=3)
    train(tmp_path, wild, sane)
    record = run_json(tmp_path, wild)
    assert (record["status"], record["epochs_done"]) == ("diverged", 1)
    assert "not finite" in record["error"]
    rows = RunDirectory(job(tmp_path, wild).directory).metrics()
    assert len(rows) == 1
    assert not np.isfinite(rows).all()
    assert not (job(tmp_path, wild).directory / "predictions.npy").exists()
    assert metrics(tmp_path, sane) == alone(sane)
    before = snapshot(tmp_path)
    assert train(tmp_path, wild, sane) == []
    assert snapshot(tmp_path) == before
    assert [row.epoch for row in train(tmp_path, wild, rerun=True)] == [1]
    assert statuses(tmp_path, wild) == ["diverged"]


def test_a_run_that_diverges_in_the_last_epoch_of_others_leaves_them_their_test(tmp_path: Path) -> None:
    wild = config(MOMENTUM | {"lr": 1e30}, epochs=1, validation="holdout")
    sane = config(epochs=1, validation="holdout")
    train(tmp_path, wild, sane)
    assert statuses(tmp_path, wild, sane) == ["diverged", "done"]
    assert run_json(tmp_path, sane)["test"]["accuracy"] > 0


def test_all_runs_of_a_trajectory_that_has_not_ended_diverge_with_it(tmp_path: Path) -> None:
    runs = [config(MOMENTUM | {"lr": 1e30}, epochs=epochs) for epochs in (1, 2)]
    train(tmp_path, *runs)
    assert statuses(tmp_path, *runs) == ["diverged", "diverged"]
    assert metrics(tmp_path, runs[0]) == metrics(tmp_path, runs[1])


def test_an_error_of_the_stack_itself_is_kept_with_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Trainer) -> None:
        raise MemoryError("no memory left")

    monkeypatch.setattr(Trainer, "train_epoch", broken)
    with pytest.raises(MemoryError):
        train(tmp_path, config(), config(seed=1))
    for one in (config(), config(seed=1)):
        record = run_json(tmp_path, one)
        assert (record["status"], record["error"]) == ("failed", "MemoryError: no memory left")


def test_the_reason_of_a_failure_is_kept_where_its_traceback_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: RunDirectory, text: str) -> None:
        assert "Traceback" in text
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunDirectory, "write_traceback", full)
    failing(monkeypatch, seed=0, epoch=1)
    train(tmp_path, config())
    record = run_json(tmp_path, config())
    assert (record["status"], record["error"]) == ("failed", "RuntimeError: no such luck")
    assert "RuntimeError: no such luck; that cannot be kept there" in caplog.text


def test_a_run_that_goes_on_on_another_cpu_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, shorter = config(epochs=3), config(epochs=2)
    train(tmp_path, one, until=1)
    own = run_json(tmp_path, one)["environment"]["cpu"]
    monkeypatch.setattr(resume, "cpu", lambda: "another CPU")
    train(tmp_path, one)
    assert "bytes may differ" in caplog.text
    train(tmp_path, shorter)
    for run in (one, shorter):
        assert run_json(tmp_path, run)["environment"]["cpu"] == f"{own}, then another CPU"


# Accelerators


@pytest.fixture
def accelerated(monkeypatch: pytest.MonkeyPatch, often: None) -> None:
    """Train as on an accelerator, and save a checkpoint after each epoch."""
    monkeypatch.setattr(worker, "Trainer", functools.partial(Trainer, accelerated=True))


@pytest.mark.usefixtures("accelerated")
def test_a_thread_writes_while_an_accelerator_trains_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: Callable[[Config], bytes]
) -> None:
    append, threads = RunDirectory.append_row, []

    def noting(directory: RunDirectory, row: Metrics, seconds: float) -> None:
        threads.append((row.epoch, threading.current_thread() is threading.main_thread()))
        append(directory, row, seconds)

    monkeypatch.setattr(RunDirectory, "append_row", noting)
    configs = [config(epochs=epochs, **own) for own in MIXED for epochs in (3, 4)]
    rows = train(tmp_path, *configs)
    assert statuses(tmp_path, *configs) == ["done"] * 8
    assert [row.epoch for row in rows] == [epoch for epoch in (1, 2, 3, 4) for _ in MIXED]
    assert set(threads) == {(1, False), (2, False), (3, True), (4, True)}  # runs end after epochs 3 and 4
    assert all(metrics(tmp_path, one).count(b"\n") == 1 + one.training.epochs for one in configs)


@pytest.mark.usefixtures("accelerated")
def test_a_stack_that_an_accelerator_was_stopped_in_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    configs = [config(epochs=6, **own) for own in MIXED]
    train(tmp_path / "straight", *configs)
    for _ in range(2):
        train(tmp_path / "stopped", *configs, until=1)
        assert statuses(tmp_path / "stopped", *configs) == ["interrupted"] * len(MIXED)
    train(tmp_path / "stopped", *configs)
    for one in configs:
        assert metrics(tmp_path / "stopped", one) == metrics(tmp_path / "straight", one)


@pytest.mark.usefixtures("accelerated")
def test_a_directory_that_cannot_be_written_fails_its_own_run_while_an_accelerator_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, broken, sane = RunDirectory.append_row, config(epochs=4), config(epochs=4, seed=1)

    def full(directory: RunDirectory, row: Metrics, seconds: float) -> None:
        if directory.path.name == job(tmp_path, broken).name and row.epoch == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(directory, row, seconds)

    monkeypatch.setattr(RunDirectory, "append_row", full)
    train(tmp_path, broken, sane)
    assert statuses(tmp_path, broken, sane) == ["failed", "done"]


@pytest.mark.usefixtures("accelerated")
def test_an_error_of_the_writing_thread_is_kept_with_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: RunDirectory, row: Metrics, __: float) -> None:
        if row.epoch == 1:  # later rows would be written by the main thread
            raise MemoryError("no memory left")

    monkeypatch.setattr(RunDirectory, "append_row", broken)
    with pytest.raises(MemoryError):
        train(tmp_path, config(epochs=3), config(epochs=3, seed=1))
    assert statuses(tmp_path, config(epochs=3), config(epochs=3, seed=1)) == ["failed", "failed"]


# Other locks


def test_a_lease_is_taken_over_once_its_holder_renews_it_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_directory, "LEASE_SECONDS", 2.0)
    held, free = job(tmp_path, config(seed=1), lock="lease"), job(tmp_path, config(), lock="lease")
    holder = (
        "import sys, time; from pathlib import Path; from fmnist_sweep.store import run_directory as store\n"
        "store.LEASE_SECONDS = 2.0\n"
        "lock = store.lock(Path(sys.argv[1]), sys.argv[2], 'lease'); lock.acquire(); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    command = [sys.executable, "-c", holder, str(held.directory), held.name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert worker.train_stack([[free], [held]], FOLDER) == [1]
        process.send_signal(signal.SIGSTOP)  # as a node that is cut off from the network
        assert worker.train_stack([[held]], FOLDER) == []
    finally:
        process.kill()
        process.communicate()
    assert statuses(tmp_path, config(), config(seed=1)) == ["done", "done"]


def test_asked_to_stop_before_the_first_epoch_a_run_is_interrupted(tmp_path: Path) -> None:
    one, asked = config(), iter([False])
    # The first answer lets the stack be taken up.
    worker.train_stack(plan.group([job(tmp_path, one)]), FOLDER, lambda: next(asked, True))
    assert statuses(tmp_path, one) == ["interrupted"]


# The held-out test set


@pytest.mark.parametrize("stops", [(), (1,), (2,)])
def test_the_test_set_is_evaluated_once_at_the_end(
    stops: Sequence[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, tested = piece(430, 250, "holdout"), []
    assert data.test_images is not None
    assert data.test_labels is not None
    evaluate = Trainer.evaluate

    def listen(trainer: Trainer, images: torch.Tensor, labels: torch.Tensor) -> training.Evaluation:
        result = evaluate(trainer, images, labels)
        if torch.equal(images, data.test_images):
            tested.append((trainer.models[0].epoch, result))
        return result

    monkeypatch.setattr(Trainer, "evaluate", listen)
    one = config(epochs=3, validation="holdout")
    for epochs in stops:
        train(tmp_path, one, until=epochs)
        assert run_json(tmp_path, one)["test"] is None
    train(tmp_path, one)
    assert [epoch for epoch, _ in tested] == [3]
    result = tested[0][1]
    assert run_json(tmp_path, one)["test"] == {"loss": result.loss.item(), "accuracy": result.accuracy.item()}
    assert result.accuracy.item() == (result.predictions[0] == data.test_labels).double().mean().item()


def test_runs_with_a_held_out_test_set_are_never_cut(tmp_path: Path, alone: Callable[[Config], bytes]) -> None:
    short, long = (config(epochs=epochs, validation="holdout") for epochs in (2, 3))
    train(tmp_path, long)
    assert len(train(tmp_path, short)) == 2
    record = run_json(tmp_path, short)
    assert record["cut_from"] is None
    assert record["test"] != run_json(tmp_path, long)["test"]
    assert metrics(tmp_path, short) == alone(short)


def test_a_shorter_run_with_a_held_out_test_set_does_not_throw_a_longer_one_back(
    tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    short, long = (config(epochs=epochs, validation="holdout") for epochs in (2, 5))
    assert len(train(tmp_path, long, until=4)) == 4
    assert len(train(tmp_path, short, long)) == 1 + 2
    assert statuses(tmp_path, short, long) == ["done", "done"]
    assert [metrics(tmp_path, one) for one in (short, long)] == [alone(short), alone(long)]


def test_without_a_held_out_test_set_there_is_no_test(tmp_path: Path) -> None:
    train(tmp_path, config())
    assert run_json(tmp_path, config())["test"] is None


def test_a_run_with_a_split_measures_on_the_test_images_after_each_epoch(
    often: None, tmp_path: Path, alone: Callable[[Config], bytes]
) -> None:
    short, long = (config(MOMENTUM, epochs=epochs, validation="split") for epochs in (2, 3))
    train(tmp_path, long, until=1)
    rows = train(tmp_path, long)
    assert train(tmp_path, short) == []
    assert run_json(tmp_path, short)["cut_from"] == run_name(long)
    for one in (short, long):
        assert metrics(tmp_path, one) == alone(one)
        header, *lines = metrics(tmp_path, one).decode().splitlines()
        assert header.endswith(",val_loss,val_accuracy,test_loss,test_accuracy")
        assert len(lines) == one.training.epochs and {line.count(",") for line in lines} == {8}
        assert run_json(tmp_path, one)["test"] is None
    full = piece(430, 250, "split")
    assert full.test_images is not None and full.test_labels is not None
    model = Trainer([long], [start(long)], full)
    for expected in (None, *rows):
        row = model.train_epoch()[0]
        if expected is not None:
            assert row == expected
    tested = model.evaluate(full.test_images, full.test_labels)
    assert (rows[-1].test_loss, rows[-1].test_accuracy) == (tested.loss.item(), tested.accuracy.item())
    table = collect(tmp_path)
    assert table.metrics.loc[table.metrics["run"] == run_name(long), "test_loss"].iloc[-1] == tested.loss.item()
    assert (table.runs["test_accuracy"] > 0).all()


@pytest.mark.parametrize("keys", NEW_KEYS, ids=str)
def test_the_model_of_a_run_is_the_matching_sequential(keys: dict[str, Any], tmp_path: Path) -> None:
    one = config(**{"hidden": [17, 9], **keys})
    row = train(tmp_path, one)[-1]
    directory = job(tmp_path, one).directory
    model, data = load_model(directory), piece(430, 250)
    assert not model.training
    predictions = model((data.val_images / 255 - 0.5) / 0.5).argmax(1)
    assert (predictions == data.val_labels).double().mean().item() == row.val_accuracy
    assert np.array_equal(predictions.numpy(), np.load(directory / "predictions.npy", allow_pickle=False))
    if one.model.norm:
        norms = [layer for layer in model if isinstance(layer, torch.nn.BatchNorm1d)]
        assert len(norms) == len(one.model.hidden) and all((norm.running_mean != 0).any() for norm in norms)
