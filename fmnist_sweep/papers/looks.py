"""Decide claims at growing numbers of seeds, with an error rate that holds for any number of looks.

Seeds are added only to claims that are still open, so the same data are tested repeatedly. Every call replays all looks
from the values alone, so a verdict does not depend on who launched the runs, or when.

**Looks.** Look k = 1, 2, … takes the first 5·2^(k-1) seeds and has level A/2^k, where A is `statistics.ALPHA`, 5 %.
The seeds double and the levels halve, so the levels of any number of looks sum to less than A. After n seeds,
A(1 - 2.5/n) is spent: an alpha spending function (Lan and DeMets, Biometrika 70, 1983, 659-663). Bonferroni's
inequality adds up the levels, so the joint distribution of the looks is not needed. (Slud and Wei, Journal of the
American Statistical Association 77, 1982, 862-868, also split the error among looks.) Seeds beyond the last complete
look wait for the next. A claim with fewer than 5 seeds takes part in look 1 with the seeds it has, as a preview.

**Two families of hypotheses.** Each claim has two hypotheses: "the quantity lies in the expected region", and "it does
not lie in it beyond the margin" (`statistics.region_tests`). The second settles a claim whose difference is negligible,
which would otherwise stay open for ever (practical equivalence; Schuirmann, Journal of Pharmacokinetics and
Biopharmaceutics 15, 1987). Each family has half of a look's level. If both families decide a claim at one look, the
difference is real but negligible: not reproduced.

**Holm's step-down in each family** (Holm, Scandinavian Journal of Statistics 6, 1979). The multiplicity is the number
of tested claims of the paper, including those without runs, minus the claims that this family has already decided.

The error rate holds for any dependence between claims and looks, for the following reason. Let m hypotheses of a family
be untrue. Before its first wrong decision the family has decided only other hypotheses, so its multiplicity is at least
m. A first wrong decision therefore needs a p value below L/m for one of the m, where L is the family's level at that
look. Each of the m has such a p value with probability at most L/m. The sum over the m and all looks is at most A/2.
Decisions of the other family must not lower the multiplicity. Otherwise, once most of many null effects were found
equivalent, the most extreme one left would be corrected for too few tests.

A decided claim stays decided as long as claims reach each look together. If a claim gets seeds late, for a look that
other claims have passed, it can add decisions to that look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.papers.statistics import ALPHA, has_spread, region_tests, step_down

# With 10 looks, a claim that 2,560 seeds would leave open is reported as needing more seeds than can be run.
MOST_LOOKS = 10
_INSIDE, _OUTSIDE = 0, 1  # the families


def look_size(look: int) -> int:
    """Return the number of seeds that look 1, 2, … takes."""
    return int(5 * 2 ** (look - 1))


@dataclass(frozen=True)
class Evidence:
    """The measured values of a tested claim and the region in which it expects them.

    Attributes:
        values: `[n_seeds]`, one number for each seed that has ended, by ascending seed; NaN if the seed does not count.
        low, high: ends of the expected region. One of them may be infinite.
        margin: the smallest difference from the end of a half-line that counts.
    """

    values: FloatArray
    low: float
    high: float
    margin: float = 0.0

    def first(self, look: int) -> FloatArray:
        """Return the values that count at a look."""
        slots = self.values[: look_size(look)] if look else self.values[:0]
        return slots[~np.isnan(slots)]

    def takes_part(self, look: int) -> bool:
        """Return whether there are enough seeds for a look, or for a preview of the first look."""
        return len(self.values) >= (look_size(look) if look > 1 else 1)


@dataclass(frozen=True)
class Decision:
    """The decision on a claim.

    Attributes:
        inside: whether the quantity lies in the region; None while the claim is open.
        look: the look that decided the claim. For an open claim, the last look that it took, or 0 before the first.
        p_value: the p value, corrected for looks, families and claims; compare it with `ALPHA`. For an open claim, that
            of the family nearer to a decision. NaN without a test.
        seeds_needed: for an open claim, the size of the look that would decide it; see `_seeds_needed`.
    """

    inside: bool | None = None
    look: int = 0
    p_value: float = math.nan
    seeds_needed: int | None = None


def decide(claims: Sequence[Evidence]) -> list[Decision]:
    """Decide all tested claims of a paper, in their order, as this module's docstring describes."""
    decisions = [Decision() for _ in claims]
    multiplicity = np.array([len(claims), len(claims)])  # by family
    for look in count(1):
        open_ones = [place for place, decision in enumerate(decisions) if decision.inside is None]
        taking = [place for place in open_ones if claims[place].takes_part(look)]
        if not taking:
            break
        p_values = np.array([_p_values(claims[place], look) for place in taking])
        holm = np.stack([step_down(p_values[:, f], multiplicity[f]) for f in (_INSIDE, _OUTSIDE)], axis=1)
        corrected = _corrected(holm, look)
        decided = corrected < ALPHA
        multiplicity -= decided.sum(axis=0)
        for place, p_value, (inside, outside) in zip(taking, corrected, decided, strict=True):
            family = _OUTSIDE if outside else _INSIDE if inside else int(p_value.argmin())
            decisions[place] = Decision(
                inside=family == _INSIDE if inside or outside else None,
                look=look,
                p_value=float(p_value[family]) if has_spread(claims[place].first(look)) else math.nan,
            )
    for place, (claim, decision) in enumerate(zip(claims, decisions, strict=True)):
        if decision.inside is None:
            decisions[place] = replace(decision, seeds_needed=_seeds_needed(claim, decision.look, multiplicity))
    return decisions


def _p_values(claim: Evidence, look: int) -> FloatArray:
    """Return the p values of a claim at a look, by family.

    Values without spread are judged directly and give 0 or 1. Fewer than 2 values are no evidence and give 1 and 1.
    """
    values = claim.first(look)
    if len(values) < 2:
        return np.ones(2)
    if not has_spread(values):
        value, half_line = values[0], math.isinf(claim.low) or math.isinf(claim.high)
        inside = claim.low < value < claim.high if half_line else claim.low <= value <= claim.high
        return np.array([0.0, 1.0] if inside else [1.0, 0.0])
    return _tests(claim, values, len(values))


def _tests(claim: Evidence, values: FloatArray, size: int) -> FloatArray:
    """Return the p values by family that `size` seeds would give with the mean and standard deviation of `values`."""
    return region_tests(values.mean(), values.std(ddof=1), size, claim.low, claim.high, claim.margin)


def _seeds_needed(claim: Evidence, look: int, multiplicity: FloatArray) -> int | None:
    """Return the size of the first later look that would decide an open claim; None if none up to `MOST_LOOKS` would.

    This assumes that mean, standard deviation and multiplicity do not change and that all further seeds count. With
    fewer than 2 values nothing can be estimated. The claim then needs the first look, or gets None if that is filled.
    """
    values, filled = claim.first(look), len(claim.values) >= look_size(1)
    if len(values) < 2:
        return None if filled else look_size(1)
    for later in range(look + 1 if filled else 1, MOST_LOOKS + 1):
        p_values = _tests(claim, values, look_size(later))
        if (_corrected(multiplicity * p_values, later) < ALPHA).any():
            return look_size(later)
    return None


def _corrected(p_values: FloatArray, look: int) -> FloatArray:
    """Correct p values for looks and families, after Holm's method has corrected them for claims."""
    return np.asarray(np.minimum(1, 2 * 2**look * p_values))
