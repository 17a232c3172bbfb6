"""Decisions over looks: how often they are wrong, when they fall, and that they stay."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fmnist_sweep.papers.looks import MOST_LOOKS, Evidence, decide, look_size
from fmnist_sweep.papers.statistics import region_tests

LOOKS = 4
PAPERS, CLAIMS, CONFIGURATIONS = 1000, 24, 9
INF = math.inf


def no_effects():
    """Differences `[papers, claims, seeds]` between configurations that are all alike, and regions that mislead.

    Claims share configurations, so they are correlated; every true difference is 0. A third claims a direction, with
    margins; a third would be wrongly not reproduced, for 0 is just the margin beyond the end; of the last third 0 is
    an end, just inside or just outside.
    """
    random = np.random.default_rng(0)
    runs = random.normal(0, 1, (PAPERS, CONFIGURATIONS, look_size(LOOKS)))
    sides = np.array([random.choice(CONFIGURATIONS, 2, replace=False) for _ in range(CLAIMS)])
    third, margins = CLAIMS // 3, np.linspace(0.2, 2, CLAIMS // 3)
    low = np.concatenate([np.zeros(third), -margins, -2 * margins])
    high = np.concatenate([np.full(2 * third, INF), np.tile([0, -1e-9], third // 2)])
    margin = np.concatenate([margins, margins, np.zeros(third)])
    return runs[:, sides[:, 0]] - runs[:, sides[:, 1]], low, high, margin


def wrong(low, high, margin):
    """Tell whether 0 makes each of a claim's two decisions wrong: `[claims, 2]`."""
    half_line = np.isinf(low) | np.isinf(high)
    inside = np.where(half_line, (low < 0) & (high > 0), (low <= 0) & (high >= 0))
    return np.stack([~inside, inside & ((margin == 0) | (low + margin <= 0))], axis=1)


def replay(values, low, high, margin, level, multiplicity):
    """The two families' decisions `[papers, claims, 2]`, for all papers at once and by any rule.

    Args:
        level: of a family at a look.
        multiplicity: of a family, from the numbers of claims, of open ones, and of those that it has decided.
    """
    decided = np.zeros((*values.shape[:2], 2), bool)
    for look in range(1, LOOKS + 1):
        taken = values[..., : look_size(look)]
        p_values = region_tests(taken.mean(2), taken.std(2, ddof=1), look_size(look), low, high, margin)
        is_open = ~decided.any(axis=2)
        now = np.zeros_like(decided)
        for family in (0, 1):
            p_value = np.where(is_open, p_values[..., family], INF)
            order = p_value.argsort(axis=1)
            start = multiplicity(values.shape[1], is_open.sum(1), decided[..., family].sum(1))
            steps = np.reshape(start, (-1, 1)) - np.arange(values.shape[1])
            passed = np.take_along_axis(p_value, order, 1) * np.maximum(steps, 1) < level(look)
            np.put_along_axis(now[..., family], order, np.logical_and.accumulate(passed, axis=1), 1)
        decided |= now
    return decided


def shown(families):
    """Return the decisions that are shown; where both families decide, that is not reproduced."""
    return np.stack([families[..., 0] & ~families[..., 1], families[..., 1]], axis=-1)


def test_of_papers_with_no_effect_less_than_one_in_twenty_has_a_wrong_verdict():
    values, low, high, margin = no_effects()
    mistaken = wrong(low, high, margin)
    found = []
    for paper in values:
        decisions = decide([Evidence(*claim) for claim in zip(paper, low, high, margin, strict=True)])
        found.append([[one.inside is True, one.inside is False] for one in decisions])
    share = (np.array(found) & mistaken).any(axis=(1, 2)).mean()
    assert 0.01 < share < 0.05  # the standard error of a share of 0.05 in 1,000 is 0.007

    def own(claims, _, decided):
        return claims - decided

    same = replay(values, low, high, margin, lambda look: 0.05 / 2**look / 2, own)
    assert (shown(same) == np.array(found)).all()
    # Holm's method at 5 % at every look, as if it were the only one.
    naive = replay(values, low, high, margin, lambda _: 0.05 / 2, lambda _, is_open, __: is_open)
    assert (shown(naive) & mistaken).any(axis=(1, 2)).mean() > 0.06


def test_what_the_other_family_decides_must_not_lower_the_multiplicity():
    # Thirty null effects of one paper: most are soon found equivalent, and the most deviant are left over.
    values = np.random.default_rng(1).normal(0, 1, (12_000, 30, look_size(LOOKS)))
    rules = {"own": lambda claims, _, decided: claims - decided, "both": lambda _, is_open, __: is_open}
    shares = {
        name: replay(values, 0.0, INF, 1.25, lambda look: 0.05 / 2**look / 2, rule)[..., 0].any(axis=1).mean()
        for name, rule in rules.items()
    }
    # The family's part of 5 % is 2.5 %; the standard error is 0.0015.
    assert shares["own"] < 0.025 < shares["both"] - 2 * 0.0015


def sample(mean, count, deviation=1.0):
    """Values whose first 5, 10, 20, … have this mean, and all but this standard deviation (n - 1)."""
    five = np.array([-1.5, -0.5, 0, 0.5, 1.5])
    return mean + np.resize(five / five.std(ddof=1) * deviation, count)


