"""Verdicts on made-up runs whose answers are known."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_sweep.report.claims import (
    VERDICTS,
    evaluate,
    load_claims,
    nearest_configuration,
    quoted_groups,
    to_rows,
)
from fmnist_sweep.report.selection import METRICS

BASE = {"optimizer": "adam", "batch_size": 100, "dropout": 0.2, "epochs": 10}
SGD = {**BASE, "optimizer": "sgd"}
WOBBLE = np.array([0.001, -0.002, 0.0, 0.002, -0.001])


def runs(selection, values, *, seeds=None, done=None, status="done", ramp=0.0, **other):
    """A run a seed, each metric constant at that seed's value, plus `ramp` an epoch; `done` of its epochs."""
    seeds = range(len(values)) if seeds is None else seeds
    epoch = np.arange(1, (done or selection["epochs"]) + 1)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "run": f"{'-'.join(map(str, {**selection, **other}.values()))}-seed{seed}",
                    **selection,
                    "hidden": "128-64",
                    "validation": "test",
                    "pixel_mean": 0.5,
                    "pixel_std": 0.5,
                    **other,
                    "seed": seed,
                    "status": status,
                    "epoch": epoch,
                    **dict.fromkeys(METRICS, value + ramp * epoch),
                }
            )
            for seed, value in zip(seeds, values, strict=True)
        ]
    )


@pytest.fixture
def claims(tmp_path):
    """A function from claims' differences to a default one to claims as read from a file."""

    def build(*changes):
        default = {
            "id": "c",
            "section": "III.A",
            "figure": "1a",
            "quote": "desde 0.475",
            "statement": {"en": "It is so.", "es": "Es así."},
            "kind": "value",
            "of": BASE,
            "metric": "val_loss",
            "reduce": "last",
            "why": {"en": "Because.", "es": "Porque sí."},
        }
        path = tmp_path / "claims.yaml"
        path.write_text(yaml.safe_dump({"claims": [{**default, **change} for change in changes]}))
        return load_claims(path)

    return build


@pytest.fixture
def judge(claims):
    """A function from one claim and runs to its verdict."""

    def run(change, *tables):
        (verdict,) = evaluate(claims(change), pd.concat(tables))
        return verdict

    return run


ABOUT = {"expect": {"about": 0.4, "tolerance": 0.05}}
ABOVE = {"expect": {"above": 0.4}}


@pytest.mark.parametrize(
    ("expect", "values", "verdict"),
    [
        (ABOUT, 0.42 + WOBBLE, "reproduced"),
        (ABOUT, 0.47 + WOBBLE, "not reproduced"),
        (ABOUT, 0.33 + WOBBLE, "not reproduced"),
        (ABOUT, 0.449 + WOBBLE, "inconclusive"),
        (ABOUT, 0.451 + WOBBLE, "inconclusive"),
        (ABOUT, 0.4 + 40 * WOBBLE, "inconclusive"),
        (ABOVE, 0.42 + WOBBLE, "reproduced"),
        (ABOVE, 0.38 + WOBBLE, "not reproduced"),
        (ABOVE, 0.401 + WOBBLE, "inconclusive"),
        ({"expect": {"below": 0.4}}, 0.38 + WOBBLE, "reproduced"),
        (ABOUT, [0.45], "reproduced"),
        (ABOUT, [0.451], "not reproduced"),
        (ABOVE, [0.4], "not reproduced"),
        (ABOUT, [0.42, 0.42, 0.42], "reproduced"),
        (ABOUT, [0.46, 0.46, 0.46], "not reproduced"),
        (ABOUT, [], "not run"),
    ],
)
def test_quoted_number(judge, expect, values, verdict):
    tables = [runs(BASE, values)] if len(values) else [runs(SGD, [0.4])]
    result = judge(expect, *tables)
    assert result.verdict == verdict
    assert result.seeds == tuple(range(len(values)))
    assert (result.p_value, result.effect_size) == (None, None)


def compare(expect):
    return {"kind": "comparison", "of": SGD, "than": BASE, "expect": expect}


HIGHER, LOWER, SAME = {"above": 0}, {"below": 0}, {"about": 0, "tolerance": 0.01}


