"""Read and check a paper: one YAML file with its protocol, configurations, figures and claims.

`reference.py` explains the format. An error message is one line: the place, the problem and what is
allowed. Configurations are written as on the command line and composed by Hydra, so they mean the same in both places.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra.core.config_loader import ConfigLoader
from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from fmnist_sweep.config import hydra_private, overrides
from fmnist_sweep.config.compose import register
from fmnist_sweep.config.identity import identity
from fmnist_sweep.config.schema import CONFIG_FOLDER, Config
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES
from fmnist_sweep.errors import ConfigError, nearest, one_line
from fmnist_sweep.papers.claims import LANGUAGE, Claim, Name, Resolution, Text, Words
from fmnist_sweep.papers.configurations import Values, check, compose, product, typed
from fmnist_sweep.papers.reductions import KINDS, Reduction
from fmnist_sweep.papers.single_runs import Measured, measured, resolution
from fmnist_sweep.papers.yaml_file import Plain, load

DEFAULT = "caprari2024"
ALL, GRID = "paper", "grid"  # sweeps that every paper has in addition to its figures
_MOST = 1000  # configurations, figures or claims of one paper
_Number = Annotated[Words, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
_LAST = Reduction.parse("last")
_Measure = Literal["loss", "accuracy"]
# Names of the pictures that a report draws of any runs.
DRAWN_ANYWAY = (
    *("curves-by-optimizer", "curves-by-batch-size", "curves-by-dropout", "final-values", "generalisation-gap"),
    *("convergence-speed", "main-effects", "interaction-effects", "confusion-matrix", "frequent-mistakes", "verdicts"),
)
_CURVES = (*MEASURES, *TEST_MEASURES)
_BARE = re.compile(r"[A-Z]?[\d.-]+[a-z]?|[IVXLC]+|[A-Z]")
_NUMBERED = re.compile(r"(?:fig|figure|figura|exp|experiment|experimento)[-_]?0*(\d+)")


class PaperError(ConfigError):
    """Raised for a paper that cannot be found or has a mistake; the message is one line that names the place."""

    def __init__(self, message: str):
        super().__init__(one_line(message, 500))


class Figure(Plain):
    """A figure or table of the paper, drawn again from the runs, with the numbers that claims quote from it."""

    title: Annotated[Text, Field(examples=[{"en": "Adam and SGD"}])]
    """Its title, by language."""
    kind: Literal["curves", "final"] = "curves"
    """`curves`: a row of panels for each configuration. `final`: one value of each run, with the configurations one
    below the other, as a table has them."""
    rows: Annotated[list[str], Field(min_length=1, max_length=26, examples=[["adam", "sgd"]])]
    """Names under `configurations`."""
    training: Literal["evaluation", "running", "both"] = "evaluation"
    """The training curve: `evaluation`, after each epoch with dropout off; `running`, while the batches go by; or
    `both`. The validation curve is always there, and the test curve if a claim quotes a test metric from the figure."""
    measures: Annotated[list[_Measure], Field(min_length=1, max_length=2, examples=[["accuracy"]])] = [  # noqa: RUF012
        "loss",
        "accuracy",
    ]
    """The panels, from left to right."""
    reduce: Annotated[Reduction, BeforeValidator(Reduction.parse), Field(examples=[{"at_best": "val_loss"}])] = _LAST
    """The value that a figure of kind `final` shows; see the reductions below."""
    number: Annotated[_Number | None, Field(examples=[2, "Table 2"])] = None
    """Its name in the paper: a number such as 2 or S1, or the words as printed, such as "Figure 3b". By default the
    number in its name (`fig2`, `exp-3`), else the name."""

    @model_validator(mode="after")
    def _final(self) -> Figure:
        if self.reduce != _LAST and (self.kind, KINDS[self.reduce.name].gives) != ("final", "value"):
            values = ", ".join(name for name, kind in KINDS.items() if kind.gives == "value")
            raise ValueError(f"reduce: only kind: final takes it, and only one of {values}")
        return self

    @property
    def curves(self) -> tuple[str, ...]:
        """Return the prefixes of the training metrics: `train`, `running` or both."""
        return {"evaluation": ("train",), "running": ("running",), "both": ("train", "running")}[self.training]


class Departure(Plain):
    """A respect in which the file departs from the paper. The report shows it beside the verdicts that it concerns."""

    text: Annotated[Text, Field(examples=[{"en": "The study shifts images at random. These runs do not."}])]
    """The paper's way, and what these runs do instead, by language."""
    of: Annotated[list[str], Field(examples=[["adam"]])] = []  # noqa: RUF012
    """Names under `configurations`; by default all."""


