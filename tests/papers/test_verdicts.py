"""Verdicts on made-up runs whose answers are known."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_runs import write_run

from fmnist_sweep.config.schema import Config, DataConfig, ModelConfig, TrainingConfig
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.papers import verdicts
from fmnist_sweep.papers.nearest import nearest_configuration, quoted
from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.report.claims import reason, row
from fmnist_sweep.report.texts import LANGUAGES, Texts
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect

WOBBLE = np.array([0.001, -0.002, 0.0, 0.002, -0.001])


def config(optimizer="Adam", epochs=10, hidden=(128, 64), **data):
    model = ModelConfig(list(hidden), 0.2)
    return Config({"name": optimizer, "lr": 0.01}, TrainingConfig(100, epochs), model, DataConfig(**data))


CONFIGS = {
    "adam": config(),
    "sgd": config("SGD"),
    "long": config(epochs=99),
    "wide": config(hidden=[256]),
    "holdout": config(validation="holdout"),
    "dark": config(mean=0.0),
    "plain": config(std=1.0),
}
CLAIM = {
    **{"id": "c", "section": "III.A", "figure": "fig1", "panel": "a", "quote": "desde 0.475", "kind": "value"},
    **{"of": "adam", "metric": "val_loss", "reduce": "last"},
    "statement": {"en": "It is so.", "es": "Es así."},
    "why": {"en": "Because.", "es": "Porque sí."},
}


def paper(*changes):
    """A paper with claims that differ from a default one."""
    made = Paper.model_validate(
        {
            **{"title": "A paper", "authors": ["A. Author"], "year": 2024, "language": "en"},
            "configurations": {name: {} for name in CONFIGS},
            "figures": {"fig1": {"title": {"en": "One"}, "rows": ["adam"]}},
            "claims": [{**CLAIM, **change} for change in changes],
        }
    )
    made._configs.update(CONFIGS)
    return made


@pytest.fixture
def runs(tmp_path):
    """A function that writes a run a seed, each metric constant at that seed's value, plus `ramp` an epoch."""

    def write(name, values, *, seeds=None, ramp=0.0, done=None, epochs=10, metrics=None, **other):
        for seed, value in zip(range(len(values)) if seeds is None else seeds, values, strict=True):
            at = value + ramp * np.arange(1, (done or epochs) + 1)
            curve = np.stack([at, np.clip(at, 0, 1)] * 3, axis=1)
            for metric, instead in (metrics or {}).items():
                curve[:, MEASURES.index(metric)] = instead
            write_run(tmp_path, optimizer=name, epochs=epochs, seed=seed, epochs_done=done, curve=curve, **other)

    return write


@pytest.fixture
def judge(tmp_path):
    """A function from claims to their verdicts, whose reasons can be told in every language."""

    def run(*changes):
        found = verdicts.judge(paper(*changes), Curves(collect(tmp_path)))
        for verdict in found:
            assert all(reason(verdict, Texts(language)) for language in LANGUAGES)
        return found if len(found) > 1 else found[0]

    return run


def english(verdict):
    return reason(verdict, Texts("en"))


ABOUT = {"expect": {"about": 0.4, "tolerance": 0.05}}
ABOVE = {"expect": {"above": 0.4}}
BELOW = {"expect": {"below": 0.4}}


