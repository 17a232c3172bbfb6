"""Kill workers and whole sweeps, or run two at once: the same command makes the store whole."""

from __future__ import annotations

import functools
import json
import random
import re
import time
from pathlib import Path

import psutil
import pytest
from command import INLINE, call
from running import kill_all, started, wait_until
from stored_runs import (
    OPTIMIZERS,
    SMALL,
    alone,
    assert_done,
    directory,
    key,
    rows,
    run,
    run_name,
    snapshot,
    status,
    timing,
)

from fmnist_sweep.config.identity import trajectory_name
from fmnist_sweep.config.schema import Config


@pytest.mark.slow
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
    again = call(*grid, INLINE, cwd=tmp_path)
    assert again.code == 0, again.err
    assert_done(store, *hit, *spared)
    after = snapshot(store)
    assert {path: after[path] for path in before} == before


@pytest.mark.slow
def test_workers_stop_by_themselves_when_their_parent_is_killed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    grid = ["-m", "optimizer=adam,sgd_momentum", *SMALL, f"hydra.sweep.dir={store}"]
    runs = [run(optimizer, epochs=30) for optimizer in OPTIMIZERS]
    with started(tmp_path, *grid, "epochs=30", "workers=2") as command:
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
        expected = alone(run(**key(one), epochs=3)).splitlines(keepends=True)
        assert (directory(store, one) / "metrics.csv").read_bytes().splitlines(keepends=True)[:4] == expected[
            : count + 1
        ]
    # Shorter runs are cut from what there is or continue it.
    done = call(*grid, "epochs=3", INLINE, cwd=tmp_path)
    assert done.code == 0, done.err
    assert_done(store, *[run(**key(one), epochs=3) for one in runs])


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
    done = call(*grid, INLINE, cwd=tmp_path)
    assert done.code == 0, done.err
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
    done = call(*arguments, INLINE, cwd=tmp_path)
    assert done.code == 0, done.err
    assert_done(store, one)
    assert timing(store, one)[: kept + 1] == before


# Two sweeps at once


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor", [pytest.param([INLINE], id="inline"), pytest.param([], id="workers", marks=pytest.mark.slow)]
)
def test_two_sweeps_of_overlapping_grids_at_the_same_moment(executor: list[str], tmp_path: Path) -> None:
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

    common = ["-m", *executor, *SMALL, f"hydra.sweep.dir={store}"]
    with started(tmp_path, *common, *grids[0]) as first, started(tmp_path, *common, *grids[1]) as second:
        wait_until(look)
        assert (first.wait(), second.wait()) == (0, 0), first.output + second.output
        look()
    assert_done(store, *runs)
    assert set(inodes) == {run_name(one) for one in runs}
    assert all(len(files) == 1 for files in inodes.values())
