"""Which configuration that was run comes nearest to the numbers that a paper quotes from one figure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fmnist_sweep.papers.claims import Claim
from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import CONFIGURATION, FACTORS, Collection, recipe


def quoted(paper: Paper) -> dict[tuple[str | None, str], list[Claim]]:
    """The quoted numbers (value ± tolerance) by figure and configuration."""
    numbers: dict[tuple[str | None, str], list[Claim]] = {}
    for claim in paper.claims:
        if claim.is_number and claim.expect.tolerance is not None:
            numbers.setdefault((claim.figure, claim.of), []).append(claim)
    return numbers


def distance(means: Sequence[float], claims: Sequence[Claim]) -> float:
    """Root mean square of (mean - quoted) / tolerance over quoted numbers: below 1, within tolerance on the whole.

    The tolerance is the paper's alone, so a table, a search and two stores give the same means the same distance. How
    far single runs differ is no part of it: that is for the verdicts to weigh.
    """
    expected = [claim.expect for claim in claims]
    quotes, tolerances = (np.array([getattr(one, key) for one in expected], float) for key in ("value", "tolerance"))
    return float(np.sqrt((((np.array(means) - quotes) / tolerances) ** 2).mean()))


def nearest_configuration(
    claims: Sequence[Claim], paper: Paper, collection: Collection, curves: Curves
) -> pd.DataFrame:
    """Distance of every configuration that was run to some quoted numbers of one configuration, nearest first.

    Each claim's reduction is applied to each configuration, and the means over seeds are compared with the quoted
    numbers, as `distance` says. Configurations in which a claim cannot be measured, for want of epochs or of finite
    values, are left out.

    Columns: `FACTORS`, own (whether the numbers were quoted of it), seeds (how many: the fewest of any claim),
    distance, and the measured mean under each claim's id.
    """
    own = paper.configs[claims[0].of]
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
            off = distance(means, claims)
            rows.append([*(run[factor] for factor in factors), is_own, fewest, off, *means])
    columns = [*factors, "own", "seeds", "distance", *(claim.id for claim in claims)]
    table = pd.DataFrame(rows, columns=columns).dropna(subset="distance")
    return table.sort_values("distance", kind="stable", ignore_index=True)