# One further run lies within 0.00481 of the mean: t(0.975, 4) = 2.776, s = 0.00158, sqrt(1 + 1/5). Of 50 times the
# wobble it is 0.24.
EXACT = {"kind": "run", "expect": {"about": 0.4, "tolerance": 0.001}}
NUMBERS = [
    (ABOUT, "reproduced", [0.42 + WOBBLE, [0.42, 0.42, 0.42]]),
    (ABOUT, "not reproduced", [0.47 + WOBBLE, 0.33 + WOBBLE, [0.46, 0.46, 0.46]]),
    (ABOUT, "open", [0.449 + WOBBLE, 0.451 + WOBBLE, 0.4 + 40 * WOBBLE, [0.42], [0.9]]),
    (ABOUT, "not run", [[]]),
    (ABOVE, "reproduced", [0.42 + WOBBLE]),
    (ABOVE, "not reproduced", [0.38 + WOBBLE, [0.4, 0.4]]),
    (ABOVE, "open", [0.401 + WOBBLE]),
    (BELOW, "reproduced", [0.38 + WOBBLE]),
    (EXACT, "reproduced", [0.4057 + WOBBLE, 0.3943 + WOBBLE, [0.401] * 5]),
    (EXACT, "not reproduced", [0.4059 + WOBBLE, 0.3941 + WOBBLE, [0.402] * 5, 0.7 + 50 * WOBBLE]),
    (EXACT, "open", [0.5 + 50 * WOBBLE, [0.4], [0.4] * 4, [0.9] * 4, 0.4 + WOBBLE[:4]]),
    (EXACT, "not run", [[]]),
    (ABOVE | {"kind": "run"}, "reproduced", [0.3953 + WOBBLE]),
    (ABOVE | {"kind": "run"}, "not reproduced", [0.3951 + WOBBLE]),
    (BELOW | {"kind": "run"}, "not reproduced", [0.4049 + WOBBLE]),
]


@pytest.mark.parametrize(("claim", "verdict", "values"), [(c, v, values) for c, v, many in NUMBERS for values in many])
def test_number_of_several_runs_or_of_one(runs, judge, claim, verdict, values):
    runs("sgd", [0.4])
    runs("adam", values)
    result = judge(claim)
    assert result.verdict == verdict
    assert result.seeds == tuple(range(len(values)))
    assert result.effect_size is None


def test_so_many_true_numbers_are_reproduced_as_the_paper_is_told_to_expect(tmp_path, monkeypatch):
    # Independent values at each epoch, so that one store holds many numbers: five runs of ours, and the paper's.
    configurations, epochs, ours = 10, 95, 5
    random = np.random.default_rng(0)
    draws = random.normal(0.4, 0.02, (configurations, ours + 1, epochs))
    claims = []
    for number, by_seed in enumerate(draws):
        for seed, values in enumerate(by_seed[:ours]):
            write_run(
                tmp_path, epochs=epochs, seed=seed, hidden=[number + 2], curve=np.repeat(values[:, None], 6, axis=1)
            )
        monkeypatch.setitem(CONFIGS, f"w{number}", config(epochs=epochs, hidden=[number + 2]))
        tolerance = (1e-9, 0.01)[number % 2]
        claims += [
            {**EXACT, "id": f"{number}-{epoch}", "of": f"w{number}", "reduce": {"at": epoch}}
            | {"resolution": {"value": 1.0, "why": {"en": "Wide."}}}
            | {"expect": {"about": by_seed[ours, epoch - 1] + random.uniform(-1, 1) * tolerance}}
            for epoch in range(1, epochs + 1)
        ]
        for claim in claims[-epochs:]:
            claim["expect"]["tolerance"] = tolerance
    found = verdicts.judge(paper(*claims), Curves(collect(tmp_path)))
    numbers = verdicts.true_numbers(found)
    assert numbers.judged == len(claims) and sum(v.verdict == "reproduced" for v in found) == numbers.reproduced
    # Of the exact ones 95 %, of the others 97 %; the standard error of their sum, 912, is 6.
    assert numbers.expected == pytest.approx(0.96 * len(claims), rel=0.005)
    assert numbers.reproduced == pytest.approx(numbers.expected, abs=15)


def test_a_run_reports_where_the_next_one_falls_and_how_sharp_that_is(runs, judge):
    runs("adam", 0.4 + WOBBLE)
    result = judge(EXACT)
    assert result.interval == pytest.approx((0.39519, 0.40481), abs=1e-5)
    assert "between 0.3952 and 0.4048" in english(result) and "0.009618 wide" in english(result)
    assert result.resolution == 0.1
    assert "A number 0.1 away from the mean, 0.4, would have been rejected" in english(result)
    # The tolerance is 0.63 of a standard deviation.
    assert english(result).endswith("A true number would be accepted in 97 % of cases.")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_number_of_one_run_has_no_verdict_under_five_seeds(runs, judge, count):
    runs("adam", 0.4 + 1e-4 * WOBBLE[:count])
    result = judge(EXACT)
    assert (result.verdict, result.seeds_needed) == ("open", 5)
    assert english(result).startswith(f"Too few seeds: {count} (mean")
    assert english(result).endswith(f" needs {5 - count} more.")


