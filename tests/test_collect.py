"""Run directories -> tables: what is there comes out unchanged, what is broken is reported and harms nothing."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_runs import write_run

from fmnist_sweep.report import collect, missing, predictions
from fmnist_sweep.report.collect import CONFIGURATION
from fmnist_sweep.report.run_files import (
    MEASURES,
    RunFileError,
    one_line,
    read_info,
    read_metrics,
    read_timing,
)


def change(run: Path, **changes: Any) -> None:
    """Set values of a run's `run.json`; a double underscore goes a level deeper, `...` deletes."""
    info = json.loads((run / "run.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = info
        for key in parents:
            place = place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    (run / "run.json").write_text(json.dumps(info))


def edit(run: Path, old: str, new: str, file: str = "metrics.csv") -> None:
    text = (run / file).read_text()
    assert old in text
    (run / file).write_text(text.replace(old, new, 1))


def only_problem(store: Path) -> tuple[str, str, str]:
    table = collect(store).problems
    assert len(table) == 1, table.to_string()
    return tuple(table.iloc[0][["name", "kind", "message"]])


def test_a_run_comes_out_as_it_was_written(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 6))
    classes = np.array([3, 1, 9], np.uint8)
    run = write_run(
        tmp_path,
        optimizer="sgd",
        optimizer_args={"lr": 0.01, "momentum": 0.9},
        batch_size=500,
        dropout=0.05,
        epochs=3,
        seed=7,
        hidden=(20, 10, 5),
        validation="holdout",
        curve=values,
        seconds_per_epoch=0.7,
        predictions=classes,
    )
    collection = collect(tmp_path)
    assert collection.problems.empty
    row = collection.runs.iloc[0].to_dict()
    assert row == row | {
        "name": run.name,
        "status": "done",
        "error": None,
        "optimizer": "sgd momentum=0.9",
        "optimizer_args": '{"lr":0.01,"momentum":0.9}',
        "batch_size": 500,
        "dropout": 0.05,
        "epochs": 3,
        "hidden": "20-10-5",
        "validation": "holdout",
        "seed": 7,
        "digest": run.name[-8:],
        "epochs_done": 3,
        "seconds": 3 * 0.7,
        "test_loss": 0.4,
        "test_accuracy": 0.86,
        "path": str(run),
        "has_predictions": True,
    }
    assert (collection.metrics[list(MEASURES)].to_numpy() == values).all()
    assert list(collection.metrics["epoch"]) == [1, 2, 3]
    assert list(collection.metrics["seconds"]) == [0.7, 1.4, 3 * 0.7]
    assert set(collection.metrics["run"]) == {run.name}
    for column in [*CONFIGURATION, "seed", "status"]:
        assert set(collection.metrics[column]) == {row[column]}
    assert (predictions(row["path"]) == classes).all()


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ({"lr": 0.01}, "sgd"),
        ({"lr": 0.1}, "sgd lr=0.1"),
        ({"lr": 0.01, "nesterov": True, "momentum": 0.9}, "sgd momentum=0.9 nesterov=true"),
        ({"lr": 0.01, "betas": [0.9, 0.99]}, "sgd betas=[0.9,0.99]"),
    ],
)
def test_the_optimizer_is_named_by_what_differs_from_the_paper(
    tmp_path: Path, arguments: dict[str, Any], label: str
) -> None:
    write_run(tmp_path, optimizer="sgd", optimizer_args=arguments, epochs=1)
    assert list(collect(tmp_path).runs["optimizer"]) == [label]


def test_an_empty_store_gives_empty_tables_with_their_columns_and_types(tmp_path: Path) -> None:
    empty = collect(tmp_path)
    write_run(tmp_path, epochs=1)
    filled = collect(tmp_path)
    for name in ("runs", "metrics", "problems"):
        assert getattr(empty, name).empty
    pd.testing.assert_series_equal(empty.runs.dtypes, filled.runs.dtypes)
    pd.testing.assert_series_equal(empty.metrics.dtypes, filled.metrics.dtypes)


def test_a_store_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        collect(tmp_path / "nowhere")


