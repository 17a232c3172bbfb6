"""Paper files: the two that ship, and what is said of a bad one."""

import copy
import math
import tracemalloc
from typing import Annotated

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import create_model

from fmnist_sweep import papers
from fmnist_sweep.config.hydra_private import config_loader
from fmnist_sweep.config.schema import Config, DataConfig, ModelConfig, TrainingConfig
from fmnist_sweep.papers import claims, reductions
from fmnist_sweep.papers.claims import Expectation
from fmnist_sweep.papers.paper import Departure, Finding, PaperError
from fmnist_sweep.papers.yaml_file import Plain, flow

PAPER = yaml.safe_load("""
title: Mine
authors: [N. N.]
year: 2026
language: en
protocol: {optimizer: sgd, optimizer.lr: 0.1, data.mean: 0}
configurations:
  heavy: {optimizer.momentum: 0.9, batch_size: 100, epochs: 30}
  light: {optimizer.momentum: 0.5, batch_size: 64, epochs: 2, model.hidden: [16, 8]}
figures: {fig1: {title: {en: One, es: Uno}, rows: [heavy]}}
reasons: {rule: {en: Because.}}
claims:
  - {id: first, section: I, quote: q, statement: {en: So.}, kind: value, of: heavy, metric: val_loss, reduce: last,
     expect: {below: 1}, why: {en: That is why.}}
  - {id: mine, section: I, figure: fig1, panel: a, quote: q, statement: {en: So., es: Así.}, kind: value, of: heavy,
     metric: val_loss, reduce: {at: 1}, expect: {about: 0.35, tolerance: 0.01}, why: rule}
""")
RUN = PAPER["claims"][1] | {"kind": "run"}


@pytest.fixture(scope="module")
def loader():
    return config_loader()


def read(folder, loader, content):
    path = folder / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
    return papers.read(str(path), loader)


def changed(place, value):
    """`PAPER` with the value at a place such as `claims/1/of` replaced, or taken away where it is ...."""
    content = copy.deepcopy(PAPER)
    *path, last = [int(key) if key.isdecimal() else key for key in place.split("/")]
    part = content
    for key in path:
        part = part[key]
    part[last] = value
    if value is ...:
        del part[last]
    return content


def complaint(folder, loader, content):
    with pytest.raises(PaperError, match=r"^mine\.yaml: ") as caught:
        read(folder, loader, content)
    assert str(caught.value).isprintable() and len(str(caught.value)) <= 500
    return str(caught.value)


@pytest.mark.parametrize("name", ["caprari2024", "bordone2025"])
def test_a_shipped_paper_is_whole_in_both_languages(name, loader):
    paper = papers.read(name, loader)
    assert all(paper.covers(config) for config in paper.configs.values())
    assert set(paper.sweeps()["paper"]) == set(paper.configurations)
    assert paper.require("en") is paper.require("es") is None
    with pytest.raises(PaperError, match=rf"{name}: figures\.\w+\.title: has no text in fr, only in en, es"):
        paper.require("fr")


def test_the_first_paper(loader):
    paper = papers.read(papers.DEFAULT, loader)
    sweeps = {name: list(rows) for name, rows in paper.sweeps().items()}
    (grid,) = paper.sweeps()["grid"].values()
    assert len(paper.claims) == 57 and {claim.section for claim in paper.claims} == {"III.A", "III.B", "III.C", "IV"}
    directions = [
        claim for claim in paper.claims if claim.is_tested and claim.expect.value == 0 and not claim.expect.tolerance
    ]
    assert len(directions) == 23 and all(claim.expect.margin for claim in directions)
    assert math.prod(len(grid[key].split(",")) for key in ("optimizer", "batch_size", "dropout", "epochs")) == 24
    assert [len(sweeps[name]) for name in ("fig1", "fig2", "fig3", "fig4", "fig5", "paper")] == [2, 1, 1, 1, 1, 9]
    assert (grid["model.hidden"], sweeps["fig5"], paper.number("fig5")) == ("[128,64]", ["adam-100-epochs"], "5")
    marks = [(claim.id, epoch) for claim, epoch in paper.quotes("fig4", "adam-1000")]
    assert marks == [("adam-1000-val-loss-final", 30), ("adam-1000-val-accuracy-final", 30)]