def test_seeds_that_diverged_do_not_make_up_for_those_that_lack(runs, judge):
    runs("adam", 0.4 + WOBBLE[:4])
    runs("adam", [0.4] * 3, seeds=[4, 5, 6], done=2, status="diverged")
    assert judge(EXACT).verdict == "open" and "Too few seeds: 4" in english(judge(EXACT))


# Half the interval is 0.0385, 0.0300, 0.0272 with 5, 10 and 20 seeds of this spread, 0.0248 without an end.
@pytest.mark.parametrize(("value", "needed"), [(0.0395, 0), (0.0385, 10), (0.030, 20), (0.0259, 640), (0.0257, None)])
def test_an_interval_that_cannot_tell_a_number_from_its_neighbours_is_open(runs, judge, value, needed):
    runs("adam", 0.4 + 8 * WOBBLE)
    result = judge({**EXACT, "resolution": {"value": value, "why": {"en": "So."}}})
    assert (result.verdict, result.seeds_needed or 0) == ("reproduced" if needed == 0 else "open", needed or 0)
    said = {0: "would have been rejected", None: "No number of seeds would be enough"}
    assert said.get(needed, f"About {needed} seeds would be enough") in english(result)


def compare(expect):
    return {"kind": "comparison", "of": "sgd", "than": "adam", "expect": expect}


HIGHER, LOWER, SAME = {"above": 0}, {"below": 0}, {"about": 0, "tolerance": 0.01}


DIFFERENCES = [
    (HIGHER, "reproduced", [0.02 + WOBBLE, [0.02] * 5]),
    (HIGHER, "not reproduced", [[0.0] * 5]),
    (HIGHER | {"margin": 0.01}, "not reproduced", [WOBBLE, 0.002 + WOBBLE, -0.02 + WOBBLE]),
    (HIGHER | {"margin": 0.01}, "reproduced", [0.012 + WOBBLE]),
    (HIGHER | {"margin": 0.003}, "open", [0.0015 + WOBBLE]),
    (HIGHER, "open", [0.0005 + WOBBLE, [0.0, 0, 0, 0, 0.001], [0.3]]),
    (LOWER, "not reproduced", [0.02 + WOBBLE]),
    ({"below": 0.01}, "reproduced", [0.005 + WOBBLE]),
    (SAME, "reproduced", [0.0005 + WOBBLE, [0.0] * 5]),
    (SAME, "not reproduced", [0.02 + WOBBLE]),
    (SAME, "open", [10 * WOBBLE, [0.0]]),
]


@pytest.mark.parametrize(
    ("expect", "verdict", "differences"), [(e, v, values) for e, v, many in DIFFERENCES for values in many]
)
def test_comparison(runs, judge, expect, verdict, differences):
    # Seeds differ among themselves far more than the two optimizers do: only pairing finds the difference.
    seeds = np.array([0.3, 0.9, 0.5, 0.7, 0.1])[: len(differences)]
    runs("adam", seeds)
    runs("sgd", seeds + differences)
    result = judge(compare(expect))
    assert result.verdict == verdict
    assert result.measured == pytest.approx(np.mean(differences))


def test_comparison_reports_the_paired_difference(runs, judge):
    runs("adam", [0.84, 0.85, 0.84, 0.83])
    runs("sgd", [0.87, 0.86, 0.88, 0.87])
    result = judge(compare(HIGHER))
    # Differences 0.03 0.01 0.04 0.04; t(0.975, 3) = 3.182 times a standard error of 0.00707.
    assert result.measured == pytest.approx(0.03)
    assert result.interval == pytest.approx((0.0075, 0.0525), abs=1e-4)
    # One-sided p 0.0120; twice for two families, twice for the first look.
    assert result.p_value == pytest.approx(0.0480, abs=1e-3)
    assert result.effect_size == pytest.approx(0.03 / math.sqrt(0.0006 / 3))


