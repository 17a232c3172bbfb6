"""The page without a browser; `test_page_in_browser.py` opens it in one."""

import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from made_up_runs import write_run
from page_stores import PAPER, guesses, write_fashion, write_page
from plotly.offline import get_plotlyjs_version

from fmnist_sweep import papers
from fmnist_sweep.papers.paper import Departure, Finding
from fmnist_sweep.report.claims import judged
from fmnist_sweep.report.page.confusion_section import SPRITE_COLUMNS, examples
from fmnist_sweep.report.page.curves_section import curves_plot
from fmnist_sweep.report.page.verdict_section import answer
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.tables import collect, recipe


class _Text(HTMLParser):
    """Return the words of a page, without scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.said = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._tag = tag

    def handle_endtag(self, tag):
        self._tag = ""

    def handle_data(self, data):
        if self._tag not in ("script", "style") and data.strip():
            self.said.append(" ".join(data.split()))


@pytest.fixture
def no_fashion(tmp_path, monkeypatch):
    """A folder without Fashion-MNIST, and a cache without it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "nowhere"


def said(*store_and_more):
    return _Text(write_page(*store_and_more).read_text(encoding="utf-8")).said


def lines(store):
    """The interactive curves of a store's configurations, their values by metric, and how many are left out."""
    results = judged(PAPER, collect(store))
    first = map(recipe, PAPER.configs.values())
    plot = curves_plot(results.collection, results.curves, Texts("en"), first)
    return [trace for trace in plot.figure["data"] if trace.get("name")], plot.views, plot.more


def test_the_page_refers_to_nothing_outside_itself(tmp_path, no_fashion):
    write_run(tmp_path / "runs", epochs=2)
    page = write_page(tmp_path / "runs", no_fashion, tmp_path / "out", "en").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    own = re.sub(r"(?s)<script.*?</script>", "", page)
    places = re.findall(r"""(?:\bsrc|\bhref|\baction)=["']?([^"' >]*)|url\(["']?([^"')]*)""", own)
    assert {place[:5] for pair in places for place in pair if place and not place.startswith("#")} == {"data:"}
    assert len(page) < 1_500_000


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["No run has completed an epoch yet.", "No run has finished.", "0 of 30 epochs", "no run.json"]),
        ("es", ["Ninguna corrida completó una época todavía.", "0 de 30 épocas", "en curso (0/30)"]),
    ],
)
def test_a_store_without_a_whole_epoch_gives_a_page(tmp_path, no_fashion, language, words):
    write_run(tmp_path / "runs", epochs_done=0, status="running")
    (tmp_path / "runs" / "empty").mkdir()
    assert set(words) <= set(said(tmp_path / "runs", no_fashion, tmp_path / "out", language))


def test_the_page_speaks_of_the_paper_given(tmp_path, no_fashion):
    """Its names, its figures, its protocol and its kinds of claims; nothing of the paper that is the default."""
    for seed, dropout in ((0, 0.2), (1, 0.2), (0, 0.0)):
        sgd = {"optimizer": "sgd", "optimizer_args": {"lr": 0.001}, "dropout": dropout}
        write_run(tmp_path / "runs", **sgd, epochs=10, seed=seed)
    write_run(tmp_path / "runs", validation="holdout")
    paper = papers.read("bordone2025")
    page = write_page(tmp_path / "runs", no_fashion, tmp_path / "out", "en", paper).read_text(encoding="utf-8")
    words = _Text(page).said
    assert f'<cite lang="es"><a href="{paper.link}"' in page and paper.title in words
    assert any(paper.byline in line for line in words)
    numbers = ["1", "2", "3", "4", "5", "6", "final"]
    for number, figure in zip(numbers, paper.figures.values(), strict=True):
        assert f"Figure {number}. {figure.title['en']}" in words
    assert any("Runs left out because they follow another protocol: 1." in line for line in words)
    assert any(line.startswith("For statements only: final-256-128 (Adam, lr 0.001, batch 32") for line in words)
    assert any(line.startswith("Too few seeds: ") for line in words)
    for claim in paper.claims:
        assert f'id="claim-{claim.id}"' in page and claim.statement["en"] in words
    assert "Caprari" not in page


