"""What is published in docs/: verdicts follow from its tables, and the page on all papers says the same."""

import html
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from made_up_runs import write_run

from fmnist_sweep import papers
from fmnist_sweep.report import __main__, site
from fmnist_sweep.report.judging.verdicts import judge, row
from fmnist_sweep.report.runs.collection import collect
from fmnist_sweep.report.runs.curves import Curves
from fmnist_sweep.report.runs.published import read_results
from fmnist_sweep.report.texts import LANGUAGES, Texts

DOCS = Path(__file__).parent.parent / "docs"
PAPERS = ("caprari2024", "bordone2025")
PAGES = {"en": "index.html", "es": "index.es.html"}


def published(name):
    return loads((DOCS / name / "claims.json").read_text(encoding="utf-8"))


def loads(text):
    """JSON with numbers to nine decimals: another SciPy, which is what Python 3.10 has, gives other last digits."""
    return json.loads(text, parse_float=lambda digits: round(float(digits), 9))


@pytest.mark.parametrize("name", PAPERS)
def test_published_verdicts_follow_from_the_published_results(name):
    paper = papers.read(name)
    collection = read_results(DOCS / name / "results.csv", paper.covers)
    judged = [row(paper, verdict) for verdict in judge(paper, Curves(collection))]
    assert loads(json.dumps(judged)) == published(name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_published_page_has_every_published_verdict(language):
    texts = Texts(language)
    page = (DOCS / PAGES[language]).read_text(encoding="utf-8")
    assert len(page.encode()) < 3_000_000
    for name in PAPERS:
        rows = dict(re.findall(rf'(?s)<tr id="{name}-claim-([^"]+)">(.*?)</tr>', page))
        claims = published(name)
        assert list(rows) == [claim["id"] for claim in claims]
        for claim in claims:
            said = html.unescape(rows[claim["id"]])
            assert f'data-search="{texts("page." + claim["verdict"])}"' in said
            assert claim[f"reason_{language}"] in said


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
        (",2,0.", ",1,0.", "has an epoch twice"),
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


def test_the_page_on_all_papers_is_made_of_their_tables(tmp_path, capsys):
    assert site.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"no report in {tmp_path}: write one with")
    write_run(tmp_path / "runs", optimizer="sgd", optimizer_args={"lr": 0.001}, epochs=10)
    for name in PAPERS:
        (tmp_path / "docs" / name).mkdir(parents=True)
        results = collect(tmp_path / "runs", papers.read(name).covers).metrics
        results.to_csv(tmp_path / "docs" / name / "results.csv", index=False, na_rep="nan")
    assert site.main([str(tmp_path / "docs")]) == 0
    assert capsys.readouterr().out.splitlines() == [f"wrote {tmp_path / 'docs' / page}" for page in PAGES.values()]
    for language, name in PAGES.items():
        page = (tmp_path / "docs" / name).read_text(encoding="utf-8")
        places = [page.index(f'id="{part}"') for part in (*PAPERS, *(f"{paper}-claims-table" for paper in PAPERS))]
        assert places == sorted(places)
        assert page.count("<figcaption>") == sum(len(papers.read(paper).figures) for paper in PAPERS)
        assert Texts(language)("page.undecided") in page
        (other,) = {*PAGES.values()} - {name}
        assert f'href="{other}"' in page
    (tmp_path / "docs" / "caprari2042").mkdir()
    (tmp_path / "docs" / "caprari2042" / "results.csv").touch()
    assert site.main([str(tmp_path / "docs")]) == 2
    assert "did you mean caprari2024?" in capsys.readouterr().err