@pytest.mark.parametrize(
    ("expect", "ramps", "verdict"),
    [
        *((HIGHER, 0.01 + WOBBLE, "reproduced"), (HIGHER, -0.01 + WOBBLE, "not reproduced")),
        *((HIGHER, WOBBLE, "open"), (HIGHER, [0.01], "open"), (HIGHER, [], "not run")),
        *((HIGHER, [0.0, 0.0], "not reproduced"), (SAME, 0.001 + WOBBLE, "reproduced")),
    ],
)
def test_shape(runs, judge, expect, ramps, verdict):
    runs("sgd", [0.4])
    for seed, ramp in enumerate(ramps):
        runs("adam", [0.5], seeds=[seed], ramp=ramp)
    assert judge({"kind": "shape", "reduce": "slope", "expect": expect}).verdict == verdict


def test_p_values_are_corrected_for_all_tested_claims_run_or_not(runs, judge):
    runs("adam", np.zeros(5))
    runs("sgd", 0.003 + WOBBLE)
    alone = judge(compare(HIGHER))
    single, not_run = ({**ABOUT, "id": "r", "kind": "run"}, {**compare(HIGHER), "id": "n", "of": "wide"})
    several = judge(*({**compare(HIGHER), "id": str(n)} for n in range(3)), single, not_run)
    assert alone.verdict == "reproduced"
    assert [verdict.verdict for verdict in several] == ["open"] * 3 + ["not reproduced", "not run"]
    # Numbers of single runs are not tested, so they are not counted.
    assert [verdict.p_value for verdict in several] == [pytest.approx(4 * alone.p_value)] * 3 + [None, None]


def test_an_open_claim_says_where_it_lies_and_what_would_settle_it(runs, judge):
    runs("adam", np.full(10, 0.5))
    runs("sgd", 0.5012 + np.tile(WOBBLE, 2))
    result = judge(compare(HIGHER))
    assert (result.verdict, result.look, result.seeds_needed) == ("open", 2, 20)
    assert "lies inside > 0, but not clearly enough" in english(result)
    assert english(result).endswith("About 20 seeds would settle it.")
    never = judge(compare({"above": 0.0012}))
    assert (never.verdict, never.seeds_needed) == ("open", None)
    assert "lies only partly inside > 0.0012" in english(never) and "would not settle it" in english(never)


def test_a_decided_claim_keeps_the_seeds_that_decided_it(runs, judge):
    runs("adam", np.zeros(5))
    runs("sgd", 0.02 + WOBBLE)
    first = judge(compare(HIGHER))
    runs("adam", [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], seeds=range(5, 12))
    runs("sgd", [0.1, 0.1, 0.1, 0.1, 0.1], seeds=range(5, 10))
    assert judge(compare(HIGHER)) == first
    assert (first.verdict, first.look, first.seeds, first.left_out) == ("reproduced", 1, (0, 1, 2, 3, 4), {})


def test_less_than_five_seeds_are_said_to_be_a_preview(runs, judge):
    runs("adam", np.zeros(3))
    runs("sgd", 0.02 + WOBBLE[:3])
    assert english(judge(compare(HIGHER))).endswith("This is preliminary: the first test needs 5 seeds.")


def test_a_difference_below_the_margin_says_so(runs, judge):
    runs("adam", np.full(5, 0.5))
    runs("sgd", 0.502 + WOBBLE)
    result = judge(compare(HIGHER | {"margin": 0.01}))
    assert result.verdict == "not reproduced" and "> 0, but by less than 0.01" in english(result)


def test_seeds_on_one_side_only_are_left_out_and_named(runs, judge):
    runs("adam", 0.5 + WOBBLE)
    runs("sgd", 0.52 + WOBBLE[:4], seeds=[1, 3, 8, 9])
    result = judge(compare(HIGHER))
    assert result.seeds == (1, 3)
    assert result.left_out == dict.fromkeys((0, 2, 4, 8, 9), "unpaired")
    assert "Seeds left out (run for only one of the two configurations): 0, 2, 4, 8\N{EN DASH}9" in english(result)
    cause = "solo se corrieron en una de las dos configuraciones"
    assert f"Semillas sin contar ({cause}): 0, 2, 4, 8" in reason(result, Texts("es"))