def test_the_second_paper(loader):
    paper = papers.read("bordone2025", loader)
    cells = [c for c in paper.claims if c.figure and c.of == "base" and c.metric == "val_accuracy" and c.kind == "run"]
    assert sorted(c.expect.value for c in cells) == [0.7285, 0.7344, 0.7355, 0.7366, 0.7379, 0.7428]
    marks = {(f, row): len(paper.quotes(f, row)) for f, figure in paper.figures.items() for row in figure.rows}
    assert marks.pop(("final", "final")) == 12 and set(marks.values()) == {2}  # eleven cells, and "about 88 %"
    first = papers.read(papers.DEFAULT, loader)
    covered = [name for name, config in paper.configs.items() if first.covers(config)]
    assert len(paper.configs) == 20 and covered == ["lr-0.01"]


def test_a_paper_on_any_key(tmp_path, loader):
    paper = read(tmp_path, loader, PAPER)
    heavy, light = paper.configs.values()
    assert (heavy.optimizer, heavy.training) == ({"name": "SGD", "lr": 0.1, "momentum": 0.9}, TrainingConfig(100, 30))
    assert (light.model.hidden, light.data.mean, paper.name) == ([16, 8], 0, "mine")
    assert paper.sweeps()["fig1"]["heavy"]["optimizer.momentum"] == "0.9"
    ((claim, epoch),) = paper.quotes("fig1", "heavy")
    assert (claim.id, epoch, claim.expect.low, claim.expect.high) == ("mine", 1, 0.34, 0.36)
    assert [paper.why(claim)["en"] for claim in paper.claims] == ["That is why.", "Because."]
    other = Config({"name": "SGD", "lr": 0.1}, TrainingConfig(7, 7), ModelConfig([3], 0.5), DataConfig(mean=0.0))
    assert paper.covers(other)
    for change in ({"optimizer": {"name": "SGD", "lr": 0.2}}, {"data": DataConfig()}):
        assert not paper.covers(Config(**{**vars(other), **change}))


