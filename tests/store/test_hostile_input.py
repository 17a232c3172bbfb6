"""Whatever is typed, or lies in a store, a paper's file or a data folder: it is used, or refused in a line.

Never a traceback, a hang, a gibibyte of memory or anything written, executed or left where it does not belong. Slow
tests ask the same of a thousand inputs, and `make faults`, which sets HOSTILE_SHARE=1, of 12,500.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import resource
import shutil
import signal
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest
import torch
import yaml
from command import call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_runs import write_run
from small_runs import ADAM, MOMENTUM, config, piece

from fmnist_sweep import data, papers
from fmnist_sweep.config import overrides
from fmnist_sweep.config.hydra_private import config_loader
from fmnist_sweep.config.schema import CONFIG_FOLDER, KEYS
from fmnist_sweep.data import DataError
from fmnist_sweep.engine.checkpoints import Checkpoint, encode
from fmnist_sweep.engine.training import Trainer, start
from fmnist_sweep.papers.paper import PaperError
from fmnist_sweep.report.__main__ import main as report
from fmnist_sweep.store import run_directory
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.store.tables import collect
from fmnist_sweep.sweeps import resume
from fmnist_sweep.sweeps.executors import queue

GIBIBYTE = 1 << 30
PATIENCE = 60  # seconds for one input


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Turn a hang into a failure."""

    def give_up(*_: object) -> None:
        pytest.fail(f"no end after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    with patience():
        yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < GIBIBYTE


def holds(check: Callable[[Any], None], strategy: st.SearchStrategy[Any], inputs: int) -> None:
    """Ask it of so many inputs, each with the patience of one."""

    def patiently(value: Any) -> None:
        with patience():
            check(value)

    settings(max_examples=inputs, deadline=None, suppress_health_check=list(HealthCheck))(given(strategy)(patiently))()


def inputs(quick: int, many: int) -> pytest.MarkDecorator:
    share = float(os.environ.get("HOSTILE_SHARE", "0.1"))
    return pytest.mark.parametrize("inputs", [quick, pytest.param(round(share * many), marks=pytest.mark.slow)])


# Overrides

NUMBERS = st.integers(-3, 300) | st.integers() | st.floats() | st.sampled_from([1e-5, 0.01, 0.5, 2**31, 2**63, 60_000])
WORDS = st.sampled_from(
    [
        "adam",
        "sgd_momentum",
        "SGD",
        "LBFGS",
        "fig1",
        "grid",
        "test",
        "holdout",
        "cpu",
        "cuda",
        "null",
        "true",
        "${seed}",
    ]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
QUOTED = TEXT.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'")
SCALARS = NUMBERS.map(str) | WORDS | QUOTED | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(WORDS, inner, max_size=2).map(lambda items: f"{{{','.join(map(':'.join, items.items()))}}}")
        | st.builds("{}({})".format, st.sampled_from(["int", "float", "str", "bool", "json_str", "nope"]), inner)
    ),
    max_leaves=4,
)
RANGES = st.builds(
    "range({},{},{})".format,
    st.integers(-2, 2),
    st.integers(-2, 4) | st.just(10**12),
    st.sampled_from([1, 2, 0, 0.7, -1]),
)
SWEPT = (
    st.lists(VALUES, min_size=2, max_size=3).map(",".join)
    | st.lists(VALUES, max_size=3).map(lambda items: f"choice({','.join(items)})")
    | RANGES
    | st.builds("{}({})".format, st.sampled_from(["shuffle", "sort", "tag", "glob"]), RANGES | VALUES)
    | st.builds("interval({},{})".format, NUMBERS, NUMBERS)
)
OWN = [*KEYS, *overrides.GROUPS, "optimizer.lr", "optimizer.momentum", "optimizer.betas", "optimizer._target_"]
OF_HYDRA = [
    f"hydra.{key}" for key in ("mode", "verbose", "sweep.dir", "sweep.subdir", "run.dir", "job.name", "sweeper.grids")
]
LINES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "", "", "+", "++", "~"]),
    st.sampled_from([*OWN, *OWN, *OF_HYDRA]) | TEXT,
    st.sampled_from(["=", "=", "=", "", "@x="]),
    VALUES | SWEPT,
)


