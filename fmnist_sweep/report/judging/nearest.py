"""Which configuration that was run comes nearest to the numbers that a paper quotes from one figure."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fmnist_sweep.config import Config
from fmnist_sweep.papers import Claim, Paper
from fmnist_sweep.report.judging.statistics import prediction_interval
from fmnist_sweep.report.runs.collection import CONFIGURATION, FACTORS, Collection, recipe
from fmnist_sweep.report.runs.curves import Curves


def quoted(paper: Paper) -> dict[tuple[str | None, str], list[Claim]]:
    """The quoted numbers (value ± tolerance) by figure and configuration."""
    numbers: dict[tuple[str | None, str], list[Claim]] = {}
    for claim in paper.claims:
        if claim.is_number and claim.expect.tolerance is not None:
            numbers.setdefault((claim.figure, claim.of), []).append(claim)
    return numbers


def distance(means: Sequence[float], claims: Sequence[Claim], tolerances: Sequence[float]) -> float:
    """Root mean square of (mean - quoted) / tolerance over quoted numbers: below 1, within tolerance on the whole."""
    quotes = np.array([claim.expect.value for claim in claims])
    return float(np.sqrt((((np.array(means) - quotes) / np.array(tolerances)) ** 2).mean()))


def nearest_configuration(
    claims: Sequence[Claim], paper: Paper, collection: Collection, curves: Curves
) -> pd.DataFrame:
    """Distance of every configuration that was run to some quoted numbers of one configuration, nearest first.

    Each claim's reduction is applied to each configuration, and the means over seeds are compared with the quoted
    numbers, as `distance` says. The tolerance of a number that one run gave is widened by half the 95 % prediction
    interval of one run of the paper's own configuration, where that has two seeds. Configurations in which a claim
    cannot be measured, for want of epochs or of finite values, are left out.

    Columns: `FACTORS`, own (whether the numbers were quoted of it), seeds (how many: the fewest of any claim),
    distance, and the measured mean under each claim's id.
    """
    own = paper.configs[claims[0].of]
    tolerance = [_tolerance(claim, own, curves) for claim in claims]
    factors = list(FACTORS)
    rows = []
    for run in collection.runs.drop_duplicates(CONFIGURATION).sort_values(factors).to_dict("records"):
        epochs = run["training.epochs"]
        if any(claim.reduce.misfit(epochs) for claim in claims):
            continue
        samples = [curves.sample(run["recipe"], epochs, claim.metric) for claim in claims]
        fewest = min(len(sample.seeds) for sample in samples)
        if fewest:
            means = [claim.reduce(sample.curves).mean() for claim, sample in zip(claims, samples, strict=True)]
            is_own = (run["recipe"], epochs) == (recipe(own), own.training.epochs)
            off = distance(means, claims, tolerance)
            rows.append([*(run[factor] for factor in factors), is_own, fewest, off, *means])
    columns = [*factors, "own", "seeds", "distance", *(claim.id for claim in claims)]
    table = pd.DataFrame(rows, columns=columns).dropna(subset="distance")
    return table.sort_values("distance", kind="stable", ignore_index=True)


def _tolerance(claim: Claim, own: Config, curves: Curves) -> float:
    values = claim.reduce(curves.sample(recipe(own), own.training.epochs, claim.metric).curves)
    reach = prediction_interval(values).high - values.mean() if claim.kind == "run" and len(values) > 1 else math.nan
    return (claim.expect.tolerance or 0) + (reach if math.isfinite(reach) else 0)
