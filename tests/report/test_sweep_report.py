"""The report on a sweep itself, of runs that fit no paper: what it chooses, says, tabulates and draws."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_runs import write_run
from page_stores import write_fashion, write_search
from test_figures import line
from test_page import _Text

import fmnist_sweep as fs
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.report.__main__ import main
from fmnist_sweep.report.comparisons import comparison_tables
from fmnist_sweep.report.figures.comparisons import comparison_figures
from fmnist_sweep.report.page.tables import NOTHING
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect


def write_rates(store: Path, rates: tuple[float, ...] = (0.001, 0.01, 0.1), **fixed: Any) -> None:
    """Write runs of two epochs and three seeds; the larger the learning rate, the higher the accuracy."""
    for place, seed in product(range(len(rates)), range(3)):
        curve = np.full((2, 6), 0.5 + 0.04 * place + seed / 1000)
        write_run(store, optimizer_args={"lr": rates[place]}, epochs=2, seed=seed, curve=curve, **fixed)


def report(store: Path, *more: str) -> tuple[list[str], list[str]]:
    """Write a report and return the words of its page and the names of its files."""
    output = store.parent / "out"
    nowhere = str(store.parent / "nowhere")
    assert main([str(store), "--output", str(output), "--data", nowhere, *more]) == 0
    return _Text((output / "index.html").read_text(encoding="utf-8")).said, sorted(p.name for p in output.iterdir())


def figures(store: Path) -> dict[str, Any]:
    collection = collect(store)
    tables = comparison_tables(None, collection, Curves(collection))
    return comparison_figures(None, tables, collection.runs, Texts("en"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            [
                "Sweep over learning rate",
                "Best: Adam, lr 0.1: validation accuracy 0.5810 ± 0.0010 over 3 seeds",
                "Runs: 10, of which 9 finished. With hidden 128-64, batch 100, dropout 0.2, 2 epochs",
                "0.001, 0.01, 0.1, 10",
                "By learning rate",
                "0, failed: 1",
            ],
        ),
        (
            "es",
            [
                "Barrido: tasa de aprendizaje",
                "La mejor: Adam, lr 0.1: precisión de validación 0.5810 ± 0.0010 con 3 semillas",
                "Por tasa de aprendizaje",
                "0, fallida: 1",
            ],
        ),
    ],
)
def test_it_answers_which_configuration_is_best(store: Path, language: str, words: list[str]) -> None:
    write_rates(store)
    write_run(store, optimizer_args={"lr": 10}, epochs=2, epochs_done=0, status="failed", error="ValueError: no")
    said, files = report(store, "--lang", language)
    assert [line for line in words if line not in said] == []
    assert not [name for name in files if "claims" in name or name.startswith("verdicts")]
    assert {"results.csv", "summary.csv", "curves-by-optimizer-lr.png", "main-effects.csv"} <= set(files)
    assert not [line for line in said if "Caprari" in line]


def test_the_table_has_the_best_first_and_the_failed_last(store: Path) -> None:
    write_rates(store)
    write_run(store, optimizer_args={"lr": 10}, epochs=2, epochs_done=0, status="failed")
    report(store)
    page = (store.parent / "out" / "index.html").read_text(encoding="utf-8")
    (table,) = re.findall(r'(?s)<section id="sweep">.*?<tbody>(.*?)</tbody>', page)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"(?s)<tr>(.*?)</tr>", table)]
    assert [row[:4] for row in rows] == [
        ["1", "0.1", "3", "0.5810 ± 0.0010"],
        ["2", "0.01", "3", "0.5410 ± 0.0010"],
        ["3", "0.001", "3", "0.5010 ± 0.0010"],
        [NOTHING, "10", "0, failed: 1", NOTHING],
    ]


def test_it_is_chosen_where_no_run_is_of_a_configuration_of_the_default_paper(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(store, epochs=2)  # of its protocol, but none of its configurations is so short
    write_run(store, epochs=2, optimizer_args={"lr": 0.1})
    report(store)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"2 runs in {store}, 2 of them done"
    assert said[1].startswith("this is a report on your sweep, as no run is of caprari2024")
    assert said[2].startswith("Best: Adam, lr ")
    write_run(store, epochs=30, epochs_done=1, status="running")
    assert "left out: 1 run of another protocol" in (report(store), capsys.readouterr().out)[1]
    assert "Sweep over learning rate, epochs" in report(store, "--paper", "none")[0]


def test_a_named_paper_that_no_run_fits_is_refused(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rates(store, (0.1, 1))
    assert main([str(store), "--paper", "caprari2024"]) == 1
    said = capsys.readouterr().err
    assert "left out: 6 runs of another protocol than caprari2024's; choose another --paper, or none" in said
    with pytest.raises(ConfigError, match="6 of others; choose another paper, or none"):
        fs.write_report(store, paper="caprari2024", output=store.parent / "out")


def test_python_writes_it_of_a_table(store: Path) -> None:
    write_rates(store)
    rows = fs.read(store)
    page = fs.write_report(rows[rows["optimizer.lr"] < 0.1], output=store.parent / "out", data=store.parent / "nowhere")
    assert "Best: Adam, lr 0.01: validation accuracy 0.5410 ± 0.0010 over 3 seeds" in page.read_text(encoding="utf-8")
    table = pd.read_csv(page.parent / "summary.csv")
    assert table["optimizer.lr"].tolist() == [0.01, 0.001]
    again = fs.write_report(page.parent / "results.csv", output=store.parent / "again", data=store.parent / "nowhere")
    assert (again.parent / "summary.csv").read_bytes() == (page.parent / "summary.csv").read_bytes()
    with pytest.raises(ConfigError, match="no such runs"):
        fs.write_report(rows[:0], output=store.parent / "none")


def test_one_run_has_a_report(store: Path) -> None:
    write_run(store, epochs=2, optimizer_args={"lr": 0.1})
    said, files = report(store)
    assert "One configuration" in said
    assert any(re.fullmatch(r"Adam: validation accuracy 0\.\d{4} over 1 seed", words) for words in said)
    assert "There are no effects to compare, because all finished runs are of one configuration." in said
    assert "main-effects.png" not in files


def test_a_store_without_a_whole_run_has_a_report(store: Path) -> None:
    write_run(store, epochs=2, epochs_done=1, status="running", optimizer_args={"lr": 0.1})
    assert "No run has finished." in report(store)[0]


def test_it_says_why_effects_are_not_balanced(store: Path) -> None:
    random = np.random.default_rng(0)
    for lr, dropout in random.uniform(0.01, 0.5, (12, 2)).round(4):
        write_run(store, epochs=2, optimizer_args={"lr": lr}, dropout=dropout)
    said, files = report(store)
    assert any(words.startswith("Effects of single keys are not shown.") for words in said)
    assert not [name for name in files if name.startswith(("main-effects", "curves-by"))]
    write_rates(store, (0.6, 0.7), dropout=0.1)
    said, _ = report(store)
    assert any(words.startswith("Interactions are not shown") for words in said)


def test_a_search_comes_before_the_sweep(store: Path) -> None:
    write_rates(store)
    write_search(store)
    page = (report(store), (store.parent / "out" / "index.html").read_text(encoding="utf-8"))[1]
    assert re.findall(r'<section id="(\w+)"', page)[:3] == ["searches", "sweep", "curves"]


def test_the_confusions_of_the_best_come_first(store: Path) -> None:
    labels = write_fashion(store.parent / "fashion")
    write_rates(store, predictions=labels)
    said, files = report(store, "--data", str(store.parent / "fashion"))
    assert said[said.index("Which classes get confused", 10) + 1 :][:2] == ["Configuration", "Adam, lr 0.1"]
    assert "confusion-matrix.png" in files


def test_curves_by_a_key_hold_all_others_as_in_the_best_configuration(store: Path) -> None:
    for (name, lr), size in product((("adam", 0.001), ("adam", 0.01), ("sgd", 0.1), ("sgd", 1.0)), (100, 500)):
        accuracy = lr / 10 + size / 1e4 + 0.2 * (name == "adam")  # the best is Adam with 0.01 and 500
        chosen = {"optimizer": name, "optimizer_args": {"lr": lr}, "batch_size": size}
        write_run(store, **chosen, epochs=2, curve=np.full((2, 6), accuracy))
    drawn = figures(store)
    by_optimizer = drawn["curves-by-optimizer"].axes  # each with its best learning rate
    assert [ax.get_title(loc="left") for ax in by_optimizer[:2]] == ["Batch 100", "Batch 500"]
    lines = {one.get_label(): one.get_ydata()[0] for one in by_optimizer[3].lines}
    assert lines == pytest.approx({"Adam, lr 0.01": 0.251, "SGD, lr 1": 0.15})
    by_rate = drawn["curves-by-optimizer-lr"].axes
    assert [ax.get_title(loc="left") for ax in by_rate[:2]] == ["Adam", "SGD"]
    assert line(by_rate[2], "lr 0.001")[1][0] == pytest.approx(0.2501)
    assert line(by_rate[3], "lr 0.1")[1][0] == pytest.approx(0.06)
    note = by_rate[0].figure.legends[0].get_title().get_text().replace("\n", " ")
    assert note.startswith("With batch 500, hidden 128-64, dropout 0.2, 2 epochs.")


def test_numbers_stand_to_scale_and_learning_rates_on_a_logarithmic_axis(store: Path) -> None:
    write_rates(store, (0.001, 0.01, 0.03, 1))
    for seed in range(3):
        for size in (200, 1000):
            arguments = {"optimizer_args": {"lr": 0.03}, "batch_size": size, "epochs": 2}
            write_run(store, **arguments, seed=seed, curve=np.full((2, 6), 0.1))
    rate, size = figures(store)["main-effects"].axes[2:]
    assert [label.get_text() for label in rate.get_xticklabels()] == ["0.001", "0.01", "0.03", "1"]
    places = rate.get_xticks()
    np.testing.assert_allclose(np.diff(places) / np.ptp(places), np.diff(np.log([0.001, 0.01, 0.03, 1])) / np.log(1000))
    assert [label.get_text() for label in size.get_xticklabels()] == ["100", "200", "1000"]
    np.testing.assert_allclose(size.get_xticks(), [0, 2 / 9, 2])


def test_a_loss_that_explodes_and_two_seeds_that_differ_leave_the_others_readable(store: Path) -> None:
    for rate, loss, accuracy in ((0.001, 0.4, 0.8), (0.01, 0.5, 0.6), (0.1, 0.45, 0.7), (10, 1e6, 0.1)):
        for seed in range(2):  # their t interval reaches beyond 0 and 1
            curve = np.full((2, 6), [loss, accuracy, loss, accuracy, loss, accuracy + 0.15 * seed])
            write_run(store, optimizer_args={"lr": rate}, epochs=2, seed=seed, curve=curve)
    drawn = figures(store)
    accuracy, loss = drawn["final-values"].axes
    scales = [accuracy.get_xlim(), loss.get_xlim()]
    assert [loss.get_xscale(), accuracy.get_xscale()] == ["log", "linear"]
    for name, places in (("main-effects", (0, 1)), ("curves-by-optimizer-lr", (1, 0))):
        accuracy, loss = (drawn[name].axes[place] for place in places)
        scales += [accuracy.get_ylim(), loss.get_ylim()]
        assert [loss.get_yscale(), accuracy.get_yscale()] == ["log", "linear"]
    assert all(0 <= low < high <= 1 for low, high in scales[::2])
    assert all(0.1 < low < 0.4 and high > 1e6 for low, high in scales[1::2])
    assert "1e+06" in [text.get_text() for text in loss.get_yticklabels()]


def test_levels_that_lack_an_argument_of_others_are_compared(store: Path) -> None:
    schedules = ({"name": "constant", "warmup": 0}, {"name": "cosine", "warmup": 0, "floor": 0.0})
    for schedule, size in product(schedules, (100, 500)):
        arguments = {"lr": 0.01, "schedule": schedule}
        write_run(store, optimizer_args=arguments, batch_size=size, epochs=2)
    figure = figures(store)["curves-by-optimizer-schedule-name"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "schedule.name constant",
        "schedule.name cosine",
    ]


def test_many_levels_get_as_many_curves_as_can_be_told_apart(store: Path) -> None:
    write_rates(store, tuple(0.001 * 2**place for place in range(12)))
    figure = figures(store)["curves-by-optimizer-lr"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (labels[0], labels[-1], len(labels)) == ("lr 0.001", "lr 2.048", 8)
    assert "4 more not shown" in figure.legends[0].get_title().get_text()


def test_speed_is_measured_to_what_half_of_the_configurations_reach(store: Path) -> None:
    write_rates(store)
    figure = figures(store)["convergence-speed"]
    assert figure.get_suptitle() == "Epochs until the validation accuracy reaches 0.54"