@pytest.mark.parametrize(
    ("expect", "differences", "verdict"),
    [
        (HIGHER, 0.02 + WOBBLE, "reproduced"),
        (LOWER, 0.02 + WOBBLE, "not reproduced"),
        (HIGHER, 0.0005 + WOBBLE, "inconclusive"),
        (SAME, 0.0005 + WOBBLE, "reproduced"),
        (SAME, 0.02 + WOBBLE, "not reproduced"),
        (SAME, 10 * WOBBLE, "inconclusive"),
        ({"below": 0.01}, 0.005 + WOBBLE, "reproduced"),
        (HIGHER, [0.0] * 5, "not reproduced"),
        (SAME, [0.0] * 5, "reproduced"),
        (HIGHER, [0.02] * 5, "reproduced"),
        (HIGHER, [0.0, 0, 0, 0, 0.001], "inconclusive"),
        (HIGHER, [0.3], "inconclusive"),
        (SAME, [0.0], "inconclusive"),
    ],
)
def test_comparison(judge, expect, differences, verdict):
    # Seeds differ among themselves far more than the two optimizers do: only pairing finds the difference.
    seeds = np.array([0.3, 0.9, 0.5, 0.7, 0.1])[: len(differences)]
    result = judge(compare(expect), runs(BASE, seeds), runs(SGD, seeds + differences))
    assert result.verdict == verdict
    assert result.measured == pytest.approx(np.mean(differences))


def test_comparison_reports_the_paired_difference(judge):
    result = judge(compare(HIGHER), runs(BASE, [0.84, 0.85, 0.84, 0.83]), runs(SGD, [0.87, 0.86, 0.88, 0.87]))
    # Differences 0.03 0.01 0.04 0.04; t(0.975, 3) = 3.182 times a standard error of 0.00707.
    assert result.measured == pytest.approx(0.03)
    assert result.interval == pytest.approx((0.0075, 0.0525), abs=1e-4)
    assert result.p_value == pytest.approx(0.0240, abs=5e-4)
    assert result.effect_size == pytest.approx(0.03 / math.sqrt(0.0006 / 3))


@pytest.mark.parametrize(
    ("expect", "ramps", "verdict"),
    [
        (HIGHER, 0.01 + WOBBLE, "reproduced"),
        (HIGHER, -0.01 + WOBBLE, "not reproduced"),
        (HIGHER, WOBBLE, "inconclusive"),
        (HIGHER, [0.01], "inconclusive"),
        (HIGHER, [0.0, 0.0], "not reproduced"),
        ({"about": 0.01, "tolerance": 0.01}, 0.01 + WOBBLE, "reproduced"),
        (HIGHER, [], "not run"),
    ],
)
def test_shape(judge, expect, ramps, verdict):
    tables = [runs(BASE, [0.5], seeds=[seed], ramp=ramp) for seed, ramp in enumerate(ramps)]
    result = judge({"kind": "shape", "reduce": "slope", "expect": expect}, *(tables or [runs(SGD, [0.4])]))
    assert result.verdict == verdict


def test_p_values_are_corrected_for_the_number_of_comparisons(claims):
    metrics = pd.concat([runs(BASE, np.zeros(5)), runs(SGD, 0.002 + WOBBLE)])
    (alone,) = evaluate(claims(compare(HIGHER)), metrics)
    several = evaluate(claims(*({**compare(HIGHER), "id": str(n)} for n in range(3)), ABOUT), metrics)
    assert alone.verdict == "reproduced"
    assert [verdict.verdict for verdict in several[:3]] == ["inconclusive"] * 3
    # The quoted number has no p value, so it is not counted among the comparisons.
    assert [verdict.p_value for verdict in several] == [pytest.approx(3 * alone.p_value)] * 3 + [None]


def test_seeds_on_one_side_only_are_left_out_and_named(judge):
    result = judge(compare(HIGHER), runs(BASE, WOBBLE), runs(SGD, 0.02 + WOBBLE[:3], seeds=[1, 3, 8]))
    assert result.seeds == (1, 3)
    for seed in (0, 2, 4, 8):
        assert f"seed {seed}, on one side only" in result.reason["en"]
        assert f"semilla {seed}, solo de un lado" in result.reason["es"]


def test_one_side_missing_altogether(judge):
    result = judge(compare(HIGHER), runs(BASE, WOBBLE))
    assert (result.verdict, result.measured, result.interval, result.seeds) == ("not run", None, None, ())
    assert "sgd bs100 do0.2 ep10" in result.reason["en"]


def test_seeds_without_a_common_one(judge):
    result = judge(compare(HIGHER), runs(BASE, [0.5], seeds=[0]), runs(SGD, [0.6], seeds=[1]))
    assert result.verdict == "not run"