class Finding(Plain):
    """A sentence for the top of the page. The page shows it only while all claims that it names have its verdict."""

    text: Annotated[Text, Field(examples=[{"en": "Momentum helps at every batch size."}])]
    """The finding in a sentence, by language."""
    verdict: Annotated[Literal["reproduced", "not reproduced"], Field(examples=["reproduced"])]
    """The verdict that the sentence speaks of."""
    claims: Annotated[list[str], Field(min_length=1, examples=[["fast-beats-slow"]])]
    """The ids of the claims that it sums up."""


class Paper(Plain):
    """A paper: the models it trains, its figures and its claims."""

    title: Annotated[Words, Field(examples=["On momentum"])]
    """The paper's title."""
    authors: Annotated[list[Words], Field(min_length=1, examples=[["A. Author", "B. Author"]])]
    """Their names."""
    year: Annotated[int, Field(ge=1000, le=9999, examples=[2024])]
    """When it appeared."""
    link: Annotated[str | None, Field(pattern=r"^https?://\S+$", examples=["https://example.org/paper"])] = None
    """Its address on the web."""
    language: Annotated[str, Field(pattern=LANGUAGE, examples=["en"])]
    """The language of its quotes, in two letters."""
    protocol: Annotated[Values, Field(examples=[{"data.validation": "test", "model.hidden": [128, 64]}])] = Field(
        default_factory=dict
    )
    """Settings that all its runs share: keys and values of the configuration. Runs of another protocol are left out."""
    configurations: Annotated[
        dict[Name, Values],
        Field(min_length=1, max_length=_MOST, examples=[{"adam": {"optimizer": "adam", "epochs": 30}}]),
    ]
    """The models that it trained, by name: more keys and values, without `seed`. The report shows the names."""
    departs: Annotated[
        list[Departure],
        Field(max_length=_MOST, examples=[[{"text": {"en": "It augments its images. These runs do not."}}]]),
    ] = []  # noqa: RUF012
    """Points in which this file departs from the paper."""
    figures: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z][\w-]*$")], Figure],
        Field(max_length=_MOST, examples=[{"fig1": {"title": {"en": "Adam and SGD"}, "rows": ["adam", "sgd"]}}]),
    ] = Field(default_factory=dict)
    """Its figures and tables, by name: small letters, digits, `_` and `-`."""
    reasons: Annotated[dict[str, Text], Field(examples=[{"percent": {"en": "The paper quotes whole percents."}}])] = (
        Field(default_factory=dict)
    )
    """Texts that several claims share, by name and language."""
    resolutions: Annotated[
        dict[Measured, Resolution], Field(examples=[{"accuracy": {"value": 0.02, "why": {"en": "Why."}}}])
    ] = Field(default_factory=dict)
    """The precision that verdicts on single runs need, by `accuracy`, `loss` or `epochs`; most papers need none."""
    claims: Annotated[list[Claim], Field(max_length=_MOST)] = Field(default_factory=list)
    """The statements of the paper."""
    findings: Annotated[
        list[Finding],
        Field(
            max_length=_MOST,
            examples=[[{"text": {"en": "Momentum helps."}, "verdict": "reproduced", "claims": ["fast-beats-slow"]}]],
        ),
    ] = []  # noqa: RUF012
    """Sentences for the top of the page. The first three whose verdicts hold are shown, completed with claims."""
    _name: str = PrivateAttr("")
    _configs: dict[str, Config] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _names(self) -> Paper:
        check("protocol", self.protocol, {})
        for name, values in self.configurations.items():
            check(f"configuration {name}", values, self.protocol)
        for name in {ALL, GRID} & self.figures.keys():
            raise ValueError(f"figures.{name}: must have another name: figure={name} is a sweep of every paper")
        for name in self.figures.keys() & set(DRAWN_ANYWAY):
            raise ValueError(f"figures.{name}: must have another name: every report has a picture {name}.png")
        for identifier, times in Counter(claim.id for claim in self.claims).items():
            if times > 1:
                raise ValueError(f"claim {identifier}: id: used {times} times; each claim needs its own")
        by_number: dict[str, str] = {}
        for name in self.figures:
            number = self.number(name)
            if by_number.setdefault(number, name) != name:
                raise ValueError(f"figures.{name}.number: {number} is {by_number[number]}'s too; give each its own")
        for name, figure in self.figures.items():
            _known(f"figures.{name}.rows", figure.rows, self.configurations)
        for nth, departure in enumerate(self.departs, 1):
            _known(f"depart {nth}: of", departure.of, self.configurations)
        for claim in self.claims:
            _known(f"claim {claim.id}: configuration", claim.sides, self.configurations)
            _known(f"claim {claim.id}: figure", [claim.figure] if claim.figure is not None else [], self.figures)
        for nth, finding in enumerate(self.findings, 1):
            _known(f"finding {nth}: claims", finding.claims, {claim.id: claim for claim in self.claims})
        for place, why in self._whys().items():
            _known(place, [why] if isinstance(why, str) else [], self.reasons)
        return self

    def _whys(self) -> dict[str, str | dict[str, str]]:
        """Return all reasons, by their place in the file."""
        whys = {f"claim {claim.id}: why": claim.why for claim in self.claims}
        whys |= {f"claim {one.id}: resolution.why": one.resolution.why for one in self.claims if one.resolution}
        return whys | {f"resolutions.{measure}.why": stated.why for measure, stated in self.resolutions.items()}

    @property
    def name(self) -> str:
        """Return the name of the paper's file without its extension."""
        return self._name

    @property
    def configs(self) -> Mapping[str, Config]:
        """Return the paper's configurations by name, as Hydra composes them with the default seed."""
        return self._configs

    @property
    def byline(self) -> str:
        """Return authors and year as one text."""
        return f"{', '.join(self.authors)}, {self.year}"

    @cached_property
    def _pinned(self) -> dict[str, Any]:
        """Return the values that the protocol fixes, by the keys of `identity`."""
        values = identity(next(iter(self._configs.values())))
        keys = [{"optimizer": "optimizer.name", **overrides.NUMBERS}.get(key, key) for key in self.protocol]
        return {key: value for key, value in values.items() if any(f"{key}.".startswith(f"{one}.") for one in keys)}

    def covers(self, config: Config) -> bool:
        """Return whether a run follows this paper's protocol."""
        return self._pinned.items() <= identity(config).items()

    def number(self, figure: str) -> str:
        """Return what the paper calls a figure, or else the number in a name like `fig2`, or else its name."""
        stated = self.figures[figure].number
        numbered = _NUMBERED.fullmatch(figure)
        return stated or (numbered[1] if numbered else figure)

    def prints_whole(self, figure: str) -> bool:
        """Return whether a figure's number already says what it is, as `Table 2` does and `2` does not."""
        stated = self.figures[figure].number
        return stated is not None and not _BARE.fullmatch(stated)

    def place(self, claim: Claim) -> str:
        """Return number and panel of a claim's figure, such as `2a` or `Table 2`; an empty string if it has none."""
        if claim.figure is None:
            return ""
        number = self.number(claim.figure)
        return f"{number}{claim.panel}" if number[-1].isdigit() else f"{number} {claim.panel}".rstrip()

    def why(self, claim: Claim) -> Mapping[str, str]:
        """Return the reason for a claim's tolerance or threshold, by language."""
        return self._text(claim.why)

    def resolution(self, claim: Claim) -> float | None:
        """Return the smallest detectable difference for a number of one run; None if the paper has to state one."""
        if claim.resolution:
            return claim.resolution.value
        stated = self.resolutions.get(measured(claim.reduce, claim.metric))
        epochs = self._configs[claim.of].training.epochs
        return resolution(claim.reduce, claim.metric, epochs, stated.value if stated else None)

    def resolution_why(self, claim: Claim) -> Mapping[str, str] | None:
        """Return the reason for a claim's resolution, by language; None if it is a default."""
        stated = claim.resolution or self.resolutions.get(measured(claim.reduce, claim.metric))
        return self._text(stated.why) if stated else None

    def _text(self, why: str | Mapping[str, str]) -> Mapping[str, str]:
        return self.reasons[why] if isinstance(why, str) else why

    def departures(self, sides: Iterable[str]) -> list[Departure]:
        """Return the departures that concern one of some configurations."""
        return [departure for departure in self.departs if not departure.of or not {*departure.of}.isdisjoint(sides)]

    def quotes(self, figure: str, row: str) -> list[tuple[Claim, int]]:
        """Return the numbers that the paper quotes for one row of a figure, each with its epoch.

        For a figure of kind final, they are the numbers of the values that it shows.
        """
        drawn, epochs = self.figures[figure], self._configs[row].training.epochs
        claims = [c for c in self.claims if (c.figure, c.of) == (figure, row) and c.is_number and c.metric in _CURVES]
        if drawn.kind == "final" and drawn.reduce != _LAST:
            return [(claim, epochs) for claim in claims if claim.reduce == drawn.reduce]
        marked = [(claim, epoch) for claim in claims if (epoch := claim.reduce.epoch(epochs)) is not None]
        return [(claim, epoch) for claim, epoch in marked if drawn.kind == "curves" or epoch == epochs]

    def tested(self, figure: str) -> bool:
        """Return whether the paper quotes a test metric from a figure."""
        return any(
            metric in TEST_MEASURES for claim in self.claims if claim.figure == figure for metric in claim.metrics
        )

    def require(self, language: str) -> None:
        """Raise `PaperError` if a text is missing in a language."""
        texts = {f"figures.{name}.title": figure.title for name, figure in self.figures.items()}
        texts |= {f"depart {nth}: text": departure.text for nth, departure in enumerate(self.departs, 1)}
        texts |= {f"finding {nth}: text": finding.text for nth, finding in enumerate(self.findings, 1)}
        texts |= {f"claim {claim.id}: statement": claim.statement for claim in self.claims}
        texts |= {place: dict(self._text(why)) for place, why in self._whys().items()}
        for place, text in texts.items():
            if language not in text:
                raise PaperError(f"{self.name}: {place}: has no text in {language}, only in {', '.join(text)}")

    def sweeps(self) -> dict[str, dict[str, dict[str, str]]]:
        """Return the sweeper's grids by name: one per figure, `paper` and `grid`.

        `paper` has every configuration that a figure or a claim names. `grid` has every combination of their values.
        """
        named = {name: figure.rows for name, figure in self.figures.items()}
        claimed = [side for claim in self.claims for side in claim.sides]
        named[ALL] = list(dict.fromkeys([*(row for rows in named.values() for row in rows), *claimed]))
        grids = {name: typed(values) for name, values in self._values().items()}
        sweeps = {name: {row: grids[row] for row in rows} for name, rows in named.items()}
        return {**sweeps, GRID: {GRID: product(list(grids.values()))}}

    def _values(self) -> dict[str, Values]:
        return {name: {**self.protocol, **values} for name, values in self.configurations.items()}


