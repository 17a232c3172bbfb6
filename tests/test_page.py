"""The page and the claims files without a browser; `test_page_in_browser.py` opens it in one."""

import csv
import json
import re
import string
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import write_run
from page_stores import guesses, write_fashion, write_page

from fmnist_sweep.report import page_texts
from fmnist_sweep.report.__main__ import main
from fmnist_sweep.report.claims import load_claims
from fmnist_sweep.report.collect import collect
from fmnist_sweep.report.examples import SPRITE_COLUMNS, examples
from fmnist_sweep.report.interactive import curves_figure
from fmnist_sweep.report.labels import LANGUAGES


class _Text(HTMLParser):
    """What a page says, apart from scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._tag = tag

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag not in ("script", "style") and data.strip():
            self.said.append(" ".join(data.split()))


@pytest.fixture
def no_fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without Fashion-MNIST, and a cache without it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "nowhere"


def test_claims_are_written_as_json_and_the_same_as_csv(tmp_path: Path, no_fashion: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / "runs", seed=seed)
    assert main([str(tmp_path / "runs"), "--output", str(tmp_path / "out"), "--data", str(no_fashion)]) == 0

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (tmp_path / "out" / "claims.json").read_text(encoding="utf-8")
    claims = json.loads(text, parse_constant=refuse)
    assert isinstance(claims, list)
    assert [claim["id"] for claim in claims] == [claim.id for claim in load_claims()]
    for key in ("section", "quote", "figure", "expected", "measured", "interval", "seeds", "verdict"):
        assert all(key in claim for claim in claims)
    assert {claim["verdict"] for claim in claims} >= {"not run"}
    with open(tmp_path / "out" / "claims.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(claims)
    for row, claim in zip(rows, claims, strict=True):
        assert row.keys() == claim.keys()
        for key, value in claim.items():
            if isinstance(value, str):
                assert row[key] == value
            elif value is None:
                assert row[key] == ""
            else:
                assert json.loads(row[key]) == value
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert all(f'<tr id="{claim["id"]}">' in page for claim in claims)


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path, no_fashion: Path) -> None:
    write_run(tmp_path / "runs", epochs=2)
    page = write_page(tmp_path / "runs", no_fashion, tmp_path / "out", "en").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    own = re.sub(r"(?s)<script.*?</script>", "", page)
    places = re.findall(r"""(?:\bsrc|\bhref|\baction)=["']?([^"' >]*)|url\(["']?([^"')]*)""", own)
    assert {place[:5] for pair in places for place in pair if place and not place.startswith("#")} == {"data:"}
    assert len(page) < 8_000_000


def test_a_store_without_a_whole_epoch_gives_a_page(tmp_path: Path, no_fashion: Path) -> None:
    write_run(tmp_path / "runs", epochs_done=0, status="running")
    (tmp_path / "runs" / "empty").mkdir()
    for language, words in (
        ("en", ["No run has a whole epoch yet.", "No run has finished yet.", "0 of 30 epochs", "no run.json"]),
        ("es", ["Ninguna corrida tiene una época entera todavía.", "0 de 30 épocas", "en curso (0/30)"]),
    ):
        page = write_page(tmp_path / "runs", no_fashion, tmp_path / language, language)
        said = _Text(page.read_text(encoding="utf-8")).said
        assert not set(words) - set(said)


def test_without_the_data_the_page_says_how_to_get_the_images(tmp_path: Path, no_fashion: Path) -> None:
    write_run(tmp_path / "runs", epochs=2, predictions=np.zeros(10_000, np.uint8))
    shown = examples(collect(tmp_path / "runs"), no_fashion)
    assert (shown.sheets, shown.found, shown.kept, shown.sprite) == ((), False, True, None)
    page = write_page(tmp_path / "runs", no_fashion, tmp_path / "out", "en").read_text(encoding="utf-8")
    assert "the report never downloads it" in " ".join(_Text(page).said)
    assert not (tmp_path / "cache").exists()


def test_confusions_are_summed_over_seeds_and_shown_with_their_images(tmp_path: Path, no_fashion: Path) -> None:
    labels = write_fashion(tmp_path / "fashion")
    all_predictions = []
    for seed in range(3):
        all_predictions.append(guesses(labels, seed))
        write_run(tmp_path / "runs", epochs=2, seed=seed, predictions=all_predictions[-1])
    short = write_run(tmp_path / "runs", epochs=2, seed=3, predictions=labels[:50])
    write_run(tmp_path / "runs", epochs=2, seed=4)
    write_run(tmp_path / "runs", optimizer="sgd", epochs=2, seed=5, predictions=labels)
    (short / "run.log").touch()
    shown = examples(collect(tmp_path / "runs"), tmp_path / "fashion")
    by_optimizer = {sheet.configuration["optimizer"]: sheet for sheet in shown.sheets}
    adam = by_optimizer["adam"]
    assert adam.seeds == (0, 1, 2)
    expected = np.zeros((10, 10), int)
    for predictions in all_predictions:
        np.add.at(expected, (labels, predictions), 1)
    np.testing.assert_array_equal(adam.counts, expected)
    np.fill_diagonal(expected, 0)
    assert adam.pairs[0].count == expected.max() == expected[adam.pairs[0].true, adam.pairs[0].predicted]
    assert [pair.count for pair in adam.pairs] == sorted((pair.count for pair in adam.pairs), reverse=True)
    assert by_optimizer["sgd"].pairs == ()
    places = [place for pair in adam.pairs for place in pair.images]
    assert sorted(set(places)) == list(range(max(places) + 1))
    assert shown.sprite is not None
    assert int.from_bytes(shown.sprite[16:20]) == SPRITE_COLUMNS * 28


def test_the_best_configuration_s_confusions_are_files_too(tmp_path: Path, no_fashion: Path) -> None:
    labels = write_fashion(tmp_path / "fashion")
    write_run(tmp_path / "runs", epochs=2, predictions=guesses(labels, 0))
    arguments = [str(tmp_path / "runs"), "--output", str(tmp_path / "out"), "--data", str(tmp_path / "fashion")]
    assert main(arguments) == 0
    for name in ("confusion.png", "confusion.pdf", "mistakes.png", "mistakes.pdf"):
        assert (tmp_path / "out" / name).stat().st_size > 1000


def test_torn_predictions_are_left_out(tmp_path: Path, no_fashion: Path) -> None:
    labels = write_fashion(tmp_path / "fashion")
    run = write_run(tmp_path / "runs", epochs=2, predictions=labels)
    (run / "predictions.npy").write_bytes((run / "predictions.npy").read_bytes()[:900])
    assert examples(collect(tmp_path / "runs"), tmp_path / "fashion").sheets == ()


def test_curves_of_runs_that_differ_only_in_epochs_are_one(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, seed=seed, epochs=3)
        write_run(tmp_path, seed=seed, epochs=8)
    write_run(tmp_path, optimizer="sgd", epochs=3)
    found = curves_figure(collect(tmp_path))
    assert found is not None
    figure, more = found
    assert more == 0
    lines = [trace for trace in figure["data"] if trace["name" if "name" in trace else "fill"] != "toself"]
    assert [(line["name"], len(line["x"])) for line in lines] == [("Adam", 8), ("SGD", 3)]
    metrics = collect(tmp_path).metrics
    first = metrics[(metrics["optimizer"] == "adam") & (metrics["epochs"] == 8) & (metrics["epoch"] == 1)]
    assert lines[0]["y"][0] == pytest.approx(first["val_accuracy"].mean(), abs=1e-4)
    assert lines[0]["customdata"][0] == pytest.approx(
        (first["val_accuracy"].min(), first["val_accuracy"].max()), abs=1e-4
    )


def test_long_curves_are_thinned_and_the_worst_of_many_left_out(tmp_path: Path) -> None:
    for dropout in range(70):
        write_run(tmp_path, dropout=dropout / 100, epochs=2)
    write_run(tmp_path, optimizer="sgd", epochs=900)
    found = curves_figure(collect(tmp_path))
    assert found is not None
    figure, more = found
    assert more == 11
    lengths = [len(trace["x"]) for trace in figure["data"] if trace.get("name")]
    assert len(lengths) == 60
    assert max(lengths) == 250


def test_every_text_has_the_same_fields_in_each_language() -> None:
    for key, texts in page_texts._TEXTS.items():
        fields = [{field for _, field, _, _ in string.Formatter().parse(text) if field} for text in texts]
        assert fields[0] == fields[1], key
        assert len(texts) == len(LANGUAGES)
    assert len(page_texts.definitions("en")) == len(page_texts.definitions("es"))
