"""Claims: statements of a paper, each with the expression over the results that decides it."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from fmnist_sweep.engine.metrics import GAPS, MEASURES
from fmnist_sweep.papers.reductions import Reduction
from fmnist_sweep.papers.yaml_file import Plain

LANGUAGE = r"^[a-z]{2}$"
Words = Annotated[str, Field(pattern=r"\S")]
Text = Annotated[dict[Annotated[str, Field(pattern=LANGUAGE)], Words], Field(min_length=1)]  # by language
Name = Annotated[str, Field(pattern=r"^[\w.+-]+$", max_length=80)]
Why = Annotated[  # by language, or the name of a text under `reasons`
    Annotated[str, Tag("name")] | Annotated[Text, Tag("text")],
    Discriminator(lambda why: "text" if isinstance(why, dict) else "name"),
]


class Resolution(Plain):
    """A stated resolution of a number of one run; it replaces the default of `single_runs.py`."""

    value: Annotated[float, Field(gt=0)]
    why: Why


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


class Claim(Plain):
    """One statement of a paper, and the expression over the results that decides it.

    The quantity is `reduce` applied to `metric` of the configuration `of`. A comparison subtracts the same quantity of
    the configuration `than`.

    Attributes:
        kind: `run` is a number that one run gave, judged by the spread of single runs. The other kinds are tested over
            seeds: `value` (the mean of several runs), `shape` (a property of one configuration's curves) and
            `comparison` (the difference `of` minus `than`).
        figure, panel: the place in the paper: one of its figures, and a letter in it.
        unnamed: true if the paper does not say whether the number is a training or a validation metric.
        why: the reason for the tolerance or threshold.
        resolution: the resolution of a claim of kind run; see `Paper.resolution`.
    """

    id: Name
    section: Words
    figure: str | None = None
    panel: Annotated[str, Field(pattern="^[a-z]?$")] = ""
    quote: Words
    statement: Text
    kind: Literal["value", "run", "shape", "comparison"]
    of: str
    than: str | None = None
    metric: Literal[(*MEASURES, *GAPS)]  # type: ignore[valid-type]
    unnamed: bool = False
    reduce: Annotated[Reduction, BeforeValidator(Reduction.parse)]
    expect: Expectation
    why: Why
    resolution: Resolution | None = None

    @model_validator(mode="after")
    def _sides(self) -> Claim:
        if (self.kind == "comparison") != (self.than is not None):
            raise ValueError(f"than: a comparison needs it and no other kind takes it, and this is a {self.kind}")
        if self.expect.margin is not None and not self.is_tested:
            raise ValueError("expect: a run takes no margin; the kinds that are tested over seeds do")
        if self.resolution and self.is_tested:
            raise ValueError("resolution: only a run takes one; the kinds that are tested over seeds take a margin")
        return self

    @property
    def is_number(self) -> bool:
        """Return whether the paper quotes a number; the other kinds state a property or a difference."""
        return self.kind in ("value", "run")

    @property
    def is_tested(self) -> bool:
        """Return whether the claim is tested over seeds; other claims are judged by the spread of single runs."""
        return self.kind != "run"

    @property
    def sides(self) -> list[str]:
        """Return the names of the configurations that the claim refers to."""
        return [self.of] if self.than is None else [self.of, self.than]

    @property
    def expression(self) -> str:
        """Return the quantity as an expression in the words of the file."""
        return f"{self.reduce} of {self.metric}: {' minus '.join(self.sides)}"
