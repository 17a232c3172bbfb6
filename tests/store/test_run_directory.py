"""Run directories survive torn writes, foreign files and damaged checkpoints, and execute nothing when read."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from small_runs import ADAM, MOMENTUM, RMSPROP, SGD, config, piece

from fmnist_sweep.config.identity import trajectory_name
from fmnist_sweep.engine.checkpoints import Checkpoint
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.training import Trainer, start
from fmnist_sweep.store import run_directory
from fmnist_sweep.store.layout import Record, Status
from fmnist_sweep.store.run_directory import Found, RunDirectory
from fmnist_sweep.sweeps import resume

VERSION = "1/some torch/cpu"
ONE = config(batch_size=20)
NAME = "adam-bs100-do0.2-ep30-seed0-1a2b3c4d"


def row(epoch: int) -> Metrics:
    return Metrics(epoch, 1 / (epoch + 2), 0.1, 2 / 3, 1e-17, 0.1 + 0.2, 0.8)


def record(status: Status, epochs: int = 3, files: Mapping[str, bytes] | None = None) -> Record:
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in (files or {}).items()}
    return Record(status=status, name=NAME, config=config(epochs=epochs), sha256=sums)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run's directory with three rows."""
    directory = RunDirectory(tmp_path / NAME)
    directory.write_rows([row(1)], [0.5])
    directory.append_row(row(2), 1.25)
    directory.append_row(row(3), 2.0)
    return directory


def checkpoint(epochs: int = 2, optimizer: dict[str, object] = ADAM) -> Checkpoint:
    """The checkpoint of a model that has trained a little."""
    one = config(optimizer, batch_size=20)
    trainer = Trainer([one], [start(one)], piece(50, 20))
    metrics = [trainer.train_epoch()[0] for _ in range(epochs)]
    seconds = [0.1 * (epoch + 1) for epoch in range(epochs)]
    return Checkpoint(copy.deepcopy(trainer.models[0].progress()), metrics, seconds, "some CPU")


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# Rows


