"""Statistics on values whose answers are known."""

import math

import numpy as np
import pytest
from scipy import stats

from fmnist_sweep.papers import single_runs, statistics
from fmnist_sweep.papers.claims import Expectation


def test_t_interval_is_that_of_the_tables():
    mean, low, high = statistics.mean_interval(np.array([1.0, 2, 3, 4, 5]))
    # Tables: t(0.975, 4) = 2.776; standard error sqrt(2.5 / 5).
    assert mean == 3
    assert high - mean == pytest.approx(2.776 * math.sqrt(0.5), abs=1e-3)
    assert mean - low == pytest.approx(high - mean)


def test_prediction_interval_is_that_of_the_tables_and_of_the_t_distribution():
    values = np.array([1.0, 2, 3, 4, 5])
    mean, low, high = statistics.prediction_interval(values)
    # Hahn and Meeker's factor for five values and 95 %: t(0.975, 4) sqrt(1 + 1/5) = 3.041.
    assert (mean - low) / values.std(ddof=1) == pytest.approx(3.041, abs=1e-3)
    scale = values.std(ddof=1) * math.sqrt(1.2)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 4, loc=3, scale=scale))


@pytest.mark.parametrize("interval", [statistics.mean_interval, statistics.prediction_interval])
def test_one_seed_has_no_interval(interval):
    assert interval(np.array([0.4])) == pytest.approx((0.4, math.nan, math.nan), nan_ok=True)


def test_combinations_with_the_same_seeds_have_the_t_interval_of_their_means_by_seed():
    values = np.random.default_rng(0).normal(0.8, 0.01, (6, 5)) + np.arange(6)[:, None]
    assert statistics.balanced_interval(values) == pytest.approx(statistics.mean_interval(values.mean(axis=0)))


def test_a_combination_with_many_seeds_weighs_no_more_than_the_others():
    values = np.full((3, 40), np.nan)
    values[0], values[1, :2], values[2, 2:4] = [0.9, 0.7] * 20, [0.4, 0.6], [0.1, 0.3]
    mean, low, high = statistics.balanced_interval(values)
    assert mean == pytest.approx((0.8 + 0.5 + 0.2) / 3)
    # s² / n of each; the first two rows fall and rise against each other in the seeds 0 and 1.
    alone = 0.01 * 40 / 39 / 40 + 0.02 / 2 + 0.02 / 2
    together = 2 * 2 * 0.1 * -0.1 / np.sqrt(40 * 39 * 2) + 2 * 2 * 0.1 * -0.1 / np.sqrt(40 * 39 * 2)
    half = stats.t.ppf(0.975, 1) * np.sqrt(alone + together) / 3
    assert (low, high) == pytest.approx((mean - half, mean + half))
    values[1, 1] = np.nan
    assert np.isnan(statistics.balanced_interval(values)[1:]).all()


def test_an_interval_over_combinations_covers_the_truth_at_least_as_often_as_it_says():
    draws = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        shared = draws.normal(0, 0.01, 20)  # by seed
        values = shared + draws.normal(0.8, 0.02, (4, 20)) + np.arange(4)[:, None]
        values[1:, 5:] = np.nan
        interval = statistics.balanced_interval(values)
        covered.append(interval.low < 2.3 < interval.high)
    assert 0.94 < np.mean(covered) < 0.98


@pytest.mark.parametrize("size", [2, 5])
def test_intervals_cover_the_truth_and_a_further_run_as_often_as_they_say(size):
    draws = np.random.default_rng(0).normal(0.4, 0.02, (4000, size + 1))
    covered = [i.low < 0.4 < i.high for i in map(statistics.mean_interval, draws[:, :size])]
    met = [i.low < draw[-1] < i.high for draw in draws for i in [statistics.prediction_interval(draw[:size])]]
    assert (np.mean(covered), np.mean(met)) == pytest.approx((0.95, 0.95), abs=0.01)


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


def p_values_of(values, low, high, margin=0.0):
    values = np.asarray(values)
    return statistics.region_tests(values.mean(), values.std(ddof=1), values.size, low, high, margin)


# Seeds, spread and tolerance of the numbers that a paper quotes.
PAPERS = {
    "cells of a table": [(5, 0.003, 0.00005), (10, 0.004, 0.00005), (20, 0.005, 0.00005)],
    "read off curves": [(5, 0.004, 0.01), (10, 0.002, 0.01), (40, 0.02, 0.025), (40, 0.01, 0.05)],
    "in between": [(5, 0.01, 0.005), (10, 0.01, 0.01), (20, 0.01, 0.0)],
}