@inputs(60, 4000)
def test_any_overrides_are_planned_or_refused_in_one_line(inputs: int, tmp_path: Path) -> None:
    def check(arguments: list[str]) -> None:
        called = call(*arguments, "dry_run=true", cwd=tmp_path)
        assert list(tmp_path.iterdir()) == []
        if called.code:
            assert called.code == 2
            assert called.err.startswith("fmnist_sweep: ") and called.err.count("\n") == 1
            assert called.err[:-1].isprintable() and called.out == ""

    holds(
        check,
        st.builds(
            lambda flag, lines: flag + lines, st.sampled_from([[], ["-m"]]), st.lists(LINES, min_size=1, max_size=3)
        ),
        inputs,
    )


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("data.validation='a\nb'", r"data.validation=a\nb: must be one of test, holdout"),
        ("optimizer.name=[1]", "optimizer.name=[1]: no such class in torch.optim"),
        ("hydra.verbose=3", ""),
        ("seed=range(0,100000000)", "seed=range(0,100000000): gives more than 100000 values"),
        ("seed=shuffle(range(0,1,1e-300))", "seed=shuffle(range(0,1,1e-300)): gives more than 100000 values"),
        ("paper=range(0,1000000000000,0.7)", "paper=range(0,1000000000000,0.7): gives more than 100000 values"),
        ("seed=range(nan,1)", "seed=range(nan,1): gives more than 100000 values"),
        ("--nope", "unrecognized arguments: --nope; see --help"),
        ("+optimizer._target_=os.system", "optimizer._target_=os.system: Adam does not take it"),
        ("+model._target_=os.system", "model._target_: there is no such key"),
        ("+_target_=os.system", "+_target_=os.system: there is no _target_; a group of your own"),
    ],
)
def test_what_was_found_is_refused(argument: str, said: str, tmp_path: Path) -> None:
    called = call(*["-m"] * ("range" in argument), argument, "dry_run=true", cwd=tmp_path)
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith(f"fmnist_sweep: {said}") and called.err.count("\n") == 1


def test_more_jobs_than_fit_a_sweep_are_refused(tmp_path: Path) -> None:
    called = call("-m", "seed=range(0,3000)", "dropout=range(0,0.9,0.001)", cwd=tmp_path)
    assert called.err == "fmnist_sweep: 2703000 jobs: a sweep takes at most 100000; split it, by seeds for example\n"


# Papers

TAGS = [
    "",
    "",
    "!!python/object/apply:os.system ",
    "!!python/name:os.system ",
    "!!binary ",
    "!!timestamp ",
    "!!float ",
    "!x ",
]
YAML = st.recursive(
    st.builds(
        "{}{}".format, st.sampled_from(TAGS), SCALARS | st.sampled_from(["*a", "&a x", "&a [*a]", "<<", "|", "? x"])
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(inner, inner, max_size=3).map(
            lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}"
        )
    ),
    max_leaves=8,
)
SHIPPED = yaml.safe_load((CONFIG_FOLDER / "paper" / "caprari2024.yaml").read_text())
FEW = SHIPPED | {"claims": SHIPPED["claims"][:4]}
PLACES = [*SHIPPED, *(f"claims.{key}" for key in SHIPPED["claims"][0]), "configurations", "protocol", "figures"]


LOADER = config_loader()


def complaint(path: Path) -> str:
    """Return the complaint about a paper, in one line, or nothing if it is accepted."""
    said = ""
    try:
        papers.read(str(path), LOADER)
    except PaperError as error:
        said = str(error)
    assert said.isprintable() and len(said) < 2000
    return said


@inputs(150, 2500)
def test_any_yaml_is_no_paper_and_executes_nothing(
    inputs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("executed"))

    def check(content: str) -> None:
        (tmp_path / "mine.yaml").write_text(content)
        assert complaint(tmp_path / "mine.yaml")

    holds(check, YAML, inputs)


@inputs(30, 2500)
def test_a_paper_with_any_value_in_any_place_is_read_or_refused(inputs: int, tmp_path: Path) -> None:
    value = st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXT | WORDS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | WORDS, inner, max_size=3),
        max_leaves=5,
    )

    def check(change: tuple[str, Any]) -> None:
        place, thing = change
        key, _, inner = place.partition(".")
        of_claim = [FEW["claims"][0] | {inner: thing}, *FEW["claims"][1:]]
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(FEW | {key: of_claim if inner else thing}))
        complaint(tmp_path / "mine.yaml")

    holds(check, st.tuples(st.sampled_from(PLACES), value), inputs)


def test_a_named_pipe_is_no_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "mine.yaml")
    assert report([str(tmp_path), "--paper", str(tmp_path / "mine.yaml")]) == 2
    assert "mine.yaml: is not a plain file; give the name of a paper" in capsys.readouterr().err


# Data


def write_data(folder: Path, name: str, content: bytes) -> None:
    """A data folder with one file that is not as it should be, and the real others."""
    real = data.prepare(None)
    for one in data.FILES:
        (folder / one).unlink(missing_ok=True)
        (folder / f"{one}.gz").unlink(missing_ok=True)
        if one != name.removesuffix(".gz"):
            (folder / one).symlink_to(real / one)
    (folder / name).write_bytes(content)


