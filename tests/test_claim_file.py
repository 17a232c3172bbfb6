"""The claims file: the one that ships, and what is said of a bad one."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from fmnist_sweep.report.claim_file import ClaimsError, load_claims
from fmnist_sweep.report.claims import evaluate, nearest_configuration, quoted_groups
from fmnist_sweep.report.selection import METRICS

GOOD = {
    "id": "mine",
    "section": "III.A",
    "figure": "1a",
    "quote": "desde 0.475",
    "statement": {"en": "It is so.", "es": "Es así."},
    "kind": "value",
    "of": "base",
    "metric": "val_loss",
    "reduce": {"at": 1},
    "expect": {"about": 0.4, "tolerance": 0.05},
    "why": "rule",
}
TOP = {
    "selections": {"base": {"optimizer": "adam", "batch_size": 100, "dropout": 0.2, "epochs": 30}},
    "reasons": {"rule": {"en": "Because.", "es": "Porque sí."}},
}


def write(folder, *claims, **top):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**TOP, "claims": list(claims), **top}), encoding="utf-8")
    return path


def test_names_at_the_top_stand_for_what_they_name(tmp_path):
    inline = {**GOOD, "of": TOP["selections"]["base"], "why": TOP["reasons"]["rule"]}
    assert load_claims(write(tmp_path, GOOD)) == load_claims(write(tmp_path, inline))


def test_an_end_of_the_tolerance_belongs_to_it(tmp_path):
    (claim,) = load_claims(write(tmp_path, {**GOOD, "expect": {"about": 0.35, "tolerance": 0.01}}))
    assert (claim.expect.low, claim.expect.high) == (0.34, 0.36)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"metrc": "val_loss"}, ["unknown key 'metrc'", "did you mean metric?"]),
        ({"metric": "val_los"}, ["metric:", "'val_los'", "did you mean val_loss?", "loss_gap"]),
        ({"metric": None}, ["metric:", "None"]),
        ({"kind": "comparision"}, ["kind:", "did you mean comparison?"]),
        ({"kind": "comparison"}, ["than:", "a comparison needs it"]),
        ({"than": "base"}, ["than:", "no other kind takes it"]),
        ({"of": "bsae"}, ["of:", "'bsae'", "did you mean base?"]),
        ({"of": {"optimizer": "adam"}}, ["of: batch_size: missing"]),
        ({"of": {**TOP["selections"]["base"], "batchsize": 1}}, ["of:", "did you mean batch_size?"]),
        ({"of": {**TOP["selections"]["base"], "epochs": 1.5}}, ["of: epochs:", "whole number", "1.5"]),
        ({"of": {**TOP["selections"]["base"], "epochs": 0}}, ["of: epochs:", "at least 1"]),
        ({"of": {**TOP["selections"]["base"], "dropout": "0.2"}}, ["of: dropout:", "number", "'0.2'"]),
        ({"of": {**TOP["selections"]["base"], "hidden": 128}}, ["of: hidden:", "text", "128"]),
        ({"reduce": "lst"}, ["reduce:", "'lst'", "did you mean last?"]),
        ({"reduce": "at"}, ["reduce: at: epoch: missing"]),
        ({"reduce": {"at": 31}}, ["reduce: at:", "31", "30 epochs"]),
        ({"reduce": {"at": 0}}, ["reduce: at:", "30 epochs"]),
        ({"reduce": {"at": 1.5}}, ["reduce: at: epoch:", "whole number"]),
        ({"reduce": {"at": True}}, ["reduce: at: epoch:", "True"]),
        ({"reduce": {"at": 1, "last": {}}}, ["reduce:", "must be one of"]),
        ({"reduce": {"slope": {"form": 3}}}, ["reduce: slope:", "did you mean from?"]),
        ({"reduce": {"slope": {"from": 30}}}, ["reduce: slope:", "at least 2 epochs, not 1"]),
        ({"reduce": {"slope": {"from": 9, "to": 3}}}, ["reduce: slope:", "not 0"]),
        ({"reduce": {"volatility": {"from": 28}}}, ["reduce: volatility:", "at least 4"]),
        ({"reduce": {"rise": {"after": 3, "over": 5}}}, ["reduce: rise:", "before epoch 1"]),
        ({"reduce": {"settles": 0.1}}, ["reduce: settles:", "mapping", "0.1"]),
        ({"expect": {"about": 0.4}}, ["expect:", "about and tolerance, or above, or below"]),
        ({"expect": {"about": 0.4, "tolerance": 0}}, ["expect: tolerance:", "above 0"]),
        ({"expect": {"abuot": 0.4}}, ["expect:", "did you mean about?"]),
        ({"expect": {"above": math.nan}}, ["expect: above:", "number", "nan"]),
        ({"expect": {"above": 10**400}}, ["expect: above:", "number"]),
        ({"expect": 0.4}, ["expect:", "mapping"]),
        ({"why": "rul"}, ["why:", "did you mean rule?"]),
        ({"why": {"en": "Because."}}, ["why: es: missing"]),
        ({"statement": {"en": "a", "es": "b", "fr": "c"}}, ["statement:", "'fr'", "allowed: en, es"]),
        ({"figure": 5}, ["figure:", "in quotes", "5"]),
        ({"quote": " "}, ["quote:", "text"]),
    ],
)
def test_a_bad_claim_gets_one_line_that_names_it_and_the_key(tmp_path, change, parts):
    with pytest.raises(ClaimsError) as caught:
        load_claims(write(tmp_path, GOOD | {"id": "first"}, {**GOOD, **change}))
    message = str(caught.value)
    assert message.startswith("mine.yaml: claim mine: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_missing_key_and_a_claim_without_a_name(tmp_path):
    nameless = {key: value for key, value in GOOD.items() if key != "id"}
    with pytest.raises(ClaimsError, match=r"^mine\.yaml: claim 2: id: missing$"):
        load_claims(write(tmp_path, GOOD, nameless))
    with pytest.raises(ClaimsError, match=r"claim 1: must be a mapping"):
        load_claims(write(tmp_path, "adam is faster"))


def test_a_name_used_twice(tmp_path):
    with pytest.raises(ClaimsError, match=r"claim mine: id: used twice"):
        load_claims(write(tmp_path, GOOD, GOOD))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"claims: [", "line 1: not YAML"),
        (b"claims:\n  - {a: !!python/object/apply:os.getcwd []}", "line 2: not YAML"),
        (b"", "must be a mapping"),
        (b"claims: []", "at least one claim"),
        (b"claim: []", "did you mean claims?"),
        (b"\xff\xfe\xff", "cannot be read"),
        (b"a: " + b"1" * 5000, "cannot be read"),
        (b"[" * 5000, "nested too deeply"),
        (b"selections: {base: 3}\nclaims: [1]", "selections: base: must be a mapping"),
        (b"? [1, 2]\n: 3", "line 1: not YAML"),
        (b"1: 2", "must be a mapping"),
    ],
)
def test_a_file_that_is_no_claims_file(tmp_path, content, part):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ClaimsError, match=r"^mine\.yaml") as caught:
        load_claims(path)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ClaimsError, match=r"^none\.yaml: cannot be read: .*No such file"):
        load_claims(tmp_path / "none.yaml")


# Numbers like those of real runs: training loss and accuracy, then validation's, at the first and at the last
# epoch, and how far a value strays from epoch to epoch.
MEASURED = {
    ("adam", 100, 0.2, 100): ((0.468, 0.833, 0.504, 0.821), (0.338, 0.873, 0.50, 0.844), 0.012),
    ("adam", 100, 0.2, 30): ((0.468, 0.833, 0.504, 0.821), (0.374, 0.863, 0.463, 0.842), 0.012),
    ("adam", 500, 0.2, 30): ((0.43, 0.845, 0.46, 0.835), (0.286, 0.893, 0.381, 0.864), 0.006),
    ("adam", 1000, 0.2, 30): ((0.45, 0.838, 0.48, 0.83), (0.245, 0.907, 0.352, 0.879), 0.004),
    ("adam", 100, 0.05, 30): ((0.45, 0.838, 0.49, 0.825), (0.348, 0.877, 0.463, 0.852), 0.012),
    ("sgd", 100, 0.2, 30): ((0.75, 0.743, 0.76, 0.735), (0.306, 0.890, 0.364, 0.868), 0.003),
    ("sgd", 100, 0.05, 30): ((0.74, 0.745, 0.75, 0.737), (0.298, 0.893, 0.361, 0.869), 0.003),
    ("sgd", 500, 0.2, 30): ((1.6, 0.6, 1.6, 0.6), (0.455, 0.835, 0.485, 0.820), 0.001),
    ("sgd", 1000, 0.2, 30): ((2.0, 0.5, 2.0, 0.5), (0.54, 0.80, 0.567, 0.790), 0.001),
}


def measured_runs(seeds=5):
    tables = []
    for number, (configuration, (first, last, wobble)) in enumerate(MEASURED.items()):
        optimizer, batch_size, dropout, epochs = configuration
        epoch = np.arange(1, epochs + 1)
        speed = 6 if optimizer == "adam" else 12
        left = np.exp(-(epoch - 1) / (epochs / speed))[:, None]
        for seed in range(seeds):
            noise = np.random.default_rng([seed, number]).normal(0, wobble, (epochs, 4)) * [1, 0.3, 1, 0.3]
            curves = np.array(last) + (np.array(first) - last) * left + noise
            columns = dict(zip(("train_loss", "train_accuracy", "val_loss", "val_accuracy"), curves.T, strict=True))
            table = pd.DataFrame({**dict.fromkeys(METRICS, 0.5), **columns, "epoch": epoch})
            tables.append(
                table.assign(
                    run=f"{configuration}-{seed}",
                    optimizer=optimizer,
                    batch_size=batch_size,
                    dropout=dropout,
                    epochs=epochs,
                    seed=seed,
                    hidden="128-64",
                    validation="test",
                    pixel_mean=0.5,
                    pixel_std=0.5,
                    status="done",
                )
            )
    return pd.concat(tables, ignore_index=True)


def test_the_shipped_claims_on_runs_shaped_like_the_measured_ones():
    claims = load_claims()
    verdicts = {verdict.id: verdict.verdict for verdict in evaluate(claims, measured_runs())}
    clear = {
        "reproduced": [
            "adam-train-loss-first",
            "adam-val-accuracy-final",
            "sgd-train-loss-final",
            "sgd-val-loss-final",
            "sgd-train-accuracy-final",
            "sgd-more-accurate",
            "sgd-train-loss-slower",
            "sgd-wider-range",
            "adam-more-volatile-accuracy",
            "adam-more-volatile-loss",
            "adam-faster",
            "sgd-500-loss-falls",
            "sgd-500-val-loss-final",
            "large-batches-steadier-adam",
            "large-batches-worse-sgd",
        ],
        "not reproduced": [
            "sgd-more-variable",
            "sgd-higher-loss",
            "adam-500-val-accuracy-final",
            "adam-1000-val-accuracy-final",
            "adam-1000-worse-than-100",
            "adam-1000-worse-than-500",
            "sgd-1000-similar-loss",
            "sgd-1000-similar-accuracy",
            "epochs-100-train-loss-final",
            "epochs-100-train-accuracy-final",
            "epochs-100-val-loss-final",
        ],
    }
    for verdict, names in clear.items():
        assert {name: verdicts[name] for name in names} == dict.fromkeys(names, verdict)
    assert "not run" not in verdicts.values()
    one_seed = evaluate(claims, measured_runs(seeds=1))
    assert {v.verdict for v in one_seed if v.claim.kind != "value"} == {"inconclusive"}
    assert {v.verdict for v in one_seed if v.claim.kind == "value"} == {"reproduced", "not reproduced"}


def test_every_shipped_claim_is_not_run_where_nothing_was_run():
    assert {v.verdict for v in evaluate(load_claims(), measured_runs().iloc[:0])} == {"not run"}


def test_figure_5_fits_another_configuration_than_its_own():
    groups = quoted_groups(load_claims())
    table = nearest_configuration(groups["5: adam bs100 do0.2 ep100"], measured_runs())
    assert len(table) == len(MEASURED)
    nearest = table.iloc[0]
    assert (nearest["optimizer"], nearest["batch_size"]) == ("adam", 1000)
    assert nearest["distance"] > 1


def test_the_shipped_claims_cover_every_figure_and_section():
    claims = load_claims()
    assert {claim.section for claim in claims} == {"III.A", "III.B", "III.C", "IV"}
    assert {claim.figure[:1] for claim in claims} >= set("12345")


def test_the_shipped_file_documents_every_reduction_and_metric():
    from fmnist_sweep.report import claim_file

    comments = (Path(claim_file.__file__).parent / "claims.yaml").read_text(encoding="utf-8").split("selections:")[0]
    for name in (*claim_file.KINDS, *claim_file.METRICS, *claim_file.GAPS):
        assert name in comments
