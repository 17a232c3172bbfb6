"""Claims: statements of a paper, each with the expression over the results that decides it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from fmnist_sweep.engine.metrics import FloatArray, terms
from fmnist_sweep.papers.metrics import DIFFERENCE, metric
from fmnist_sweep.papers.reductions import Reduction
from fmnist_sweep.papers.yaml_file import Plain, Written

LANGUAGE = r"^[a-z]{2}$"
Words = Annotated[str, Field(pattern=r"\S"), Written]
Text = Annotated[dict[Annotated[str, Field(pattern=LANGUAGE)], Words], Field(min_length=1)]  # by language
Name = Annotated[str, Field(pattern=r"^[\w.+-]+$", max_length=80), Written]
Why = Annotated[  # by language, or the name of a text under `reasons`
    Annotated[str, Tag("name")] | Annotated[Text, Tag("text")],
    Discriminator(lambda why: "text" if isinstance(why, dict) else "name"),
]


class Resolution(Plain):
    """The precision that a verdict on a number of one run needs.

    A number counts as reproduced only if the runs could have told their mean from a number this far away. The
    default is 0.05 for accuracies and 0.1 for losses (for a slope: that change over its whole line), and a tenth of the
    epochs for epochs. `spread`, `volatility` and `roughness` have no default.
    """

    value: Annotated[float, Field(gt=0, examples=[0.02])]
    """The distance."""
    why: Annotated[Why, Field(examples=[{"en": "The study quotes whole percents."}])]
    """The reason, by language, or the name of a text under `reasons`."""


class Expectation(Plain):
    """The region in which a claim expects its number: `about` with `tolerance`, or `above`, or `below`."""

    about: Annotated[float | None, Field(examples=[0.87])] = None
    """The quoted number. Accuracies are fractions: 87 % is 0.87."""
    tolerance: Annotated[Annotated[float, Field(gt=0)] | None, Field(examples=[0.005])] = None
    """The precision of the quoted number: half a unit of its last digit, if the study says nothing else and
    validates on the same images."""
    above: Annotated[float | None, Field(examples=[0.4])] = None
    """The number lies above this value. For a comparison, `above: 0` says that `of` has more than `than`."""
    below: Annotated[float | None, Field(examples=[0])] = None
    """The number lies below this value."""
    margin: Annotated[Annotated[float, Field(gt=0)] | None, Field(examples=[0.005])] = None
    """Beside `above` or `below`, where it is tested: the least difference from that value that counts. A smaller one is
    not reproduced. Without a margin, no difference at all stays open for ever."""

    @model_validator(mode="after")
    def _one_form(self) -> Expectation:
        given = {key for key, value in self if value is not None}
        if given != {"about", "tolerance"} and given - {"margin"} not in ({"above"}, {"below"}):
            allowed = "either about and tolerance, or above, or below; these two may have a margin"
            raise ValueError(f"must hold {allowed}, not {', '.join(sorted(given)) or 'nothing'}")
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
    """One statement of the paper, and the number that decides it.

    The number is `reduce` applied to the curve of `metric` of the configuration `of`. A comparison subtracts the same
    number of the configuration `than`.
    """

    id: Annotated[Name, Field(examples=["adam-ends-higher"])]
    """A name of its own."""
    section: Annotated[Words, Field(examples=["4.2"])]
    """The section of the paper."""
    figure: Annotated[str | None, Written, Field(examples=["fig1"])] = None
    """A name under `figures`; leave it out if no figure shows the claim. A figure of kind `curves` marks the number at
    its epoch (`at`, `last`, `mean_last`), one of kind `final` marks it beside the same `reduce`."""
    panel: Annotated[str, Field(pattern="^[a-z]?$", examples=["b"])] = ""
    """A letter in that figure."""
    quote: Annotated[Words, Field(examples=["SGD reaches 86 %"])]
    """The paper's words."""
    statement: Annotated[Text, Field(examples=[{"en": "SGD ends at a validation accuracy of 0.86."}])]
    """The same in plain words, by language."""
    kind: Annotated[Literal["value", "run", "shape", "comparison"], Field(examples=["run"])]
    """`run`: a number that one run gave. It is judged by the 95 % prediction interval of one more run, and takes 5
    seeds. The other kinds are tested over seeds: `value`, the mean of several runs; `shape`, a property of one
    configuration's curve; `comparison`, a difference between `of` and `than`, paired by seed."""
    of: Annotated[str, Written, Field(examples=["sgd"])]
    """A name under `configurations`. Longer runs of it serve too, by their first epochs."""
    than: Annotated[str | None, Written, Field(examples=["adam"])] = None
    """Another one, for a comparison only."""
    metric: Annotated[str, BeforeValidator(metric), Field(examples=["val_accuracy", DIFFERENCE])]
    """The curve: one of the metrics below, or the difference of two."""
    unnamed: bool = False
    """`true` if the paper does not say whether it quotes the training or the validation metric."""
    reduce: Annotated[Reduction, BeforeValidator(Reduction.parse), Field(examples=["last", {"at": 1}])]
    """One number from each seed's curve; see the reductions below."""
    expect: Annotated[Expectation, Field(examples=[{"about": 0.87, "tolerance": 0.005}, {"above": 0, "margin": 0.005}])]
    """The region in which that number has to lie."""
    why: Annotated[Why, Field(examples=[{"en": "The paper quotes whole percents."}])]
    """Why that tolerance, bound or margin: by language, or the name of a text under `reasons`."""
    resolution: Resolution | None = None
    """For kind `run` only; most claims need none."""

    @model_validator(mode="after")
    def _epoch(self) -> Claim:
        if self.metric == "epoch" and self.reduce.chooser is None:
            raise ValueError("metric: epoch needs reduce: {at_best: val_loss} or at_stop, which choose an epoch")
        return self

    @model_validator(mode="after")
    def _sides(self) -> Claim:
        if (self.kind == "comparison") != (self.than is not None):
            raise ValueError(
                "than: a comparison needs it, as in than: NAME of another configuration, and no other kind takes it; "
                f"this is a {self.kind}"
            )
        if self.expect.margin is not None and not self.is_tested:
            raise ValueError("expect: kind: run takes no margin; the kinds that are tested over seeds do")
        if self.resolution and self.is_tested:
            raise ValueError(
                "resolution: only kind: run takes one; the kinds that are tested over seeds take a margin, as in "
                "expect: {above: 0, margin: 0.005}"
            )
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
    def metrics(self) -> tuple[str, ...]:
        """Return the measures that a run must have."""
        measures = () if self.metric == "epoch" else terms(self.metric)
        return measures if self.reduce.chooser is None else (*measures, self.reduce.chooser)

    def quantity(self, values: Callable[[str], FloatArray]) -> FloatArray:
        """Return the claim's number for each seed, `[n_seeds]`; `values` gives a metric's curves, one row per seed."""
        chooser = self.reduce.chooser
        return self.reduce(values(self.metric), None if chooser is None else values(chooser))

    @property
    def expression(self) -> str:
        """Return the quantity as an expression in the words of the file."""
        return f"{self.reduce} of {self.metric}: {' minus '.join(self.sides)}"
