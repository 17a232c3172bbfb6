"""The Python interface: the command's runs as a table, judged, drawn, and loaded as ordinary models."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command import call
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from made_up_runs import write_run
from matplotlib import pyplot
from matplotlib.axes import Axes
from scipy import stats
from small_runs import whole

import fmnist_sweep as fs
from fmnist_sweep.config import grids
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.store import layout

SMALL = {"batch_size": 1000, "model.hidden": [8], "dropout": 0.3}
SCRIPT = """
import fmnist_sweep as fs
grid = {"batch_size": [500, 1000], "epochs": 2, "seed": range(2), "model.hidden": [[8]]}
fs.sweep("optimizer=adam,sgd", "workers=1", store="store", **grid)
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a script that sweeps, and keeps nothing from workers that would load it."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "sweep.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "sweep.py"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("8 done") == 1
    return folder / "store"


@pytest.fixture
def runs(swept: Path) -> pd.DataFrame:
    return fs.read(swept)


@pytest.fixture(autouse=True)
def _own_figures() -> Iterator[None]:
    yield
    pyplot.close("all")


def test_loading_the_package_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'pandas', 'numpy', 'matplotlib', 'hydra'}"
    script = f"import sys, fmnist_sweep; sys.exit(' '.join({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stderr == "\n"


def test_the_names_are_those_that_are_promised() -> None:
    assert set(fs.__all__) <= set(dir(fs))
    assert all(callable(getattr(fs, name)) for name in fs.__all__ if name != "draw")
    assert fs.__version__ == metadata.version("fmnist-sweep")
    assert (fs.ConfigError, fs.RunError) == (ConfigError, RunError)
    with pytest.raises(AttributeError, match="'swep'"):
        fs.swep  # noqa: B018


def test_a_sweep_trains_what_the_command_would(swept: Path, tmp_path: Path) -> None:
    typed = ["optimizer=adam,sgd", "batch_size=500,1000", "epochs=2", "seed=range(0,2)", "model.hidden=[8]"]
    planned = call("-m", *typed, f"hydra.sweep.dir={swept}", "dry_run=true", "show=plan", cwd=tmp_path)
    assert "8 runs = 4 configurations x 2 seeds; 8 done\n" in planned.out
    assert planned.out.count("done: ") == 8 == len(list(swept.glob("*/run.json")))


def test_a_table_has_a_row_a_run_and_epoch(swept: Path, runs: pd.DataFrame) -> None:
    assert len(runs) == 16
    epochs = runs.groupby(["optimizer", "batch_size", "seed"])["epoch"].agg(tuple)
    assert (len(epochs), set(epochs)) == (8, {(1, 2)})
    for path, rows in runs.groupby("path"):
        assert (rows[list(MEASURES)].to_numpy() == layout.read_metrics(Path(path), done=True)[0]).all()
        assert set(rows["run"]) == {Path(path).name}


def test_a_run_is_trained_here_and_found_again(tmp_path: Path) -> None:
    first = fs.train("optimizer=sgd", epochs=1, seed=np.int64(3), store=tmp_path / "it's, a store", **SMALL)
    assert (first["optimizer"].tolist(), first["seed"].tolist(), first["status"].tolist()) == (["SGD"], [3], ["done"])
    record = Path(first["path"].iloc[0]) / "run.json"
    written = record.stat().st_mtime_ns
    again = fs.train("optimizer=sgd", epochs=1, seed=3, store=tmp_path / "it's, a store", **SMALL)
    pd.testing.assert_frame_equal(first, again)
    assert record.stat().st_mtime_ns == written
    assert fs.sweep("dry_run=true", seed=[3, 4], store=tmp_path / "other").empty


def test_a_process_that_may_start_none_trains_itself(swept: Path, tmp_path: Path) -> None:
    wanted = {"batch_size": 1000, "epochs": 2, "seed": [0, 1], "model.hidden": [[8]], "store": tmp_path}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        table = pool.apply(fs.sweep, (), wanted)
    for path in map(Path, table["path"].unique()):
        assert (path / "metrics.csv").read_bytes() == (swept / path.name / "metrics.csv").read_bytes()
    assert table["run"].nunique() == 2