def test_a_paper_fixes_and_varies_every_key_of_the_network_and_its_training(tmp_path, loader):
    content = copy.deepcopy(PAPER)
    content["protocol"] = {"optimizer.name": "Adamax", "optimizer.schedule": "cosine", "data.validation": "split"}
    content["configurations"] = {
        "heavy": {"model.hidden": [], "model.init": "he_normal", "data.split.size": 5000, "loss.label_smoothing": 0.1},
        "light": {
            "model.hidden": [8, 4],
            "model.activation": ["tanh", "elu"],
            "dropout": [0, 0.1],
            "model.norm": "batch",
            "data.mean": "pixel",
            "data.shuffle": False,
            "model.init": "normal",
            "model.init_std": 0.03,
        },
    }
    paper = read(tmp_path, loader, content)
    heavy, light = paper.configs.values()
    assert heavy.optimizer == {"name": "Adamax", "schedule": "cosine"}
    assert (heavy.model.hidden, heavy.model.init, heavy.data.split.size) == ([], "he_normal", 5000)
    assert (light.model.activation, light.model.dropout, light.model.norm) == (["tanh", "elu"], [0.0, 0.1], "batch")
    assert (light.data.mean, light.data.shuffle, light.model.init_std) == ("pixel", False, 0.03)
    assert paper.covers(heavy) and paper.covers(light)
    assert not paper.covers(Config(**{**vars(heavy), "optimizer": {"name": "Adamax"}}))
    content["protocol"] = {"optimizer.schedule.name": "step", "optimizer.schedule.every": 7}
    content["configurations"] = {"heavy": {"optimizer": "sgd", "optimizer.schedule.factor": 0.2}}
    for claim in content["claims"]:
        claim["of"] = "heavy"
    (heavy,) = read(tmp_path, loader, content).configs.values()
    assert heavy.optimizer["schedule"] == {"name": "step", "every": 7, "factor": 0.2}


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("claim", [], "there is no key claim; did you mean claims?; allowed: title,"),
        ("title", ..., "title: is missing"),
        ("title", [["x\n"] * 999] * 9, "title=[["),
        ("year", "2026", "year=2026: must be "),
        ("protocol/seed", 1, "protocol: there is no key seed; …; allowed: batch_size"),
        (
            "configurations/heavy/optimizer.lr",
            0.2,
            "configuration heavy: optimizer.lr=0.2: the protocol fixes it at 0.1",
        ),
        (
            "configurations/heavy/batchsize",
            1,
            "configuration heavy: there is no key batchsize…mean batch_size?; allowed: ",
        ),
        ("configurations/heavy/optimizer.lr=1 x", 1, "there is no key optimizer.lr=1 x"),
        (
            "configurations/heavy/optimizer.name",
            "Adam",
            "optimizer.name: optimizer names one already; give one of them",
        ),
        ("configurations/heavy/training.epochs", 9, "given twice, see "),
        ("configurations/heavy/dropout", 2, "configuration heavy: …dropout=2…less than 1"),
        ("configurations/heavy/batch_size", 0, "configuration heavy: …batch_size=0…1"),
        ("configurations/heavy/epochs", "x", "configuration heavy: …epochs=x…whole number"),
        ("configurations/heavy/data.validation", "${oc.env:HOME}", "data.validation: must be a number, a plain word"),
        ("configurations/heavy/optimizer.momentum", "0.1,0.9", "a plain word or a list of them, not 0.1,0.9"),
        ("configurations/heavy/optimizer.momentun", 0.1, "optimizer.momentun=0.1…did you mean momentum?"),
        ("protocol/optimizer", "adm", "configuration heavy: optimizer=adm: must be one of …; did you mean adam?"),
        ("figures/grid", PAPER["figures"]["fig1"], "figures.grid: must have another name"),
        ("figures/fig1/rows", ["hevy"], "figures.fig1.rows: there is no 'hevy'; did you mean heavy?; allowed: heavy, "),
        ("claims/0", "so", "claim 1: must be a mapping"),
        ("claims/1/id", ..., "claim 2: id: is missing"),
        ("claims/1/id", "first", "claim first: id: used 2 times"),
        ("claims/1/metrc", "a", "claim mine: there is no key metrc; did you mean metric?; allowed: id,"),
        (
            "claims/1/metric",
            "val_los",
            "claim mine: metric: must be one of …not val_los; did you mean val_loss?; an example: ",
        ),
        ("claims/1/kind", "comparison", "claim mine: than: a comparison needs it"),
        ("claims/1/of", "lihgt", "claim mine: configuration: there is no 'lihgt'; did you mean light?"),
        ("claims/1/figure", "fig2", "claim mine: figure: there is no 'fig2'; did you mean fig1?; allowed: fig1"),
        ("claims/1/quote", " ", "claim mine: quote= "),
        ("claims/1/why", "rul", "claim mine: why: there is no 'rul'; did you mean rule?"),
        ("claims/1/why", {"en": 3}, "claim mine: why.text.en=3: must be a"),
        ("claims/1/reduce", "lst", "claim mine: reduce: must be one of at, last…did you mean last?"),
        ("claims/1/reduce", "at", "claim mine: reduce: at takes epoch, as in {at: 1}, not {}"),
        ("claims/1/reduce", {"at": True}, "reduce: at: epoch must be a whole number, not True"),
        ("claims/1/reduce", {"at": 31}, "claim mine: reduce: at: epoch 31 does not lie within the 30 epochs"),
        ("claims/1/reduce", {"slope": {"from": 9, "to": 3}}, "slope: needs at least 2 epochs, not 0"),
        ("claims/1/reduce", {"rise": {"after": 3, "over": 5}}, "rise: over 5 epochs reaches back before epoch 1"),
        ("claims/1/expect", {"about": 0.4}, "claim mine: expect: must hold either about and tolerance, or above"),
        (
            "claims/1/expect",
            {"about": 0.4, "tolerance": 1, "margin": 1},
            "or above, or below; these two may have a margin",
        ),
        ("claims/1/expect", {"above": 0.4, "margin": 0}, "claim mine: expect.margin=0: must be greater than 0"),
        (
            "claims/1",
            PAPER["claims"][1] | {"kind": "run", "expect": {"above": 0, "margin": 1}},
            "expect: kind: run takes no margin",
        ),
        ("claims/1/expect", {"about": 0.4, "tolerance": 0}, "expect.tolerance=0: must be greater than 0"),
        ("claims/1/expect", {"abuot": 0.4}, "expect: there is no key abuot; did you mean about?"),
        ("claims/1/expect", {"above": math.nan}, "expect.above=nan: must be a finite number"),
        ("claims/1/expect", {"above": 10**400}, "expect.above=1000…: must be a number"),
        ("claims/1/resolution", {"value": 1}, "claim mine: resolution.why: is missing"),
        ("claims/1/resolution", {"value": 0, "why": "rule"}, "claim mine: resolution.value=0: must be greater than 0"),
        ("claims/1/resolution", {"value": 1, "why": "rule"}, "claim mine: resolution: only kind: run takes one"),
        ("claims/1", RUN | {"resolution": {"value": 1, "why": "rul"}}, "resolution.why: there is no 'rul'; did you"),
        ("claims/1", RUN | {"expect": {"about": 1, "tolerance": 0.1}}, "mine: resolution: 0.1 must be above the toler"),
        ("claims/1", RUN | {"reduce": "roughness"}, "claim mine: resolution: roughness has no default; state it as {"),
        ("resolutions", {"loss": {"value": 0.01, "why": "rul"}}, "resolutions.loss.why: there is no 'rul'; did you"),
        ("resolutions", {"los": {"value": 0.01, "why": "rule"}}, "resolutions…los…must be"),
        ("figures/fig01", PAPER["figures"]["fig1"], "figures.fig1.number: 1 is fig01's too; give each its own"),
        ("figures/fig1/number", " ", "figures.fig1.number"),
        ("figures/fig1/number", 1.5, "figures.fig1.number"),
        ("claims/1/metric", "seconds", "claim mine: metric: seconds: there is no verdict on how long…departs"),
        (
            "claims/1/metric",
            "train_loss - val_accuracy",
            "train_loss - val_accuracy: must subtract one loss from",
        ),
        ("claims/1/metric", "val_loss - val_loss", "claim mine: metric: val_loss - val_loss: must subtract"),
        ("claims/1/metric", "val_loss - epoch", "claim mine: metric: must be one of"),
        ("claims/1/metric", "epoch", "claim mine: metric: epoch needs reduce: {at_best: val_loss}"),
        ("claims/1/metric", "test_loss", "claim mine: test_loss is measured…split; …claim val_loss (of heavy)"),
        ("claims/1/reduce", {"at_best": "test_loss"}, "claim mine: test_loss is measured after each epoch only with"),
        (
            "claims/1/reduce",
            {"at_best": "val_los"},
            "at_best: of must be one of …, not val_los; did you mean ",
        ),
        (
            "claims/1/reduce",
            {"at_best": {"patience": 3}},
            "at_best takes of, patience (optional), min_delta (opt",
        ),
        ("claims/1/reduce", {"at_stop": "val_loss"}, "claim mine: reduce: at_stop takes of, patience, min_delta (opt"),
        (
            "claims/1/reduce",
            {"at_stop": {"of": "val_loss", "patience": 3, "min_delta": 0, "tol": 0.1}},
            "claim mine: reduce: at_stop: min_delta is Keras's rule and tol is scikit-learn's; give one of them",
        ),
        ("claims/1/reduce", {"at_stop": {"of": "val_loss", "patience": 0}}, "patience 0 does not lie within the 30 ep"),
        ("claims/1/statement", "So.", "claim mine: statement=So.: must be a mapping; an example: statement: {en: "),
        ("claims/1/expect", ..., "claim mine: expect: is missing; an example: expect: {about: 0.87, tolerance: 0.005}"),
        ("figures/fig1/rows", "heavy", "figures.fig1.rows=heavy: must be a list; an example: rows: [adam, sgd]"),
        ("figures/fig1/reduce", {"at": 1}, "figures.fig1: reduce: only kind: final takes it"),
        (
            "figures/final-values",
            PAPER["figures"]["fig1"],
            "figures.final-values: must have another name: every",
        ),
        ("departs", [{"text": {"en": "x"}, "of": ["hevy"]}], "depart 1: of: there is no 'hevy'; did you mean heavy?"),
        (
            "findings",
            [{"text": {"en": "x"}, "verdict": "reproduced", "claims": ["min"]}],
            "finding 1: claims: there is no 'min'; did you mean mine?",
        ),
        ("departs", ["So."], "depart 1: must be a mapping, of keys from text, of, not So."),
        ("departs", "So.", "departs=So.: must be a list; an example: departs: ["),
        (
            "claims/0/each",
            3,
            "claim first: each: must be a list of mappings …not 3; an example: {id: adam-{epoch}",
        ),
        ("claims/0/each", {"of": "heavy"}, "claim first: each: must be a list of mappings…not {'of'"),
        ("claims/0/each", [{"of": "heavy"}, {"of": ["light"]}], "claim first: each: must be a list of mappings"),
        (
            "claims/0",
            {"id": "{nmae}", "each": [{"name": "a"}]},
            "claim {nmae}: {nmae}: each has no value nmae; did you mean name?; it has name",
        ),
        ("claims/0", {"id": "{n}", "each": [{"n": "a b"}]}, "claim a b: id=a b: must match"),
    ],
)
def test_a_mistake_is_said_in_one_line(tmp_path, loader, place, value, said):
    message = complaint(tmp_path, loader, changed(place, value))
    assert [part for part in said.split("…") if part not in message] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be a mapping"),
        (b"claims: [", "line 1: not plain YAML"),
        (b"title: a\nyear: !!python/object/apply:os.getcwd []", "line 2: not plain YAML: could not determine"),
        (b"title: a\ntitle: b", "line 1: not plain YAML: the key title is there twice"),
        (b"a: &x {}\nb: &x {}", "line 2: not plain YAML: &x is there twice; give this one another name"),
        (b"\xff\xfe\xff", "not plain YAML: "),
        (b"[" * 5000, "nested too deeply"),
        (b"title: 0x" + b"f" * 9999, "Exceeds the limit"),
        (b"year: !!bool x", "not plain YAML: "),
        (b"? [1, 2]\n: 3", "not plain YAML: "),
        (b"1: 2", "there is no key 1; allowed: title"),
        (b"title: &a [*a]", "line 1: not plain YAML: an alias refers to a mapping or list that contains it"),
        (b"#" * (1 << 20) + b"\n", "is larger than 1024 KiB"),
    ],
)
def test_a_file_that_is_no_paper(tmp_path, loader, content, said):
    assert said in complaint(tmp_path, loader, content)