def test_what_is_no_run_is_passed_over(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=1)
    for name in ("README.md", "multirun.yaml", "half.tmp"):
        (tmp_path / name).write_text("!!python/object/apply:os.system [exit 1]")
    for name in (".locks", "adam.tmp"):
        (tmp_path / name).mkdir()
    collection = collect(tmp_path)
    assert len(collection.runs) == 1
    assert collection.problems.empty


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        ("running", None, "2 of 5 epochs"),
        ("interrupted", None, "2 of 5 epochs"),
        ("failed", "ValueError: no", "ValueError: no"),
        ("diverged", None, "after 2 of 5 epochs"),
    ],
)
def test_an_unfinished_run_is_a_problem_and_keeps_its_rows(
    tmp_path: Path, status: str, error: str | None, message: str
) -> None:
    run = write_run(tmp_path, epochs=5, epochs_done=2, status=status, error=error)
    assert only_problem(tmp_path) == (run.name, status, message)
    collection = collect(tmp_path)
    assert list(collection.runs["status"]) == [status]
    assert list(collection.metrics["epoch"]) == [1, 2]


def test_a_run_that_has_just_begun_is_running_whatever_it_lacks(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=5, epochs_done=0, status="running")
    assert only_problem(tmp_path) == (run.name, "running", "0 of 5 epochs")
    (run / "metrics.csv").write_text("")
    (run / "timing.csv").unlink()
    assert only_problem(tmp_path)[:2] == (run.name, "running")


def test_a_diverged_run_may_end_in_nan(tmp_path: Path) -> None:
    values = np.full((2, 6), 0.5)
    values[1] = [np.nan, 0.1, np.inf, 0.1, np.nan, 0.1]
    write_run(tmp_path, epochs=5, epochs_done=2, status="diverged", curve=values)
    np.testing.assert_array_equal(collect(tmp_path).metrics[list(MEASURES)].to_numpy(), values)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_torn_by_a_kill_is_left_out(tmp_path: Path, cut: int) -> None:
    run = write_run(tmp_path, epochs=5, epochs_done=3, status="running")
    whole = collect(tmp_path).metrics
    content = (run / "metrics.csv").read_bytes()
    (run / "metrics.csv").write_bytes(content[:-cut])
    pd.testing.assert_frame_equal(collect(tmp_path).metrics, whole.iloc[:2])
    assert only_problem(tmp_path) == (run.name, "running", "2 of 5 epochs")


def test_a_finished_run_that_lacks_rows_does_not_pass_for_finished(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=3)
    (run / "metrics.csv").write_bytes((run / "metrics.csv").read_bytes()[:-3])
    assert only_problem(tmp_path)[1:] == ("unreadable", "said to be done, but has 2 of 3 epochs")
    assert list(collect(tmp_path).runs["status"]) == ["unreadable"]


def sparse(run: Path, file: str) -> None:
    with (run / file).open("wb") as opened:
        opened.truncate(300 << 20)