def test_what_a_command_sets_for_its_process_is_undone(tmp_path: Path) -> None:
    def state() -> list[object]:
        log = logging.getLogger()
        globals_of_hydra = GlobalHydra.instance().hydra, HydraConfig.instance().cfg, ConfigStore.instance().repo
        handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        return [log.handlers[:], log.level, dict(os.environ), torch.get_num_threads(), *handlers, *globals_of_hydra]

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = state()
        fs.train(epochs=1, store=tmp_path, **SMALL)
        with pytest.raises(ConfigError):
            fs.train(epochs=0)
        assert state() == before
    finally:
        torch.set_num_threads(threads)


def test_runs_that_did_not_end_well_are_raised_and_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="diverged: the loss is not finite"):
        fs.train("optimizer=sgd", epochs=2, store=tmp_path, **SMALL, **{"optimizer.lr": 1e9})
    (path,) = tmp_path.glob("*/run.json")
    path.write_bytes(b"{")
    with pytest.warns(UserWarning, match=r"run\.json"):
        assert fs.read(tmp_path).empty


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: fs.train(epochs=0), "epochs=0: must be greater than or equal to 1"),
        (lambda: fs.train("optimizer=adam,sgd"), "several values make a sweep: add -m"),
        (lambda: fs.sweep(seed=[]), "seed: has no values; give one at least"),
        (lambda: fs.sweep(optimiser="adam"), "did you mean optimizer"),
        (lambda: fs.sweep(paper="caprari2025"), "paper=caprari2025: must be one of bordone2025, caprari2024"),
        (lambda: fs.read("nowhere"), "nowhere: is not a folder; give the folder of a sweep"),
        (lambda: fs.judge("nowhere"), "nowhere: is not a folder; give the folder of a sweep"),
        (lambda: fs.judge(pd.DataFrame({"run": []})), "the table has no column path"),
        (lambda: fs.load_model("nowhere"), "nowhere: no run.json; give the directory of a run"),
        (lambda: fs.draw.figure("nowhere", "fig9"), "figure=fig9: must be one of fig1, fig2, fig3, fig4, fig5"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    asked: Callable[[], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        asked()
    assert said in str(raised.value) and "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_values_are_written_as_overrides() -> None:
    words = {None: "null", True: "true", 0.01: "0.01", (128, 64): "[128,64]", "adam,sgd": "adam,sgd"}
    assert {value: grids.written(value) for value in words} == words
    assert grids.choices("model.hidden", [[8], [64, 32]]) == "model.hidden=[8],[64,32]"
    assert grids.choices("dropout", np.array([0.1, 0.2])) == "dropout=0.1,0.2"


# Models


def test_a_model_gives_the_recorded_accuracy_and_predictions(runs: pd.DataFrame) -> None:
    data = whole()
    images = (data.val_images.float() / 255 - 0.5) / 0.5
    for path, rows in runs[runs["seed"] == 0].groupby("path"):
        model = fs.load_model(path)
        assert not model.training
        predictions = model(images.view(-1, 1, 28, 28)).argmax(1)
        assert (predictions.numpy() == np.load(Path(path) / "predictions.npy")).mean() > 0.9999
        assert (predictions == data.val_labels).double().mean().item() == pytest.approx(rows["val_accuracy"].iloc[-1])
    linear = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 8), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(8, 10)
    )
    linear.load_state_dict(model.state_dict())
    assert torch.equal(linear.eval()(images), model(images))


def test_a_model_that_a_run_does_not_have_is_refused(runs: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="these are the rows of 8 runs; give those of one"):
        fs.load_model(runs)
    name = runs["run"].iloc[0]
    path = tmp_path / name
    shutil.copytree(runs["path"].iloc[0], path)
    record = layout.read_record(path)
    (path / "run.json").write_bytes(replace_record(record, cut_from="a-longer-one"))
    with pytest.raises(ConfigError, match=f"{name}: has no model: it was cut from a-longer-one"):
        fs.load_model(path)
    (path / "run.json").write_bytes(replace_record(record, status="interrupted"))
    with pytest.raises(ConfigError, match="is interrupted, so it has no final model"):
        fs.load_model(path)
    (path / "run.json").write_bytes(record.encode())
    checkpoint = path / "checkpoint-2.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"checkpoint-2\.pt: is torn or corrupt; rerun=true trains the run again"):
        fs.load_model(path)
    assert checkpoint.exists()