def test_a_table_is_a_claim_for_each_row(tmp_path, loader):
    each = [{"row": name, "epoch": epoch, "value": epoch / 2} for name, epoch in (("heavy", 30), ("light", 2))]
    claim = {**PAPER["claims"][0], "id": "{row}-{epoch}", "of": "{row}", "reduce": {"at": "{epoch}"}, "each": each}
    claim |= {"statement": {"en": "{row} has {value}."}, "expect": {"above": "{value}"}}
    found = read(tmp_path, loader, changed("claims/0", claim)).claims
    assert [(c.id, c.of, str(c.reduce), c.expect.above) for c in found[:2]] == [
        ("heavy-30", "heavy", "at epoch 30", 15.0),
        ("light-2", "light", "at epoch 2", 1.0),
    ]
    assert [c.statement["en"] for c in found] == ["heavy has 15.0.", "light has 1.0.", "So."]


def test_a_text_has_the_digits_that_the_file_has(tmp_path, loader):
    rows = "{value: 0.2700, percent: 73.70, count: 007, step: 1e-3}, {value: .5, percent: -.30, count: 1000, step: 2E4}"
    each = f"""
  - id: "{{count}}x"
    quote: "loss: {{value}}, {{percent}}%, {{step}}"
    statement: {{en: "{{value}} of {{count}}.", es: "{{value}} de {{count}}."}}
    expect: {{about: "{{value}}", tolerance: "{{step}}"}}
    section: I
    kind: value
    of: heavy
    metric: val_loss
    reduce: last
    why: rule
    each: [{rows}]
"""
    head = yaml.safe_dump({key: value for key, value in PAPER.items() if key != "claims"})
    one, two = read(tmp_path, loader, f"{head}claims:{each}".encode()).claims
    assert (one.quote, two.quote) == ("loss: 0.2700, 73.70%, 1e-3", "loss: .5, -.30%, 2E4")
    assert (one.statement["es"], two.statement["en"], one.id) == ("0.2700 de 007.", ".5 of 1000.", "007x")
    assert (one.expect.about, one.expect.tolerance, two.expect.tolerance) == (0.27, 0.001, 20000)
    assert str(one.expect) == "0.27 ± 0.001"


