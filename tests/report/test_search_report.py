"""The report's section on searches: what it says, and that no search.db can harm a report."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_runs import write_run
from page_stores import SCRIPT, write_fashion, write_page, write_search, write_store
from test_page import said

from fmnist_sweep.report.__main__ import main
from fmnist_sweep.report.search_history import read_searches
from fmnist_sweep.store.tables import collect


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs", epochs=2)
    return tmp_path / "runs"


def test_a_search_is_read_as_it_stands(store: Path) -> None:
    write_search(store)
    ((search,), complaint) = read_searches(store)
    assert complaint is None
    assert search.counts == {"complete": 3, "pruned": 8, "fail": 1}
    assert (search.spent, search.whole) == (2 * (3 * 9 + 9), 2 * 12 * 9)
    assert [trial.values for trial in search.ranked()] == sorted(t.values for t in search.trials if t.steps == 9)
    assert search.best == {search.ranked()[0].number}
    assert sum(search.importances.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            ["Searches", "Trials: 3 complete, 8 stopped early, 1 failed, 0 in progress. The search stopped weak trials "
             "early, so it trained 72 epochs in total instead of 216: 67 % less.", "Validation loss", "Value by trial"],
        ),
        ("es", ["Búsquedas", "Valor de cada ensayo", "Pérdida de validación", "Corridas"]),
    ],
)  # fmt: skip
def test_the_page_shows_it(store: Path, tmp_path: Path, language: str, words: list[str]) -> None:
    write_search(store)
    assert set(words) <= set(said(store, tmp_path / "nowhere", tmp_path / "out", language))
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert SCRIPT not in page and page.count('class="plot" id="search-plot-') == 2


def test_a_front_is_shown_where_there_are_two_objectives(store: Path, tmp_path: Path) -> None:
    write_search(store, objectives=("best_val_loss", "caprari2024.fig5"))
    words = said(store, tmp_path / "nowhere", tmp_path / "out", "en")
    assert "The two objectives plotted against each other" in words
    assert {"Validation loss, best epoch", "Distance to caprari2024.fig5, in tolerances"} <= set(words)


def test_a_store_of_a_search_alone_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs", epochs=2, validation="holdout")
    write_search(tmp_path / "runs")
    arguments = [str(tmp_path / "runs"), "--output", str(tmp_path / "out"), "--data", str(tmp_path / "nowhere")]
    assert main([*arguments, "--paper", "caprari2024"]) == 0
    assert "left out: 1 run of another protocol" in capsys.readouterr().out
    assert "Searches" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table mine (x)")
    connection.close()


def torn(path: Path) -> None:
    write_search(path.parent)
    path.write_bytes(path.read_bytes()[:30_000])


def not_ours(path: Path) -> None:
    write_search(path.parent)
    with sqlite3.connect(path) as connection:
        connection.execute("update study_user_attributes set value_json = '[1]'")
    connection.close()


@pytest.mark.parametrize(
    "write",
    [lambda path: path.write_bytes(b"\0" * 5000), foreign, torn, not_ours, Path.mkdir, os.mkfifo],
    ids=["zeros", "foreign", "torn", "not ours", "folder", "pipe"],
)
def test_a_search_that_cannot_be_read_is_a_problem_and_no_more(store: Path, write) -> None:
    write(store / "search.db")
    before = (store / "search.db").read_bytes() if (store / "search.db").is_file() else None
    collection = collect(store)
    searches, complaint = read_searches(store)
    kinds = [row.kind for row in collection.problems.itertuples() if row.name == "search.db"]
    assert searches == ()
    if write is Path.mkdir:
        assert (complaint, kinds) == (None, ["foreign"])
    else:
        assert complaint and "\n" not in complaint and kinds == []
    assert before is None or (store / "search.db").read_bytes() == before
    assert len(collection.runs) == 1


def test_a_store_without_a_search_loads_no_optuna(store: Path) -> None:
    code = "import sys; from pathlib import Path; from fmnist_sweep.store.tables import collect\n"
    code += f"import fmnist_sweep.report.__main__; collect(Path({str(store)!r})); assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_reading_changes_nothing_of_a_search(tmp_path: Path) -> None:
    write_store(tmp_path / "runs", write_fashion(tmp_path / "fashion"))
    write_search(tmp_path / "runs")
    before = (tmp_path / "runs" / "search.db").read_bytes()
    write_page(tmp_path / "runs", tmp_path / "fashion", tmp_path / "out", "en")
    assert (tmp_path / "runs" / "search.db").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "runs").glob("search*")) == ["search.db"]
