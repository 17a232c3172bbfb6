"""Check docs/: verdicts follow from the published tables, and the published pages say the same."""

import html
import json
import re
from collections import Counter
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_runs import write_run
from scipy import stats

from fmnist_sweep import papers
from fmnist_sweep.papers.verdicts import VERDICTS, judge
from fmnist_sweep.report import __main__, site
from fmnist_sweep.report.claims import row
from fmnist_sweep.report.comparisons import OVERLAYS, comparison_tables
from fmnist_sweep.report.texts import LANGUAGES, Texts
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.published import read_results
from fmnist_sweep.store.tables import FACTORS, collect, differing, varying

DOCS = Path(__file__).parents[2] / "docs"
PAPERS = ("chaudhary2021", "caprari2024", "bordone2025", "oren2026")  # by year
PAGES = {"en": "{}.html", "es": "{}.es.html"}


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
@pytest.mark.parametrize("name", PAPERS)
def test_the_published_page_has_every_published_verdict(name, language):
    texts = Texts(language)
    page = (DOCS / PAGES[language].format(name)).read_text(encoding="utf-8")
    assert len(page.encode()) < 1_500_000
    rows = dict(re.findall(r'(?s)<tr id="claim-([^"]+)"[^>]*>(.*?)</tr>', page))
    claims = published(name)
    assert sorted(rows) == sorted(claim["id"] for claim in claims)
    for claim in claims:
        said = html.unescape(rows[claim["id"]])
        assert f"</span> {texts('page.' + claim['verdict'])}</span>" in said
        assert claim[f"reason_{language}"] in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_front_page_counts_the_published_verdicts(language):
    page = (DOCS / PAGES[language].format("papers")).read_text(encoding="utf-8")
    verdicts = Counter(claim["verdict"] for name in PAPERS for claim in published(name))
    head = page[page.index('<h2 class="answer">') : page.index("</h2>")]
    assert f"{verdicts.total()} " in head
    assert [int(n) for n in re.findall(r"</span> (\d+) ", head)] == [
        verdicts[name] for name in VERDICTS if verdicts[name]
    ]


# The numbers behind the comparison figures, computed again from results.csv alone, in another way

NUMBERS = ["mean", "low", "high"]


def levels_run_together(runs, factors):
    """The levels of factors that some combinations of the others were run with in full, and those combinations."""
    others = [factor for factor in dict.fromkeys([*FACTORS, *varying(runs)]) if factor not in factors]
    run = {tuple(key): set(map(tuple, part[factors].to_numpy())) for key, part in runs.groupby(others)}
    subsets = [
        [chosen for size in range(2, len(levels) + 1) for chosen in combinations(levels, size)]
        for levels in (sorted(set(runs[factor])) for factor in factors)
    ]
    candidates = [set(product(*chosen)) for chosen in product(*subsets)]
    found = [(cells, [key for key, cell in run.items() if cells <= cell]) for cells in candidates]
    return max(found, key=lambda pair: (bool(pair[1]) * len(pair[0]), len(pair[1])), default=(set(), []))


def balanced(runs, measure, factors, key, kept):
    """Mean over combinations of means over seeds, and its t interval from the covariances of the combinations."""
    others = [factor for factor in dict.fromkeys([*FACTORS, *varying(runs)]) if factor not in factors]
    cells = [
        part.set_index("seed")[measure]
        for other, part in runs[(runs[factors] == list(key)).all(axis=1)].groupby(others)
        if tuple(other) in kept
    ]
    variance = sum(
        ((a - a.mean()) * (b - b.mean())).sum() / np.sqrt(len(a) * (len(a) - 1) * len(b) * (len(b) - 1))
        for a, b in product(cells, cells)
    )
    counts = [len(cell) for cell in cells]
    half = stats.t.ppf(0.975, min(counts) - 1) * np.sqrt(variance) / len(cells)
    mean = sum(cell.sum() / len(cell) for cell in cells) / len(cells)
    return mean, mean - half, mean + half, len(cells), min(counts), max(counts)


@pytest.fixture(scope="module", params=("caprari2024", "bordone2025"))  # those that have all comparisons
def compared(request):
    """The published rows of a paper, those of the last epochs, and the comparison tables by name."""
    path = DOCS / request.param / "results.csv"
    paper = papers.read(request.param)
    collection = read_results(path, paper.covers)
    rows = collection.metrics
    last = rows[(rows["status"] == "done") & (rows["epoch"] == rows["epochs"])]
    return rows, last, comparison_tables(paper, collection, Curves(collection))