def test_diverged_and_unfinished_seeds_are_left_out_and_named(judge):
    diverged = runs(BASE, [0.9], seeds=[7], done=4, status="diverged")
    diverged.loc[diverged["epoch"] == 4, "val_loss"] = math.nan
    infinite = runs(BASE, [0.9], seeds=[8])
    infinite.loc[infinite["epoch"] == 6, "val_loss"] = math.inf
    running = runs(BASE, [0.9], seeds=[9], done=9, status="running")
    result = judge(ABOUT, runs(BASE, 0.4 + WOBBLE), diverged, infinite, running)
    assert result.verdict == "reproduced"
    assert result.seeds == (0, 1, 2, 3, 4)
    for text in ("seed 7, diverged", "seed 8, diverged", "seed 9, unfinished"):
        assert text in result.reason["en"]


def test_all_seeds_diverged_is_not_run_and_says_why(judge):
    result = judge(ABOUT, runs(BASE, [0.4], done=3, status="diverged"))
    assert result.verdict == "not run"
    assert "seed 0, diverged" in result.reason["en"]


def test_a_run_that_diverged_later_serves_for_the_epochs_before(judge):
    longer = runs({**BASE, "epochs": 100}, [0.4], done=11, status="diverged")
    longer.loc[longer["epoch"] == 11, "val_loss"] = math.nan
    assert judge(ABOUT, longer).verdict == "reproduced"


def test_a_longer_run_serves_by_its_first_epochs(judge):
    longer = runs({**BASE, "epochs": 100}, [0.3], ramp=0.01)
    assert judge(ABOUT, longer).measured == pytest.approx(0.4)
    running = runs({**BASE, "epochs": 100}, [0.3], ramp=0.01, done=10, status="running")
    assert judge(ABOUT, running).measured == pytest.approx(0.4)


def test_a_shorter_run_does_not_serve(judge):
    result = judge(ABOUT, runs({**BASE, "epochs": 9}, [0.4]))
    assert result.verdict == "not run"
    assert "unfinished" not in result.reason["en"]


def test_of_several_runs_of_a_seed_the_shortest_serves(judge):
    longer, exact = runs({**BASE, "epochs": 100}, [0.1]), runs(BASE, [0.4]).assign(run="named last")
    assert judge(ABOUT, longer, exact).measured == judge(ABOUT, exact, longer).measured == 0.4


@pytest.mark.parametrize(
    "other", [{"hidden": "256"}, {"validation": "holdout"}, {"pixel_mean": 0.0}, {"pixel_std": 1.0}]
)
def test_other_protocols_serve_only_where_a_claim_names_them(judge, other):
    table = runs(BASE, [0.4], **other)
    assert judge(ABOUT, table).verdict == "not run"
    assert judge({**ABOUT, "of": {**BASE, **other}}, table).verdict == "reproduced"


@pytest.mark.parametrize(
    ("reduce", "measured"),
    [
        ({"at": 3}, 0.3),
        ("last", 1.0),
        ({"mean_last": 2}, 0.95),
        ({"mean": {"from": 2, "to": 3}}, 0.25),
        ({"min": {"from": 4}}, 0.4),
        ({"max": {"to": 4}}, 0.4),
        ("slope", 0.1),
        ("volatility", 0.0),
        ("roughness", 0.0),
        ({"spread": {"from": 1, "to": 2}}, 0.1 / math.sqrt(2)),
        ({"settles": {"within": 0.25, "over": 1}}, 8),
        ({"climbs_to": 0.45}, 5),
        ({"climbs_to": 2}, 11),
        ({"falls_to": 0.15}, 1),
        ({"falls_to": 0.05}, 11),
        ({"rise": {"after": 5, "over": 2}}, 0.5),
    ],
)
def test_reductions(judge, reduce, measured):
    result = judge({**ABOUT, "reduce": reduce}, runs(BASE, [1e-9], ramp=0.1))
    assert result.measured == pytest.approx(measured, abs=1e-6)


def reaching(expect):
    return {**compare(expect), "reduce": {"climbs_to": 0.8}}


def test_an_epoch_reached_on_one_side_only_counts_as_the_one_after_the_last(judge):
    result = judge(reaching(HIGHER), runs(BASE, [0.9, 0.9]), runs(SGD, [0.5, 0.5]))
    assert (result.measured, result.verdict) == (10, "reproduced")


def test_an_epoch_reached_on_neither_side_makes_no_tie(judge):
    both, neither = runs(BASE, [0.5, 0.9]), runs(SGD, [0.5, 0.9])
    assert judge(reaching(SAME), both, neither).seeds == (1,)
    result = judge(reaching(SAME), runs(BASE, [0.5, 0.5]), runs(SGD, [0.5, 0.5]))
    assert (result.verdict, result.seeds) == ("inconclusive", ())
    assert "seed 1, not reached on either side" in result.reason["en"]