@pytest.mark.parametrize("other_side", [[], [3]])
def test_no_seed_on_both_sides(runs, judge, other_side):
    runs("adam", 0.5 + WOBBLE[:2])
    runs("sgd", [0.6] * len(other_side), seeds=other_side)
    result = judge(compare(HIGHER))
    assert (result.verdict, result.measured, result.interval, result.seeds) == ("not run", None, None, ())
    assert "sgd & adam" in english(result)


def test_diverged_and_unfinished_seeds_are_left_out_and_named(runs, judge):
    at_the_end, too_large = np.full(4, 0.9), np.full(10, 0.9)
    at_the_end[3], too_large[5] = math.nan, 1e39
    runs("adam", [0.9], seeds=[7], done=4, status="diverged", metrics={"val_loss": at_the_end})
    runs("adam", [0.9], seeds=[8], metrics={"val_loss": too_large})
    runs("adam", [0.9], seeds=[9], done=9, status="running")
    assert (judge(ABOUT).verdict, judge(ABOUT).seeds) == ("not run", ())
    runs("adam", 0.4 + WOBBLE[:4], seeds=[0, 1, 2, 3])
    result = judge(ABOUT)
    # Two more have ended, so the first of them fills the look and what comes after it waits.
    assert (result.verdict, result.seeds, result.left_out) == ("reproduced", (0, 1, 2, 3), {7: "diverged"})
    assert english(result).endswith("Seeds left out (diverged): 7.")
    single = judge({**ABOUT, "kind": "run"})
    assert single.left_out == {7: "diverged", 8: "diverged", 9: "unfinished"}
    assert english(single).endswith("Seeds left out (diverged): 7\N{EN DASH}8. Seeds left out (unfinished): 9.")


@pytest.mark.parametrize("run", [{}, {"done": 10, "status": "running"}, {"done": 11, "status": "diverged"}])
def test_a_longer_run_serves_by_its_first_epochs(runs, judge, run):
    runs("adam", [0.3], ramp=0.01, epochs=100, **run)
    assert judge(ABOUT).measured == pytest.approx(0.4)


def test_a_shorter_run_does_not_serve(runs, judge):
    runs("adam", [0.4], epochs=9)
    assert (judge(ABOUT).verdict, judge(ABOUT).left_out) == ("not run", {})


OTHERS = {
    "wide": {"hidden": (256,)},
    "holdout": {"validation": "holdout"},
    "dark": {"mean": 0.0},
    "plain": {"std": 1.0},
}


@pytest.mark.parametrize(("name", "other"), OTHERS.items())
def test_another_configuration_serves_only_where_a_claim_names_it(runs, judge, name, other):
    runs("adam", [0.4, 0.4], **other)
    assert judge(ABOUT).verdict == "not run"
    assert judge({**ABOUT, "of": name}).verdict == "reproduced"


def reaching(expect):
    return {**compare(expect), "reduce": {"climbs_to": 0.8}}


def test_an_epoch_reached_on_one_side_only_counts_as_the_one_after_the_last(runs, judge):
    runs("adam", [0.9, 0.9])
    runs("sgd", [0.5, 0.5])
    assert (judge(reaching(HIGHER)).measured, judge(reaching(HIGHER)).verdict) == (10, "reproduced")


def test_an_epoch_reached_on_neither_side_makes_no_tie(runs, judge):
    for name in ("adam", "sgd"):
        runs(name, [0.5, 0.9])
        runs(name, [0.5, 0.5], seeds=[2, 3])
    assert judge(reaching(SAME)).seeds == (1,)
    result = judge({**reaching(SAME), "reduce": {"climbs_to": 0.95}})
    assert (result.verdict, result.seeds) == ("open", ())
    assert "Seeds left out (not reached by either configuration): 0\N{EN DASH}3" in english(result)