@inputs(20, 1000)
def test_any_other_file_of_the_data_set_is_refused(inputs: int, tmp_path: Path) -> None:
    name = "t10k-labels-idx1-ubyte"
    content = (data.prepare(None) / name).read_bytes()
    changes = st.tuples(st.integers(0, len(content)), st.binary(max_size=20), st.integers(0, 20), st.booleans())

    def check(change: tuple[int, bytes, int, bool]) -> None:
        place, put, taken, compressed = change
        changed = content[:place] + put + content[place + taken :]
        if compressed:
            packed = gzip.compress(content, 1)
            at = place % len(packed)
            write_data(tmp_path, f"{name}.gz", packed[:at] + put + packed[at + taken :])
        else:
            write_data(tmp_path, name, changed)
        shutil.rmtree(tmp_path / "FashionMNIST", ignore_errors=True)
        try:
            said, folder = "", data.prepare(tmp_path)
        except DataError as error:
            said = str(error)
        # What gzip keeps beside the content may be anything.
        assert (name in said and said.isprintable()) if said else (folder / name).read_bytes() == content

    holds(check, changes, inputs)


def test_a_compressed_bomb_and_a_sparse_file_are_not_unpacked(tmp_path: Path) -> None:
    name = "t10k-labels-idx1-ubyte"
    tracemalloc.start()
    write_data(tmp_path, f"{name}.gz", gzip.compress(bytes(1 << 24)) * 1000)
    tracemalloc.clear_traces()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz"):
        data.prepare(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 28
    tracemalloc.stop()
    write_data(tmp_path, name, b"")
    os.truncate(tmp_path / name, 1 << 42)
    with pytest.raises(DataError, match="is larger than 19 KiB, the most that is read"):
        data.prepare(tmp_path)


# Stores

RUN_FILES = ["run.json", "metrics.csv", "timing.csv", "predictions.npy", "checkpoint-2.pt", "checkpoint-1.pt"]
ONE = config(ADAM, hidden=[5], batch_size=100, epochs=2)


def trained(optimizer: dict[str, Any] = ADAM) -> Checkpoint:
    one = config(optimizer, hidden=[5], batch_size=100, epochs=2)
    trainer = Trainer([one], [start(one)], piece(100, 100))
    rows = [trainer.train_epoch()[0] for _ in range(2)]
    return Checkpoint(trainer.models[0].progress(), rows, [0.5, 1.0], "some CPU")


@inputs(80, 2500)
def test_a_run_directory_with_anything_in_it_is_looked_at(inputs: int, tmp_path: Path) -> None:
    whole = encode(trained(), "v")

    def be_pipe(path: Path) -> None:
        os.mkfifo(path)

    def be_sparse(path: Path) -> None:
        path.touch()
        os.truncate(path, 1 << 42)

    kinds = [
        Path.mkdir,
        be_pipe,
        be_sparse,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
    ]
    damage = st.sampled_from(kinds) | st.tuples(st.integers(0, 3000), st.binary(max_size=20), st.integers(0, 20))

    def check(damaged: dict[str, Any]) -> None:
        folder = tmp_path / "store"
        shutil.rmtree(folder, ignore_errors=True)
        path = write_run(folder, epochs=2, hidden=[5])
        (path / "checkpoint-2.pt").write_bytes(whole)
        for file, how in damaged.items():
            content = (path / file).read_bytes() if (path / file).exists() else b""
            (path / file).unlink(missing_ok=True)
            if isinstance(how, tuple):
                at, put, taken = how
                (path / file).write_bytes(content[:at] + put + content[at + taken :])
            else:
                how(path / file)
        directory = RunDirectory(path)
        for epoch in directory.inspect().checkpoints:
            resume.load_checkpoint(directory, epoch, "v", ONE)
        collection = collect(folder)
        assert len(collection.runs) + len(collection.problems) >= 1
        assert all(str(message).isprintable() for message in collection.problems["message"])

    holds(check, st.dictionaries(st.sampled_from(RUN_FILES), damage, min_size=1, max_size=3), inputs)


def changed(**parts: Any) -> bytes:
    """A checkpoint with the right digest, in which something is not as it should be."""
    checkpoint = trained()
    for key, value in parts.items():
        setattr(checkpoint.progress if hasattr(checkpoint.progress, key) else checkpoint, key, value)
    return encode(checkpoint, "v")


def with_state(change: Callable[[torch.Tensor], torch.Tensor]) -> bytes:
    optimizer: Any = trained().progress.optimizer
    optimizer["state"][0]["exp_avg"] = change(optimizer["state"][0]["exp_avg"])
    return changed(optimizer=optimizer)


def compressed() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(changed())) as parts, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for part in parts.infolist():
            target.writestr(part.filename, parts.read(part))
    return packed.getvalue() + hashlib.sha256(packed.getvalue()).digest()