def replace_by(make: Callable[[Path], object], file: str) -> Callable[[Path], None]:
    def harm(run: Path) -> None:
        (run / file).unlink()
        make(run / file)

    return harm


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "no run.json": (lambda run: (run / "run.json").unlink(), "no run.json"),
    "empty run.json": (lambda run: (run / "run.json").write_text(""), "run.json is not valid JSON"),
    "torn run.json": (lambda run: (run / "run.json").write_text('{"format": 1,'), "not valid JSON"),
    "binary run.json": (lambda run: (run / "run.json").write_bytes(bytes(range(256))), "not valid JSON"),
    "deep run.json": (lambda run: (run / "run.json").write_text("[" * 100_000), "not valid JSON"),
    "huge run.json": (lambda run: sparse(run, "run.json"), "run.json is larger than 256 KiB"),
    "list run.json": (lambda run: (run / "run.json").write_text("[1]"), "run.json has no format"),
    "pickle run.json": (lambda run: (run / "run.json").write_bytes(b"\x80\x04cos\nsystem\n."), "not valid"),
    "other format": (lambda run: change(run, format=2), "format other than 1"),
    "wrong status": (lambda run: change(run, status="<b>ok</b>"), "status is none of running"),
    "text seed": (lambda run: change(run, config__seed="0"), "config.seed is not a whole number"),
    "true seed": (lambda run: change(run, config__seed=True), "config.seed is not a whole number"),
    "real epochs": (lambda run: change(run, config__training__epochs=1.5), "epochs is not a whole number"),
    "huge epochs": (lambda run: change(run, config__training__epochs=10**30), "epochs is not a whole number"),
    "no batch size": (
        lambda run: change(run, config__training__batch_size=...),
        "has no config.training.batch",
    ),
    "nan dropout": (lambda run: change(run, config__model__dropout=float("nan")), "dropout is not a number"),
    "huge mean": (lambda run: change(run, config__data__mean=10**400), "mean is not a number"),
    "nested hidden": (lambda run: change(run, config__model__hidden=[[1]]), "hidden is not a list of widths"),
    "list config": (lambda run: change(run, config=[]), "has no config.optimizer"),
    "markup optimizer": (lambda run: change(run, config__optimizer__name="<b>"), "not the name of a class"),
    "nan lr": (lambda run: change(run, config__optimizer__lr=float("inf")), "not finite"),
    "long optimizer": (lambda run: change(run, config__optimizer__x="y" * 2000), "longer than 1000"),
    "strange name": (lambda run: change(run, name="../../etc"), "does not end in a hyphen and 8 hex digits"),
    "no metrics": (lambda run: (run / "metrics.csv").unlink(), "no metrics.csv"),
    "empty metrics": (lambda run: (run / "metrics.csv").write_text(""), "has 0 of 3 epochs"),
    "binary metrics": (
        lambda run: (run / "metrics.csv").write_bytes(b"\0\n" * 99),
        "first line is not epoch,",
    ),
    "huge metrics": (lambda run: sparse(run, "metrics.csv"), "metrics.csv is larger than 8192 KiB"),
    "other columns": (lambda run: edit(run, "epoch,", "Epoch,"), "the first line is not epoch,train_loss"),
    "short row": (lambda run: edit(run, "\n2,", "\n2\n"), "metrics.csv line 3: not 7 values"),
    "long row": (lambda run: edit(run, "\n2,", "\n2,0," + "0," * 9999), "metrics.csv line 3: not 7 values"),
    "words": (lambda run: edit(run, "\n2,", "\n2,<script>"), "metrics.csv line 3: not numbers"),
    "skipped epoch": (lambda run: edit(run, "\n2,", "\n4,"), "line 3: epoch 4 instead of 2"),
    "repeated epoch": (lambda run: edit(run, "\n2,", "\n1,"), "line 3: epoch 1 instead of 2"),
    "negative": (lambda run: edit(run, "\n2,0", "\n2,-1"), "line 3: a loss or an accuracy out of range"),
    "no timing": (lambda run: (run / "timing.csv").unlink(), "no timing.csv"),
    "time goes back": (lambda run: edit(run, "\n2,1.4", "\n2,0.1", "timing.csv"), "line 3: seconds"),
    "infinite time": (lambda run: edit(run, "\n2,1.4", "\n2,inf", "timing.csv"), "line 3: seconds"),
    "link to itself": (
        replace_by(lambda path: path.symlink_to(path.name), "metrics.csv"),
        "Too many levels of symbolic links",
    ),
    "device": (replace_by(lambda path: path.symlink_to("/dev/zero"), "metrics.csv"), "not a plain file"),
    "named pipe": (replace_by(os.mkfifo, "metrics.csv"), "metrics.csv is not a plain file"),
    "folder": (replace_by(Path.mkdir, "run.json"), "run.json: Is a directory"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_harmed_run_is_reported_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    harm, message = HARM[name]
    write_run(tmp_path, epochs=3, seed=1)
    run = write_run(tmp_path, epochs=3, seed=2)
    harm(run)
    reported = only_problem(tmp_path)
    assert reported[:2] == (run.name, "unreadable")
    assert message in reported[2]
    assert len(reported[2]) <= 200
    collection = collect(tmp_path)
    assert 1 in set(collection.runs.loc[collection.runs["status"] == "done", "seed"])
    assert len(collection.metrics[collection.metrics["seed"] == 1]) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_finished_run_holds_finite_numbers_only(tmp_path: Path, value: float) -> None:
    values = np.full((3, 6), 0.5)
    values[2, 0] = value
    run = write_run(tmp_path, epochs=3, curve=values)
    name, kind, message = only_problem(tmp_path)
    assert (name, kind) == (run.name, "unreadable")
    assert "metrics.csv line 4: a loss or an accuracy out of range" in message
    assert np.isfinite(collect(tmp_path).metrics["train_loss"]).all()


def test_rows_before_a_bad_one_are_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=3)
    whole = collect(tmp_path).metrics
    edit(run, "\n3,", "\nx,")
    kept = collect(tmp_path).metrics
    pd.testing.assert_frame_equal(kept.drop(columns="status"), whole.iloc[:2].drop(columns="status"))