@pytest.mark.parametrize("numbers", PAPERS.values(), ids=PAPERS.keys())
def test_so_many_true_numbers_of_two_thousand_papers_are_accepted_as_expected(numbers):
    random = np.random.default_rng(0)
    accepted, expected = [], []
    for _ in range(2000):
        found, chances = 0, 0.0
        for count, spread, tolerance in numbers:
            *ours, theirs = random.normal(0.8, spread, count + 1)
            read = theirs + random.uniform(-tolerance, tolerance)
            expect = Expectation.model_construct(about=read, tolerance=tolerance or 1e-12)
            found += single_runs.decide(np.array(ours), expect, resolution=1.0).inside
            interval = statistics.prediction_interval(np.array(ours))
            chances += single_runs.acceptance(interval.high - interval.mean, count, tolerance)
        accepted.append(found)
        expected.append(chances)
    # The expectation takes the measured spread for the true one: with 5 seeds it is up to 0.01 a number too low.
    assert np.mean(accepted) == pytest.approx(np.mean(expected), abs=0.005 * len(numbers))
    assert np.mean(accepted) >= np.mean(expected) - 0.02


def test_acceptance_by_hand():
    # Exact numbers: the level of the interval. All seeds equal: every true number. A bound: one side of the interval.
    assert single_runs.acceptance(0.01, 5, 0.0) == pytest.approx(0.95)
    assert single_runs.acceptance(0.0, 5, 0.01) == 1
    assert single_runs.acceptance(0.01, 5, None) == 0.975
    # Many seeds of spread 1, read within 1.96 of them: the mean of 2 F(1.96 + e) - 1 over e from 0 to 3.92, by Simpson.
    e = np.linspace(0, 3.92, 1001)
    weights = np.ones(1001)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    mean = (weights * (2 * stats.norm.cdf(1.96 + e) - 1)).sum() / weights.sum()
    assert single_runs.acceptance(1.96, 10**6, 1.96) == pytest.approx(mean, abs=1e-5)


def test_direction_is_the_paired_t_test():
    left, right = np.array([0.87, 0.86, 0.88, 0.87]), np.array([0.84, 0.85, 0.84, 0.83])
    greater, not_greater = p_values_of(left - right, 0, math.inf)
    # Differences 0.03 0.01 0.04 0.04: mean 0.03, standard error 0.00707, t = 4.243 with 3 degrees of freedom.
    assert greater == pytest.approx(0.0120, abs=3e-4)
    assert greater == pytest.approx(stats.ttest_rel(left, right, alternative="greater").pvalue)
    assert not_greater == pytest.approx(1 - greater)
    assert p_values_of(right - left, -math.inf, 0) == pytest.approx([greater, not_greater])
    assert p_values_of(left - right, -math.inf, 0) == pytest.approx([not_greater, greater])


@pytest.mark.parametrize(
    ("values", "low", "high", "beyond"), [([3.0, 1, 2], 0, math.inf, 4), ([-3.0, -1, -2], -math.inf, 0, -4)]
)
def test_the_contrary_of_a_direction_is_tested_beyond_the_margin(values, low, high, beyond):
    way = "less" if beyond > 0 else "greater"
    assert p_values_of(values, low, high, 4)[1] == pytest.approx(
        stats.ttest_1samp(values, beyond, alternative=way).pvalue
    )
    assert p_values_of(values, low, high, 4)[0] == p_values_of(values, low, high)[0]


def test_equivalence_is_two_one_sided_tests():
    values = np.array([0.003, 0.001, -0.001, 0.001])
    # Mean 0.001, standard error 0.000816; to the nearer end of ±0.005, t = 4.899 with 3 degrees of freedom.
    inside, outside = p_values_of(values, -0.005, 0.005)
    assert inside == pytest.approx(0.0081, abs=2e-4) and outside == 1
    sides = (stats.ttest_1samp(values, end, alternative=way) for end, way in ((-0.005, "greater"), (0.005, "less")))
    assert inside == pytest.approx(max(side.pvalue for side in sides))
    # Outside ±0.0001: t = 1.102 against the upper end, twice its one-sided p.
    assert p_values_of(values, -0.0001, 0.0001)[1] == pytest.approx(0.351, abs=2e-3)


def test_no_difference_found_is_not_equivalence():
    assert p_values_of([0.05, -0.06, 0.04, -0.03], -0.01, 0.01)[0] > 0.3


def test_step_down_by_hand():
    # 0.005 x 4, then 0.01 x 3, 0.03 x 2, and 0.04 x 1 raised to the one before it.
    p_values = np.array([0.01, 0.04, 0.03, 0.005])
    assert statistics.step_down(p_values, 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # Three more tests that are not at hand: 0.005 x 7, 0.01 x 6, 0.03 x 5, 0.04 x 4.
    assert statistics.step_down(p_values, 7) == pytest.approx([0.06, 0.16, 0.15, 0.035])
    assert statistics.step_down(np.array([]), 4).size == 0
