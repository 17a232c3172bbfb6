"""Run directories -> tables: what is there comes out unchanged, what is broken is reported and harms nothing."""

import contextlib
import json
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_runs import write_run

from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import one_line
from fmnist_sweep.report.summaries import finals
from fmnist_sweep.store import layout
from fmnist_sweep.store.curves import Curves, bands, spread
from fmnist_sweep.store.layout import RecordError, read_predictions
from fmnist_sweep.store.tables import CONFIGURATION, collect, factors, fill_defaults, gather, ordered, varying


def change(run, **changes):
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
    info.pop("seal", None)  # it is of the content before
    (run / "run.json").write_text(json.dumps(info))


def edit(run, old, new, file="metrics.csv"):
    text = (run / file).read_text()
    assert old in text
    text = re.sub(r'\n  "seal": .*', "", text)  # run.json's is of the content before
    (run / file).write_text(text.replace(old, new, 1))


def only_problem(store):
    table = collect(store).problems
    assert len(table) == 1, table.to_string()
    return tuple(table.iloc[0][["name", "kind", "message"]])


def test_a_run_comes_out_as_it_was_written(tmp_path):
    values = np.random.default_rng(0).random((3, 6))
    classes = np.array([3, 1, 9], np.uint8)
    configuration = {"batch_size": 500, "dropout": 0.05, "epochs": 3, "seed": 7, "hidden": (20, 10, 5)}
    optimizer = {"optimizer": "sgd", "optimizer_args": {"lr": 0.01, "momentum": 0.9}}
    run = write_run(tmp_path, **configuration, **optimizer, validation="holdout", curve=values, predictions=classes)
    collection = collect(tmp_path)
    assert collection.problems.empty
    row = collection.runs.iloc[0].to_dict()
    assert row == row | {
        "name": run.name,
        "status": "done",
        "optimizer": "SGD",
        "optimizer.lr": 0.01,
        "optimizer.momentum": 0.9,
        "batch_size": 500,
        "epochs": 3,
        "model.hidden": "20-10-5",
        "dropout": 0.05,
        "data.validation": "holdout",
        "seed": 7,
        "epochs_done": 3,
        "seconds": 3 * 0.7,
        "test_accuracy": 0.86,
        "path": str(run),
        "has_predictions": True,
    }
    assert (collection.metrics[list(MEASURES)].to_numpy() == values).all()
    assert list(collection.metrics["epoch"]) == [1, 2, 3]
    assert list(collection.metrics["seconds"]) == [0.7, 1.4, 3 * 0.7]
    assert set(collection.metrics["run"]) == {run.name}
    for column in [*CONFIGURATION, *factors(collection.runs), "seed", "status"]:
        assert set(collection.metrics[column]) == {row[column]}
    assert (read_predictions(run) == classes).all()


def test_an_argument_that_a_run_was_given_is_a_column(tmp_path):
    write_run(tmp_path, epochs=1, optimizer_args={"lr": 0.001})
    given = [{"lr": 0.01}, {"lr": 0.1}, {"lr": 0.01, "nesterov": True, "momentum": 0.9}, {"schedule": "cosine"}]
    for seed, arguments in enumerate(given):
        write_run(tmp_path, optimizer="sgd", optimizer_args=arguments, epochs=1, seed=seed)
    runs = collect(tmp_path).runs.sort_values(["optimizer", "seed"])
    columns = ["optimizer.lr", "optimizer.momentum", "optimizer.nesterov", "optimizer.schedule.name"]
    others = ["optimizer.schedule.floor", "optimizer.schedule.warmup"]  # of a cosine schedule
    assert sorted(column for column in runs if column.startswith("optimizer.")) == sorted([*columns, *others])
    told = runs[["optimizer", *columns]].astype("object").where(runs[["optimizer", *columns]].notna(), None)
    assert told.to_numpy().tolist() == [
        ["Adam", 0.001, None, None, "constant"],  # torch's Adam has no momentum
        ["SGD", 0.01, 0, "false", "constant"],
        ["SGD", 0.1, 0, "false", "constant"],
        ["SGD", 0.01, 0.9, "true", "constant"],
        ["SGD", 0.001, 0, "false", "cosine"],
    ]
    assert runs["optimizer.lr"].dtype == "float64"
    assert varying(runs) == ["optimizer", *columns]
    assert varying(runs[runs["seed"] < 1]) == ["optimizer"]  # an argument varies within a class alone


