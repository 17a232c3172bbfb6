"""Which claims are decided, at which number of seeds: an error rate that holds however often one looks.

Seeds may be added to claims that are open, and only to them, so data are looked at again and again. The looks are
replayed from the values alone, so that a verdict does not depend on who launched the runs, or when.

**Looks.** Look k = 1, 2, … takes the first 5·2^(k-1) seeds and may err with A/2^k, where A is `statistics.ALPHA`, 5 %:
seeds double, levels halve, and all levels together stay below A, without an end. At n seeds A(1 - 2.5/n) is spent: an
alpha spending function (Lan and DeMets, Biometrika 70, 1983, 659-663). The levels are added up by Bonferroni's
inequality, which wants no joint distribution of the looks (as Slud and Wei, Journal of the American Statistical
Association 77, 1982, 862-868, split the error among looks). Seeds beyond the last whole look wait for the next. A claim
with fewer than 5 seeds takes part in look 1 with those it has, as a preview of it.

**Two families of hypotheses.** Of each claim: "the quantity lies in the expected region", and "it does not lie in it
beyond the margin" (`statistics.region_tests`). So a difference that is practically nothing does not stay open for ever
(practical equivalence; Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987). Each family has half of
a look's level. Where both decide at one look, the difference is real but practically nothing: not reproduced.

**Holm's step-down in each family** (Holm, Scandinavian Journal of Statistics 6, 1979). Its multiplicity begins with
all tested claims of the paper, those without runs too, less those that this family has decided so far.

Why that holds, whatever the dependence of claims and looks: let m hypotheses of a family be untrue. Before its first
wrong decision the family has decided only others, so its multiplicity is at least m, and one of the m has a p value
below L/m, where L is the family's level at that look. Each of the m has that with a chance of at most L/m: in sum over
the m and all looks, at most A/2. What the other family decides must not lower the multiplicity: the most deviant of
many null effects, left over once the others were found equivalent, has still to pay for them all.

A decided claim stays decided while claims come to a look together. Seeds that a claim gets late, for a look that others
have left behind, can add decisions to that look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.papers.statistics import ALPHA, has_spread, region_tests, step_down

MOST_LOOKS = 10  # a claim that 2,560 seeds would leave open is said to need more than can be run
_INSIDE, _OUTSIDE = 0, 1  # the families


def look_size(look: int) -> int:
    """How many seeds look 1, 2, … takes."""
    return int(5 * 2 ** (look - 1))


@dataclass(frozen=True)
class Evidence:
    """What the runs say of a tested claim.

    Attributes:
        values: `[n_seeds]`, a number for each seed that has ended, ascending; NaN where the seed does not count.
        low, high: ends of the expected region, of which one may be infinite.
        margin: what counts as a difference from the one end of a half-line.
    """

    values: FloatArray
    low: float
    high: float
    margin: float = 0.0

    def first(self, look: int) -> FloatArray:
        """The values that count at a look."""
        slots = self.values[: look_size(look)] if look else self.values[:0]
        return slots[~np.isnan(slots)]

    def takes_part(self, look: int) -> bool:
        """Whether there are enough seeds for a look, or for a preview of the first."""
        return len(self.values) >= (look_size(look) if look > 1 else 1)


@dataclass(frozen=True)
class Decision:
    """What is decided of a claim.

    Attributes:
        inside: whether the quantity lies in the region; None while the claim is open.
        look: the look that decided it; of an open claim the last that it took, 0 before the first.
        p_value: corrected for looks, families and claims, to be compared with `ALPHA`; NaN without a test. Of an open
            claim that of the family nearer to a decision.
        seeds_needed: of an open claim the size of the look that would decide it, see `_seeds_needed`.
    """

    inside: bool | None = None
    look: int = 0
    p_value: float = math.nan
    seeds_needed: int | None = None


def decide(claims: Sequence[Evidence]) -> list[Decision]:
    """Decide all tested claims of a paper, in their order; this module's docstring says how."""
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
                p_value=float(p_value[family]) if _testable(claims[place].first(look)) else math.nan,
            )
    for place, (claim, decision) in enumerate(zip(claims, decisions, strict=True)):
        if decision.inside is None:
            decisions[place] = replace(decision, seeds_needed=_seeds_needed(claim, decision.look, multiplicity))
    return decisions


def _testable(values: FloatArray) -> bool:
    return len(values) > 1 and has_spread(values)


def _p_values(claim: Evidence, look: int) -> FloatArray:
    """Of a claim at a look, by family. Values without spread are judged as they are; one or none says nothing."""
    values = claim.first(look)
    if len(values) < 2:
        return np.ones(2)
    if not _testable(values):
        value, half_line = values[0], math.isinf(claim.low) or math.isinf(claim.high)
        inside = claim.low < value < claim.high if half_line else claim.low <= value <= claim.high
        return np.array([0.0, 1.0] if inside else [1.0, 0.0])
    return _tests(claim, values, len(values))


def _tests(claim: Evidence, values: FloatArray, size: int) -> FloatArray:
    """p values by family, had so many seeds given the mean and the standard deviation of these values."""
    return region_tests(values.mean(), values.std(ddof=1), size, claim.low, claim.high, claim.margin)


def _seeds_needed(claim: Evidence, look: int, multiplicity: FloatArray) -> int | None:
    """The size of the first later look that would decide an open claim; None where none up to `MOST_LOOKS` would.

    Mean, standard deviation and multiplicity are taken to stay as they are, and all further seeds to count. A claim
    that has not filled the first look and cannot be measured needs that one.
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
    """p values that Holm's method has corrected, corrected for looks and families too."""
    return np.asarray(np.minimum(1, 2 * 2**look * p_values))
