"""Which configuration that was run comes nearest to the numbers that a paper quotes from one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fmnist_sweep.config import Config
from fmnist_sweep.papers import Claim, Paper
from fmnist_sweep.report.judging.statistics import prediction_interval
from fmnist_sweep.report.runs.collection import CONFIGURATION, FACTORS, Collection, recipe
from fmnist_sweep.report.runs.curves import Curves


def quoted_groups(paper: Paper) -> dict[str, list[Claim]]:
    """The quoted numbers (value ± tolerance) by figure and configuration, such as `fig5: adam-100-epochs`."""
    groups: dict[str, list[Claim]] = {}
    for claim in paper.claims:
        if claim.kind in ("value", "run") and claim.expect.tolerance is not None:
            groups.setdefault(f"{claim.figure or ''}: {claim.of}", []).append(claim)
    return groups


def nearest_configuration(group: Sequence[Claim], paper: Paper, collection: Collection, curves: Curves) -> pd.DataFrame:
    """Distance of every configuration that was run to the quoted numbers of one of `quoted_groups`, nearest first.

    Each claim's reduction is applied to each configuration, and the means over seeds are compared with the quoted
    numbers: the distance is the root mean square, over the claims, of the difference divided by the claim's tolerance
    (below 1: within tolerance on the whole). The tolerance of a number that one run gave is widened by half the 95 %
    prediction interval of one run of the paper's own configuration, where that has two seeds. Configurations in which
    a claim cannot be measured, for want of epochs or of finite values, are left out.

    Columns: `FACTORS`, recipe, own (whether the numbers were quoted of it), seeds (how many: the fewest of any claim),
    distance, and the measured mean under each claim's id.
    """
    quoted = np.array([claim.expect.value for claim in group])
    own = paper.configs[group[0].of]
    tolerance = np.array([_tolerance(claim, own, curves) for claim in group])
    factors = list(FACTORS)
    rows = []
    for run in collection.runs.drop_duplicates(CONFIGURATION).sort_values(factors).to_dict("records"):
        epochs = run["training.epochs"]
        if any(claim.reduce.misfit(epochs) for claim in group):
            continue
        samples = [curves.sample(run["recipe"], epochs, claim.metric) for claim in group]
        fewest = min(len(sample.seeds) for sample in samples)
        if fewest:
            means = [claim.reduce(sample.curves).mean() for claim, sample in zip(group, samples, strict=True)]
            distance = np.sqrt((((np.array(means) - quoted) / tolerance) ** 2).mean())
            is_own = (run["recipe"], epochs) == (recipe(own), own.training.epochs)
            rows.append([*(run[factor] for factor in factors), run["recipe"], is_own, fewest, distance, *means])
    columns = [*factors, "recipe", "own", "seeds", "distance", *(claim.id for claim in group)]
    table = pd.DataFrame(rows, columns=columns).dropna(subset="distance")
    return table.sort_values("distance", kind="stable", ignore_index=True)


def _tolerance(claim: Claim, own: Config, curves: Curves) -> float:
    values = claim.reduce(curves.sample(recipe(own), own.training.epochs, claim.metric).curves)
    reach = prediction_interval(values).high - values.mean() if claim.kind == "run" and len(values) > 1 else math.nan
    return (claim.expect.tolerance or 0) + (reach if math.isfinite(reach) else 0)
