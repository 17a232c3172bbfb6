"""Stop sweeps and runs with signals, and resume them: no epoch is lost, and none is trained twice."""

from __future__ import annotations

import functools
import os
import pty
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from command import INLINE, call
from running import signal_when, started, wait_until
from small_runs import config
from stored_runs import OPTIMIZERS, SMALL, assert_done, directory, rows, run, status, timing


@pytest.mark.parametrize(
    ("number", "times", "workers"),
    [
        (signal.SIGINT, 1, 1),
        pytest.param(signal.SIGINT, 3, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 1, 2, marks=pytest.mark.slow),
    ],
)
def test_a_sweep_interrupted_and_resumed(number: signal.Signals, times: int, workers: int, tmp_path: Path) -> None:
    store = tmp_path / "store"
    epochs = 4 + 4 * times
    grid = ["-m", "optimizer=adam,sgd_momentum", f"epochs={epochs}", *SMALL, f"hydra.sweep.dir={store}"]
    runs = [run(optimizer, epochs=epochs) for optimizer in OPTIMIZERS]
    chance = random.Random(20)
    trained = 0
    for _ in range(times):
        with started(tmp_path, *grid, f"workers={workers}") as command:
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
    done = call(*grid, INLINE, cwd=tmp_path)
    assert done.code == 0, done.err
    assert_done(store, *runs)
    for one, part in zip(runs, stopped, strict=True):
        assert timing(store, one)[: len(part)] == part  # nothing was trained again


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        pytest.param(signal.SIGTERM, [], id="single"),
        pytest.param(signal.SIGINT, ["-m", "hydra/launcher=basic", "seed=0,1"], id="basic"),
        pytest.param(signal.SIGINT, ["-m", INLINE, "seed=0,1"], id="inline"),
    ],
)
def test_runs_in_the_command_s_own_process_interrupted_and_resumed(
    number: signal.Signals, arguments: list[str], tmp_path: Path
) -> None:
    store, runs = tmp_path / "store", [run(epochs=6, seed=seed) for seed in (0, 1)]
    arguments = [*arguments, "epochs=6", *SMALL, f"hydra.sweep.dir={store}"]
    with signal_when(number, lambda: rows(store, runs[0]) >= 1):
        stopped = call(*arguments, cwd=tmp_path)
    assert stopped.code == 128 + number
    assert "the same command goes on" in stopped.err
    assert "Traceback" not in stopped.err
    assert status(store, runs[0]) == "interrupted"
    # A stack of several runs stops as one; of runs that train one by one, the next has not begun.
    assert status(store, runs[1]) == ("interrupted" if INLINE in arguments else None)
    assert list(directory(store, runs[0]).glob("checkpoint-*.pt"))
    done = call(*arguments, cwd=tmp_path)
    assert done.code == 0, done.err
    assert_done(store, *runs[: 2 if "-m" in arguments else 1])


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["-m", "hydra/launcher=joblib", "seed=0,1"]], ids=["single", "joblib"])
def test_a_terminal_interrupts_all_processes_of_runs_that_train_one_by_one(
    arguments: list[str], tmp_path: Path
) -> None:
    store, runs = tmp_path / "store", [run(epochs=8, seed=seed) for seed in (0, 1)]
    arguments = [*arguments, "epochs=8", *SMALL, f"hydra.sweep.dir={store}"]
    with started(tmp_path, *arguments) as command:
        command.until(lambda: rows(store, runs[0]) >= 1)
        os.killpg(command.process.pid, signal.SIGINT)
        assert command.wait() == 130
        assert "the same command goes on" in command.output
        assert "Traceback" not in command.output
    assert status(store, runs[0]) == "interrupted"
    assert status(store, runs[1]) in (None, "interrupted")


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
        assert ": interrupted after 0 of 2 epochs" in command.output


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
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which ignores it
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