def test_rows_are_read_back_as_written(run: RunDirectory) -> None:
    lines = (run.path / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_accuracy,running_loss,running_accuracy,val_loss,val_accuracy"
    assert [Metrics(epoch, *values) for epoch, values in enumerate(run.metrics(), 1)] == [row(1), row(2), row(3)]
    assert (run.path / "timing.csv").read_text() == "epoch,seconds\n1,0.5\n2,1.25\n3,2.0\n"


def test_a_torn_last_line_does_not_count(run: RunDirectory) -> None:
    path = run.path / "metrics.csv"
    content = path.read_bytes()
    last = content[:-1].rfind(b"\n") + 1
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        whole = max(content[:length].count(b"\n") - 1, 0)
        assert len(run.metrics()) == whole, content[last:length]


def test_rows_of_nothing(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / NAME)
    assert directory.inspect() == Found()
    (directory.path / "metrics.csv").mkdir(parents=True)
    assert directory.inspect() == Found()


def test_the_first_rows_are_those_of_a_file_that_agrees_with_its_digest(run: RunDirectory) -> None:
    whole = {file: (run.path / file).read_bytes() for file in ("metrics.csv", "timing.csv")}
    run.write_record(record("interrupted", files=whole))
    assert run.inspect() == Found("interrupted", None, 3, ())
    assert resume.first_rows(run, 2, VERSION, ONE) == ([row(1), row(2)], [0.5, 1.25])


@pytest.mark.parametrize("file", ["metrics.csv", "timing.csv", "predictions.npy"])
def test_where_a_file_does_not_agree_with_its_digest_only_a_checkpoint_counts(
    run: RunDirectory, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    run.write_predictions(np.zeros(4, np.uint8))
    files = {name: (run.path / name).read_bytes() for name in ("metrics.csv", "timing.csv", "predictions.npy")}
    run.write_record(record("done", files=files))
    resume.save_checkpoint(run, checkpoint(2), VERSION)
    assert run.inspect() == Found("done", None, 3, (2,))
    damaged = bytearray(files[file])
    damaged[-2] ^= 1
    (run.path / file).write_bytes(damaged)
    assert run.inspect() == Found(None, None, 0, (2,))
    assert f"{file}: its SHA-256 is not the one in run.json" in caplog.text
    rows = resume.first_rows(run, 1, VERSION, ONE)
    assert rows is not None
    assert (len(rows[0]), rows[1]) == (1, [0.1])
    (run.path / "checkpoint-2.pt").write_bytes(b"torn")
    assert resume.first_rows(run, 1, VERSION, ONE) is None


# Status


def test_status_is_kept_with_what_is_said(run: RunDirectory) -> None:
    run.write_record(record("running"))
    assert run.record() == record("running")
    assert run.inspect() == Found("running", None, 0, ())  # of rows that are still to grow there is no digest
    assert json.loads((run.path / "run.json").read_bytes())["format"] == 1
    assert not list(run.path.glob("*.tmp"))


@pytest.mark.parametrize("content", [b"", b"{", b'{"status": "done"', b"[]", b"null", b"\xff\xfe"])
def test_a_status_that_cannot_be_read_is_none(run: RunDirectory, content: bytes) -> None:
    (run.path / "run.json").write_bytes(content)
    assert run.status() is None
    assert run.inspect() == Found()


def test_a_record_in_which_any_bit_has_changed_is_none(run: RunDirectory) -> None:
    run.write_record(record("done", files={"metrics.csv": b"some"}))
    whole = (run.path / "run.json").read_bytes()
    assert run.record() is not None
    for bit in range(0, 8 * len(whole), 31):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (run.path / "run.json").write_bytes(content)
        assert run.record() is None, content


def test_a_done_run_with_too_few_rows_is_not_done(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    run.write_record(record("done", epochs=4))
    assert run.inspect() == Found()
    assert "only 3 rows" in caplog.text


@pytest.mark.parametrize("status", ["running", "interrupted", "done", "failed", "diverged", None])
def test_which_runs_are_finished(status: Status | None) -> None:
    assert Found(status).finished == (status in ("done", "diverged"))


def test_a_failed_write_leaves_the_file_that_was_there(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write_record(record("running"))
    before = (run.path / "run.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        run.write_record(record("done"))
    assert (run.path / "run.json").read_bytes() == before
    assert files(run.path) == {"metrics.csv", "timing.csv", "run.json"}  # nothing unfinished takes the space of others


OF_THE_USER = {
    *("notes.md", "best.json", "exported_model.pt", "weights.pt", "thesis.npy", "requirements.txt", "results.csv"),
    *("my-metrics.csv", "metrics.csv.bak", "checkpoint-best.pt", "checkpoint-1.pt.old", "run.json.orig", "page.tmp"),
    *("results.csv.12.tmp", "metrics.csv.tmp", "run.json.x.tmp"),
}


def test_reset_and_sweeping_up_leave_what_is_not_ours(run: RunDirectory) -> None:
    run.write_record(record("running"))
    run.write_predictions(np.zeros(4, np.uint8))
    run.write_traceback("oh no")
    resume.save_checkpoint(run, checkpoint(), VERSION)
    (run.path / ".hydra").mkdir()
    (run.path / ".hydra" / "config.yaml").touch()
    for name in {"checkpoint-1.pt.bad", "run.json.123.tmp", "checkpoint-2.pt.123.tmp", *OF_THE_USER}:
        (run.path / name).touch()
    before = files(run.path)
    run.sweep_up()
    assert files(run.path) == before - {"run.json.123.tmp", "checkpoint-2.pt.123.tmp"}
    run.reset()
    assert files(run.path) == {".hydra", "run.json", *OF_THE_USER}
    assert files(run.path / ".hydra") == {"config.yaml"}


def test_reset_takes_rows_first(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: removed.append(path.name))
    run.reset()
    assert removed[0] == "metrics.csv"  # or a crash would leave rows to cut from that have no times


@pytest.mark.parametrize(
    ("folder", "there", "said"),
    [
        ("mine", [], None),
        ("mine", OF_THE_USER, None),
        ("mine", ["run.json.123.tmp"], None),  # of a run that was killed as it began
        ("mine", ["metrics.csv", "run.json"], "holds metrics.csv, run.json, not known to be a run's"),
        ("mine", ["checkpoint-5.pt"], "holds checkpoint-5.pt, not known to be a run's"),
        ("mine", ["timing.csv.123.tmp"], "holds timing.csv.123.tmp, not known to be a run's"),
        (NAME, ["metrics.csv", "run.json", "checkpoint-5.pt"], None),  # what a crash or a disk left of run.json
        (NAME.replace("seed0", "seed1"), [], "has the name of another run"),
    ],
)
def test_a_directory_is_free_where_it_holds_nothing_of_others(
    folder: str, there: Sequence[str], said: str | None, tmp_path: Path
) -> None:
    directory = RunDirectory(tmp_path / folder)
    assert directory.occupant(NAME) == (said if folder.startswith("adam") else None)  # it is not there yet
    directory.path.mkdir()
    for name in there:
        (directory.path / name).touch()
    assert directory.occupant(NAME) == said


@pytest.mark.parametrize("folder", ["mine", NAME, NAME.replace("seed0", "seed1")])
def test_a_directory_belongs_to_the_run_that_its_record_names(folder: str, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / folder)
    directory.write_rows([row(1)], [0.5])
    directory.write_record(record("done", epochs=1))
    assert directory.occupant(NAME) is None
    assert directory.occupant(NAME.replace("ep30", "ep31")) == f"holds the run {NAME}"
    assert directory.inspect().status == (None if "seed1" in folder else "done")  # rows of another are no source


def test_predictions_are_bytes_that_load_without_pickle(run: RunDirectory) -> None:
    run.write_predictions(np.arange(10, dtype=np.uint8))
    loaded = np.load(run.path / "predictions.npy", allow_pickle=False)
    assert loaded.dtype == np.uint8
    assert loaded.tolist() == list(range(10))


# Checkpoints


@pytest.mark.parametrize("optimizer", [ADAM, SGD, MOMENTUM, RMSPROP], ids=["adam", "sgd", "momentum", "rmsprop"])
def test_a_checkpoint_comes_back_as_it_was(run: RunDirectory, optimizer: dict[str, object]) -> None:
    kept = checkpoint(2, optimizer)
    resume.save_checkpoint(run, kept, VERSION)
    loaded = resume.load_checkpoint(run, 2, VERSION, config(optimizer, batch_size=20))
    assert loaded is not None
    assert (loaded.metrics, loaded.seconds, loaded.progress.epoch, loaded.cpu) == (
        kept.metrics,
        kept.seconds,
        2,
        "some CPU",
    )
    for a, b in zip(loaded.progress.parameters, kept.progress.parameters, strict=True):
        assert torch.equal(a, b)
    assert repr(loaded.progress.optimizer) == repr(kept.progress.optimizer)
    data, one = piece(50, 20), config(optimizer, batch_size=20)
    rows = [Trainer([one], [c.progress], data).train_epoch()[0] for c in (copy.deepcopy(kept), loaded)]
    assert rows[0] == rows[1]


def test_the_newest_two_checkpoints_stay(run: RunDirectory) -> None:
    for epoch in (1, 2, 9, 10):
        kept = checkpoint(1)
        kept.progress.epoch = epoch
        resume.save_checkpoint(run, kept, VERSION)
    assert run.inspect().checkpoints == (10, 9)
    assert {name for name in files(run.path) if "checkpoint" in name} == {"checkpoint-10.pt", "checkpoint-9.pt"}


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def without_its_end(content: bytes) -> bytes:
    return content[:-1]


def empty(_: bytes) -> bytes:
    return b""


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def flipped_digest(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 128])


def sealed(saved: object) -> Callable[[bytes], bytes]:
    """Something else than a checkpoint, with the right digest."""

    def make(_: bytes) -> bytes:
        stream = io.BytesIO()
        torch.save(saved, stream)
        return stream.getvalue() + hashlib.sha256(stream.getvalue()).digest()

    return make


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        without_its_end,
        empty,
        flipped,
        flipped_digest,
        pytest.param(sealed([1, 2]), id="a list"),
        pytest.param(sealed({"version": VERSION}), id="keys missing"),
        pytest.param(
            sealed(
                {"version": VERSION, "epoch": 2, "parameters": [], "optimizer": {}, "metrics": [[1]], "seconds": []}
            ),
            id="other columns",
        ),
    ],
)
def test_a_damaged_checkpoint_is_set_aside(
    run: RunDirectory, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    resume.save_checkpoint(run, checkpoint(1), VERSION)
    resume.save_checkpoint(run, checkpoint(2), VERSION)
    path = run.path / "checkpoint-2.pt"
    path.write_bytes(damage(path.read_bytes()))
    assert resume.load_checkpoint(run, 2, VERSION, ONE) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "set aside as checkpoint-2.pt.bad" in caplog.text
    assert run.inspect().checkpoints == (1,)
    assert resume.load_checkpoint(run, 1, VERSION, ONE) is not None


def test_a_checkpoint_of_another_version_is_set_aside(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    resume.save_checkpoint(run, checkpoint(2), "1/older torch/cpu")
    assert resume.load_checkpoint(run, 2, VERSION, ONE) is None
    assert "is of version 1/older torch/cpu, not 1/some torch/cpu" in caplog.text
    assert run.inspect().checkpoints == ()


def test_a_checkpoint_that_has_gone_is_no_error(run: RunDirectory) -> None:
    assert resume.load_checkpoint(run, 7, VERSION, ONE) is None


class Bomb:
    """Pickled, it makes a file where it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("write", [torch.save, partial(pickle.dump, protocol=2)], ids=["torch", "pickle"])
def test_loading_a_checkpoint_executes_nothing(
    run: RunDirectory, write: Callable[[object, io.BytesIO], None], tmp_path: Path
) -> None:
    stream = io.BytesIO()
    write({"version": VERSION, "epoch": Bomb(tmp_path / "exploded")}, stream)
    content = stream.getvalue() + hashlib.sha256(stream.getvalue()).digest()
    (run.path / "checkpoint-2.pt").write_bytes(content)
    assert resume.load_checkpoint(run, 2, VERSION, ONE) is None
    assert not (tmp_path / "exploded").exists()
    assert "checkpoint-2.pt.bad" in files(run.path)


# Names and locks


def test_runs_that_differ_in_epochs_share_a_trajectory() -> None:
    assert trajectory_name(NAME) == trajectory_name(NAME.replace("ep30", "ep100"))
    assert trajectory_name(NAME) != trajectory_name(NAME.replace("seed0", "seed1"))
    assert trajectory_name("my-epic-run") == "my-epic-run"


def test_only_run_directories_are_runs(tmp_path: Path) -> None:
    names = [NAME, NAME.replace("ep30", "ep100"), NAME.replace("seed0", "seed7")]
    for name in [*names, ".locks", "report", f"{NAME}.tmp", "adam-ep30"]:
        (tmp_path / name).mkdir()
    (tmp_path / "sgd-bs100-do0.2-ep30-seed0-1a2b3c4d").touch()
    runs = run_directory.runs_by_trajectory(tmp_path)
    assert sorted(path.name for paths in runs.values() for path in paths) == sorted(names)
    assert sorted(map(len, runs.values())) == [1, 2]
    assert run_directory.runs_by_trajectory(tmp_path / "nothing") == {}


def test_runs_of_one_trajectory_share_a_lock(tmp_path: Path) -> None:
    longer, other = NAME.replace("ep30", "ep100"), NAME.replace("seed0", "seed1")
    with run_directory.lock(tmp_path / NAME, NAME):
        with pytest.raises(filelock.Timeout):
            run_directory.lock(tmp_path / longer, longer).acquire(timeout=0)
        with run_directory.lock(tmp_path / other, other).acquire(timeout=0):
            pass
    with run_directory.lock(tmp_path / longer, longer).acquire(timeout=0):
        pass


def test_runs_in_folders_of_their_own_lock_those(tmp_path: Path) -> None:
    mine, yours = tmp_path / "mine", tmp_path / "yours"
    with (
        run_directory.lock(mine, NAME),
        run_directory.lock(yours, NAME).acquire(timeout=0),
        pytest.raises(filelock.Timeout),
    ):
        run_directory.lock(mine, NAME).acquire(timeout=0)


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from fmnist_sweep.store import run_directory as store;"
        "lock = store.lock(Path(sys.argv[1]), sys.argv[2]); lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / NAME), NAME]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(filelock.Timeout):
            run_directory.lock(tmp_path / NAME, NAME).acquire(timeout=0)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with run_directory.lock(tmp_path / NAME, NAME).acquire(timeout=0):
        pass
