"""What a claim expects of its quantity."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from fmnist_sweep.papers.yaml_file import Plain


class Expectation(Plain):
    """A region: `about` ± `tolerance`, both ends included, or beyond `above`, or beyond `below`.

    `margin` says of a region with one end how far beyond it a quantity must lie to count as different from it.
    """

    about: float | None = None
    tolerance: Annotated[float, Field(gt=0)] | None = None
    above: float | None = None
    below: float | None = None
    margin: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Expectation:
        given = {key for key, value in self if value is not None}
        if given != {"about", "tolerance"} and given - {"margin"} not in ({"above"}, {"below"}):
            raise ValueError("must hold either about and tolerance, or above, or below; these two may have a margin")
        return self

    @property
    def value(self) -> float:
        """The number itself."""
        return next(x for x in (self.about, self.above, self.below) if x is not None)

    @property
    def low(self) -> float:
        """Where the expected region begins."""
        # Rounded so that 0.36 lies within 0.35 ± 0.01, which binary fractions would deny.
        return round(self.value - (self.tolerance or 0), 12) if self.below is None else -math.inf

    @property
    def high(self) -> float:
        """Where the expected region ends."""
        return round(self.value + (self.tolerance or 0), 12) if self.above is None else math.inf

    def __str__(self) -> str:
        """Such as "0.35 ± 0.05", "> 0.4" or "< 0"."""
        value, tolerance = (f"{x:.12f}".rstrip("0").rstrip(".") for x in (self.value, self.tolerance or 0))
        return f"{value} ± {tolerance}" if self.tolerance else f"{'<' if self.above is None else '>'} {value}"