@pytest.mark.parametrize("name", ["main-effects", "interaction-effects"])
def test_effects_are_those_of_the_published_rows(compared, name):
    _, last, tables = compared
    varied = differing(last)
    expected = {}
    for factors in map(list, combinations(varied, 1 if name == "main-effects" else 2)):
        cells, kept = levels_run_together(last, factors)
        run = set(map(tuple, last[factors].to_numpy())) if kept or name == "main-effects" else set()
        for key, measure in product(run, ("val_accuracy", "val_loss")):
            told = zip(factors, key, strict=True)
            nothing = (*[np.nan] * 3, 0, 0, 0)
            numbers = balanced(last, measure, factors, key, kept) if key in cells else nothing
            expected[(*(word for pair in told for word in pair), measure)] = numbers
    table = tables.get(name, pd.DataFrame())
    found = {tuple(row[:-6]): tuple(row[-6:]) for row in table.itertuples(index=False)}
    assert found.keys() == expected.keys() and len(found) == len(table)
    for key, numbers in found.items():
        assert numbers == pytest.approx(expected[key], rel=1e-9, nan_ok=True), key


def test_rankings_are_those_of_the_published_rows(compared):
    rows, last, tables = compared
    last = last.assign(gap=last["train_accuracy"] - last["val_accuracy"])
    by_name = {"final-values": ["val_accuracy", "val_loss"], "generalisation-gap": ["gap"]}
    for name, measures in by_name.items():
        key = ["recipe", "epochs", "measure"]
        long = last.melt(["recipe", "epochs", "seed"], measures, "measure").groupby(key)["value"]
        half = long.sem() * stats.t.ppf(0.975, long.size() - 1)
        table = tables[name].set_index(key)
        assert not table.index.has_duplicates and set(table.index) == set(half.index)
        expected = pd.DataFrame({"mean": long.mean(), "low": long.mean() - half, "high": long.mean() + half})
        np.testing.assert_allclose(table[NUMBERS], expected.loc[table.index], rtol=1e-9)
        assert table["seeds"].to_dict() == long.size().to_dict() and set(table["lacking"]) == {0}
        first = tables[name].loc[tables[name]["measure"] == measures[0], "mean"]
        assert list(first) == sorted(first, reverse=name == "final-values")
    reached = {}
    for (recipe, seed), training in rows[rows["status"] == "done"].groupby(["recipe", "seed"]):
        longest = training[training["epochs"] == training["epochs"].max()].sort_values("epoch")
        there = longest["val_accuracy"].to_numpy() >= tables["convergence-speed"]["accuracy"].iloc[0]
        reached.setdefault(recipe, {})[seed] = there.argmax() + 1 if there.any() else None
    table = tables["convergence-speed"].set_index("recipe")
    assert len(table) == len(reached) and set(table.index) == set(reached)
    for recipe, ranked in table.iterrows():
        epochs = [reached[recipe][seed] for seed in sorted(reached[recipe])]
        quick = [epoch for epoch in epochs if epoch]
        assert (ranked["values"], ranked["seeds"], ranked["lacking"]) == (quick, len(quick), len(epochs) - len(quick))
        assert ranked["mean"] == pytest.approx(np.nan if ranked["lacking"] else np.mean(quick), nan_ok=True)
        if not ranked["lacking"]:
            spread = stats.t.ppf(0.975, len(quick) - 1) * np.std(quick, ddof=1) / np.sqrt(len(quick))
            assert (ranked["low"], ranked["high"]) == pytest.approx((np.mean(quick) - spread, np.mean(quick) + spread))


def percentile(values, share):
    """The percentile by its definition: of n ordered values, the one at place (n + 1/3) share + 1/3, from 1 to n."""
    place = np.clip((len(values) + 1 / 3) * share + 1 / 3, 1, len(values))
    return np.interp(place, range(1, len(values) + 1), np.sort(values))


