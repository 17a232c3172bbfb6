"""The verdict on each claim of the paper, from the metrics table and the claims file.

How a verdict is reached:

- The quantity is one number per seed. A comparison's is the difference between its two selections, seed by
  seed (same initialisation, same order of the data); only seeds that both have count.
- A seed counts where its run holds every epoch asked for, all finite. Diverged and unfinished runs are left
  out, and the reason says so. Where no seed counts, the verdict is "not run".
- A `value` is reproduced where its whole 95 % t interval over seeds lies in the expected region, not
  reproduced where the whole interval lies outside, and inconclusive in between. One seed has no interval: its
  value is judged.
- A `comparison` or a `shape` (one selection against a constant) is tested over seeds:
  `statistics.region_test`, a paired t test for a direction and two one-sided tests for "no change". All p
  values of one evaluation are one family, corrected with Holm's method; where the corrected p is below 5 %,
  the verdict is the side on which the mean lies, and inconclusive otherwise. One seed is always inconclusive.
- An epoch that a curve never reaches counts as the one after its last, a lower bound; seeds in which neither
  side of a comparison reaches it are left out.
- Where two or more seeds agree to the last digit there is nothing to test, and that number is judged as it
  is: a tie in every seed does not reproduce a difference, and does reproduce "no change".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from fmnist_sweep.report import statistics
from fmnist_sweep.report.claim_file import LANGUAGES, Claim, ClaimsError, Expectation, load_claims
from fmnist_sweep.report.nearest import nearest_configuration, quoted_groups
from fmnist_sweep.report.selection import Curves
from fmnist_sweep.report.statistics import FloatArray, Interval, RegionTest
from fmnist_sweep.report.verdict_texts import sentence

__all__ = [
    "VERDICTS",
    "Claim",
    "ClaimsError",
    "Verdict",
    "evaluate",
    "load_claims",
    "nearest_configuration",
    "quoted_groups",
    "to_rows",
]

VerdictName = Literal["reproduced", "not reproduced", "inconclusive", "not run"]
VERDICTS: tuple[VerdictName, ...] = ("reproduced", "not reproduced", "inconclusive", "not run")

# Digits kept of a quantity: the metrics are float32, and what binary fractions leave beyond is no difference.
_DIGITS = 12


@dataclass(frozen=True)
class Verdict:
    """A claim and what the runs say of it.

    `measured` is the mean over `seeds` and `interval` its 95 % t interval, None with fewer than two seeds;
    for a comparison both are of the difference. `p_value` (corrected) and `effect_size` (d_z, the quantity's
    mean over its standard deviation) are None for values, and where seeds are too few or all equal. `reason`
    is by language.
    """

    claim: Claim
    measured: float | None
    interval: tuple[float, float] | None
    seeds: tuple[int, ...]
    p_value: float | None
    effect_size: float | None
    verdict: VerdictName
    reason: dict[str, str]

    @property
    def id(self) -> str:
        """The claim's own name."""
        return self.claim.id

    @property
    def expected(self) -> str:
        """What the claim expects of the quantity, such as "0.35 ± 0.05" or "> 0"."""
        return str(self.claim.expect)


@dataclass(frozen=True)
class _Measurement:
    """A claim's quantity: `values [n_seeds]` of `seeds`, and the seeds left out with the cause of each."""

    claim: Claim
    seeds: tuple[int, ...]
    values: FloatArray
    left_out: dict[int, str]

    @property
    def test(self) -> RegionTest | None:
        if self.claim.kind == "value" or len(self.seeds) < 2:
            return None
        test = statistics.region_test(self.values, self.claim.expect.low, self.claim.expect.high)
        return None if math.isnan(test.p_value) else test


def evaluate(claims: Sequence[Claim], metrics: pd.DataFrame) -> list[Verdict]:
    """Judge each claim on the metrics table (a row per run and epoch), in the order given.

    Raises `ValueError` where the table lacks a column. How verdicts are reached is in this module's
    docstring.
    """
    curves = Curves(metrics)
    measurements = [_measure(claim, curves) for claim in claims]
    tests = [measurement.test for measurement in measurements]
    corrected = iter(statistics.holm(np.array([test.p_value for test in tests if test])))
    return [
        _judge(measurement, test and test._replace(p_value=float(next(corrected))))
        for measurement, test in zip(measurements, tests, strict=True)
    ]