def test_a_default_is_filled_in_where_tables_are_joined(tmp_path):
    write_run(tmp_path / "plain", optimizer="sgd", epochs=1)
    write_run(tmp_path / "momentum", optimizer="sgd", optimizer_args={"lr": 0.01, "momentum": 0.9}, epochs=1)
    write_run(tmp_path / "plain", epochs=1)
    joined = pd.concat([collect(tmp_path / name).metrics for name in ("plain", "momentum")])
    assert varying(joined) == ["optimizer"]
    filled = fill_defaults(joined)
    assert filled.groupby("optimizer")["optimizer.momentum"].agg(set).to_dict()["SGD"] == {0.0, 0.9}
    assert filled.loc[filled["optimizer"] == "Adam", "optimizer.momentum"].isna().all()
    assert varying(filled) == ["optimizer", "optimizer.momentum"]


def test_numbers_sort_as_numbers():
    assert ordered(["128-64", "64-32", "64-8", "null"]) == ["64-8", "64-32", "128-64", "null"]
    assert ordered([1000, 64, 500, 64]) == [64, 500, 1000]


def test_a_recipe_is_all_that_makes_a_run_but_its_epochs_and_seed(tmp_path):
    write_run(tmp_path, epochs=1)
    write_run(tmp_path, epochs=2, seed=1)
    assert collect(tmp_path).runs["recipe"].nunique() == 1
    write_run(tmp_path, optimizer_args={"lr": 0.01, "betas": [0.9, 0.999]}, epochs=1, seed=2)  # torch's default
    assert collect(tmp_path).runs["recipe"].nunique() == 1
    others = [
        *({"optimizer_args": {"lr": 0.02}}, {"batch_size": 7}, {"dropout": 0.1}, {"hidden": (64, 128)}),
        *({"validation": "holdout"}, {"mean": 0.0}, {"std": 1.0}),
    ]
    for other in others:
        write_run(tmp_path, epochs=1, **other)
    assert collect(tmp_path).runs["recipe"].nunique() == 1 + len(others)


def test_runs_of_another_protocol_are_counted_and_left_out(tmp_path):
    ours = write_run(tmp_path, epochs=1)
    write_run(tmp_path, epochs=1, mean=0.0, status="failed")
    collection = collect(tmp_path, lambda config: config.data.mean == 0.5)
    assert (list(collection.runs["name"]), collection.others, len(collection.problems)) == ([ours.name], 1, 0)


def test_an_empty_store_gives_empty_tables_with_their_columns_and_types(tmp_path):
    empty = collect(tmp_path)
    write_run(tmp_path, epochs=1)
    filled = collect(tmp_path)
    for name in ("runs", "metrics", "problems"):
        assert getattr(empty, name).empty
    pd.testing.assert_series_equal(empty.runs.dtypes, filled.runs.dtypes)
    pd.testing.assert_series_equal(empty.metrics.dtypes, filled.metrics.dtypes)
    with pytest.raises(FileNotFoundError):
        collect(tmp_path / "nowhere")


def test_what_is_no_run_is_passed_over(tmp_path):
    write_run(tmp_path, epochs=1)
    for name in ("README.md", "multirun.yaml", "half.tmp"):
        (tmp_path / name).write_text("!!python/object/apply:os.system [exit 1]")
    for name in (".locks", "adam.tmp"):
        (tmp_path / name).mkdir()
    assert (len(collect(tmp_path).runs), len(collect(tmp_path).problems)) == (1, 0)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed", "diverged"])
def test_an_unfinished_run_is_a_problem_and_keeps_its_rows(tmp_path, status):
    error = "ValueError: no" if status == "failed" else None
    run = write_run(tmp_path, epochs=5, epochs_done=2, status=status, error=error)
    after = "after " if status == "diverged" else ""
    assert only_problem(tmp_path) == (run.name, status, error or f"{after}2 of 5 epochs")
    collection = collect(tmp_path)
    assert list(collection.runs["status"]) == [status]
    assert list(collection.metrics["epoch"]) == [1, 2]


def test_a_run_that_has_just_begun_is_running_whatever_it_lacks(tmp_path):
    run = write_run(tmp_path, epochs=5, epochs_done=0, status="running")
    assert only_problem(tmp_path) == (run.name, "running", "0 of 5 epochs")
    (run / "metrics.csv").write_text("")
    (run / "timing.csv").unlink()
    assert only_problem(tmp_path)[:2] == (run.name, "running")