def above_zero(values, margin=0.0):
    return Evidence(np.asarray(values, float), 0, INF, margin)


NOT_RUN = above_zero([])


@pytest.mark.parametrize(("effect", "look"), [(6.0, 1), (1.8, 2), (1.1, 3), (0.75, 4)])
def test_a_known_effect_is_decided_at_the_look_that_has_the_power(effect, look):
    others = [NOT_RUN] * 19
    whole = sample(effect, look_size(look) + 3)
    decision, *rest = decide([above_zero(whole), *others])
    assert (decision.inside, decision.look, decision.seeds_needed) == (True, look, None)
    # Two families, level 5 %/2^look, twenty claims whether or not they were run.
    p_value = stats.ttest_1samp(whole[: look_size(look)], 0, alternative="greater").pvalue
    assert decision.p_value == pytest.approx(2 * 2**look * 20 * p_value)
    assert {(one.inside, one.look, one.seeds_needed) for one in rest} == {(None, 0, 5)}
    for earlier in range(1, look):
        early, *_ = decide([above_zero(whole[: look_size(earlier)]), *others])
        assert (early.inside, early.look, early.seeds_needed) == (None, earlier, look_size(look))


def test_no_effect_ends_as_not_reproduced_with_a_margin_and_stays_open_without():
    values = sample(0.0, look_size(6))
    with_margin, without = decide([above_zero(values, margin=0.6), above_zero(values)])
    assert (with_margin.inside, with_margin.look) == (False, 4)
    assert (without.inside, without.look, without.seeds_needed) == (None, 6, None)
    early, _ = decide([above_zero(values[:5], margin=0.6), above_zero(values[:5])])
    assert early.seeds_needed == look_size(4)


def test_no_claim_is_said_to_need_more_than_can_be_run():
    needed = [decide([above_zero(sample(effect, 5))])[0].seeds_needed for effect in (0.09, 0.03)]
    assert needed == [look_size(MOST_LOOKS), None]


def test_a_difference_that_is_real_but_smaller_than_the_margin_is_not_reproduced():
    assert [decide([above_zero(sample(0.5, 80, 0.2), e)])[0].inside for e in (0.1, 1.0)] == [True, False]


@pytest.mark.parametrize(
    ("low", "high", "mean", "inside"),
    [(-INF, 0, -5, True), (-INF, 0, 5, False), (-6, 6, 1, True), (-6, 6, 11, False), (-6, 6, -11, False)],
)
def test_regions_of_every_form(low, high, mean, inside):
    assert decide([Evidence(sample(mean, 5), low, high)])[0].inside is inside


def test_what_one_family_decides_lowers_its_own_multiplicity_alone():
    weak, strong, opposite = sample(1.9, 5), sample(9.0, 5), sample(-9.0, 5)
    alone, beside_strong, beside_opposite = (
        decide([above_zero(weak), *map(above_zero, others)])[0].p_value for others in ([], [strong] * 9, [opposite] * 9)
    )
    assert (beside_strong, beside_opposite) == pytest.approx((alone, 10 * alone))


VALUES = st.lists(st.floats(-1, 2).map(lambda value: round(value, 6)) | st.just(math.nan), min_size=0, max_size=25)


@settings(deadline=None, max_examples=200)
@given(st.lists(VALUES, min_size=1, max_size=4), st.floats(0.1, 1), st.data())
def test_more_seeds_leave_what_is_decided(claims, margin, data):
    before = decide([above_zero(values, margin) for values in claims])
    for values in claims:
        values += data.draw(VALUES) if len(values) >= 5 else []
    for old, new, values in zip(before, decide([above_zero(v, margin) for v in claims]), claims, strict=True):
        if old.inside is not None and len(values) >= 5:
            assert repr(new) == repr(old)  # a p value may be NaN


def test_seeds_beyond_the_last_whole_look_wait():
    values = sample(0.4, 19)
    five, seven, nine, ten = (decide([above_zero(values[:n])])[0] for n in (5, 7, 9, 10))
    assert five == seven == nine != ten
    assert ten == decide([above_zero(values)])[0]


def test_a_seed_that_does_not_count_takes_its_place_all_the_same():
    values = np.append(sample(3.0, 4), [math.nan, 99.0])
    assert decide([above_zero(values)]) == decide([above_zero(values[:4])])


def test_less_than_five_seeds_are_a_preview_of_the_first_look():
    three = np.array([1.0, 1.01, 0.99])
    assert [decide([above_zero(three[:n])])[0].inside for n in (3, 1)] == [True, None]
    assert [decide([above_zero(three[:n])])[0].seeds_needed for n in (1, 0)] == [5, 5]
    # As many again say nothing: what diverged before will go on to.
    assert decide([above_zero([math.nan] * 5)])[0].seeds_needed is None
    assert decide([above_zero([3.0, 2.0, 5.0, 0.1])])[0].seeds_needed == 10


def test_values_without_spread_are_judged_as_they_are():
    ties = [(0.0, 0, INF), (0.1, 0, INF), (0.0, -0.1, 0.1), (0.1, -0.1, 0.1), (0.2, -0.1, 0.1)]
    decisions = decide([Evidence(np.full(3, value), low, high) for value, low, high in ties])
    assert [one.inside for one in decisions] == [False, True, True, True, False]
    assert all(math.isnan(one.p_value) and one.look == 1 for one in decisions)