def test_generalisation_gaps(judge):
    table = runs(BASE, [0.4])
    table["train_loss"], table["train_accuracy"] = 0.3, 0.95
    assert judge({**ABOUT, "metric": "loss_gap"}, table).measured == pytest.approx(0.1)
    assert judge({**ABOUT, "metric": "accuracy_gap"}, table).measured == pytest.approx(0.55)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_verdicts_depend_on_neither_the_order_of_rows_nor_that_of_the_sides(claims, differences, random):
    metrics = pd.concat([runs(BASE, np.full(len(differences), 0.5)), runs(SGD, 0.5 + np.array(differences))])
    shuffled = metrics.iloc[random.sample(range(len(metrics)), len(metrics))]
    forward, back = compare(HIGHER), {**compare(LOWER), "of": BASE, "than": SGD}
    (one,) = evaluate(claims(forward), metrics)
    (two,) = evaluate(claims(back), shuffled)
    assert one.verdict == two.verdict
    assert one.measured == pytest.approx(-two.measured)


def test_rows_are_plain_json(claims):
    metrics = pd.concat([runs(BASE, [0.5, 0.6]), runs(SGD, [0.7, 0.8])])
    changes = [ABOUT, ABOVE, compare(HIGHER), {**ABOUT, "of": {**BASE, "epochs": 99}}]
    rows = to_rows(evaluate(claims(*({**change, "id": str(n)} for n, change in enumerate(changes))), metrics))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    number, above, compared, missing = rows
    assert number["expected"] == "0.4 ± 0.05"
    assert (above["expected"], above["expected_high"]) == ("> 0.4", None)
    assert (compared["verdict"], compared["p_value"], compared["effect_size"]) == ("reproduced", None, None)
    assert (missing["verdict"], missing["interval"], missing["seeds"]) == ("not run", None, [])
    for row in rows:
        assert {
            "id",
            "section",
            "quote",
            "figure",
            "expected",
            "measured",
            "interval",
            "seeds",
            "verdict",
        } <= set(row)
        assert row["verdict"] in VERDICTS


def test_a_table_that_lacks_a_column(claims):
    with pytest.raises(ValueError, match="lacks the columns seed, status"):
        evaluate(claims(ABOUT), runs(BASE, [0.4]).drop(columns=["seed", "status"]))


def test_nearest_configuration(claims):
    loss = {**ABOUT, "id": "loss", "figure": "5a"}
    accuracy = {
        "id": "accuracy",
        "figure": "5b",
        "metric": "val_accuracy",
        "expect": {"about": 0.84, "tolerance": 0.02},
    }
    near, far = runs(SGD, [0.44, 0.46]), runs(BASE, [0.6, 0.6])
    near["val_accuracy"], far["val_accuracy"] = 0.84, 0.7
    unusable = runs({**BASE, "optimizer": "rmsprop"}, [0.4], done=2, status="diverged")
    groups = quoted_groups(claims(loss, accuracy, {**ABOVE, "id": "side"}, {**compare(SAME), "id": "compared"}))
    assert {name: [claim.id for claim in group] for name, group in groups.items()} == {
        "5: adam bs100 do0.2 ep10": ["loss", "accuracy"]
    }
    table = nearest_configuration(*groups.values(), pd.concat([far, unusable, near]))
    assert table["optimizer"].tolist() == ["sgd", "adam"]
    assert table["seeds"].tolist() == [2, 2]
    # One tolerance and none away; four and seven away.
    assert table["distance"].tolist() == pytest.approx([math.sqrt(0.5), math.sqrt((16 + 49) / 2)])
    assert table["loss"].tolist() == pytest.approx([0.45, 0.6])


def test_nearest_configuration_takes_each_length_of_a_run_as_its_own(claims):
    group = claims(ABOUT)
    table = nearest_configuration(group, pd.concat([runs({**BASE, "epochs": n}, [0.3], ramp=0.01) for n in (10, 5)]))
    assert table["epochs"].tolist() == [10, 5]
    assert table["distance"].tolist() == pytest.approx([0, 1])


def test_nearest_configuration_leaves_out_what_cannot_be_measured(claims):
    metrics = pd.concat([runs(BASE, [0.9]), runs(SGD, [0.5]), runs({**BASE, "epochs": 4}, [0.9])])
    reached = claims({**ABOUT, "reduce": {"climbs_to": 0.8}}, {**ABOUT, "id": "late", "reduce": {"at": 5}})
    assert nearest_configuration(reached, metrics)[["optimizer", "epochs"]].to_numpy().tolist() == [["adam", 10]]


def test_nearest_configuration_without_runs(claims):
    assert nearest_configuration(claims(ABOUT), runs(BASE, [0.4]).iloc[:0]).empty
