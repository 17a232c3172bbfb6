"""Whole commands, real processes: the same bytes however runs are launched, stopped, killed and taken up again."""

from __future__ import annotations

import csv
import functools
import itertools
import json
import os
import pty
import random
import re
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from command import call, run_command
from running import kill_all, started, wait_until
from small_runs import ADAM, MOMENTUM, config

from fmnist_sweep import data
from fmnist_sweep.config.compose import name_of
from fmnist_sweep.config.identity import trajectory_name
from fmnist_sweep.config.schema import Config, Execution
from fmnist_sweep.sweeps import worker
from fmnist_sweep.sweeps.plan import Job

OPTIMIZERS = {"adam": ADAM, "sgd_momentum": MOMENTUM}
SMALL = ["model.hidden=[16]", "batch_size=1000"]


def run(optimizer: str = "adam", seed: int = 0, epochs: int = 2, batch_size: int = 1000) -> Config:
    """The configuration that SMALL and these values give."""
    return config(OPTIMIZERS[optimizer], batch_size=batch_size, epochs=epochs, hidden=[16], seed=seed)


def run_name(one: Config) -> str:
    return name_of(one, Execution())


@functools.cache
def _trained_alone(name: str) -> list[bytes]:
    """The lines of metrics.csv of a run that is trained in this process and never interrupted."""
    one = _CONFIGS[name]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / name
        assert worker.train_stack([[Job(one, Execution(), name, directory)]], data.prepare(None)) == []
        lines = (directory / "metrics.csv").read_bytes().splitlines(keepends=True)
    torch.set_num_threads(threads)
    return lines


_CONFIGS: dict[str, Config] = {}


def alone(one: Config) -> bytes:
    """The metrics.csv that a run must have: the first rows of the longest that this module needs."""
    longest = run(**{**_key(one), "epochs": max(one.training.epochs, 3)})
    _CONFIGS[run_name(longest)] = longest
    return b"".join(_trained_alone(run_name(longest))[: one.training.epochs + 1])


def _key(one: Config) -> dict[str, Any]:
    return {
        "optimizer": next(name for name, arguments in OPTIMIZERS.items() if arguments == one.optimizer),
        "seed": one.seed,
        "batch_size": one.training.batch_size,
    }


def directory(store: Path, one: Config) -> Path:
    return store / run_name(one)


def rows(store: Path, one: Config) -> int:
    """Whole rows that a run has so far."""
    try:
        return max((directory(store, one) / "metrics.csv").read_bytes().count(b"\n") - 1, 0)
    except FileNotFoundError:
        return 0


def status(store: Path, one: Config) -> str | None:
    try:
        content = json.loads((directory(store, one) / "run.json").read_bytes())
    except FileNotFoundError:
        return None
    return str(content["status"])


def timing(store: Path, one: Config) -> list[list[str]]:
    with (directory(store, one) / "timing.csv").open() as stream:
        return list(csv.reader(stream))


def assert_done(store: Path, *configs: Config) -> None:
    """These runs are done, with the bytes of a run alone."""
    for one in configs:
        assert status(store, one) == "done", run_name(one)
        assert (directory(store, one) / "metrics.csv").read_bytes() == alone(one), run_name(one)


def snapshot(store: Path) -> dict[str, tuple[int, int]]:
    """Results in a store: inode and time of change of every file that training writes."""
    names = ("metrics.csv", "timing.csv", "run.json", "predictions.npy", "*.pt")
    paths = [path for name in names for path in store.glob(f"*/{name}")]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


# Ways to launch