def test_generalisation_gaps(runs, judge):
    runs("adam", [0.4], metrics={"train_loss": 0.3, "train_accuracy": 0.95})
    loss, accuracy = judge(*({**ABOUT, "id": gap, "metric": gap} for gap in ("loss_gap", "accuracy_gap")))
    assert (loss.measured, accuracy.measured) == (pytest.approx(0.1), pytest.approx(0.55))


def test_what_rounding_leaves_is_no_difference(runs, judge):
    runs("adam", [0.3, 0.4, 0.6], metrics={"train_loss": 0.1})
    runs("sgd", [0.5, 0.6, 0.8], metrics={"train_loss": 0.3})
    assert judge({**compare(HIGHER), "metric": "loss_gap"}).verdict == "not reproduced"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=5))
def test_verdicts_do_not_depend_on_the_order_of_the_sides(tmp_path_factory, differences):
    store = tmp_path_factory.mktemp("store")
    for seed, difference in enumerate(differences):
        for name, value in (("adam", 0.5), ("sgd", 0.5 + difference)):
            write_run(store, optimizer=name, epochs=10, seed=seed, curve=np.full((10, 6), value))
    back = {**compare(LOWER), "id": "back", "of": "adam", "than": "sgd"}
    one, two = verdicts.judge(paper(compare(HIGHER), back), Curves(collect(store)))
    assert one.verdict == two.verdict
    assert one.measured == pytest.approx(-two.measured)


def test_rows_are_plain_json(runs, judge):
    runs("adam", [0.5, 0.6])
    runs("sgd", [0.7, 0.8])
    changes = [ABOUT, ABOVE, compare(HIGHER), {**ABOUT, "of": "long"}, {**ABOUT, "kind": "run"}]
    claims = [{**change, "id": str(n)} for n, change in enumerate(changes)]
    rows = [row(paper(*claims), verdict) for verdict in judge(*claims)]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    number, above, compared, missing, single = rows
    assert (number["expected"], number["figure"], number["why_es"]) == ("0.4 ± 0.05", "1a", "Porque sí.")
    assert (above["expected"], above["expected_high"]) == ("> 0.4", None)
    assert (compared["verdict"], compared["p_value"], compared["effect_size"]) == ("reproduced", None, None)
    assert (missing["verdict"], missing["interval"], missing["seeds"]) == ("not run", None, [])
    assert single["interval"] == [single["interval_low"], single["interval_high"]]
    assert all(row["verdict"] in verdicts.VERDICTS and row["reason_en"] and row["reason_es"] for row in rows)


@pytest.fixture
def nearest(tmp_path):
    """A function from claims to the nearest configurations to their quoted numbers, by figure and configuration."""

    def run(*changes):
        quoting, collection = paper(*changes), collect(tmp_path)
        curves = Curves(collection)
        return {key: nearest_configuration(c, quoting, collection, curves) for key, c in quoted(quoting).items()}

    return run


OWN = ("fig1", "adam")


def test_nearest_configuration(runs, nearest):
    expect = {"about": 0.84, "tolerance": 0.02}
    accuracy = {"id": "accuracy", "panel": "b", "kind": "run", "metric": "val_accuracy", "expect": expect}
    runs("sgd", [0.44, 0.46], metrics={"val_accuracy": 0.84})
    runs("adam", [0.6, 0.6], metrics={"val_accuracy": 0.7})
    runs("adam", [0.4], batch_size=7, done=2, status="diverged")
    tables = nearest({**ABOUT, "id": "loss"}, accuracy, {**ABOVE, "id": "side"}, {**compare(SAME), "id": "compared"})
    assert list(tables) == [OWN]
    table = tables[OWN]
    assert table[["optimizer", "own", "seeds"]].to_numpy().tolist() == [["SGD", False, 2], ["Adam", True, 2]]
    # One tolerance and none away; four and seven away.
    assert table["distance"].tolist() == pytest.approx([math.sqrt(0.5), math.sqrt((16 + 49) / 2)])
    assert table["loss"].tolist() == pytest.approx([0.45, 0.6])
    assert "side" not in table


