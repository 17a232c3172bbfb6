"""Whole sweeps: what they train, extend and leave alone, with the same bytes however they are launched."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from command import INLINE, call
from running import started
from small_runs import MOMENTUM, config
from stored_runs import OPTIMIZERS, SMALL, alone, assert_done, directory, rows, run, run_name, snapshot, status, timing

from fmnist_sweep import data

# Ways to launch


def test_a_grid_is_trained_once_and_extended(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "optimizer=adam,sgd_momentum", "seed=0,1", *SMALL, f"hydra.sweep.dir={store}"]
    two = [run(optimizer, seed) for optimizer in OPTIMIZERS for seed in (0, 1)]

    first = call(*grid, INLINE, "epochs=2", "show=runs", cwd=tmp_path)
    assert first.code == 0, first.err
    assert_done(store, *two)
    assert "optimizer=adam,sgd_momentum" in (store / "multirun.yaml").read_text()
    assert all(len(re.findall(rf"{run_name(one)} .*done.*2/2", first.err)) == 1 for one in two)  # the closing table
    for one in two:
        assert (directory(store, one) / ".hydra" / "config.yaml").exists()
        assert (directory(store, one) / "run.log").exists()

    before = snapshot(store)
    again = call(*grid, INLINE, "epochs=2", cwd=tmp_path)
    assert again.code == 0, again.err
    assert snapshot(store) == before

    # Continued from shorter runs, and shorter ones cut from those.
    planned = call(*grid, "epochs=3,2,1", "dry_run=true", "show=plan", cwd=tmp_path)
    assert snapshot(store) == before
    lines = planned.out.splitlines()
    for optimizer, seed in itertools.product(OPTIMIZERS, (0, 1)):
        for epochs, said in ((1, "cut"), (2, "done"), (3, "after epoch 2")):
            name = run_name(run(optimizer, seed, epochs))
            assert any(name in line and said in line for line in lines), planned.out
    longer = [run(optimizer, seed, 3) for optimizer in OPTIMIZERS for seed in (0, 1)]
    extended = call(*grid, INLINE, "epochs=3,1", cwd=tmp_path)
    assert extended.code == 0, extended.err
    assert_done(store, *two, *longer, *[run(optimizer, seed, 1) for optimizer in OPTIMIZERS for seed in (0, 1)])
    for short, long in zip(two, longer, strict=True):
        assert timing(store, long)[:3] == timing(store, short)  # two epochs were not trained again
    kept = snapshot(store)
    assert {path: kept[path] for path in before} == before


@pytest.mark.slow
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
    grid = ["optimizer=adam,sgd_momentum", "epochs=1,2", *SMALL, f"hydra.sweep.dir={store}"]
    done = call("-m", f"hydra/launcher={launcher}", *grid, cwd=tmp_path)
    assert done.code == 0, done.err
    assert_done(store, *[run(optimizer, epochs=epochs) for optimizer in OPTIMIZERS for epochs in (1, 2)])


def test_a_single_run_in_a_folder_of_its_own_has_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    done = call("epochs=2", *SMALL, f"hydra.run.dir={folder}", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (folder / "metrics.csv").read_bytes() == alone(run())
    assert json.loads((folder / "run.json").read_bytes())["status"] == "done"


# Trouble within a grid


def test_runs_that_fail_and_diverge_stop_no_other(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = [
        "-m",
        "optimizer=sgd_momentum",
        "optimizer.lr=0.01,1e30",
        *SMALL,
        "epochs=1",
        INLINE,
        f"hydra.sweep.dir={store}",
    ]
    good, bad, new = (run("sgd_momentum", seed, 1) for seed in (0, 1, 2))
    wild = [config(MOMENTUM | {"lr": 1e30}, batch_size=1000, epochs=1, seed=seed) for seed in (0, 1)]
    obstacle = directory(store, bad) / "metrics.csv"
    obstacle.mkdir(parents=True)
    first = call(*grid, "seed=0,1", "show=runs", cwd=tmp_path)
    assert first.code == 1
    assert "3 of 4 runs did not end well" in first.err
    assert "Traceback" not in first.err
    assert_done(store, good)
    assert [status(store, one) for one in (bad, *wild)] == ["failed", "diverged", "diverged"]
    for one, ended in zip((good, bad, *wild), ("done", "failed", "diverged", "diverged"), strict=True):
        assert re.search(rf"{re.escape(run_name(one))} .*{ended}.*/1 ", first.err), ended  # the closing table
    assert "Is a directory" in (directory(store, bad) / "traceback.txt").read_text()
    assert [rows(store, one) for one in wild] == [1, 1]

    # With retry=failed the failed run is trained, and nothing else: neither diverged nor new ones.
    obstacle.rmdir()
    before = snapshot(store)
    second = call(*grid, "seed=0,1,2", "retry=failed", cwd=tmp_path)
    assert second.code == 1
    assert_done(store, good, bad)
    assert status(store, new) is None
    after = snapshot(store)
    unchanged = {path: seen for path, seen in before.items() if run_name(bad) not in path}
    assert {path: after[path] for path in unchanged} == unchanged


@pytest.mark.parametrize("executor", [INLINE, "workers=1"])
def test_a_sweep_stops_at_the_failure_that_is_one_too_many(executor: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "optimizer=sgd_momentum", executor, "model.hidden=[16]", "epochs=30", f"hydra.sweep.dir={store}"]
    grid += ["zip=[optimizer.lr,batch_size,seed]", "optimizer.lr=0.01,1e30,0.01", "batch_size=1000,1000,30000"]
    grid += ["seed=0,1,2", "max_failures=1"]
    good, wild, other = (
        config(MOMENTUM | {"lr": rate}, batch_size=size, epochs=30, hidden=[16], seed=seed)
        for seed, (rate, size) in enumerate([(0.01, 1000), (1e30, 1000), (0.01, 30000)])
    )
    stopped = call(*grid, cwd=tmp_path)
    assert stopped.code == 1
    assert stopped.err.splitlines()[-1] == (
        f"fmnist_sweep: max_failures=1: stopped, because 1 run did not end well ({run_name(wild)} diverged: the loss "
        "is not finite after epoch 1; try a smaller learning rate); 2 runs left: the same command goes on from here, "
        "without max_failures whatever fails"
    )
    assert [status(store, one) for one in (good, wild, other)] == ["interrupted", "diverged", None]
    assert 1 <= rows(store, good) < 30
    assert (store / "multirun.yaml").exists()

    # It goes on from the checkpoint, and what ended in an earlier sweep does not count again.
    planned = call(*grid, "dry_run=true", "show=plan", cwd=tmp_path)
    assert f"continue after epoch {rows(store, good)}: {run_name(good)}" in planned.out
    again = call(*grid, cwd=tmp_path)
    assert again.code == 1 and "1 of 3 runs did not end well" in again.err.splitlines()[-1]
    assert [status(store, one) for one in (good, wild, other)] == ["done", "diverged", "done"]


@pytest.mark.parametrize("most", [1, 2])
def test_a_sweep_with_as_many_failures_as_it_may_have_at_its_end_is_an_ordinary_one(most: int, tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "optimizer.lr=0.01,1e30", *SMALL, "epochs=1", f"max_failures={most}", INLINE]
    called = call(*grid, f"hydra.sweep.dir={store}", cwd=tmp_path)
    assert called.code == 1
    assert called.err.splitlines()[-1].startswith("fmnist_sweep: 1 of 2 runs did not end well: ")


def test_failures_count_over_the_batches_of_a_sweep(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "seed=0,1,2", "optimizer.lr=1e30", *SMALL, "epochs=1", INLINE, "hydra.sweeper.max_batch_size=1"]
    called = call(*grid, "max_failures=2", f"hydra.sweep.dir={store}", cwd=tmp_path)
    assert called.code == 1
    assert "max_failures=2: stopped, because 2 runs did not end well" in called.err.splitlines()[-1]
    assert [json.loads(path.read_bytes())["status"] for path in store.glob("*/run.json")] == ["diverged"] * 2


@pytest.mark.parametrize("several", [[], ["-m"]], ids=["single", "sweep"])
def test_what_retry_leaves_as_it_is_is_no_failure(several: list[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    called = call(*several, *SMALL, "retry=failed", f"hydra.sweep.dir={store}", cwd=tmp_path)
    assert called.code == 0, called.err
    assert list(store.glob("*/run.json")) == []


def test_diverged_runs_are_trained_again_only_by_rerun(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = [
        "-m",
        "optimizer=sgd_momentum",
        "optimizer.lr=0.01,1e30",
        *SMALL,
        "epochs=1",
        INLINE,
        f"hydra.sweep.dir={store}",
    ]
    good, wild = run("sgd_momentum", 0, 1), config(MOMENTUM | {"lr": 1e30}, batch_size=1000, epochs=1)
    assert call(*grid, cwd=tmp_path).code == 1
    before = snapshot(store)
    assert call(*grid, cwd=tmp_path).code == 1
    assert snapshot(store) == before
    assert call(*grid, "rerun=true", cwd=tmp_path).code == 1
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
    (figures / "mixed.yaml").write_text(f"grids: [{{seed: 0}}, {{seed: [1, 2], data.dir: '{corrupt}'}}]\n")
    common = ["epochs=1", INLINE, *SMALL, f"hydra.sweep.dir={store}"]
    arguments = ["--config-dir", str(tmp_path / "conf"), "figure=mixed", *common]
    good, bad, finished = (run(seed=seed, epochs=1) for seed in (0, 1, 2))
    assert call("-m", "seed=2", *common, cwd=tmp_path).code == 0

    before = snapshot(store)
    planned = call(*arguments, "dry_run=true", cwd=tmp_path)
    assert planned.code == 0, planned.err
    assert not directory(store, bad).exists()
    assert snapshot(store) == before

    stopped = call(*arguments, "max_failures=1", cwd=tmp_path)
    assert stopped.code == 1
    assert f"stopped, because 1 run did not end well ({run_name(bad)} failed: " in stopped.err.splitlines()[-1]
    assert status(store, good) is None

    done = call(*arguments, "show=runs", cwd=tmp_path)
    assert done.code == 1, done.err
    assert_done(store, good, finished)
    assert status(store, bad) == "failed"
    error = json.loads((directory(store, bad) / "run.json").read_bytes())["error"]
    assert str(labels) in error
    assert "\n" not in error
    assert re.search(rf"{run_name(bad)} .*failed", done.err)
    assert "Traceback" not in done.err
    after = snapshot(store)
    assert {path: after[path] for path in before} == before  # what is finished stays so, wherever its data are


@pytest.mark.parametrize("many", [[], ["-m"]], ids=["single", "sweep"])
def test_a_dry_run_changes_nothing(many: list[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    planned = call(*many, *SMALL, f"hydra.sweep.dir={store}", "epochs=3", "dry_run=true", cwd=tmp_path)
    assert planned.code == 0
    assert run_name(run(epochs=3)) in planned.out
    assert not store.exists()