def test_a_diverged_run_may_end_in_nan(tmp_path):
    values = np.full((2, 6), 0.5)
    values[1] = [np.nan, 0.1, np.inf, 0.1, np.nan, 0.1]
    write_run(tmp_path, epochs=5, epochs_done=2, status="diverged", curve=values)
    np.testing.assert_array_equal(collect(tmp_path).metrics[list(MEASURES)].to_numpy(), values)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_torn_by_a_kill_is_left_out(tmp_path, cut):
    run = write_run(tmp_path, epochs=5, epochs_done=3, status="running")
    whole = collect(tmp_path).metrics
    content = (run / "metrics.csv").read_bytes()
    (run / "metrics.csv").write_bytes(content[:-cut])
    pd.testing.assert_frame_equal(collect(tmp_path).metrics, whole.iloc[:2])
    assert only_problem(tmp_path) == (run.name, "running", "2 of 5 epochs")


def test_a_finished_run_that_lacks_rows_does_not_pass_for_finished(tmp_path):
    run = write_run(tmp_path, epochs=3)
    (run / "metrics.csv").write_bytes((run / "metrics.csv").read_bytes()[:-3])
    assert only_problem(tmp_path)[1:] == ("unreadable", "said to be done, but has 2 of 3 epochs")
    assert list(collect(tmp_path).runs["status"]) == ["unreadable"]


def sparse(run, file):
    with (run / file).open("wb") as opened:
        opened.truncate(300 << 20)


def replace(by, file):
    """Return a function that puts something else in the place of a run's file."""

    def harm(run):
        (run / file).unlink()
        (run / file).write_bytes(by) if isinstance(by, bytes) else by(run / file)

    return harm


def other_digest(run):
    record = layout.read_record(run).model_copy(update={"sha256": {"metrics.csv": "0" * 64}})
    (run / "run.json").write_bytes(record.encode())


