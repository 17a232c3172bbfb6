"""Find the trained configuration that comes nearest to the numbers that a paper quotes from one figure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fmnist_sweep.papers.claims import Claim
from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import CONFIGURATION, Collection, factors, recipe, sorted_by


def quoted(paper: Paper) -> dict[tuple[str | None, str], list[Claim]]:
    """Return the quoted numbers (value ± tolerance) by figure and configuration."""
    numbers: dict[tuple[str | None, str], list[Claim]] = {}
    for claim in paper.claims:
        if claim.is_number and claim.expect.tolerance is not None:
            numbers.setdefault((claim.figure, claim.of), []).append(claim)
    return numbers


def distance(means: Sequence[float], claims: Sequence[Claim]) -> float:
    """Return the root mean square of (mean - quoted) / tolerance over the quoted numbers.

    A distance below 1 is within tolerance on the whole. The tolerance comes from the paper alone, so the same means
    have the same distance in a table, in a search and in another store. The distance ignores the spread of single runs;
    the verdicts consider it.
    """
    expected = [claim.expect for claim in claims]
    quotes, tolerances = (np.array([getattr(one, key) for one in expected], float) for key in ("value", "tolerance"))
    return float(np.sqrt((((np.array(means) - quotes) / tolerances) ** 2).mean()))


def nearest_configuration(
    claims: Sequence[Claim], paper: Paper, collection: Collection, curves: Curves
) -> pd.DataFrame:
    """Rank all trained configurations by their distance to the quoted numbers of one configuration, nearest first.

    Each claim's reduction is applied to each configuration, and `distance` compares the means over seeds with the
    quoted numbers. A configuration is left out if a claim cannot be measured in it, because its runs are too short or
    their values are not finite.

    Returns:
        A table with the columns of `tables.factors`, own (whether the paper quotes the numbers for this configuration),
        seeds (the smallest number of seeds for any claim), distance, and for each claim its id with the measured mean.
    """
    own = paper.configs[claims[0].of]
    described = factors(collection.runs)
    rows = []
    for run in sorted_by(collection.runs.drop_duplicates(CONFIGURATION), described).to_dict("records"):
        epochs = run["epochs"]
        if any(claim.reduce.misfit(epochs) for claim in claims):
            continue
        samples = [curves.sample(run["recipe"], epochs, claim.metrics) for claim in claims]
        fewest = min(len(sample.seeds) for sample in samples)
        if fewest:
            means = [claim.quantity(sample.values).mean() for claim, sample in zip(claims, samples, strict=True)]
            is_own = (run["recipe"], epochs) == (recipe(own), own.training.epochs)
            off = distance(means, claims)
            rows.append([*(run[factor] for factor in described), is_own, fewest, off, *means])
    columns = [*described, "own", "seeds", "distance", *(claim.id for claim in claims)]
    table = pd.DataFrame(rows, columns=columns).dropna(subset="distance")
    return table.sort_values("distance", kind="stable", ignore_index=True)
