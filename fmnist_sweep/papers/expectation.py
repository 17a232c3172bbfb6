"""The region in which a claim expects its quantity."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from fmnist_sweep.papers.yaml_file import Plain


class Expectation(Plain):
    """A region: `about` ± `tolerance`, both ends included, or the numbers above `above`, or those below `below`.

    A region with one end may have a `margin`: how far beyond its end a quantity must lie to count as different.
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
        """Return the number that defines the region: `about`, `above` or `below`."""
        return next(x for x in (self.about, self.above, self.below) if x is not None)

    @property
    def low(self) -> float:
        """Return the lower end of the expected region."""
        # Round, so that 0.36 lies within 0.35 ± 0.01 in spite of binary rounding errors.
        return round(self.value - (self.tolerance or 0), 12) if self.below is None else -math.inf

    @property
    def high(self) -> float:
        """Return the upper end of the expected region."""
        return round(self.value + (self.tolerance or 0), 12) if self.above is None else math.inf

    def __str__(self) -> str:
        """Return text such as "0.35 ± 0.05", "> 0.4" or "< 0"."""
        value, tolerance = (f"{x:.12f}".rstrip("0").rstrip(".") for x in (self.value, self.tolerance or 0))
        return f"{value} ± {tolerance}" if self.tolerance else f"{'<' if self.above is None else '>'} {value}"