def replace_record(record: layout.Record, **changes: object) -> bytes:
    return record.model_copy(update=changes).encode()


# Judging and drawing

PAPER = """
title: On batch size
authors: [N. N.]
year: 2026
language: en
protocol: {model.hidden: [8], dropout: 0.2, epochs: 2}
configurations:
  small: {optimizer: sgd, batch_size: 500}
  large: {optimizer: sgd, batch_size: 1000}
figures:
  both: {title: {en: Both}, rows: [small, large]}
reasons: {why: {en: Only a direction is claimed.}}
claims:
  - id: small-is-better
    section: Results
    figure: both
    quote: Small is better.
    statement: {en: "The small batch ends more accurate."}
    kind: comparison
    of: small
    than: large
    metric: val_accuracy
    reduce: last
    expect: {above: 0}
    why: why
"""


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("paper") / "mine.yaml"
    path.write_text(PAPER)
    return str(path)


def test_a_claim_is_judged_by_the_runs_that_are_given(swept: Path, runs: pd.DataFrame, paper: str) -> None:
    judged = fs.judge(swept, paper=paper)
    last = runs[(runs["optimizer"] == "SGD") & (runs["epoch"] == 2)].set_index(["batch_size", "seed"])
    difference = last.loc[500, "val_accuracy"] - last.loc[1000, "val_accuracy"]
    (claim,) = judged.to_dict("records")
    assert (claim["measured"], claim["seeds"]) == (pytest.approx(difference.mean()), [0, 1])
    assert claim["verdict"] in ("reproduced", "open") and claim["statement_en"].startswith("The small batch")
    pd.testing.assert_frame_equal(fs.judge(runs, paper=paper), judged)
    assert fs.judge(runs[runs["seed"] == 1], paper=paper)["seeds"].tolist() == [[1]]


def test_curves_are_drawn_on_the_axes_that_are_given(runs: pd.DataFrame) -> None:
    _, ax = pyplot.subplots()
    assert fs.draw.curves(runs, "val_loss", ax=ax) is ax
    labels = [f"{name}, batch {size}" for name in ("Adam", "SGD") for size in (500, 1000)]
    assert [line.get_label() for line in ax.lines] == labels
    means = runs.groupby(["optimizer", "batch_size", "epoch"])["val_loss"].mean().unstack().to_numpy()
    assert np.allclose([line.get_ydata() for line in ax.lines], means)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Epoch", "Loss (nats), validation")
    large = runs[runs["batch_size"] == 1000]
    ax = fs.draw.curves(large, by="optimizer", ax=pyplot.figure().gca())
    means = large.groupby(["optimizer", "epoch"])["val_accuracy"].mean().unstack().to_numpy()
    assert np.allclose([line.get_ydata() for line in ax.lines], means)


def test_final_values_are_those_of_finished_runs(runs: pd.DataFrame) -> None:
    runs = runs[runs["optimizer"] == "SGD"]
    ax = fs.draw.finals(runs, "train_loss", by="batch_size", ax=pyplot.figure().gca())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["batch 500", "batch 1000"]
    last = runs[runs["epoch"] == 2].groupby("batch_size")["train_loss"]
    drawn = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
    assert [sorted(values) for values in drawn] == [sorted(values) for _, values in last]
    with pytest.raises(ConfigError, match="none of these runs is finished"):
        fs.draw.finals(runs[runs["epoch"] == 1])


def lengths(ax: Axes) -> dict[str, int]:
    return {str(line.get_label()): len(line.get_ydata()) for line in ax.lines}


def test_runs_of_two_stores_are_told_apart_by_their_paths(tmp_path: Path, paper: str) -> None:
    for size in (500, 1000):
        for seed in (0, 1):
            run = write_run(tmp_path / f"{size}", optimizer="sgd", batch_size=size, epochs=2, hidden=[8], seed=seed)
            run.rename(run.with_name(f"run{seed}"))
    apart = [fs.read(tmp_path / f"{size}") for size in (500, 1000)]
    runs = pd.concat(apart)
    last = [table.loc[table["epoch"] == 2, "val_accuracy"].mean() for table in apart]
    (claim,) = fs.judge(runs, paper=paper).to_dict("records")
    assert (claim["measured"], claim["seeds"]) == (pytest.approx(last[0] - last[1]), [0, 1])
    assert lengths(fs.draw.curves(runs, ax=pyplot.figure().gca())) == {"SGD, batch 500": 2, "SGD, batch 1000": 2}
    fs.draw.figure(runs, "both", paper=paper)