def test_a_number_that_is_a_whole_text_keeps_its_digits_too(tmp_path, loader):
    claim = """
  - {id: "{n}", section: "{n}", quote: "{value}", statement: {en: "{value}"}, kind: value, of: heavy, metric: val_loss,
     reduce: {at: "{n}"}, expect: {about: "{value}", tolerance: 0.1}, why: rule, each: [{n: 07, value: 0.90}]}
"""
    head = yaml.safe_dump({key: value for key, value in PAPER.items() if key != "claims"})
    (one,) = read(tmp_path, loader, f"{head}claims:{claim}".encode()).claims
    assert (one.id, one.section, one.quote, one.statement) == ("07", "07", "0.90", {"en": "0.90"})
    assert (one.reduce.parameters, one.expect.about) == ({"epoch": 7}, 0.9)


def test_a_metric_may_be_a_difference(tmp_path, loader):
    spelled = ("train_loss-val_loss", "train_loss  - val_loss", "loss_gap")
    found = [read(tmp_path, loader, changed("claims/1/metric", metric)).claims[1] for metric in spelled]
    assert [claim.metric for claim in found] == ["train_loss - val_loss"] * 2 + ["loss_gap"]
    assert [claim.metrics for claim in found] == [("train_loss", "val_loss")] * 2 + [("val_loss", "train_loss")]