def test_times_that_cannot_be_read_are_nan_and_cost_no_result(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=3)
    edit(run, "\n3,", "\nx,", "timing.csv")
    collection = collect(tmp_path)
    assert list(collection.runs["status"]) == ["done"]
    np.testing.assert_array_equal(collection.metrics["seconds"], [0.7, 1.4, np.nan])


def test_directories_that_are_no_runs_are_named_as_foreign(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    problems = collect(tmp_path).problems
    assert list(problems["name"]) == ["loop", "photos"]
    assert set(problems["kind"]) == {"foreign"}


def test_links_that_lead_nowhere_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    (tmp_path / "b").symlink_to("gone")
    problems = collect(tmp_path).problems
    assert list(problems["kind"]) == ["unreadable", "unreadable"]


def test_names_are_data_and_fit_a_line(tmp_path: Path) -> None:
    markup = "<script>alert(1)<"
    (tmp_path / markup).mkdir()
    (tmp_path / "two\nlines\x1b[31m").mkdir()
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))).mkdir()
    run = write_run(tmp_path, epochs=1)
    hidden = run.rename(run.with_name("moved\n" + run.name))
    collection = collect(tmp_path)
    assert list(collection.problems["name"]) == [markup, "caf\\udce9", "two\\nlines\\x1b[31m"]
    assert list(collection.runs["name"]) == ["moved\\n" + run.name]
    assert list(collection.runs["path"]) == [str(hidden)]
    collection.problems.to_csv(tmp_path / "problems.csv")  # encodes


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_without_permission_is_reported(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=1)
    run.chmod(0)
    try:
        assert only_problem(tmp_path) == (run.name, "unreadable", "run.json: Permission denied")
    finally:
        run.chmod(0o700)


def test_files_without_permission_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path, epochs=1)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert only_problem(tmp_path) == (run.name, "unreadable", "run.json: Permission denied")


def test_of_two_directories_for_one_run_the_copy_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path, epochs=2)
    copy = tmp_path / "a copy"
    copy.mkdir()
    for file in ("run.json", "metrics.csv"):
        (copy / file).write_bytes((run / file).read_bytes())
    collection = collect(tmp_path)
    assert list(collection.runs["name"]) == [run.name]
    assert len(collection.metrics) == 2
    assert only_problem(tmp_path) == ("a copy", "superseded", f"same configuration and seed as {run.name}")


def test_of_two_runs_of_one_configuration_and_seed_the_newer_counts(tmp_path: Path) -> None:
    new = write_run(tmp_path, epochs=2)
    old = tmp_path / (new.name[:-8] + "ffffffff")
    old.mkdir()
    for file in ("run.json", "metrics.csv", "timing.csv"):
        (old / file).write_bytes((new / file).read_bytes())
    change(old, name=old.name)
    os.utime(old / "run.json", (1, 1))
    assert list(collect(tmp_path).runs["name"]) == [new.name]
    os.utime(new / "run.json", (0, 0))
    assert list(collect(tmp_path).runs["name"]) == [old.name]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04cos\nsystem\n.",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((  ",
        b"\x93NUMPY\x09\x00v\x00{}",
    ],
)
def test_predictions_that_are_no_array_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "predictions.npy").write_bytes(content)
    with pytest.raises(RunFileError, match=r"predictions\.npy is not a NumPy array"):
        predictions(tmp_path)