CHECKPOINTS: dict[str, Callable[[], bytes]] = {
    # A fused step would write past the end of such a state.
    "a shorter state": lambda: with_state(lambda moment: torch.zeros(1)),
    "a state of one number, repeated": lambda: with_state(lambda moment: torch.zeros(1, 1).expand(moment.shape)),
    "a sparse state": lambda: with_state(lambda moment: moment.to_sparse()),
    "another type": lambda: with_state(lambda moment: moment.half()),
    "no tensor": lambda: changed(parameters=["weights", 3]),
    "a tensor of 2^40 numbers": lambda: changed(parameters=[torch.zeros(1).expand(1 << 40)]),
    "another optimizer": lambda: encode(trained(MOMENTUM), "v"),
    "another learning rate": lambda: encode(trained(ADAM | {"lr": 0.5}), "v"),
    "another epoch": lambda: changed(epoch=7),
    "a row less": lambda: changed(metrics=trained().metrics[:1]),
    "words for seconds": lambda: changed(seconds=["=1+1", "x\n"]),
    "compressed": compressed,
}


@pytest.mark.parametrize("attack", CHECKPOINTS)
def test_a_checkpoint_that_does_not_fit_is_set_aside(attack: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-2.pt"
    path.write_bytes(changed())
    assert resume.load_checkpoint(RunDirectory(tmp_path), 2, "v", ONE) is not None
    path.write_bytes(CHECKPOINTS[attack]())
    assert resume.load_checkpoint(RunDirectory(tmp_path), 2, "v", ONE) is None
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint-2.pt.bad"]


NOTES: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(Vtouch executed\ntR."),
    "nested too deeply": lambda path: path.write_text("[" * 100_000),
    "a mapping": lambda path: path.write_text('{"a": 1}'),
    "numbers": lambda path: path.write_text("[1, 2]"),
    "a folder": Path.mkdir,
    "a named pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "4 TiB": lambda path: (path.touch(), os.truncate(path, 1 << 42)),
}


@pytest.mark.parametrize("attack", NOTES)
def test_what_jobs_train_is_read_of_plain_notes_alone(attack: str, tmp_path: Path) -> None:
    folder = tmp_path / ".slurm" / "then"
    folder.mkdir(parents=True)
    queue.note(folder, "7_0", ["store/adam-bs100"])
    queue.note(folder, "7_0,8;touch executed", ["store/adam-bs100"])
    NOTES[attack](folder / "7_1_names.json")
    assert list(queue.noted(tmp_path / ".slurm")) == [(folder, "7_0", ["store/adam-bs100"])]


@pytest.mark.parametrize(
    "place", [".", "metrics.csv", ".hydra", "run.log", "checkpoint-1.pt", "run.json.1234.tmp", "../.locks", "../.slurm"]
)
@pytest.mark.parametrize("how", ["rerun=true", "rerun=false"])
def test_no_run_is_written_through_a_link(place: str, how: str, tmp_path: Path) -> None:
    outside, work = tmp_path / "outside", tmp_path / "work"
    typed = ("epochs=1", "batch_size=1000", "model.hidden=[4]")
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "precious.json").write_text("{}")
    work.mkdir()
    planned = call(*typed, "dry_run=true", cwd=work).out
    run = work / "multirun" / next(line for line in planned.replace(";", " ").split() if line.startswith("adam-"))
    link = run.parent / run.name if place == "." else run / place
    run.parent.mkdir() if place == "." else run.mkdir(parents=True)
    link.symlink_to(outside / "folder")
    called = call(*typed, how, cwd=work)
    assert called.code == 2
    assert called.err.endswith(
        ": is a symbolic link, so the run would write elsewhere; replace it by what it points to\n"
    )
    assert [path.name for path in outside.rglob("*")] == ["folder", "precious.json"]


def test_a_run_behind_a_link_is_no_source_of_another(tmp_path: Path) -> None:
    run = write_run(tmp_path / "elsewhere", epochs=3)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / run.name).symlink_to(run)
    assert run_directory.runs_by_trajectory(tmp_path / "store") == {}


def test_a_lock_that_is_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    name = "adam-bs100-do0.2-ep30-seed0-1a2b3c4d"
    (tmp_path / "precious").write_text("content")
    (tmp_path / "store" / ".locks").mkdir(parents=True)
    lock = run_directory.lock(tmp_path / "store" / name, name)
    Path(lock.lock_file).symlink_to(tmp_path / "precious")
    with contextlib.suppress(OSError, filelock.Timeout), lock.acquire(timeout=0):
        pass
    assert (tmp_path / "precious").read_text() == "content"