def test_a_departure_concerns_its_configurations_or_all(tmp_path, loader):
    content = PAPER | {"departs": [{"text": {"en": "All."}}, {"text": {"en": "One."}, "of": ["light"]}]}
    paper = read(tmp_path, loader, content)
    said = {name: [one.text["en"] for one in paper.departures([name])] for name in paper.configurations}
    assert said == {"heavy": ["All."], "light": ["All.", "One."]}
    with pytest.raises(PaperError, match=r"mine: depart 1: text: has no text in es, only in en"):
        paper.require("es")


@pytest.mark.parametrize(
    ("name", "stated", "number", "place"),
    [
        ("fig2", {}, "2", "2a"),
        ("fig02", {}, "2", "2a"),
        ("figure_12", {}, "12", "12a"),
        ("exp3", {}, "3", "3a"),
        ("speed", {}, "speed", "speed a"),
        ("adam100", {}, "adam100", "adam100a"),
        ("fig2", {"number": 7}, "7", "7a"),
        ("speed", {"number": "S1"}, "S1", "S1a"),
        ("speed", {"number": "IV"}, "IV", "IV a"),
        ("speed", {"number": "Table 2"}, "Table 2", "Table 2a"),
        ("speed", {"number": "Results"}, "Results", "Results a"),
        ("speed", {"number": "3b"}, "3b", "3b a"),
        ("loss-by-rate", {}, "loss-by-rate", "loss-by-rate a"),
        ("fig-2", {}, "2", "2a"),
    ],
)
def test_a_figure_has_the_number_of_the_paper(tmp_path, loader, name, stated, number, place):
    content = changed("figures", {"other": PAPER["figures"]["fig1"], name: PAPER["figures"]["fig1"] | stated})
    content["claims"][1]["figure"] = name
    paper = read(tmp_path, loader, content)
    assert (paper.number(name), paper.place(paper.claims[1]), paper.place(paper.claims[0])) == (number, place, "")
    assert paper.prints_whole(name) == (stated in ({"number": "Table 2"}, {"number": "Results"}))