@pytest.mark.parametrize("status", ["done", "interrupted"])
def test_a_run_that_is_in_two_stores_counts_once(status: layout.Status, tmp_path: Path, paper: str) -> None:
    for size in (500, 1000):
        write_run(tmp_path / "here", optimizer="sgd", batch_size=size, epochs=2, hidden=[8])
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for run in (tmp_path / "there").iterdir():
        (run / "run.json").write_bytes(replace_record(layout.read_record(run), status=status))
    here = fs.read(tmp_path / "here")
    runs = pd.concat([fs.read(tmp_path / "there"), here, here])
    with pytest.warns(UserWarning, match="same configuration and seed as") as told:
        judged = fs.judge(runs, paper=paper)
    assert len(told) == 2 and all(str(tmp_path) in str(one.message) for one in told)
    pd.testing.assert_frame_equal(judged, fs.judge(here, paper=paper))
    with pytest.warns(UserWarning, match="same configuration and seed as"):
        ax = fs.draw.finals(runs, ax=pyplot.figure().gca())
    assert [len(line.get_xdata()) for line in ax.lines if line.get_alpha() == 0.35] == [1, 1]
    with pytest.warns(UserWarning, match="same configuration and seed as"):
        assert set(lengths(fs.draw.curves(runs, ax=pyplot.figure().gca())).values()) == {2}
    joined = pd.concat([here, here])
    assert set(lengths(fs.draw.curves(joined, by="batch_size", ax=pyplot.figure().gca())).values()) == {2}


def test_optimizers_of_two_stores_are_drawn_apart(tmp_path: Path) -> None:
    given = [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.01, "momentum": 0.9}]
    for place, arguments in enumerate(given):
        write_run(tmp_path / f"{place}", optimizer="sgd", optimizer_args=arguments, epochs=2)
    runs = pd.concat([fs.read(tmp_path / f"{place}") for place in range(3)])
    ax = fs.draw.curves(runs, ax=pyplot.figure().gca())
    assert list(lengths(ax)) == ["SGD, lr 0.01, momentum 0", "SGD, lr 0.01, momentum 0.9", "SGD, lr 0.1, momentum 0"]
    assert fs.summary(runs)["n"].tolist() == [1, 1, 1]


def test_a_store_that_has_moved_is_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "here", epochs=2)
    monkeypatch.chdir(tmp_path)
    runs = fs.read("here")
    monkeypatch.chdir("/")
    assert fs.judge(runs)["verdict"].size
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(ConfigError, match=f"{run}: no longer exists; read the folder where the runs are now"):
        fs.judge(runs)
    assert fs.read(tmp_path / "there")["run"].tolist() == [run.name] * 2


def test_what_is_not_to_be_drawn_is_refused(runs: pd.DataFrame, paper: str) -> None:
    with pytest.raises(ConfigError, match=r"metric=val_acuracy: must be one of .*did you mean val_accuracy"):
        fs.draw.curves(runs, "val_acuracy")
    with pytest.raises(ConfigError, match=r"by=batchsize: must be one of .*did you mean batch_size"):
        fs.draw.curves(runs, by="batchsize")
    with pytest.raises(ConfigError, match=r"x=model\.hidden: has values that are not numbers \(8\)"):
        fs.draw.against(runs, x="model.hidden")
    for draw in (fs.draw.curves, fs.draw.finals):
        with pytest.raises(
            ConfigError, match=r"by=optimizer: runs of one level differ in batch_size.*col='batch_size'"
        ):
            draw(runs, by="optimizer")
    with pytest.raises(ConfigError, match="ax: 1 axes for 2 panels"):
        fs.draw.curves(runs, ["val_loss", "val_accuracy"], ax=pyplot.figure().gca())
    with pytest.raises(ConfigError, match="fig1: there are no runs of it"):
        fs.draw.figure(runs, "fig1")
    assert len(fs.draw.figure(runs, "both", paper=paper).axes) == 4