def test_distance_is_in_tolerances_however_far_single_runs_differ(runs, nearest):
    runs("adam", [0.4, 0.5, 0.6])
    claim = {**ABOUT, "kind": "run", "expect": {"about": 0.52, "tolerance": 0.01}}
    assert nearest(claim)[OWN]["distance"].tolist() == pytest.approx([2])


def test_nearest_configuration_takes_each_length_of_a_run_as_its_own(runs, nearest):
    runs("adam", [0.3], ramp=0.01)
    runs("adam", [0.3], ramp=0.01, epochs=5)
    table = nearest(ABOUT)[OWN]
    assert table[["epochs", "own"]].to_numpy().tolist() == [[10, True], [5, False]]
    assert table["distance"].tolist() == pytest.approx([0, 1])


def test_nearest_configuration_leaves_out_what_cannot_be_measured(runs, nearest):
    assert nearest(ABOUT)[OWN].empty
    runs("adam", [0.9])
    runs("sgd", [0.5])
    runs("adam", [0.9], epochs=4)
    table = nearest({**ABOUT, "reduce": {"climbs_to": 0.8}}, {**ABOUT, "id": "late", "reduce": {"at": 5}})[OWN]
    assert table[["optimizer", "epochs"]].to_numpy().tolist() == [["Adam", 10]]


def test_a_metric_is_read_at_the_epoch_where_another_is_best(runs, judge):
    loss = [0.9, 0.5, 0.7, 0.8, 0.4, 0.9, 0.9, 0.9, 0.9, 0.9]
    runs("adam", [0.0] * 3, metrics={"val_loss": loss, "val_accuracy": np.arange(1, 11) / 100})
    claim = {"metric": "val_accuracy", "expect": {"above": 0}}
    measured = {
        5: {"at_best": "val_loss"},
        2: {"at_best": {"of": "val_loss", "patience": 2}},
        4: {"at_stop": {"of": "val_loss", "patience": 2}},
    }
    for epoch, reduce in measured.items():
        found = judge(claim | {"reduce": reduce}, claim | {"reduce": reduce, "metric": "epoch", "id": "d"})
        assert [verdict.measured for verdict in found] == pytest.approx([epoch / 100, epoch])


def test_a_metric_may_be_the_difference_of_two(runs, judge):
    values = {"train_accuracy": 0.9, "val_accuracy": 0.75, "val_loss": 0.5, "train_loss": 0.2}
    runs("adam", 0.3 + WOBBLE, metrics=values)
    claim = {"expect": {"about": 0.15, "tolerance": 0.01}}
    one, gap, loss = judge(
        claim | {"metric": "train_accuracy - val_accuracy"},
        claim | {"metric": "accuracy_gap", "id": "d"},
        claim | {"metric": "train_loss - val_loss", "id": "e"},
    )
    assert (one.verdict, one.measured) == (gap.verdict, gap.measured) == ("reproduced", pytest.approx(0.15))
    assert loss.measured == pytest.approx(-0.3)


def test_a_test_metric_is_judged_where_runs_have_it_and_not_run_elsewhere(tmp_path, judge):
    claim = {"metric": "test_accuracy", "expect": {"about": 0.6, "tolerance": 0.01}, "reduce": {"at_best": "val_loss"}}
    for seed, value in enumerate(0.6 + WOBBLE):
        curve = np.full((10, 8), 0.3)
        curve[4, [4, 7]] = 0.1, value  # the least validation loss, and the test accuracy at that epoch
        write_run(tmp_path, epochs=10, seed=seed, curve=curve)
    write_run(tmp_path, epochs=10, seed=5, curve=np.full((10, 6), 0.3))
    write_run(tmp_path, epochs=10, optimizer="sgd", curve=np.full((10, 6), 0.3))
    on_adam, on_sgd = judge(claim, claim | {"of": "sgd", "id": "d"})
    assert (on_adam.verdict, on_adam.measured, on_adam.seeds) == ("reproduced", pytest.approx(0.6), (0, 1, 2, 3, 4))
    assert on_sgd.verdict == "not run" and on_sgd.left_out == {0: "unmeasured"}
    assert english(on_sgd).endswith("Seeds left out (without the test metric after each epoch): 0.")
