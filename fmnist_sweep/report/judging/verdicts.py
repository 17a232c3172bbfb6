"""The verdict on each claim of a paper, from its curves.

- The quantity is one number per seed. A comparison's is the difference between its two configurations, seed by seed
  (same initialisation, same order of the data); only seeds that both have count.
- A seed counts where its run holds every epoch asked for, all finite; the reason names those left out. Where no seed
  counts, the verdict is "not run".
- A `value` is reproduced where its whole 95 % t interval over seeds lies in the expected region, not reproduced where
  the whole interval lies outside, and inconclusive in between. One seed has no interval: its value is judged.
- A `run` is a number that one run gave: reproduced where the expected region (the quoted number with its reading
  precision) meets the 95 % prediction interval of one further run, not reproduced where it does not, inconclusive with
  one seed. It is not corrected for the number of claims: of 20 true numbers one is expected outside.
- A `comparison` or a `shape` (one configuration against a constant) is tested over seeds: `statistics.region_test`, a
  paired t test for a direction and two one-sided tests for "no change". All p values of one evaluation are one family,
  corrected with Holm's method; where the corrected p is below 5 %, the verdict is the side on which the mean lies, and
  inconclusive otherwise. One seed is always inconclusive.
- An epoch that a curve never reaches counts as the one after its last, a lower bound; seeds in which neither side of a
  comparison reaches it are left out.
- Where seeds agree to the last digit there is nothing to test, and that number is judged as it is: a tie in every seed
  does not reproduce a difference, and does reproduce "no change".
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from fmnist_sweep.papers import Claim, Expectation, Paper
from fmnist_sweep.records import FloatArray
from fmnist_sweep.report.judging import statistics
from fmnist_sweep.report.judging.statistics import Interval, RegionTest
from fmnist_sweep.report.runs.collection import recipe
from fmnist_sweep.report.runs.curves import Curves
from fmnist_sweep.report.texts import LANGUAGES, Texts

VerdictName = Literal["reproduced", "not reproduced", "inconclusive", "not run"]
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)

# Digits kept of a quantity: the metrics are float32, and what binary fractions leave beyond is no difference.
_DIGITS = 12


@dataclass(frozen=True)
class Verdict:
    """A claim and what the runs say of it.

    Attributes:
        measured: the mean over `seeds`; of a comparison, of the difference.
        interval: 95 % interval of that mean, or of one further run for a claim of kind run; None with one seed.
        p_value, effect_size: corrected p, and the quantity's mean over its standard deviation (d_z); None for values
            and runs, and where seeds are too few or all equal.
        case, values: the text of section `verdicts` that gives the reason, and what fills it.
        left_out: the cause of each seed that does not count, a key of the same section.
    """

    claim: Claim
    measured: float | None
    interval: tuple[float, float] | None
    seeds: tuple[int, ...]
    p_value: float | None
    effect_size: float | None
    verdict: VerdictName
    case: str
    values: dict[str, str | int]
    left_out: dict[int, str]


class _Measurement(NamedTuple):
    claim: Claim
    seeds: tuple[int, ...]
    values: FloatArray  # (n_seeds,)
    left_out: dict[int, str]

    @property
    def test(self) -> RegionTest | None:
        if self.claim.is_number or len(self.seeds) < 2:
            return None
        test = statistics.region_test(self.values, self.claim.expect.low, self.claim.expect.high)
        return None if math.isnan(test.p_value) else test


def judge(paper: Paper, curves: Curves) -> list[Verdict]:
    """Judge each claim of a paper, in its order; this module's docstring says how."""
    measurements = [_measure(claim, paper, curves) for claim in paper.claims]
    tests = [measurement.test for measurement in measurements]
    corrected = iter(statistics.holm(np.array([test.p_value for test in tests if test])))
    return [
        _verdict(measurement, test and test._replace(p_value=float(next(corrected))))
        for measurement, test in zip(measurements, tests, strict=True)
    ]


def reason(verdict: Verdict, texts: Texts) -> str:
    """The sentence that explains a verdict, with the seeds that were left out and the cause of each."""
    left_out = sorted(verdict.left_out.items())
    notes = [texts("verdicts.left out", seed=seed, cause=texts(f"verdicts.{cause}")) for seed, cause in left_out]
    return "; ".join([texts(f"verdicts.{verdict.case}", **verdict.values), *notes]) + "."