def test_predictions_of_another_kind_or_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match=r"no predictions\.npy"):
        predictions(tmp_path)
    file = tmp_path / "predictions.npy"
    for wrong in (np.zeros(3), np.zeros((2, 2), np.uint8), np.array([object()])):
        np.save(file, wrong, allow_pickle=True)
        with pytest.raises(RunFileError, match="not one whole row of uint8"):
            predictions(tmp_path)
    np.save(file, np.zeros(9, np.uint8))
    content = file.read_bytes()
    for torn in (content[:-1], content + b"\0", content.replace(b"(9,)", b"(9999999999999999,)")):
        file.write_bytes(torn)
        with pytest.raises(RunFileError):
            predictions(tmp_path)
    np.save(file, np.array([10], np.uint8))
    with pytest.raises(RunFileError, match="a class over 9"):
        predictions(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    "format",
    "status",
    "error",
    "seconds",
    "test",
    "name",
    "config",
    "config__optimizer",
    "config__optimizer__name",
    "config__optimizer__lr",
    "config__training",
    "config__model__hidden",
    "config__model__dropout",
    "config__data",
    "config__seed",
]


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_anywhere_in_run_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: str, value: object
) -> None:
    store = tmp_path_factory.mktemp("store")
    run = write_run(store, epochs=1)
    change(run, **{place: value})
    collection = collect(store)
    assert len(collection.runs) == 1 or len(collection.problems) == 1
    collection.runs.to_csv(store / "runs.csv")


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=60), keep=st.integers(0, 300))
def test_any_bytes_in_any_file_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, keep: int
) -> None:
    run = write_run(tmp_path_factory.mktemp("store"), epochs=3, predictions=np.zeros(3, np.uint8))
    for file in ("run.json", "metrics.csv", "timing.csv", "predictions.npy"):
        (run / file).write_bytes((run / file).read_bytes()[:keep] + content)
    for read in (read_info, predictions):
        with contextlib.suppress(RunFileError):
            read(run)
    rows, _ = read_metrics(run, done=True)
    assert np.isfinite(rows).all()
    assert np.isfinite(read_timing(run)[0]).all()


def test_a_long_or_unprintable_text_becomes_one_line() -> None:
    assert one_line("a\tb\udc80") == "a\\tb\\udc80"
    assert one_line("x" * 300) == "x" * 199 + "…"


def test_missing_names_each_seed_of_each_figure(tmp_path: Path) -> None:
    write_run(tmp_path, optimizer="adam", epochs=100, seed=0)
    write_run(tmp_path, optimizer="adam", epochs=100, seed=1, epochs_done=40, status="running")
    write_run(tmp_path, optimizer="sgd", seed=0)
    write_run(tmp_path, optimizer="adam", batch_size=500, seed=0, dropout=0.05)
    write_run(tmp_path, optimizer="adam", batch_size=500, seed=1, hidden=(10,))
    absent = missing(collect(tmp_path), [0, 1])
    listed = set(
        absent[["figure", "optimizer", "batch_size", "seed", "epochs_done"]].itertuples(index=False, name=None)
    )
    assert listed == {
        ("fig1", "sgd", 100, 1, 0),
        ("fig2", "adam", 500, 0, 0),
        ("fig2", "adam", 500, 1, 0),
        ("fig3", "sgd", 500, 0, 0),
        ("fig3", "sgd", 500, 1, 0),
        ("fig4", "adam", 1000, 0, 0),
        ("fig4", "adam", 1000, 1, 0),
        ("fig5", "adam", 100, 1, 40),
    }


def test_nothing_is_missing_from_a_whole_store(tmp_path: Path) -> None:
    for optimizer, batch_size, epochs in (
        ("adam", 100, 100),
        ("sgd", 100, 30),
        ("adam", 500, 30),
        ("sgd", 500, 30),
    ):
        write_run(tmp_path, optimizer=optimizer, batch_size=batch_size, epochs=epochs)
    write_run(tmp_path, optimizer="adam", batch_size=1000)
    assert missing(collect(tmp_path), [0]).empty