def find(name: str, loader: ConfigLoader) -> Path:
    """Return the file of an option of the group `paper`; `PaperError` lists the options if there is none."""
    options = loader.get_group_options("paper")
    for source in loader.get_search_path().get_path():
        path = Path(str(source.path).removeprefix("file://")) / "paper" / f"{name}.yaml"
        if name in options and path.is_file():
            return path
    own = f"; one of yours is paper/{name}.yaml in a folder that --config-dir names"
    raise PaperError(f"paper={name}: must be one of {', '.join(options)}{nearest(name, options) or own}")


def read(name_or_file: str, loader: ConfigLoader | None = None) -> Paper:
    """Read and check a paper; raise `PaperError` if it does not exist or has a mistake.

    Args:
        name_or_file: an option of the group `paper`, or the path of a YAML file.
        loader: the config loader that finds the options of each group. The default finds those of the package. For a
            file in a folder `paper`, it also finds those in the folder above, so a paper can use the options beside it.
    """
    register()
    given = Path(name_or_file).absolute() if name_or_file.endswith((".yaml", ".yml")) else None
    if loader is None:
        beside = given.parent.parent if given and given.parent.name == "paper" else None
        loader = hydra_private.config_loader(None if beside == CONFIG_FOLDER else beside)
    path = given or find(name_or_file, loader)
    try:
        paper = load(path, Paper)
        paper._configs.update(compose(paper._values(), loader))
    except ValueError as error:  # Python raises it for a number with too many digits to print
        raise PaperError(f"{path.name}: {error}") from error
    paper._name = path.stem
    for claim in paper.claims:
        for side in claim.sides:
            if misfit := claim.reduce.misfit(paper.configs[side].training.epochs):
                raise PaperError(f"{path.name}: claim {claim.id}: reduce: {claim.reduce.name}: {misfit} (of {side})")
            if problem := _unmeasured(claim, paper.configs[side]):
                raise PaperError(f"{path.name}: claim {claim.id}: {problem} (of {side})")
        if claim.is_tested:
            continue
        value, problem = paper.resolution(claim), None
        if value is None:
            problem = f"{claim.reduce.name} has no default"
        elif value <= (claim.expect.tolerance or 0):
            problem = f"{value:g} must be above the tolerance, or no run could be told from the number"
        if problem:
            where = f"{path.name}: claim {claim.id}: resolution"
            raise PaperError(f"{where}: {problem}; state it as {{value: ..., why: ...}}")
    return paper


def _unmeasured(claim: Claim, config: Config) -> str | None:
    """Explain why runs of a configuration do not measure a claim's test metric; return None if they do."""
    tests, validation = [metric for metric in claim.metrics if metric in TEST_MEASURES], config.data.validation
    if not tests or validation == "split":
        return None
    instead = {
        "test": f"with data.validation: test the test images validate, so claim {tests[0].replace('test', 'val')}",
        "holdout": "with data.validation: holdout the test images are used once, after the last epoch",
    }[validation]
    return f"{tests[0]} is measured after each epoch only with data.validation: split; {instead}"


def _known(place: str, names: list[str], there: Mapping[str, Any]) -> None:
    for name in names:
        if name not in there:
            allowed = ", ".join(there) or "none"
            raise ValueError(f"{place}: there is no {name!r}{nearest(name, there)}; allowed: {allowed}")
