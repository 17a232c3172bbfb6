"""Which configuration of the grid comes nearest to the numbers that the paper quotes from one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from fmnist_sweep.report.claim_file import Claim
from fmnist_sweep.report.selection import Curves
from fmnist_sweep.report.statistics import quoted_distance


def quoted_groups(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    """The quoted numbers (value ± tolerance) by what they were read from: figure and configuration.

    Keys are such as "5: adam bs100 do0.2 ep100"; figure "1a" counts as 1.
    """
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        if claim.kind == "value" and claim.expect.is_about:
            groups.setdefault(f"{claim.figure.rstrip('abcd')}: {claim.of}", []).append(claim)
    return groups


def nearest_configuration(group: Sequence[Claim], metrics: pd.DataFrame) -> pd.DataFrame:
    """Distance of every configuration in the metrics table to the quoted numbers of `group`, nearest first.

    `group` is one of `quoted_groups`. Each claim's reduction is applied to each configuration, and the means
    over seeds are compared with the quoted values: the distance is the root mean square, over the claims, of
    the difference divided by the claim's tolerance (below 1: within tolerance on the whole). Configurations
    in which a claim cannot be measured, for want of epochs or of finite values, are left out.

    Columns: the fields of `Selection`, seeds (how many: the fewest of any claim), distance, and the measured
    mean under each claim's id.
    """
    curves = Curves(metrics)
    columns = [*asdict(group[0].of), "seeds", "distance", *(claim.id for claim in group)]
    quoted = np.array([claim.expect.value for claim in group])
    tolerance = np.array([claim.expect.tolerance for claim in group])
    rows = []
    for selection in curves.selections():
        if any(claim.reduce.misfit(selection.epochs) for claim in group):
            continue
        samples = [curves.sample(selection, claim.metric) for claim in group]
        fewest = min(len(sample.seeds) for sample in samples)
        if fewest:
            measured = np.array(
                [claim.reduce(sample.curves).mean() for claim, sample in zip(group, samples, strict=True)]
            )
            distance = quoted_distance(measured, quoted, tolerance)
            rows.append([*asdict(selection).values(), fewest, distance, *measured.tolist()])
    table = pd.DataFrame(rows, columns=columns).dropna(subset="distance")
    return table.sort_values("distance", kind="stable", ignore_index=True)
