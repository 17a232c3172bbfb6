"""What is published in docs/: verdicts follow from its tables."""

import json
from pathlib import Path

import pandas as pd
import pytest
from made_up_runs import write_run

from fmnist_sweep import papers
from fmnist_sweep.report import __main__
from fmnist_sweep.report.judging.verdicts import judge, row
from fmnist_sweep.report.runs.collection import collect
from fmnist_sweep.report.runs.curves import Curves
from fmnist_sweep.report.runs.published import read_results

DOCS = Path(__file__).parent.parent / "docs"
PAPERS = ("caprari2024", "bordone2025")


def published(name):
    return json.loads((DOCS / name / "claims.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PAPERS)
def test_published_verdicts_follow_from_the_published_results(name):
    paper = papers.read(name)
    collection = read_results(DOCS / name / "results.csv", paper.covers)
    judged = [row(paper, verdict) for verdict in judge(paper, Curves(collection))]
    assert json.loads(json.dumps(judged)) == published(name)


def test_a_results_table_gives_what_its_store_gave(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, seed=seed, epochs=4)
        write_run(tmp_path, seed=seed, optimizer="sgd", optimizer_args={"lr": 0.1, "momentum": 0.9}, epochs=4)
    write_run(tmp_path, seed=2, epochs=4, epochs_done=3, status="running")
    write_run(tmp_path, optimizer="sgd", epochs=3, validation="holdout")
    store, table = collect(tmp_path), tmp_path / "results.csv"
    store.metrics.to_csv(table, index=False, na_rep="nan")
    again = read_results(table)
    pd.testing.assert_frame_equal(again.metrics, store.metrics)
    unknown = ["seconds", "path", "has_predictions", "test_accuracy"]
    pd.testing.assert_frame_equal(again.runs.drop(columns=unknown), store.runs.drop(columns=unknown))
    pd.testing.assert_frame_equal(again.problems, store.problems)
    paper = papers.read(papers.DEFAULT)
    assert read_results(table, paper.covers).others == collect(tmp_path, paper.covers).others == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epoch,", "epok,", "do not match columns, columns expected but not found: ['epoch']"),
        (",0.2,", ",0.3,", "its recipe is not that of its configuration"),
        (',"{""lr"":0.01}",', ",{,", "not a report's results.csv"),
        (",128-64,", ",wide,", "not a report's results.csv"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path, capsys, old, new, message):
    write_run(tmp_path / "runs", epochs=2)
    text = collect(tmp_path / "runs").metrics.to_csv(index=False, na_rep="nan")
    assert old in text
    (tmp_path / "results.csv").write_text(text.replace(old, new))
    assert __main__.main([str(tmp_path / "results.csv"), "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and not (tmp_path / "out").exists()
