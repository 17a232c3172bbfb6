"""Judge each claim of a paper from the curves of the runs.

- The quantity is one number per seed. For a comparison it is the difference between the two configurations, paired by
  seed (same initialisation, same order of the data). Only seeds that both configurations have count.
- A seed counts if its run holds every requested epoch with finite metrics. The reason names the seeds left out. A seed
  has ended once it counts or can never count. If no seed counts, the verdict is "not run".
- A claim of kind `run` is a number that one run gave. It is judged by whether one further run could give that number;
  see `single_runs.py`.
- The other kinds are tested over the seeds that have ended, in looks of 5, 10, 20, … seeds; see `looks.py`.
- A curve that never reaches what a claim asks for counts as reaching it in the epoch after its last, a lower bound. A
  seed is left out if neither side of a comparison reaches it.
- If all seeds agree to the last digit, there is nothing to test and the common number is judged directly. A tie in
  every seed does not reproduce a difference, but it does reproduce "no change".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.papers import looks, single_runs, statistics
from fmnist_sweep.papers.claims import Claim
from fmnist_sweep.papers.looks import Decision, Evidence
from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.papers.statistics import Interval
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import recipe

VerdictName = Literal["reproduced", "not reproduced", "open", "not run"]
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)

# Decimal places of a quantity. Metrics are float32, so differences beyond these places are rounding errors.
_DIGITS = 12

ENDED = ("diverged", "never")  # a seed left out for one of these causes will never count


@dataclass(frozen=True)
class Verdict:
    """A claim and its verdict from the runs.

    Attributes:
        measured: the mean of the quantity over `seeds`; for a comparison, the mean difference.
        interval: the 95 % confidence interval of that mean. For a claim of kind run it is the 95 % prediction interval
            of one further run. None with one seed.
        seeds: the seeds that count; for a tested claim, those that count at `look`.
        look: the look that decided a tested claim, or the last look that an open claim took (0: none). None for a
            claim of kind run.
        resolution: the smallest difference from a number of one run that the runs must be able to detect. None for
            other claims.
        seeds_needed: about how many seeds would settle an open claim. None if no number of seeds would.
        p_value: the corrected p value. None for a number that one run gave, and if there are too few seeds or all are
            equal.
        effect_size: the quantity's mean over its standard deviation (d_z). None for claims of kind run or value, for
            one seed, and if all seeds are equal but not zero.
        case, notes: keys of the texts in section `verdicts` that give the reason. `values` fills these texts.
        left_out: for each seed that does not count, up to the last seed of `look`, the cause: a key of that section.
    """

    claim: Claim
    measured: float | None
    interval: tuple[float, float] | None
    seeds: tuple[int, ...]
    look: int | None
    resolution: float | None
    seeds_needed: int | None
    p_value: float | None
    effect_size: float | None
    verdict: VerdictName
    case: str
    notes: tuple[str, ...]
    values: dict[str, str | int]
    left_out: dict[int, str]


class TrueNumbers(NamedTuple):
    """Counts of numbers from single runs: judged with a sharp interval, expected to be reproduced, and reproduced.

    The expected count assumes that all these numbers are true.
    """

    judged: int
    expected: float
    reproduced: int


class _Measurement(NamedTuple):
    claim: Claim
    ended: dict[int, float]  # by seed, ascending; NaN where it does not count
    left_out: dict[int, str]

    @property
    def counting(self) -> FloatArray:
        values = np.array(list(self.ended.values()))
        return np.asarray(values[~np.isnan(values)])

    @property
    def evidence(self) -> Evidence:
        expect = self.claim.expect
        return Evidence(np.array(list(self.ended.values())), expect.low, expect.high, expect.margin or 0)

    def at(self, look: int) -> "_Measurement":
        """Return this measurement with the seeds that a look uses: the first that ended, or all if they are too few."""
        size = looks.look_size(look)
        if len(self.ended) < size:
            return self
        taken = dict(list(self.ended.items())[:size])
        left_out = {seed: cause for seed, cause in self.left_out.items() if seed <= max(taken)}
        return self._replace(ended=taken, left_out=left_out)


def judge(paper: Paper, curves: Curves) -> list[Verdict]:
    """Judge each claim of a paper, in the paper's order, as this module's docstring describes."""
    measurements = [_measure(claim, paper, curves) for claim in paper.claims]
    decisions = iter(looks.decide([one.evidence for one in measurements if one.claim.is_tested]))
    verdicts = []
    for measurement in measurements:
        claim = measurement.claim
        if claim.is_tested:
            decision, resolution = next(decisions), None
            measurement = measurement.at(max(1, decision.look))
        else:
            resolution = paper.resolution(claim)
            assert resolution is not None  # checked when the paper's file was read
            decision = single_runs.decide(measurement.counting, claim.expect, resolution)
        verdicts.append(_verdict(measurement, decision, resolution))
    return verdicts


def true_numbers(verdicts: Sequence[Verdict]) -> TrueNumbers:
    """Count how many numbers of single runs are reproduced, and how many would be expected to be if all were true.

    A number counts if its interval is as sharp as its resolution requires, no matter what its verdict is.
    """
    chances, reproduced = [], 0
    for verdict in verdicts:
        count, tolerance = len(verdict.seeds), verdict.claim.expect.tolerance
        if verdict.resolution and verdict.interval and count >= single_runs.FEWEST:
            half = (verdict.interval[1] - verdict.interval[0]) / 2
            if single_runs.is_sharp(half, tolerance, verdict.resolution):
                chances.append(single_runs.acceptance(half, count, tolerance))
                reproduced += verdict.verdict == "reproduced"
    return TrueNumbers(len(chances), sum(chances), reproduced)


def _measure(claim: Claim, paper: Paper, curves: Curves) -> _Measurement:
    sides = [paper.configs[side] for side in claim.sides]
    samples = [curves.sample(recipe(side), side.training.epochs, claim.metrics) for side in sides]
    left_out = {seed: "unpaired" for sample in samples for seed in sample.seeds}
    left_out |= {seed: "unmeasured" for sample in samples for seed in sample.unmeasured}
    left_out |= {seed: "unfinished" for sample in samples for seed in sample.unfinished}
    left_out |= {seed: "diverged" for sample in samples for seed in sample.diverged}
    reduced = [dict(zip(sample.seeds, claim.quantity(sample.values), strict=True)) for sample in samples]
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in reduced)))
    if claim.than:
        never = [seed for seed in seeds if all(math.isnan(by_seed[seed]) for by_seed in reduced)]
        left_out |= dict.fromkeys(never, "never")
        seeds = [seed for seed in seeds if seed not in never]
    values = np.array([[by_seed[seed] for seed in seeds] for by_seed in reduced])  # [n_sides, n_seeds]
    values = np.where(np.isnan(values), [[side.training.epochs + 1.0] for side in sides], values)
    quantity = (values[0] - values[1] if claim.than else values[0]).round(_DIGITS)
    left_out = {seed: cause for seed, cause in left_out.items() if seed not in seeds}
    ended = dict.fromkeys((seed for seed, cause in left_out.items() if cause in ENDED), math.nan)
    ended |= dict(zip(seeds, quantity.tolist(), strict=True))
    return _Measurement(claim, dict(sorted(ended.items())), left_out)


def _verdict(measurement: _Measurement, decision: Decision, resolution: float | None) -> Verdict:
    claim, values = measurement.claim, measurement.counting
    interval = None
    if len(values):
        interval = (statistics.mean_interval if claim.is_tested else statistics.prediction_interval)(values)
    tested = math.isfinite(decision.p_value)
    case, notes = _words(measurement, interval, decision)
    return Verdict(
        claim=claim,
        measured=interval.mean if interval else None,
        interval=(interval.low, interval.high) if interval and len(values) > 1 else None,
        seeds=tuple(seed for seed, value in measurement.ended.items() if not math.isnan(value)),
        look=decision.look if claim.is_tested else None,
        resolution=resolution,
        seeds_needed=decision.seeds_needed,
        p_value=decision.p_value if tested else None,
        effect_size=finite(statistics.effect_size(values)) if len(values) and not claim.is_number else None,
        verdict=_name(measurement, decision),
        case=case,
        notes=notes,
        values=_numbers(measurement, interval, decision, resolution),
        left_out=measurement.left_out,
    )


def _name(measurement: _Measurement, decision: Decision) -> VerdictName:
    if decision.inside is not None:
        return "reproduced" if decision.inside else "not reproduced"
    judged = len(measurement.counting) or "never" in measurement.left_out.values()
    return "open" if judged else "not run"


def _words(measurement: _Measurement, interval: Interval | None, decision: Decision) -> tuple[str, tuple[str, ...]]:
    """Return the case of a verdict and its additional notes."""
    claim, expect, count = measurement.claim, measurement.claim.expect, len(measurement.counting)
    if interval is None:
        return "none", ()
    if not claim.is_tested:
        return _words_on_a_run(count, decision)
    if count == 1:
        return "single", ()
    preview = ("preview",) if len(measurement.ended) < looks.look_size(1) else ()
    if decision.inside is None:
        outside = interval.low > expect.high or interval.high < expect.low
        within = expect.low <= interval.low and interval.high <= expect.high
        needed = "settles" if decision.seeds_needed else "never settles"
        return "open " + ("outside" if outside else "inside" if within else "across"), (needed, *preview)
    kind = "test" if math.isfinite(decision.p_value) else "same"
    if kind == "test" and not decision.inside and expect.low < interval.mean < expect.high:
        return "slight", preview
    return f"{kind} {'reproduced' if decision.inside else 'not'}", preview


def _words_on_a_run(count: int, decision: Decision) -> tuple[str, tuple[str, ...]]:
    if count < single_runs.FEWEST:
        return "few", ()
    if decision.inside is None:
        return "run wide", ("sharpens" if decision.seeds_needed else "never sharpens",)
    return ("run reproduced" if decision.inside else "run not"), ("chance",)


def _numbers(
    measurement: _Measurement, interval: Interval | None, decision: Decision, resolution: float | None
) -> dict[str, str | int]:
    """Return the values that the texts of a reason may contain."""
    claim, p_value, count = measurement.claim, decision.p_value, len(measurement.counting)
    numbers = dict(interval._asdict()) if interval else {}
    if interval and resolution and count >= single_runs.FEWEST:
        half = interval.high - interval.mean
        numbers["width"] = 2 * half
        numbers["reach"] = half + (claim.expect.tolerance or 0)
        numbers["chance"] = round(100 * single_runs.acceptance(half, count, claim.expect.tolerance), 1)
    return {
        "needs": " & ".join(claim.sides),
        "n": count,
        "more": max(0, single_runs.FEWEST - count),
        "resolution": f"{resolution or 0:g}",
        "expected": str(claim.expect),
        "margin": f"{claim.expect.margin or 0:g}",
        "p": "< 0.0001" if p_value < 0.0001 else f"= {p_value:.2g}",
        "first": looks.look_size(1),
        "needed": decision.seeds_needed or looks.look_size(looks.MOST_LOOKS),
        **{name: f"{number:.4g}" for name, number in numbers.items()},
    }


def finite(value: float) -> float | None:
    """Return the value, or None for NaN and infinities."""
    return value if math.isfinite(value) else None