@pytest.mark.parametrize("name", OVERLAYS)
def test_curves_are_those_of_the_published_rows(compared, name):
    rows, _, tables = compared
    table, (by, across) = tables[name], OVERLAYS[name]
    (epochs,) = set(table["epochs"])
    optimizer = [factor for factor in varying(rows) if factor.startswith("optimizer")]
    # An optimizer with other arguments is another level.
    rows, table = (one.assign(optimizer=one[optimizer].astype(str).agg(" ".join, axis=1)) for one in (rows, table))
    held = [factor for factor in FACTORS if factor not in (by, across, "epochs")]
    (base,) = table[held].drop_duplicates().to_dict("records")
    alike = rows[(rows[held] == pd.Series(base)).all(axis=1) & (rows["epochs"] >= epochs)]
    alike = alike[(alike["epoch"] <= epochs) & (alike.groupby(across)[by].transform("nunique") > 1)]
    once = alike.drop_duplicates([by, across, "seed", "epoch"])
    key = [by, across, "epoch", "measure"]
    long = once.melt([by, across, "seed", "epoch"], ["val_accuracy", "val_loss"], "measure").groupby(key)["value"]
    low, high = (long.agg(percentile, share) for share in (0.16, 0.84))
    expected = pd.DataFrame({"mean": long.mean(), "low": low, "high": high, "seeds": long.size()})
    found = table.set_index(key)
    assert not found.index.has_duplicates and set(found.index) == set(expected.index)
    np.testing.assert_allclose(found[["mean", "low", "high", "seeds"]], expected.loc[found.index], rtol=1e-9)


@pytest.mark.parametrize("tested", [False, True])
def test_a_results_table_gives_what_its_store_gave(tmp_path, tested):
    for seed in (0, 1):
        write_run(tmp_path, seed=seed, epochs=4)
        write_run(tmp_path, seed=seed, optimizer="sgd", optimizer_args={"lr": 0.1, "momentum": 0.9}, epochs=4)
    write_run(tmp_path, seed=2, epochs=4, epochs_done=3, status="running")
    write_run(tmp_path, optimizer="sgd", epochs=3, validation="holdout")
    if tested:  # runs with test metrics beside runs without
        write_run(tmp_path, batch_size=7, epochs=2, curve=np.full((2, 8), 0.25))
    store, table = collect(tmp_path), tmp_path / "results.csv"
    store.metrics.to_csv(table, index=False, na_rep="nan")
    again = read_results(table)
    pd.testing.assert_frame_equal(again.metrics, store.metrics)
    if tested:
        assert set(store.metrics["test_loss"].dropna()) == {0.25} and store.metrics["test_loss"].count() == 2
    unknown = ["seconds", "path", "has_predictions", "test_accuracy"]
    pd.testing.assert_frame_equal(again.runs.drop(columns=unknown), store.runs.drop(columns=unknown))
    pd.testing.assert_frame_equal(again.problems, store.problems)
    paper = papers.read(papers.DEFAULT)
    assert read_results(table, paper.covers).others == collect(tmp_path, paper.covers).others == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epoch,", "epok,", "columns expected but not found: ['epoch']"),
        (",0.2,", ",0.3,", "its recipe does not match its configuration"),
        (",Adam,0.01,", ",Adam,[,", "not a report's results.csv"),
        (",Adam,", ",Adamm,", "no such class in torch.optim"),
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


@pytest.mark.slow
def test_the_pages_on_papers_are_made_of_their_tables(tmp_path, capsys):
    assert site.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"no report in {tmp_path}: write one with")
    write_run(tmp_path / "runs", optimizer="sgd", optimizer_args={"lr": 0.001}, epochs=10)
    for name in PAPERS:
        (tmp_path / "docs" / name).mkdir(parents=True)
        results = collect(tmp_path / "runs", papers.read(name).covers).metrics
        results.to_csv(tmp_path / "docs" / name / "results.csv", index=False, na_rep="nan")
    assert site.main([str(tmp_path / "docs")]) == 0
    names = [PAGES[language].format(name) for language in LANGUAGES for name in (*PAPERS, "papers")]
    assert capsys.readouterr().out.splitlines() == [f"wrote {tmp_path / 'docs' / name}" for name in names]
    for language, other in (LANGUAGES, LANGUAGES[::-1]):
        files = {name: PAGES[language].format(name) for name in (*PAPERS, "papers")}
        pages = {name: (tmp_path / "docs" / file).read_text(encoding="utf-8") for name, file in files.items()}
        for name, page in pages.items():
            assert f'href="{PAGES[other].format(name)}"' in page
        for name in PAPERS:
            paper = papers.read(name)
            assert f'id="{name}"' in pages["papers"] and f'href="{files[name]}"' in pages["papers"]
            assert re.findall(r'id="figure-([^"]+)"', pages[name])[: len(paper.figures)] == list(paper.figures)
            assert f'href="{files["papers"]}"' in pages[name]
    (tmp_path / "docs" / "caprari2042").mkdir()
    (tmp_path / "docs" / "caprari2042" / "results.csv").touch()
    assert site.main([str(tmp_path / "docs")]) == 2
    assert "did you mean caprari2024?" in capsys.readouterr().err