@pytest.mark.parametrize(
    ("metric", "reduce", "default", "stated"),
    [
        ("val_accuracy", {"at": 1}, 0.05, 0.02),
        ("running_gap", "last", 0.05, 0.02),
        ("loss_gap", {"mean": {"from": 3}}, 0.1, 0.1),
        ("val_accuracy", {"slope": {"from": 5, "to": 25}}, 0.0025, 0.001),
        ("val_loss", {"settles": {"within": 0.1, "over": 2}}, 3, 3),
        ("val_accuracy", {"climbs_to": 0.8}, 3, 3),
    ],
)
def test_the_resolution_of_a_number_goes_by_what_it_is_of(tmp_path, loader, metric, reduce, default, stated):
    claim = {**RUN, "metric": metric, "reduce": reduce, "expect": {"above": 0}}
    content = changed("claims/1", claim)
    paper = read(tmp_path, loader, content)
    assert paper.resolution(paper.claims[1]) == pytest.approx(default) and not paper.resolution_why(paper.claims[1])
    content["resolutions"] = {"accuracy": {"value": 0.02, "why": {"en": "Finer."}}}
    paper = read(tmp_path, loader, content)
    assert paper.resolution(paper.claims[1]) == pytest.approx(stated)
    content["claims"][1] |= {"resolution": {"value": 0.7, "why": "rule"}}
    paper = read(tmp_path, loader, content)
    assert (paper.resolution(paper.claims[1]), paper.resolution_why(paper.claims[1])) == (0.7, {"en": "Because."})


def chain(link):
    return b"a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {link.format(n)}\n" for n in range(1000)).encode()


@pytest.mark.parametrize(
    "content",
    [
        chain("[*a{0}, *a{0}, *a{0}]"),
        chain("{{<<: [*a{0}, *a{0}, *a{0}]}}"),
        chain("{{<<: *a{0}, k{0}: 1}}"),
        changed("claims/0", {"quote": "{a}" * 9999, "each": [{"a": "x" * 999}]}),
        changed("claims/0", {"quote": "x" * 9999 + "{a}", "each": [{"a": 1}] * 999}),
        changed("claims/0", {"quote": ["x"] * 2000, "each": [{"a": 1}] * 2000}),
    ],
    ids=["aliases", "merged", "in turn", "long values", "long text", "many parts"],
)
def test_a_file_that_would_fill_the_memory(tmp_path, loader, content):
    tracemalloc.start()
    assert "larger than 1024 KiB, spelled out" in complaint(tmp_path, loader, content)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_examples_in_messages_are_right():
    """Each example of a field is a value that the field takes."""
    for model in (papers.Paper, papers.Figure, Departure, Finding, claims.Claim, Expectation, claims.Resolution):
        for key, field in model.model_fields.items():
            typed = Annotated[(field.annotation, *field.metadata, None)]
            alone = create_model("Alone", __base__=Plain, **{key: (typed, ...)})
            for example in field.examples or []:
                alone.model_validate(yaml.safe_load(f"{key}: {flow(example)}"))
    for name, kind in reductions.KINDS.items():
        example = reductions.Reduction.parse(yaml.safe_load(kind.example))
        assert example.name == name and example.misfit(100) is None


def test_a_paper_that_is_not_there(tmp_path, loader):
    with pytest.raises(PaperError, match=r"^paper=caprari: must be one of .*; did you mean caprari2024\?$"):
        papers.read("caprari", loader)
    with pytest.raises(PaperError, match=r"^none\.yaml: No such file or directory; give the name"):
        papers.read(str(tmp_path / "none.yaml"), loader)


def test_a_file_finds_the_options_beside_it(tmp_path):
    files = {"optimizer/own": {"name": "SGD", "lr": 0.3}, "paper/x": changed("protocol/optimizer", "own")}
    for file, content in files.items():
        (tmp_path / f"{file}.yaml").parent.mkdir()
        (tmp_path / f"{file}.yaml").write_text(yaml.safe_dump(content))
    assert papers.read(str(tmp_path / "paper" / "x.yaml")).configs["light"].optimizer["name"] == "SGD"


PLACES = [*PAPER, "configurations/heavy/dropout", *(f"claims/1/{key}" for key in ("each", *PAPER["claims"][1]))]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
THINGS = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), SCALARS)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), THINGS)
def test_anything_at_all_is_read_or_refused_in_one_line(tmp_path, loader, place, thing):
    try:
        read(tmp_path, loader, changed(place, thing))
    except PaperError:
        complaint(tmp_path, loader, changed(place, thing))