def to_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Rows for claims.csv and claims.json: plain values, None in place of NaN and infinities."""
    return [_row(verdict) for verdict in verdicts]


def _measure(claim: Claim, curves: Curves) -> _Measurement:
    sides = [side for side in (claim.of, claim.than) if side]
    samples = [curves.sample(side, claim.metric) for side in sides]
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
    values = np.where(np.isnan(values), [[side.epochs + 1.0] for side in sides], values)
    quantity = values[0] - values[1] if claim.than else values[0]
    left_out = {seed: cause for seed, cause in left_out.items() if seed not in seeds}
    return _Measurement(claim, tuple(seeds), quantity.round(_DIGITS), left_out)


def _judge(measurement: _Measurement, test: RegionTest | None) -> Verdict:
    claim, seeds, values = measurement.claim, measurement.seeds, measurement.values
    if not seeds:
        never = "never" in measurement.left_out.values()
        return _verdict(measurement, None, None, "inconclusive" if never else "not run", "none")
    summary = statistics.mean_interval(values)
    if len(seeds) == 1 and claim.kind != "value":
        return _verdict(measurement, summary, test, "inconclusive", "single")
    case = "test"
    if test:
        verdict = _side(test.inside) if test.p_value < statistics.ALPHA else "inconclusive"
    elif len(seeds) == 1 or not statistics.has_spread(values):
        case = "single value" if len(seeds) == 1 else "same"
        verdict = _side(_holds(summary.mean, claim.expect))
    else:
        case, verdict = "value", _compare(summary, claim.expect)
    return _verdict(measurement, summary, test, verdict, f"{case} {verdict.split()[0]}")


def _side(inside: bool) -> VerdictName:
    return "reproduced" if inside else "not reproduced"


def _holds(value: float, expect: Expectation) -> bool:
    return statistics.region_test(np.array([value]), expect.low, expect.high).inside


def _compare(interval: Interval, expect: Expectation) -> VerdictName:
    if _holds(interval.low, expect) and _holds(interval.high, expect):
        return "reproduced"
    return "not reproduced" if interval.high < expect.low or interval.low > expect.high else "inconclusive"


def _verdict(
    measurement: _Measurement,
    summary: Interval | None,
    test: RegionTest | None,
    verdict: VerdictName,
    key: str,
) -> Verdict:
    claim, seeds = measurement.claim, measurement.seeds
    needs = " & ".join(str(side) for side in (claim.of, claim.than) if side)
    texts: dict[str, str | int] = {"needs": needs, "n": len(seeds), "expected": str(claim.expect)}
    if summary:
        texts |= {name: f"{value:.4g}" for name, value in summary._asdict().items()}
    if test:
        texts["p"] = "< 0.0001" if test.p_value < 0.0001 else f"= {test.p_value:.2g}"
    tested = claim.kind != "value" and summary is not None
    return Verdict(
        claim=claim,
        measured=summary.mean if summary else None,
        interval=(summary.low, summary.high) if summary and len(seeds) > 1 else None,
        seeds=seeds,
        p_value=test.p_value if test else None,
        effect_size=_finite(statistics.effect_size(measurement.values)) if tested else None,
        verdict=verdict,
        reason={language: sentence(language, key, measurement.left_out, **texts) for language in LANGUAGES},
    )


def _row(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim
    low, high = verdict.interval or (None, None)
    return {
        "id": claim.id,
        "section": claim.section,
        "figure": claim.figure,
        "quote": claim.quote,
        **{f"statement_{language}": claim.statement[language] for language in LANGUAGES},
        "kind": claim.kind,
        "expression": claim.expression,
        "expected": verdict.expected,
        "expected_low": _finite(claim.expect.low),
        "expected_high": _finite(claim.expect.high),
        **{f"why_{language}": claim.why[language] for language in LANGUAGES},
        "measured": verdict.measured,
        "interval": None if verdict.interval is None else list(verdict.interval),
        "interval_low": low,
        "interval_high": high,
        "seeds": list(verdict.seeds),
        "p_value": verdict.p_value,
        "effect_size": verdict.effect_size,
        "verdict": verdict.verdict,
        **{f"reason_{language}": verdict.reason[language] for language in LANGUAGES},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