def test_without_the_data_the_page_says_how_to_get_the_images(tmp_path, no_fashion):
    write_run(tmp_path / "runs", epochs=2, predictions=np.zeros(10_000, np.uint8))
    shown = examples(collect(tmp_path / "runs"), no_fashion)
    assert (shown.sheets, shown.found, shown.kept) == ((), False, True)
    words = said(tmp_path / "runs", no_fashion, tmp_path / "out", "en")
    assert "the report never downloads it" in " ".join(words)
    assert not (tmp_path / "cache").exists()


def test_confusions_are_summed_over_seeds_and_shown_with_their_images(tmp_path):
    labels = write_fashion(tmp_path / "fashion")
    all_predictions = [guesses(labels, seed) for seed in range(3)]
    for seed, predictions in enumerate([*all_predictions, labels[:50], None]):
        write_run(tmp_path / "runs", epochs=2, seed=seed, predictions=predictions)
    write_run(tmp_path / "runs", optimizer="sgd", epochs=2, seed=5, predictions=labels)
    torn = write_run(tmp_path / "runs", batch_size=500, epochs=2, predictions=labels) / "predictions.npy"
    torn.write_bytes(torn.read_bytes()[:900])
    shown = examples(collect(tmp_path / "runs"), tmp_path / "fashion")
    sheets = {sheet.configuration["optimizer"]: sheet for sheet in shown.sheets}
    assert len(sheets) == len(shown.sheets) == 2
    adam = sheets["Adam"]
    assert adam.seeds == (0, 1, 2)
    expected = np.zeros((10, 10), int)
    for predictions in all_predictions:
        np.add.at(expected, (labels, predictions), 1)
    np.testing.assert_array_equal(adam.counts, expected)
    np.fill_diagonal(expected, 0)
    assert adam.pairs[0].count == expected.max() == expected[adam.pairs[0].true, adam.pairs[0].predicted]
    assert [pair.count for pair in adam.pairs] == sorted((pair.count for pair in adam.pairs), reverse=True)
    for pair in adam.pairs:
        assert all(labels[place] == pair.true for _, place in pair.images)
    assert sheets["SGD"].pairs == ()
    sprite, places = shown.sprite()
    assert sorted(places.values()) == list(range(len(places)))
    assert set(places) == {image for pair in adam.pairs for image in pair.images}
    assert int.from_bytes(sprite[16:20], "big") == SPRITE_COLUMNS * 28


def test_curves_of_runs_that_differ_only_in_epochs_are_one(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, seed=seed, epochs=3)
        write_run(tmp_path, seed=seed, epochs=8)
    write_run(tmp_path, optimizer="sgd", epochs=3)
    drawn, views, more = lines(tmp_path)
    assert more == 0
    assert [(line["name"], len(line["x"])) for line in drawn] == [("Adam", 8), ("SGD", 3)]
    metrics = collect(tmp_path).metrics
    whole = (metrics["optimizer"] == "Adam") & (metrics["epochs"] == 8)
    first = metrics.loc[whole & (metrics["epoch"] == 1), "val_accuracy"]
    band, line = views["val_accuracy"]["y"][:2]
    assert line[0] == pytest.approx(first.mean(), abs=1e-4)
    assert (band[-1], band[0]) == pytest.approx((first.min(), first.max()), abs=1e-4)


