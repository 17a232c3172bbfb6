"""Statistics on values and curves whose answers are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fmnist_sweep.report import statistics

EPOCHS = np.arange(1.0, 31.0)
P_VALUES = arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1))
CURVES = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(5, 40)), elements=st.floats(0, 3, width=32))


def noise(scale, epochs=20_000):
    return np.random.default_rng(0).normal(0, scale, (1, epochs))


def test_t_interval_is_that_of_the_tables():
    mean, low, high = statistics.mean_interval(np.array([1.0, 2, 3, 4, 5]))
    # Tables: t(0.975, 4) = 2.776; standard error sqrt(2.5 / 5).
    assert mean == 3
    assert high - mean == pytest.approx(2.776 * math.sqrt(0.5), abs=1e-3)
    assert mean - low == pytest.approx(high - mean)


def test_one_seed_has_no_interval():
    assert statistics.mean_interval(np.array([0.4])) == pytest.approx((0.4, math.nan, math.nan), nan_ok=True)


@pytest.mark.parametrize("values", [np.empty(0), np.ones((2, 2))])
def test_values_must_be_a_vector(values):
    with pytest.raises(ValueError, match="shape"):
        statistics.mean_interval(values)


def test_t_interval_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.4, 0.02, (2000, 5))
    covered = np.mean([i.low < 0.4 < i.high for i in map(statistics.mean_interval, draws)])
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], 2.0),
        ([-1, -2, -3], -2.0),
        ([0, 0, 0], 0.0),
        ([0.1, 0.1, 0.1], math.inf),
        ([-0.1, -0.1], -math.inf),
        ([0.1], math.nan),
    ],
)
def test_effect_size(values, expected):
    assert statistics.effect_size(np.array(values, float)) == pytest.approx(expected, nan_ok=True)


def test_direction_is_the_paired_t_test():
    left, right = np.array([0.87, 0.86, 0.88, 0.87]), np.array([0.84, 0.85, 0.84, 0.83])
    inside, p_value = statistics.region_test(left - right, 0, math.inf)
    # Differences 0.03 0.01 0.04 0.04: mean 0.03, standard error 0.00707, t = 4.243 with 3 degrees of freedom.
    assert inside
    assert p_value == pytest.approx(0.0240, abs=5e-4)
    assert statistics.region_test(right - left, -math.inf, 0) == pytest.approx((True, p_value))
    assert statistics.region_test(left - right, -math.inf, 0) == pytest.approx((False, p_value))


def test_equivalence_is_two_one_sided_tests():
    values = np.array([0.003, 0.001, -0.001, 0.001])
    # Mean 0.001, standard error 0.000816; to the nearer end of ±0.005, t = 4.899 with 3 degrees of freedom.
    assert statistics.region_test(values, -0.005, 0.005) == pytest.approx((True, 0.0081), abs=2e-4)
    # Outside ±0.0001: t = 1.102 against the upper end, twice its one-sided p.
    assert statistics.region_test(values, -0.0001, 0.0001) == pytest.approx((False, 0.351), abs=2e-3)


def test_no_difference_found_is_not_equivalence():
    inside, p_value = statistics.region_test(np.array([0.05, -0.06, 0.04, -0.03]), -0.01, 0.01)
    assert inside
    assert p_value > 0.3


@pytest.mark.parametrize(
    ("values", "low", "high", "inside"),
    [
        ([0.0, 0, 0], 0, math.inf, False),
        ([0.0, 0, 0], -0.01, 0.01, True),
        ([0.02, 0.02], 0, math.inf, True),
        ([0.02, 0.02], -0.02, 0.02, True),
        ([0.3], 0, math.inf, True),
    ],
)
def test_ties_and_single_seeds_have_no_p_value(values, low, high, inside):
    result = statistics.region_test(np.array(values), low, high)
    assert result.inside == inside
    assert math.isnan(result.p_value)


def test_a_region_must_not_be_empty():
    with pytest.raises(ValueError, match="low < high"):
        statistics.region_test(np.array([1.0, 2.0]), 1, 1)


def test_wrong_verdicts_are_as_rare_as_the_p_value_says():
    draws = np.random.default_rng(1).normal(0, 0.02, (2000, 5))
    p_values = np.array([statistics.region_test(values, 0, math.inf).p_value for values in draws])
    assert np.mean(p_values < 0.05) == pytest.approx(0.05, abs=0.015)


def test_holm_by_hand():
    # 0.005 x 4, then 0.01 x 3, 0.03 x 2, and 0.04 x 1 raised to the one before it.
    adjusted = statistics.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm(np.array([])).size == 0


@given(P_VALUES)
def test_holm_raises_keeps_the_order_and_stays_below_bonferroni(p_values):
    adjusted = statistics.holm(p_values)
    assert np.all(adjusted >= p_values)
    assert np.all(adjusted <= np.minimum(1, p_values * p_values.size))
    assert np.all(np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0)


def test_window_counts_epochs_from_one_and_includes_both_ends():
    assert statistics.window(EPOCHS[None], 5, 7).tolist() == [[5, 6, 7]]


@pytest.mark.parametrize(("first", "last"), [(0, 3), (5, 4), (1, 31)])
def test_window_outside_the_curve(first, last):
    with pytest.raises(ValueError, match="within 1 to 30"):
        statistics.window(EPOCHS[None], first, last)


def test_level_is_the_mean_of_the_last_epochs():
    assert statistics.level(np.array([[9.0, 1, 2, 3], [9, 4, 4, 4]]), 3).tolist() == [2, 4]


def test_slope_per_epoch():
    curves = np.stack([0.5 - 0.01 * EPOCHS, np.full(30, 0.4), 0.4 + 0.1 * (-1) ** EPOCHS])
    expected = [-0.01, 0, np.polyfit(EPOCHS, curves[2], 1)[0]]
    assert statistics.slope(curves) == pytest.approx(expected)


def test_spread_counts_the_trend_and_volatility_does_not():
    line = 0.7 + 0.005 * EPOCHS[None]
    assert statistics.spread(line) == pytest.approx(0.005 * np.std(EPOCHS, ddof=1))
    assert statistics.volatility(line) == pytest.approx(0, abs=1e-12)


def test_volatility_of_a_parabola_is_zero_and_of_noise_root_two_of_it():
    parabola = 0.5 + 0.01 * EPOCHS[None] - 0.002 * EPOCHS[None] ** 2
    assert statistics.volatility(parabola) == pytest.approx(0, abs=1e-12)
    assert statistics.volatility(noise(0.03)) == pytest.approx(math.sqrt(2) * 0.03, rel=0.03)


def test_volatility_of_a_zigzag():
    # Differences -2, 2, -2, 2: their line has slope 0.8 and takes 3.2 of the 16 that their squares sum to.
    assert statistics.volatility(np.array([[1.0, -1, 1, -1, 1]])) == pytest.approx(math.sqrt(12.8 / 2))


def test_roughness():
    assert statistics.roughness(0.7 + 0.005 * EPOCHS[None]) == pytest.approx(0, abs=1e-12)
    assert statistics.roughness(EPOCHS[None] ** 2) == pytest.approx(2)
    assert statistics.roughness(noise(0.03)) == pytest.approx(math.sqrt(6) * 0.03, rel=0.03)


@given(CURVES, st.floats(-2, 2), st.floats(-0.1, 0.1))
def test_a_straight_trend_changes_neither_volatility_nor_roughness(curves, start, per_epoch):
    trend = start + per_epoch * np.arange(curves.shape[1])
    assert statistics.volatility(curves + trend) == pytest.approx(statistics.volatility(curves), abs=1e-9)
    assert statistics.roughness(curves + trend) == pytest.approx(statistics.roughness(curves), abs=1e-9)


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
    epoch = statistics.settling_epoch(np.array([curve]), within=0.05, over=2)
    assert epoch == pytest.approx([settled], nan_ok=True)


@given(CURVES)
def test_from_the_settling_epoch_on_a_curve_stays_near(curves):
    for curve, epoch in zip(curves, statistics.settling_epoch(curves, 0.5, 3), strict=True):
        near = np.abs(curve - curve[-3:].mean()) <= 0.5 + 1e-12
        if math.isnan(epoch):
            assert not near[-1] or abs(abs(curve[-1] - curve[-3:].mean()) - 0.5) < 1e-9
        else:
            assert near[int(epoch) - 1 :].all()


def test_first_epoch():
    curves = np.array([[0.7, 0.8, 0.79, 0.9], [0.1, 0.2, 0.3, 0.4], [0.8, 0.1, 0.1, 0.1]])
    assert statistics.first_epoch(curves >= 0.8) == pytest.approx([2, math.nan, 1], nan_ok=True)


def test_rise_compares_final_level_with_the_level_at_an_epoch():
    curve = np.concatenate([np.full(25, 9.0), np.full(5, 0.46), np.full(65, 9.0), np.full(5, 0.5)])
    assert statistics.rise(curve[None], after=30, over=5) == pytest.approx([0.04])


def test_quoted_distance_counts_in_tolerances():
    quoted, tolerance = np.array([0.4, 0.84]), np.array([0.05, 0.02])
    assert statistics.quoted_distance(quoted, quoted, tolerance) == 0
    # One and seven tolerances away: the root of (1 + 49) / 2.
    assert statistics.quoted_distance(np.array([0.45, 0.7]), quoted, tolerance) == pytest.approx(5)


@pytest.mark.parametrize(
    ("measure", "epochs"), [(statistics.slope, 1), (statistics.roughness, 2), (statistics.volatility, 3)]
)
def test_too_few_epochs(measure, epochs):
    with pytest.raises(ValueError, match="at least"):
        measure(np.ones((3, epochs)))


def test_a_missing_epoch_makes_that_seed_alone_unknown():
    curves = np.tile(EPOCHS, (2, 1))
    curves[0, 10] = math.nan
    for measure in (statistics.slope, statistics.spread, statistics.volatility, statistics.roughness):
        assert np.isnan(measure(curves)).tolist() == [True, False]