def test_a_panel_shows_a_metric_and_a_level(runs: pd.DataFrame) -> None:
    axes = fs.draw.curves(runs, ["val_loss", "val_accuracy"], by="optimizer", col="batch_size")
    assert axes.shape == (2, 2)
    assert [ax.get_title() for ax in axes[0]] == ["Batch 500", "Batch 1000"]
    large = runs[(runs["batch_size"] == 1000) & (runs["optimizer"] == "SGD")]
    (line,) = (line for line in axes[1, 1].lines if line.get_label() == "SGD")
    assert np.allclose(line.get_ydata(), large.groupby("epoch")["val_accuracy"].mean())
    (legend,) = axes[0, 0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Adam", "SGD"]
    assert "With lr 0.01, hidden 8, dropout 0.2, 2 epochs" in legend.get_title().get_text().replace("\n", " ")
    assert "16th to 84th percentile" in legend.get_title().get_text().replace("\n", " ")
    assert fs.draw.finals(runs, ["val_loss", "val_accuracy"]).shape == (2,)


def test_a_metric_is_drawn_against_a_number(tmp_path: Path) -> None:
    for lr, seed in ((0.001, 0), (0.1, 0), (0.01, 0), (0.01, 1)):
        curve = np.full((1, 6), lr + seed / 10)
        write_run(tmp_path, optimizer="sgd", optimizer_args={"lr": lr}, seed=seed, epochs=1, curve=curve)
    write_run(tmp_path, optimizer="sgd", epochs=2, epochs_done=1, status="running")
    ax = fs.draw.against(fs.read(tmp_path), x="optimizer.lr", metric="val_loss")
    (bars,) = ax.containers
    np.testing.assert_allclose(
        np.transpose(bars.lines[0].get_data()).astype(float), [[0.001, 0.001], [0.01, 0.06], [0.1, 0.1]]
    )
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "Learning rate")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.001", "0.01", "0.1"]


# Answers


def test_configurations_are_summed_up_and_the_best_is_found(swept: Path, runs: pd.DataFrame) -> None:
    table = fs.summary(runs)
    last = runs[runs["epoch"] == 2].groupby(["optimizer", "batch_size"])
    means = last["val_accuracy"].mean().sort_values(ascending=False)
    assert list(map(tuple, table[["optimizer", "batch_size"]].to_numpy())) == list(means.index)
    assert np.allclose(table["val_accuracy"], means)
    pd.testing.assert_frame_equal(fs.summary(swept), table)
    found, rows = fs.best(runs)
    assert (found["optimizer"], found["batch_size"]) == means.index[0]
    pd.testing.assert_frame_equal(rows, runs[(runs[["optimizer", "batch_size"]] == list(means.index[0])).all(axis=1)])
    assert fs.best(swept, "train_loss").summary["train_loss"] == last["train_loss"].mean().min()
    with pytest.raises(ConfigError, match=r"metric=val_acc: must be one of .*did you mean val_accuracy"):
        fs.best(runs, "val_acc")
    with pytest.raises(ConfigError, match="none of these runs is finished"):
        fs.best(runs[runs["epoch"] == 1])
    with pytest.raises(ConfigError, match="there are no such runs"):
        fs.summary(runs[runs["epoch"] == 3])