def test_long_curves_are_thinned_and_the_worst_of_many_left_out(tmp_path):
    for dropout in range(70):
        write_run(tmp_path, dropout=dropout / 100, epochs=2)
    write_run(tmp_path, optimizer="sgd", epochs=900)
    drawn, _, more = lines(tmp_path)
    assert (len(drawn), more) == (60, 11)
    assert max(len(line["x"]) for line in drawn) == 250
    papers_own = ["Adam, dropout 0.05", "Adam, dropout 0.2", "SGD, dropout 0.2"]
    assert [line["name"] for line in drawn if line["visible"] is True] == papers_own


def test_curves_of_test_metrics_are_shown_where_a_run_has_them(tmp_path, no_fashion):
    write_run(tmp_path / "runs", epochs=2, curve=np.full((2, 8), 0.25))
    write_run(tmp_path / "runs", epochs=2, batch_size=500, curve=np.full((2, 6), 0.5))
    _, views, _ = lines(tmp_path / "runs")
    means = {tuple(values) for values in views["test_loss"]["y"][1::2]}
    assert means == {(0.25, 0.25), (None, None)}  # JSON has no nan
    assert "Test loss" in said(tmp_path / "runs", no_fashion, tmp_path / "out", "en")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["Where these runs depart from the paper (2)", "(departs from the paper)", "Departs from the paper:"]),
        (
            "es",
            [
                "En qué se apartan estas corridas del artículo (2)",
                "(se aparta del artículo)",
                "Se aparta del artículo:",
            ],
        ),
    ],
)
def test_departures_stand_beside_the_verdicts_that_they_concern(tmp_path, no_fashion, language, words):
    write_run(tmp_path / "runs", epochs=2)
    every = Departure(text={"en": "Every run differs.", "es": "Cada corrida difiere."})
    one = Departure(text={"en": "Adam differs.", "es": "Adam difiere."}, of=["adam-500"])
    paper = PAPER.model_copy(update={"departs": [every, one]})
    page = write_page(tmp_path / "runs", no_fashion, tmp_path / "out", language, paper).read_text(encoding="utf-8")
    found = _Text(page).said
    assert set(words[:2]) <= set(found) and any(words[2] in line for line in found)
    assert page.count(every.text[language]) == 1  # what concerns all is said once, at the top
    rows = dict(re.findall(r'(?s)<tr id="claim-([^"]+)"[^>]*>(.*?)</tr>', page))
    for claim in paper.claims:
        assert (one.text[language] in rows[claim.id]) == ("adam-500" in claim.sides)
    assert any(line.startswith(words[2]) and one.text[language] in line for line in found)  # beside the figure


def test_a_finding_is_shown_only_while_its_verdicts_hold(tmp_path):
    for seed in range(5):
        write_run(tmp_path, seed=seed)
        write_run(tmp_path, seed=seed, optimizer="sgd")
    verdicts = judged(PAPER, collect(tmp_path)).verdicts
    of = {name: [one.claim.id for one in verdicts if one.verdict == name] for name in ("reproduced", "not reproduced")}
    assert all(of.values())

    def found(*findings):
        paper = PAPER.model_copy(update={"findings": [Finding(text={"en": "Ours."}, **rest) for rest in findings]})
        return answer(judged(paper, collect(tmp_path)), Texts("en"))["findings"]

    holds = {"verdict": "reproduced", "claims": of["reproduced"][:2]}
    fails = {"verdict": "reproduced", "claims": [of["reproduced"][0], of["not reproduced"][0]]}
    assert [one["text"] for one in found(holds)].count("Ours.") == 1
    texts = [one["text"] for one in found(fails)]
    assert "Ours." not in texts and len(texts) == 3  # statements take its place
    assert {one["words"] for one in found()} == {"reproduced", "not reproduced"}


def test_plotly_is_of_the_version_that_its_python_package_writes_for():
    bundle = (files("fmnist_sweep.report.page") / "plotly-basic.min.js").read_text(encoding="utf-8")
    own = re.search(r"plotly\.js \(basic - minified\) v(\d+)", bundle)
    assert own and own[1] == get_plotlyjs_version().partition(".")[0]