def row(paper: Paper, verdict: Verdict) -> dict[str, Any]:
    """A row of claims.csv and claims.json: plain values, None in place of NaN and infinities."""
    claim = verdict.claim
    low, high = verdict.interval or (None, None)
    return {
        "id": claim.id,
        "section": claim.section,
        "figure": f"{paper.number(claim.figure)}{claim.panel}" if claim.figure else "",
        "quote": claim.quote,
        **{f"statement_{language}": text for language, text in claim.statement.items()},
        "kind": claim.kind,
        "expression": claim.expression,
        "expected": str(claim.expect),
        "expected_low": _finite(claim.expect.low),
        "expected_high": _finite(claim.expect.high),
        **{f"why_{language}": text for language, text in paper.why(claim).items()},
        "measured": verdict.measured,
        "interval": verdict.interval and list(verdict.interval),
        "interval_low": low,
        "interval_high": high,
        "seeds": list(verdict.seeds),
        "p_value": verdict.p_value,
        "effect_size": verdict.effect_size,
        "verdict": verdict.verdict,
        **{f"reason_{language}": reason(verdict, Texts(language)) for language in LANGUAGES},
    }


def _measure(claim: Claim, paper: Paper, curves: Curves) -> _Measurement:
    sides = [paper.configs[side] for side in claim.sides]
    samples = [curves.sample(recipe(side), side.training.epochs, claim.metric) for side in sides]
    left_out = {seed: "unpaired" for sample in samples for seed in sample.seeds}
    left_out |= {seed: "unfinished" for sample in samples for seed in sample.unfinished}
    left_out |= {seed: "diverged" for sample in samples for seed in sample.diverged}
    reduced = [dict(zip(sample.seeds, claim.reduce(sample.curves), strict=True)) for sample in samples]
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in reduced)))
    if claim.than:
        never = [seed for seed in seeds if all(math.isnan(by_seed[seed]) for by_seed in reduced)]
        left_out |= dict.fromkeys(never, "never")
        seeds = [seed for seed in seeds if seed not in never]
    values = np.array([[by_seed[seed] for seed in seeds] for by_seed in reduced])  # [n_sides, n_seeds]
    values = np.where(np.isnan(values), [[side.training.epochs + 1.0] for side in sides], values)
    quantity = values[0] - values[1] if claim.than else values[0]
    left_out = {seed: cause for seed, cause in left_out.items() if seed not in seeds}
    return _Measurement(claim, tuple(seeds), quantity.round(_DIGITS), left_out)


def _verdict(measurement: _Measurement, test: RegionTest | None) -> Verdict:
    claim, seeds, values = measurement.claim, measurement.seeds, measurement.values
    interval = None
    if seeds:
        interval = (statistics.prediction_interval if claim.kind == "run" else statistics.mean_interval)(values)
    case, verdict = _decide(measurement, interval, test)
    words: dict[str, str | int] = {"needs": " & ".join(claim.sides), "n": len(seeds), "expected": str(claim.expect)}
    if interval:
        numbers = {**interval._asdict(), "width": interval.high - interval.low}
        words |= {name: f"{number:.4g}" for name, number in numbers.items()}
    if test:
        words["p"] = "< 0.0001" if test.p_value < 0.0001 else f"= {test.p_value:.2g}"
    return Verdict(
        claim=claim,
        measured=interval.mean if interval else None,
        interval=(interval.low, interval.high) if interval and len(seeds) > 1 else None,
        seeds=seeds,
        p_value=test.p_value if test else None,
        effect_size=_finite(statistics.effect_size(values)) if seeds and not claim.is_number else None,
        verdict=verdict,
        case=case if case in ("none", "single") else f"{case} {verdict.split()[0]}",
        values=words,
        left_out=measurement.left_out,
    )


def _decide(measurement: _Measurement, interval: Interval | None, test: RegionTest | None) -> tuple[str, VerdictName]:
    claim, expect, one = measurement.claim, measurement.claim.expect, len(measurement.seeds) == 1
    if interval is None:
        return "none", "inconclusive" if "never" in measurement.left_out.values() else "not run"
    if one and claim.kind != "value":
        return "single", "inconclusive"
    if test:
        return "test", _side(test.inside) if test.p_value < statistics.ALPHA else "inconclusive"
    if not statistics.has_spread(measurement.values):
        return "single value" if one else "same", _side(_holds(interval.mean, expect))
    meets = interval.low <= expect.high and interval.high >= expect.low
    if claim.kind == "run":
        return "run", _side(meets)
    if _holds(interval.low, expect) and _holds(interval.high, expect):
        return "value", "reproduced"
    return "value", "inconclusive" if meets else "not reproduced"


def _side(inside: bool) -> VerdictName:
    return "reproduced" if inside else "not reproduced"


def _holds(value: float, expect: Expectation) -> bool:
    return statistics.region_test(np.array([value]), expect.low, expect.high).inside


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