ROWS = ("\n2\n", "\n2,0,", "\n4,", "\n1,")  # too short, too long, an epoch left out, an epoch repeated
NO_JSON = (b"", b'{"format": 1,', bytes(range(256)), b"[" * 100_000, b"\x80\x04cos\nsystem\n.")
HARM = {
    "no run.json": (lambda run: (run / "run.json").unlink(), "no run.json"),
    **{f"run.json {content[:9]!r}": (replace(content, "run.json"), "Invalid JSON") for content in NO_JSON},
    "huge run.json": (lambda run: sparse(run, "run.json"), "run.json: is larger than 256 KiB"),
    "list run.json": (replace(b"[1]", "run.json"), "must be an object"),
    "other format": (lambda run: change(run, format=2), "format=2: must be 1"),
    "wrong status": (lambda run: change(run, status="<b>ok</b>"), "must be 'running', 'interrupted'"),
    "text seed": (lambda run: change(run, config__seed="0"), "config.seed=0: must be a"),
    "true seed": (lambda run: change(run, config__seed=True), "config.seed=True: must be a"),
    "real epochs": (lambda run: change(run, config__training__epochs=1.5), "config.training.epochs=1.5: must be"),
    "huge epochs": (lambda run: change(run, config__training__epochs=10**30), "must be less than 2147483648"),
    "no batch size": (lambda run: change(run, config__training__batch_size=...), "training.batch_size: is missing"),
    "no optimizer": (lambda run: change(run, config__optimizer=...), "optimizer: is missing"),
    "nan dropout": (lambda run: change(run, config__model__dropout=float("nan")), "nan: must be a number from 0"),
    "huge mean": (lambda run: change(run, config__data__mean=10**400), "must be a finite number"),
    "nested hidden": (lambda run: change(run, config__model__hidden=[[1]]), "config.model.hidden.0=[1]: must be"),
    "list config": (lambda run: change(run, config=[]), "config=[]: must be an object"),
    "markup optimizer": (lambda run: change(run, config__optimizer__name="<b>"), "name=<b>: no such class in torch"),
    "nan lr": (lambda run: change(run, config__optimizer__lr=float("inf")), "Out of range float"),
    "long optimizer": (lambda run: change(run, config__optimizer__x="y" * 2000), "config.optimizer: longer than 1000"),
    "strange name": (lambda run: change(run, name="../../etc"), "name=../../etc: must match pattern"),
    "other digest": (other_digest, "metrics.csv: its SHA-256 is not the one in run.json"),
    "no metrics": (lambda run: (run / "metrics.csv").unlink(), "no metrics.csv"),
    "empty metrics": (replace(b"", "metrics.csv"), "has 0 of 3 epochs"),
    "binary metrics": (replace(b"\0\n" * 99, "metrics.csv"), "first line is not epoch,"),
    "huge metrics": (lambda run: sparse(run, "metrics.csv"), "metrics.csv: is larger than 8192 KiB"),
    "other columns": (lambda run: edit(run, "epoch,", "Epoch,"), "the first line is not epoch,train_loss"),
    **{f"row {row[:9]!r}": (partial(edit, old="\n2,", new=row), "line 3: not the 7 values of epoch 2") for row in ROWS},
    "long row": (lambda run: edit(run, "\n2,", "\n2,0," + "0," * 9999), "metrics.csv line 3: not numbers"),
    "words": (lambda run: edit(run, "\n2,", "\n2,<script>"), "metrics.csv line 3: not numbers"),
    "negative": (lambda run: edit(run, "\n2,0", "\n2,-1"), "line 3: a loss or an accuracy out of range"),
    "no timing": (lambda run: (run / "timing.csv").unlink(), "no timing.csv"),
    "time goes back": (lambda run: edit(run, "\n2,1.4", "\n2,0.1", "timing.csv"), "line 3: seconds"),
    "infinite time": (lambda run: edit(run, "\n2,1.4", "\n2,inf", "timing.csv"), "line 3: seconds"),
    "link to itself": (replace(lambda path: path.symlink_to(path.name), "metrics.csv"), "levels of symbolic links"),
    "device": (replace(lambda path: path.symlink_to("/dev/zero"), "metrics.csv"), "not a plain file"),
    "named pipe": (replace(os.mkfifo, "metrics.csv"), "metrics.csv: is not a plain file"),
    "folder": (replace(Path.mkdir, "run.json"), "run.json: is not a plain file"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_harmed_run_is_reported_and_the_others_are_read(tmp_path, name):
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


def test_rows_beyond_a_runs_epochs_are_left_out(tmp_path):
    write_run(tmp_path, epochs=3, epochs_done=5)
    assert list(collect(tmp_path).metrics["epoch"]) == [1, 2, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_finished_run_holds_finite_numbers_only(tmp_path, value):
    values = np.full((3, 6), 0.5)
    values[2, 0] = value
    write_run(tmp_path, epochs=3, curve=values)
    _, kind, message = only_problem(tmp_path)
    assert kind == "unreadable" and "metrics.csv line 4: a loss or an accuracy out of range" in message
    assert np.isfinite(collect(tmp_path).metrics["train_loss"]).all()


def test_rows_before_a_bad_one_are_kept(tmp_path):
    run = write_run(tmp_path, epochs=3)
    whole = collect(tmp_path).metrics
    edit(run, "\n3,", "\nx,")
    kept = collect(tmp_path).metrics
    pd.testing.assert_frame_equal(kept.drop(columns="status"), whole.iloc[:2].drop(columns="status"))


def test_times_that_cannot_be_read_are_nan_and_cost_no_result(tmp_path):
    run = write_run(tmp_path, epochs=3)
    edit(run, "\n3,", "\nx,", "timing.csv")
    collection = collect(tmp_path)
    assert list(collection.runs["status"]) == ["done"]
    np.testing.assert_array_equal(collection.metrics["seconds"], [0.7, 1.4, np.nan])


def test_directories_that_are_no_runs_and_links_that_lead_nowhere_are_named(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a").symlink_to("a")
    (tmp_path / "b").symlink_to("gone")
    problems = collect(tmp_path).problems.set_index("name")["kind"]
    assert problems.to_dict() == {"a": "unreadable", "b": "unreadable", "loop": "foreign", "photos": "foreign"}


def test_a_run_of_a_stopped_sweep_that_never_started_is_called_so(tmp_path):
    run = write_run(tmp_path, epochs=3)
    for file in run.iterdir():
        file.unlink()
    (run / ".hydra").mkdir()
    assert only_problem(tmp_path) == (run.name, "waiting", "not started; the same command trains it")
    (run / "metrics.csv").write_text("epoch\n")
    assert only_problem(tmp_path) == (run.name, "unreadable", "no run.json")


def test_names_are_data_and_fit_a_line(tmp_path):
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


def test_of_two_directories_for_one_run_the_copy_is_left_out(tmp_path):
    run = write_run(tmp_path, epochs=2)
    copy = tmp_path / "a copy"
    copy.mkdir()
    for file in ("run.json", "metrics.csv"):
        (copy / file).write_bytes((run / file).read_bytes())
    collection = collect(tmp_path)
    assert list(collection.runs["name"]) == [run.name]
    assert len(collection.metrics) == 2
    assert only_problem(tmp_path) == ("a copy", "superseded", f"same configuration and seed as {run.name}")


@pytest.mark.parametrize("finished", ["done", "diverged"])
@pytest.mark.parametrize("newer", ["running", "interrupted", "failed", "unreadable"])
def test_a_finished_run_counts_before_a_newer_one_that_is_not(newer, finished, tmp_path):
    old = write_run(tmp_path, epochs=3, status=finished)
    moved = old.rename(old.with_name(old.name[:-8] + "ffffffff"))  # as of another device
    change(moved, name=moved.name)
    os.utime(moved / "run.json", (1, 1))
    new = write_run(tmp_path, epochs=3, epochs_done=2, status="done" if newer == "unreadable" else newer)
    assert list(collect(tmp_path).runs["name"]) == [moved.name]
    assert (new.name, "superseded") in set(collect(tmp_path).problems[["name", "kind"]].itertuples(index=False))


def test_runs_of_several_stores_that_are_called_alike_are_told_apart(tmp_path):
    values = {}
    for optimizer in ("adam", "sgd"):
        run = write_run(tmp_path / optimizer, optimizer=optimizer, epochs=3)
        values[optimizer.upper()] = layout.read_metrics(run, done=True)[0]
        run.rename(run.with_name("x"))
    collection = gather([tmp_path / "adam" / "x", tmp_path / "sgd" / "x", tmp_path / "sgd" / ".." / "sgd" / "x"])
    assert list(collection.runs["name"]) == [str(tmp_path / optimizer / "x") for optimizer in ("adam", "sgd")]
    for recipe, optimizer in zip(collection.runs["recipe"], collection.runs["optimizer"], strict=True):
        (curve,) = Curves(collection).serving(recipe, 3).values()
        assert (curve.metrics[:, :6] == values[optimizer.upper()]).all()
    assert finals(collection)["seconds"].tolist() == [3 * 0.7] * 2
    assert collection.problems.empty


def test_names_that_are_alike_once_they_fit_a_line_are_told_apart(tmp_path):
    for seed, name in enumerate(("a\n", "a\\n")):
        run = write_run(tmp_path, epochs=1, seed=seed)
        run.rename(run.with_name(name))
    assert collect(tmp_path).metrics["run"].nunique() == 2


def test_of_two_runs_of_one_configuration_and_seed_the_newer_counts(tmp_path):
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


NO_ARRAYS = [b"", b"\x80\x04cos\nsystem\n.", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x09\x00v\x00{}"]


def test_predictions_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r"no predictions\.npy"):
        read_predictions(tmp_path)
    file = tmp_path / "predictions.npy"
    for content in (*NO_ARRAYS, b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((  "):
        file.write_bytes(content)
        with pytest.raises(RecordError, match=r"predictions\.npy is not a NumPy array"):
            read_predictions(tmp_path)
    for wrong in (np.zeros(3), np.zeros((2, 2), np.uint8), np.array([object()])):
        np.save(file, wrong, allow_pickle=True)
        with pytest.raises(RecordError, match="not a whole one-dimensional uint8 array"):
            read_predictions(tmp_path)
    np.save(file, np.zeros(9, np.uint8))
    content = file.read_bytes()
    for torn in (content[:-1], content + b"\0", content.replace(b"(9,)", b"(9999999999999999,)")):
        file.write_bytes(torn)
        with pytest.raises(RecordError):
            read_predictions(tmp_path)
    np.save(file, np.array([10], np.uint8))
    with pytest.raises(RecordError, match="a class over 9"):
        read_predictions(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    *("format", "status", "error", "seconds", "test", "name", "config", "config__optimizer", "config__optimizer__name"),
    *("config__optimizer__lr", "config__training", "config__model__hidden", "config__data", "config__seed"),
]


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_anywhere_in_run_json_is_read_or_refused(tmp_path_factory, place, value):
    store = tmp_path_factory.mktemp("store")
    run = write_run(store, epochs=1)
    change(run, **{place: value})
    collection = collect(store)
    assert len(collection.runs) == 1 or len(collection.problems) == 1
    collection.runs.to_csv(store / "runs.csv")


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=60), keep=st.integers(0, 300))
def test_any_bytes_in_any_file_are_read_or_refused(tmp_path_factory, content, keep):
    run = write_run(tmp_path_factory.mktemp("store"), epochs=3, predictions=np.zeros(3, np.uint8))
    for file in ("run.json", "metrics.csv", "timing.csv", "predictions.npy"):
        (run / file).write_bytes((run / file).read_bytes()[:keep] + content)
    for read in (layout.read_record, read_predictions):
        with contextlib.suppress(RecordError):
            read(run)
    rows, _ = layout.read_metrics(run, done=True)
    assert np.isfinite(rows).all()
    assert np.isfinite(layout.read_timing(run)[0]).all()


def test_a_long_or_unprintable_text_becomes_one_line():
    assert one_line("a\tb\udc80") == "a\\tb\\udc80"
    assert one_line("x" * 300) == "x" * 199 + "…"


def curves(store):
    """The curves of a store that has one recipe, and that recipe."""
    collection = collect(store)
    (found,) = set(collection.runs["recipe"])
    return Curves(collection), found


def level(value, epochs):
    return np.full((epochs, 6), value)


def test_the_run_that_serves_is_the_most_whole_one_then_the_shortest(tmp_path):
    write_run(tmp_path, epochs=5, epochs_done=3, status="running", curve=level(0.1, 3))
    write_run(tmp_path, epochs=8, epochs_done=6, status="running", curve=level(0.2, 6))
    write_run(tmp_path, epochs=12, curve=level(0.3, 12))
    write_run(tmp_path, epochs=12, seed=1, epochs_done=2, status="interrupted", curve=level(0.4, 2))
    found, recipe = curves(tmp_path)
    for epochs, value, seeds in ((3, 0.1, {0, 1}), (5, 0.2, {0, 1}), (7, 0.3, {0, 1}), (13, None, set())):
        serving = found.serving(recipe, epochs)
        assert set(serving) == seeds
        if value:
            np.testing.assert_array_equal(serving[0].metrics[:, :6], level(value, epochs))
            assert len(serving[1].metrics) == 2
            assert set(found.drawn(recipe, epochs)) == {0}
    assert {seed: len(curve.metrics) for seed, curve in found.longest()[recipe].items()} == {0: 12, 1: 2}
    assert found.sample(recipe, 5, ["val_loss"]).unfinished == (1,)


def test_a_curve_ends_where_training_diverged(tmp_path):
    values = level(0.5, 4)
    values[2, 4] = 1e39  # more than float32 holds
    write_run(tmp_path, epochs=4, curve=values)
    found, recipe = curves(tmp_path)
    assert found.sample(recipe, 3, ["val_loss"]).diverged == (0,)
    before = found.sample(recipe, 2, ["val_loss"])
    assert (before.seeds, before.diverged) == ((0,), ())
    assert len(found.drawn(recipe, 4)[0].metrics) == 2


def test_spread_is_over_the_seeds_that_have_an_epoch(tmp_path):
    write_run(tmp_path, epochs=3, curve=level(0.2, 3))
    write_run(tmp_path, epochs=3, seed=1, epochs_done=2, status="running", curve=level(0.6, 2))
    found, recipe = curves(tmp_path)
    table = spread(found.serving(recipe, 3), "val_loss")
    assert table.to_numpy().tolist() == pytest.approx(
        np.array([[1, 0.4, 0.2, 0.6, 2], [2, 0.4, 0.2, 0.6, 2], [3, 0.2, 0.2, 0.2, 1]])
    )
    assert list(table.columns) == ["epoch", "mean", "low", "high", "seeds"]
    assert spread({}, "val_loss").empty


def test_bands_do_not_widen_with_more_seeds():
    values = np.random.default_rng(0).normal(size=(4000, 40))
    widths = [(bands(pd.DataFrame(values[:, :n])).eval("high - low")).median() for n in (5, 40)]
    assert widths == pytest.approx([2, 2], rel=0.1)  # one standard deviation to either side
    assert np.ptp(values[:, :40], axis=1).mean() > 1.8 * np.ptp(values[:, :5], axis=1).mean()
