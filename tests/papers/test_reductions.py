"""Reductions of curves whose answers are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fmnist_sweep.papers import reductions
from fmnist_sweep.papers.reductions import Reduction

EPOCHS = np.arange(1.0, 31.0)
CURVES = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(5, 40)), elements=st.floats(0, 3, width=32))


def noise(scale, epochs=20_000):
    return np.random.default_rng(0).normal(0, scale, (1, epochs))


@pytest.mark.parametrize(
    ("reduce", "value", "epoch"),
    [
        ({"at": 3}, 0.3, 3),
        ("last", 1.0, 10),
        ({"mean_last": 2}, 0.95, 10),
        ({"mean": {"from": 2, "to": 3}}, 0.25, None),
        ({"min": {"from": 4}}, 0.4, None),
        ({"max": {"to": 4}}, 0.4, None),
        ({"slope": {}}, 0.1, None),
        ("volatility", 0.0, None),
        ("roughness", 0.0, None),
        ({"spread": {"from": 1, "to": 2}}, 0.1 / math.sqrt(2), None),
        ({"settles": {"within": 0.25, "over": 1}}, 8, None),
        ({"climbs_to": 0.45}, 5, None),
        ({"climbs_to": 2}, math.nan, None),
        ({"falls_to": 0.15}, 1, None),
        ({"rise": {"after": 5, "over": 2}}, 0.5, None),
    ],
)
def test_what_a_claim_writes_is_what_is_computed(reduce, value, epoch):
    reduction = Reduction.parse(reduce)
    assert reduction(0.1 * EPOCHS[None, :10]) == pytest.approx([value], abs=1e-9, nan_ok=True)
    assert reduction.misfit(10) is None
    assert reduction.epoch(10) == epoch


def test_slope_per_epoch():
    curves = np.stack([0.5 - 0.01 * EPOCHS, np.full(30, 0.4), 0.4 + 0.1 * (-1) ** EPOCHS])
    expected = [-0.01, 0, np.polyfit(EPOCHS, curves[2], 1)[0]]
    assert reductions.slope(curves) == pytest.approx(expected)


def test_spread_counts_the_trend():
    assert reductions.spread(0.7 + 0.005 * EPOCHS[None]) == pytest.approx(0.005 * np.std(EPOCHS, ddof=1))


def test_volatility_of_a_parabola_is_zero_and_of_noise_root_two_of_it():
    parabola = 0.5 + 0.01 * EPOCHS[None] - 0.002 * EPOCHS[None] ** 2
    assert reductions.volatility(parabola) == pytest.approx(0, abs=1e-12)
    assert reductions.volatility(noise(0.03)) == pytest.approx(math.sqrt(2) * 0.03, rel=0.03)


def test_volatility_of_a_zigzag():
    # Differences -2, 2, -2, 2: their line has slope 0.8 and takes 3.2 of the 16 that their squares sum to.
    assert reductions.volatility(np.array([[1.0, -1, 1, -1, 1]])) == pytest.approx(math.sqrt(12.8 / 2))


def test_roughness():
    assert reductions.roughness(EPOCHS[None] ** 2) == pytest.approx(2)
    assert reductions.roughness(noise(0.03)) == pytest.approx(math.sqrt(6) * 0.03, rel=0.03)


@given(CURVES, st.floats(-2, 2), st.floats(-0.1, 0.1))
def test_a_straight_trend_changes_neither_volatility_nor_roughness(curves, start, per_epoch):
    trend = start + per_epoch * np.arange(curves.shape[1])
    assert reductions.volatility(curves + trend) == pytest.approx(reductions.volatility(curves), abs=1e-9)
    assert reductions.roughness(curves + trend) == pytest.approx(reductions.roughness(curves), abs=1e-9)


@pytest.mark.parametrize(
    ("curve", "settled"),
    [
        ([0.9, 0.7, 0.52, 0.5, 0.5, 0.5], 3),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 1),
        ([0.5, 0.5, 0.9, 0.5, 0.5, 0.5], 4),
        ([0.9, 0.9, 0.5, 0.5, 0.5, 0.3], math.nan),
        ([0.5, math.nan, 0.5, 0.5, 0.5, 0.5], math.nan),
    ],
)
def test_settling_epoch(curve, settled):
    epoch = reductions.settling_epoch(np.array([curve]), within=0.05, over=2)
    assert epoch == pytest.approx([settled], nan_ok=True)


def test_a_missing_epoch_makes_that_seed_alone_unknown():
    curves = np.tile(EPOCHS, (2, 1))
    curves[0, 10] = math.nan
    for measure in (reductions.slope, reductions.spread, reductions.volatility, reductions.roughness):
        assert np.isnan(measure(curves)).tolist() == [True, False]


def keras(values, patience, min_delta):
    """Best and last epoch of one run by a transcription of keras.callbacks.EarlyStopping, mode min."""
    best, best_epoch, wait = np.inf, 0, 0
    for epoch, value in enumerate(values):
        wait += 1
        if value + min_delta < best:
            best, best_epoch, wait = value, epoch, 0
        elif wait >= patience and epoch > 0:
            return best_epoch + 1, epoch + 1
    return best_epoch + 1, len(values)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=4),
    st.integers(1, 6),
    st.sampled_from([0, 1, 2]),
)
def test_early_stopping_is_that_of_keras(rows, patience, min_delta):
    chooser, epochs = np.array(rows, float), np.broadcast_to(np.arange(1.0, 7), (len(rows), 6))
    parameters = {"of": "val_loss", "patience": patience, "min_delta": min_delta}
    found = [Reduction.parse({name: parameters})(epochs, chooser) for name in ("at_best", "at_stop")]
    assert np.stack(found, axis=1).tolist() == [list(keras(row, patience, min_delta)) for row in rows]


def scikit_learn(values, n_iter_no_change, tol):
    """Last epoch of one run by a transcription of MLPClassifier's fit and _update_no_improvement_count."""
    best, without = np.inf, 0
    for epoch, value in enumerate(values, 1):
        without = without + 1 if value > best - tol else 0
        best = min(best, value)
        if without > n_iter_no_change:
            return epoch
    return len(values)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=8, max_size=8), min_size=1, max_size=4),
    st.integers(1, 6),
    st.sampled_from([0, 1, 2]),
)
def test_early_stopping_with_a_tolerance_is_that_of_scikit_learn(rows, n_iter_no_change, tol):
    chooser, epochs = np.array(rows, float), np.broadcast_to(np.arange(1.0, 9), (len(rows), 8))
    stop = Reduction.parse({"at_stop": {"of": "running_loss", "patience": n_iter_no_change + 1, "tol": tol}})
    assert stop(epochs, chooser).tolist() == [scikit_learn(row, n_iter_no_change, tol) for row in rows]


def test_small_steps_down_add_up_for_keras_and_not_for_scikit_learn():
    epochs, chooser = np.arange(1.0, 9)[None], np.linspace(1, 0.3, 8)[None]
    stop = {"of": "running_loss", "patience": 3}
    assert Reduction.parse({"at_stop": {**stop, "min_delta": 0.15}})(epochs, chooser) == [8]
    assert Reduction.parse({"at_stop": {**stop, "tol": 0.15}})(epochs, chooser) == [4]


def test_the_best_epoch_has_the_lowest_loss_or_the_highest_accuracy():
    curves = np.array([[0.1, 0.2, 0.3, 0.4]])
    chooser = np.array([[0.5, 0.4, 0.6, 0.4]])
    assert Reduction.parse({"at_best": "val_loss"})(curves, chooser) == [0.2]  # the first of equal ones
    assert Reduction.parse({"at_best": "val_accuracy"})(curves, chooser) == [0.3]
    stopped = Reduction.parse({"at_best": {"of": "test_accuracy", "patience": 1}})
    assert stopped(curves, chooser) == [0.1] and str(stopped) == "at_best of test_accuracy patience 1"