def test_a_grid_is_trained_once_and_extended(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "optimizer=adam,sgd_momentum", "seed=0,1", *SMALL, f"hydra.sweep.dir={store}"]
    two = [run(optimizer, seed) for optimizer in OPTIMIZERS for seed in (0, 1)]

    first = run_command(*grid, "epochs=2", "workers=2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert_done(store, *two)
    assert "optimizer=adam,sgd_momentum" in (store / "multirun.yaml").read_text()
    assert all(len(re.findall(rf"{run_name(one)} .*done.*2/2", first.stderr)) == 1 for one in two)  # the closing table
    for one in two:
        assert (directory(store, one) / ".hydra" / "config.yaml").exists()
        assert (directory(store, one) / "run.log").exists()

    before = snapshot(store)
    again = run_command(*grid, "epochs=2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert snapshot(store) == before

    # Continued from shorter runs, in one process instead of two; and shorter ones cut from those.
    planned = call(*grid, "epochs=3,2,1", "dry_run=true", cwd=tmp_path)
    assert snapshot(store) == before
    lines = planned.err.splitlines()
    for optimizer, seed in itertools.product(OPTIMIZERS, (0, 1)):
        for epochs, said in ((1, "cut"), (2, "done"), (3, "after epoch 2")):
            name = run_name(run(optimizer, seed, epochs))
            assert any(name in line and said in line for line in lines), planned.err
    longer = [run(optimizer, seed, 3) for optimizer in OPTIMIZERS for seed in (0, 1)]
    extended = run_command(*grid, "epochs=3,1", "workers=1", cwd=tmp_path)
    assert extended.returncode == 0, extended.stderr
    assert_done(store, *two, *longer, *[run(optimizer, seed, 1) for optimizer in OPTIMIZERS for seed in (0, 1)])
    for short, long in zip(two, longer, strict=True):
        assert timing(store, long)[:3] == timing(store, short)  # two epochs were not trained again
    kept = snapshot(store)
    assert {path: kept[path] for path in before} == before


def test_workers_stay_up_between_the_batches_of_a_sweep(tmp_path: Path) -> None:
    store = tmp_path / "store"
    seeds = [run(seed=seed, epochs=3) for seed in (0, 1)]
    grid = ["-m", *SMALL, "epochs=3", "seed=0,1", "workers=1", f"hydra.sweep.dir={store}"]
    with started(tmp_path, *grid, "hydra.sweeper.max_batch_size=1") as command:
        of_batch = []
        for one in seeds:
            command.until(lambda one=one: rows(store, one) >= 1)  # type: ignore[misc]
            of_batch.append([worker.pid for worker in command.workers()])
        assert command.wait() == 0, command.output
    assert of_batch[0] == of_batch[1]
    assert len(of_batch[0]) == 1
    assert_done(store, *seeds)


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.slow)])
def test_hydras_launchers_give_the_same_bytes(launcher: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = run_command(
        "-m",
        f"hydra/launcher={launcher}",
        "optimizer=adam,sgd_momentum",
        "epochs=1,2",
        *SMALL,
        f"hydra.sweep.dir={store}",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert_done(store, *[run(optimizer, epochs=epochs) for optimizer in OPTIMIZERS for epochs in (1, 2)])


@pytest.mark.slow
def test_a_single_run_in_a_folder_of_its_own_has_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    done = run_command("epochs=2", *SMALL, f"hydra.run.dir={folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (folder / "metrics.csv").read_bytes() == alone(run())
    assert json.loads((folder / "run.json").read_bytes())["status"] == "done"


# Interruptions


@pytest.mark.parametrize(
    ("number", "times"),
    [
        (signal.SIGINT, 1),
        pytest.param(signal.SIGINT, 3, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.slow),
    ],
)
def test_a_sweep_interrupted_and_resumed(number: signal.Signals, times: int, tmp_path: Path) -> None:
    store = tmp_path / "store"
    epochs = 4 + 4 * times
    grid = ["-m", "optimizer=adam,sgd_momentum", f"epochs={epochs}", *SMALL, f"hydra.sweep.dir={store}"]
    runs = [run(optimizer, epochs=epochs) for optimizer in OPTIMIZERS]
    chance = random.Random(20)
    trained = 0
    for _ in range(times):
        with started(tmp_path, *grid, "workers=2") as command:
            goal = trained + chance.randint(1, 2)
            command.until(functools.partial(lambda goal: min(rows(store, one) for one in runs) >= goal, goal))
            command.process.send_signal(number)
            assert command.wait() == 128 + number
            assert "the same command goes on" in command.output
            assert "Traceback" not in command.output
        counts = [rows(store, one) for one in runs]
        assert {status(store, one) for one in runs} - {"done"} == {"interrupted"}  # one may have got far ahead
        for one, count in zip(runs, counts, strict=True):
            assert (directory(store, one) / f"checkpoint-{count}.pt").exists()
        trained = min(counts)
        stopped = [timing(store, one) for one in runs]
    done = run_command(*grid, "workers=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_done(store, *runs)
    for one, part in zip(runs, stopped, strict=True):
        assert timing(store, one)[: len(part)] == part  # nothing was trained again


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        pytest.param(signal.SIGINT, [], marks=pytest.mark.slow, id="single"),
        pytest.param(signal.SIGTERM, [], marks=pytest.mark.slow, id="single-terminated"),
        pytest.param(signal.SIGINT, ["-m", "hydra/launcher=basic", "seed=0,1"], id="basic"),
        pytest.param(signal.SIGINT, ["-m", "hydra/launcher=joblib", "seed=0,1"], marks=pytest.mark.slow, id="joblib"),
    ],
)
def test_runs_that_train_one_by_one_interrupted_and_resumed(
    number: signal.Signals, arguments: list[str], tmp_path: Path
) -> None:
    store, runs = tmp_path / "store", [run(epochs=8, seed=seed) for seed in (0, 1)]
    arguments = [*arguments, "epochs=8", *SMALL, f"hydra.sweep.dir={store}"]
    with started(tmp_path, *arguments) as command:
        command.until(lambda: rows(store, runs[0]) >= 1)
        os.killpg(command.process.pid, number)  # as a terminal does
        assert command.wait() == 128 + number
        assert "the same command goes on" in command.output
        assert "Traceback" not in command.output
    assert status(store, runs[0]) == "interrupted"
    assert status(store, runs[1]) in (None, "interrupted")
    if "joblib" not in " ".join(arguments):  # joblib kills what it runs
        assert status(store, runs[1]) is None
        assert list(directory(store, runs[0]).glob("checkpoint-*.pt"))
        done = run_command(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert_done(store, *runs[: 2 if "-m" in arguments else 1])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sweep", [True, False], ids=["sweep", "single"])
def test_interrupted_twice_at_once_it_stops_now(number: signal.Signals, sweep: bool, tmp_path: Path) -> None:
    store, one = tmp_path / "store", config(batch_size=1, hidden=[300, 300])  # an epoch of it takes a minute or more
    arguments = ["-m"] * sweep + ["model.hidden=[300,300]", "batch_size=1", "epochs=2", f"hydra.sweep.dir={store}"]
    with started(tmp_path, *arguments) as command:
        command.until(lambda: status(store, one) == "running")
        time.sleep(2)
        command.process.send_signal(number)
        time.sleep(1)
        assert command.process.poll() is None
        command.process.send_signal(number)
        assert command.process.wait(20) == 128 + number
        assert rows(store, one) == 0
        assert status(store, one) == "interrupted"
        assert "Traceback" not in command.output
        assert ("1 interrupted in" in command.output) is sweep


def test_interrupted_while_workers_start_nothing_is_trained(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with started(tmp_path, "-m", "epochs=500", "seed=0,1", *SMALL, f"hydra.sweep.dir={store}") as command:
        command.until(lambda: bool(command.workers()))
        os.killpg(command.process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        assert command.wait() == 130
        assert "Traceback" not in command.output
    assert {status(store, run(epochs=500, seed=seed)) for seed in (0, 1)} <= {None, "interrupted"}


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [True, False], ids=["sweep", "single"])
def test_a_terminal_that_is_closed_interrupts(sweep: bool, tmp_path: Path) -> None:
    store, one = tmp_path / "store", run(epochs=500)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        many = ["-m"] * sweep
        command = [sys.executable, "-m", "fmnist_sweep", *many, "epochs=500", *SMALL, f"hydra.sweep.dir={store}"]
        os.execv(sys.executable, command)
    os.set_blocking(terminal, False)

    def is_training() -> bool:
        with suppress(BlockingIOError):
            os.read(terminal, 1 << 16)  # or it would wait for its output to be read
        return rows(store, one) >= 1

    wait_until(is_training)
    os.close(terminal)
    _, ended = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended) == 128 + signal.SIGHUP
    assert status(store, one) == "interrupted"
    assert (directory(store, one) / f"checkpoint-{rows(store, one)}.pt").exists()


# Kills


def test_a_killed_worker_takes_nothing_but_its_own_runs_with_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "model.hidden=[16]", "batch_size=1000,500", "seed=0,1", "epochs=5", f"hydra.sweep.dir={store}"]
    # One stack of each batch size at a time.
    hit = [run(seed=seed, epochs=5, batch_size=1000) for seed in (0, 1)]
    spared = [run(seed=seed, epochs=5, batch_size=500) for seed in (0, 1)]
    with started(tmp_path, *grid, "workers=2") as command:
        victim: list[Config] = []

        def training() -> bool:
            victim[:] = [one for one in [*hit, *spared] if rows(store, one) >= 1]
            return bool(victim)

        command.until(training)
        process = command.worker_of(victim[0])
        held = {Path(file.path).name for file in process.open_files()}
        process.kill()
        assert command.wait() == 1
        output = command.output
    lost = [one for one in [*hit, *spared] if f"{trajectory_name(run_name(one))}.lock" in held]
    kept = [one for one in [*hit, *spared] if one not in lost]
    assert lost
    assert kept
    assert {status(store, one) for one in lost} == {"failed"}
    assert_done(store, *kept)
    for one in lost:
        assert re.search(rf"{run_name(one)} .*failed", output)
        assert "worker died" in json.loads((directory(store, one) / "run.json").read_bytes())["error"]
    before = {path: seen for path, seen in snapshot(store).items() if any(run_name(one) in path for one in kept)}
    again = run_command(*grid, "workers=1", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_done(store, *hit, *spared)
    after = snapshot(store)
    assert {path: after[path] for path in before} == before


def test_workers_stop_by_themselves_when_their_parent_is_killed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "optimizer=adam,sgd_momentum", "epochs=30", *SMALL, f"hydra.sweep.dir={store}"]
    runs = [run(optimizer, epochs=30) for optimizer in OPTIMIZERS]
    with started(tmp_path, *grid, "workers=2") as command:
        command.until(lambda: min(rows(store, one) for one in runs) >= 1)
        workers = command.workers()
        assert len(workers) == 2
        command.process.kill()
        command.process.wait()
        gone, alive = psutil.wait_procs(workers, 30)
        assert not alive
        assert len(gone) == 2
        assert "Traceback" not in command.output
    assert {status(store, one) for one in runs} == {"interrupted"}
    counts = [rows(store, one) for one in runs]
    assert max(counts) < 30
    for one, count in zip(runs, counts, strict=True):
        expected = alone(run(**_key(one), epochs=3)).splitlines(keepends=True)
        assert (directory(store, one) / "metrics.csv").read_bytes().splitlines(keepends=True)[:4] == expected[
            : count + 1
        ]
    # Shorter runs are cut from what there is or continue it.
    done = run_command(*[a if a != "epochs=30" else "epochs=3" for a in grid], "workers=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_done(store, *[run(**_key(one), epochs=3) for one in runs])


@pytest.mark.slow
def test_killed_altogether_again_and_again(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "optimizer=adam,sgd_momentum", "seed=0,1", "epochs=2,6", *SMALL, f"hydra.sweep.dir={store}"]
    runs = [run(optimizer, seed, epochs) for optimizer in OPTIMIZERS for seed in (0, 1) for epochs in (2, 6)]
    for reached in (1, 2, 4):
        with started(tmp_path, *grid, f"workers={reached % 2 + 1}") as command:
            command.until(functools.partial(lambda goal: max(rows(store, one) for one in runs) >= goal, reached))
            time.sleep(random.Random(reached).random() / 2)
            kill_all(command.process)
    done = run_command(*grid, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_done(store, *runs)


@pytest.mark.slow
def test_kills_between_checkpoints_that_time_makes(tmp_path: Path) -> None:
    """Runs that last longer than the time between checkpoints go on from one of them."""
    store, one = tmp_path / "store", run(epochs=60)
    arguments = ["-m", "epochs=60", *SMALL, f"hydra.sweep.dir={store}"]
    with started(tmp_path, *arguments) as command:
        command.until(lambda: bool(list(directory(store, one).glob("checkpoint-*.pt"))))
        time.sleep(1)
        kill_all(command.process)
    kept = max(int(path.stem.split("-")[1]) for path in directory(store, one).glob("checkpoint-*.pt"))
    before = timing(store, one)[: kept + 1]
    done = run_command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_done(store, one)
    assert timing(store, one)[: kept + 1] == before


# Two sweeps at once


def test_two_sweeps_of_overlapping_grids_at_the_same_moment(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grids = [["seed=0,1,2", "epochs=3"], ["seed=1,2,3", "epochs=3,2"]]
    runs = [run(seed=seed, epochs=3) for seed in range(4)] + [run(seed=seed, epochs=2) for seed in (1, 2, 3)]
    inodes: dict[str, set[int]] = {}

    def look() -> bool:
        """Note which files the rows are in: training a run anew would begin another one."""
        for path in store.glob("*/metrics.csv"):
            try:
                if path.read_bytes().count(b"\n") > 1:
                    inodes.setdefault(path.parent.name, set()).add(path.stat().st_ino)
            except FileNotFoundError:
                continue
        return all(command.process.poll() is not None for command in (first, second))

    common = ["-m", *SMALL, f"hydra.sweep.dir={store}"]
    with started(tmp_path, *common, *grids[0]) as first, started(tmp_path, *common, *grids[1]) as second:
        wait_until(look)
        assert (first.wait(), second.wait()) == (0, 0), first.output + second.output
        look()
    assert_done(store, *runs)
    assert set(inodes) == {run_name(one) for one in runs}
    assert all(len(files) == 1 for files in inodes.values())


# Trouble within a grid


def test_runs_that_fail_and_diverge_stop_no_other(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = [
        "-m",
        "optimizer=sgd_momentum",
        "optimizer.lr=0.01,1e30",
        *SMALL,
        "epochs=1",
        "workers=1",
        f"hydra.sweep.dir={store}",
    ]
    good, bad, new = (run("sgd_momentum", seed, 1) for seed in (0, 1, 2))
    wild = [config(MOMENTUM | {"lr": 1e30}, batch_size=1000, epochs=1, seed=seed) for seed in (0, 1)]
    obstacle = directory(store, bad) / "metrics.csv"
    obstacle.mkdir(parents=True)
    first = run_command(*grid, "seed=0,1", cwd=tmp_path)
    assert first.returncode == 1
    assert "3 of 4 runs did not end well" in first.stderr
    assert "Traceback" not in first.stderr
    assert_done(store, good)
    assert [status(store, one) for one in (bad, *wild)] == ["failed", "diverged", "diverged"]
    for one, ended in zip((good, bad, *wild), ("done", "failed", "diverged", "diverged"), strict=True):
        assert re.search(rf"{re.escape(run_name(one))} .*{ended}.*/1 ", first.stderr), ended  # the closing table
    assert "Is a directory" in (directory(store, bad) / "traceback.txt").read_text()
    assert [rows(store, one) for one in wild] == [1, 1]

    # With retry=failed the failed run is trained, and nothing else: neither diverged nor new ones.
    obstacle.rmdir()
    before = snapshot(store)
    second = run_command(*grid, "seed=0,1,2", "retry=failed", cwd=tmp_path)
    assert second.returncode == 1
    assert_done(store, good, bad)
    assert status(store, new) is None
    after = snapshot(store)
    unchanged = {path: seen for path, seen in before.items() if run_name(bad) not in path}
    assert {path: after[path] for path in unchanged} == unchanged


@pytest.mark.parametrize("several", [[], ["-m"]], ids=["single", "sweep"])
def test_what_retry_leaves_as_it_is_is_no_failure(several: list[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    called = call(*several, *SMALL, "retry=failed", f"hydra.sweep.dir={store}", cwd=tmp_path)
    assert called.code == 0, called.err
    assert list(store.glob("*/run.json")) == []


@pytest.mark.slow
def test_diverged_runs_are_trained_again_only_by_rerun(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = [
        "-m",
        "optimizer=sgd_momentum",
        "optimizer.lr=0.01,1e30",
        *SMALL,
        "epochs=1",
        "workers=1",
        f"hydra.sweep.dir={store}",
    ]
    good, wild = run("sgd_momentum", 0, 1), config(MOMENTUM | {"lr": 1e30}, batch_size=1000, epochs=1)
    assert run_command(*grid, cwd=tmp_path).returncode == 1
    before = snapshot(store)
    assert run_command(*grid, cwd=tmp_path).returncode == 1
    assert snapshot(store) == before
    assert run_command(*grid, "rerun=true", cwd=tmp_path).returncode == 1
    after = snapshot(store)
    assert all(after[path][1] != before[path][1] for path in before)
    assert_done(store, good)
    assert status(store, wild) == "diverged"


def test_data_that_one_job_cannot_have_stop_no_other(tmp_path: Path) -> None:
    store, corrupt, figures = tmp_path / "store", tmp_path / "corrupt", tmp_path / "conf" / "figure"
    corrupt.mkdir()
    for path in data.prepare(None).iterdir():
        (corrupt / path.name).symlink_to(path)
    labels = corrupt / "train-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    labels.unlink()
    content[-1] ^= 1
    labels.write_bytes(content)
    figures.mkdir(parents=True)
    (figures / "mixed.yaml").write_text(
        "# @package hydra\nmode: MULTIRUN\nsweeper:\n  grids:\n    good: {seed: '0'}\n"
        f"    bad: {{seed: '1,2', data.dir: '{corrupt}'}}\n"
    )
    common = ["epochs=1", "workers=1", *SMALL, f"hydra.sweep.dir={store}"]
    arguments = ["--config-dir", str(tmp_path / "conf"), "figure=mixed", *common]
    good, bad, finished = (run(seed=seed, epochs=1) for seed in (0, 1, 2))
    assert run_command("-m", "seed=2", *common, cwd=tmp_path).returncode == 0

    before = snapshot(store)
    planned = call(*arguments, "dry_run=true", cwd=tmp_path)
    assert planned.code == 0, planned.err
    assert not directory(store, bad).exists()
    assert snapshot(store) == before

    done = run_command(*arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert_done(store, good, finished)
    assert status(store, bad) == "failed"
    error = json.loads((directory(store, bad) / "run.json").read_bytes())["error"]
    assert str(labels) in error
    assert "\n" not in error
    assert re.search(rf"{run_name(bad)} .*failed", done.stderr)
    assert "Traceback" not in done.stderr
    after = snapshot(store)
    assert {path: after[path] for path in before} == before  # what is finished stays so, wherever its data are


@pytest.mark.parametrize("many", [[], ["-m"]], ids=["single", "sweep"])
def test_a_dry_run_changes_nothing(many: list[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    planned = call(*many, *SMALL, f"hydra.sweep.dir={store}", "epochs=3", "dry_run=true", cwd=tmp_path)
    assert planned.code == 0
    assert run_name(run(epochs=3)) in planned.err + planned.out
    assert not store.exists()