def test_two_configurations_are_compared_by_seed(tmp_path: Path) -> None:
    def ending(accuracy: float, seed: int, **more: object) -> None:
        write_run(tmp_path, epochs=1, seed=seed, curve=np.full((1, 6), accuracy), **more)

    for seed, (adam, sgd) in enumerate(((0.8, 0.7), (0.9, 0.7), (0.7, 0.6))):
        ending(adam, seed)
        ending(sgd, seed, optimizer="sgd")
    ending(0.1, 3, optimizer="sgd")  # a seed that Adam lacks
    ending(0.1, 0, optimizer="sgd", hidden=(64, 32))
    sgd = {"optimizer": "SGD", "model.hidden": [128, 64]}
    found = fs.compare(tmp_path, {"optimizer": "Adam"}, sgd, metric="val_accuracy")
    expected = stats.ttest_rel([0.8, 0.9, 0.7], [0.7, 0.7, 0.6])
    low, high = expected.confidence_interval()
    named = {"a": 0.8, "b": 2 / 3, "difference": 2 / 15, "low": low, "high": high, "n": 3, "p": expected.pvalue}
    assert found.to_dict() == pytest.approx(named)
    asked = "optimizer == 'SGD' and `model.hidden` == '128-64'"
    pd.testing.assert_series_equal(fs.compare(fs.read(tmp_path), {"optimizer": "Adam"}, asked), found)
    for a, b, said in [
        ({"optimizer": "SGD"}, {"optimizer": "Adam"}, "is several configurations, which differ in model.hidden; add"),
        ({"optimizer": "Adam"}, {"optimizer": "Adam"}, "a and b are the same configuration"),
        ({"optimiser": "Adam"}, sgd, "a=optimiser: must be one of .*did you mean optimizer"),
        ({"optimizer": "adam"}, sgd, "a: no finished run has optimizer=adam; there are Adam, SGD; did you mean Adam"),
        (
            {"optimizer": "Adam"},
            {"model.hidden": [64, 32]},
            r"seeds do not pair up: a and b have \[0, 1, 2\] and \[0\]",
        ),
        ("seed ==", sgd, "cannot be evaluated"),
    ]:
        with pytest.raises(ConfigError, match=said):
            fs.compare(tmp_path, a, b)


def test_predictions_are_beside_the_true_classes(runs: pd.DataFrame) -> None:
    one = runs[runs["run"] == runs["run"].iloc[0]]
    table = fs.predictions(one)
    assert (len(table), table.index.name) == (10_000, "image")
    assert (table["true"] == table["predicted"]).mean() == pytest.approx(one["val_accuracy"].iloc[-1])
    assert table["true"].cat.codes.tolist() == whole().val_labels.tolist()
    seeds = fs.best(runs).runs
    matrix, _ = fs.draw.confusion(seeds).axes
    shares = [fs.predictions(path).query("true == 'Bag'")["predicted"].eq("Bag").mean() for path in set(seeds["path"])]
    shown = {text.get_position(): text.get_text() for text in matrix.texts}
    assert shown[8, 8] == f"{100 * np.mean(shares):.0f}"
    with pytest.raises(ConfigError, match=r"runs differ in optimizer, batch_size; .* fs\.best\(runs\)\.runs"):
        fs.draw.confusion(runs)


def test_a_published_table_is_read_as_its_store_is(swept: Path, runs: pd.DataFrame, paper: str, tmp_path: Path) -> None:
    page = fs.write_report(swept, paper=paper, output=tmp_path / "out")
    assert page.read_text().startswith("<!DOCTYPE html>")
    table = tmp_path / "out" / "results.csv"
    published = fs.read(table)
    pd.testing.assert_frame_equal(published.drop(columns="path"), runs.drop(columns="path"))
    pd.testing.assert_frame_equal(fs.summary(published), fs.summary(runs))
    pd.testing.assert_frame_equal(fs.judge(table, paper=paper), fs.judge(swept, paper=paper))
    assert fs.draw.curves(published).lines
    with pytest.raises(ConfigError, match=r"results\.csv: is a table, without models and predictions"):
        fs.load_model(published[published["run"] == published["run"].iloc[0]])
    with pytest.raises(ConfigError, match="no run follows the protocol of caprari2024"):
        fs.write_report(swept, paper="caprari2024", output=tmp_path / "other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "claims.csv").touch()
    with pytest.raises(ConfigError, match=r"claims\.csv: already exists .*; choose another output"):
        fs.write_report(table, paper=paper, output=tmp_path / "mine")


def test_a_notebook_shows_an_error_in_one_line(tmp_path: Path) -> None:
    script = "import fmnist_sweep as fs; fs.read('nowhere')"
    command = [sys.executable, "-m", "IPython", "--colors=nocolor", f"--ipython-dir={tmp_path}", "-c", script]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = "ConfigError: nowhere: is not a folder; give the folder of a sweep, or a report's results.csv"
    assert (shown.stdout + shown.stderr).strip() == said
