"""Read and check a paper: one YAML file with its protocol, configurations, figures and claims.

`conf/paper/caprari2024.yaml` explains the format. An error message is one line: the place, the problem and what is
allowed. Configurations are written as on the command line and composed by Hydra, so they mean the same in both places.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra.core.config_loader import ConfigLoader
from pydantic import Field, PrivateAttr, model_validator

from fmnist_sweep.config import hydra_private, overrides
from fmnist_sweep.config.compose import register
from fmnist_sweep.config.identity import identity
from fmnist_sweep.config.schema import CONFIG_FOLDER, Config
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import ConfigError, nearest, one_line
from fmnist_sweep.papers.claims import LANGUAGE, Claim, Name, Resolution, Text, Words
from fmnist_sweep.papers.configurations import Values, check, compose, product, typed
from fmnist_sweep.papers.single_runs import Measured, measured, resolution
from fmnist_sweep.papers.yaml_file import Plain, load

DEFAULT = "caprari2024"
ALL, GRID = "paper", "grid"  # sweeps that every paper has in addition to its figures
_MOST = 1000  # configurations, figures or claims of one paper
_Measure = Literal["loss", "accuracy"]
_NUMBERED = re.compile(r"(?:fig|figure|figura|exp|experiment|experimento)[-_]?0*(\d+)")


class PaperError(ConfigError):
    """Raised for a paper that cannot be found or has a mistake; the message is one line that names the place."""

    def __init__(self, message: str):
        super().__init__(one_line(message, 500))


class Figure(Plain):
    """A figure of a paper.

    Attributes:
        kind: `curves` draws a row of panels for each configuration. `final` draws the final values of all
            configurations side by side.
        rows: names of configurations.
        training: the metric of the training curve: `evaluation`, measured after each epoch with dropout off, or
            `running`, taken from the batches as they are trained.
        measures: the measures shown, from left to right.
        number: the figure's number in the paper, if its name in the file does not give it; see `Paper.number`.
    """

    title: Text
    kind: Literal["curves", "final"] = "curves"
    rows: Annotated[list[str], Field(min_length=1, max_length=26)]
    training: Literal["evaluation", "running"] = "evaluation"
    measures: Annotated[list[_Measure], Field(min_length=1, max_length=2)] = ["loss", "accuracy"]  # noqa: RUF012
    number: int | Words | None = None

    @property
    def curve(self) -> str:
        """Return the prefix of the training curve's metrics: `train` or `running`."""
        return "running" if self.training == "running" else "train"


class Paper(Plain):
    """A paper: the models it trains, its figures and its claims.

    Attributes:
        protocol: configuration values that all runs of the paper share.
        configurations: what the paper trains, by name; `protocol` adds the shared values.
        resolutions: for all claims of a measure that state none of their own.
    """

    title: Words
    authors: Annotated[list[Words], Field(min_length=1)]
    year: Annotated[int, Field(ge=1000, le=9999)]
    link: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    language: Annotated[str, Field(pattern=LANGUAGE)]
    protocol: Values = Field(default_factory=dict)
    configurations: Annotated[dict[Name, Values], Field(min_length=1, max_length=_MOST)]
    figures: dict[Annotated[str, Field(pattern=r"^[a-z]\w*$")], Figure] = Field(default_factory=dict, max_length=_MOST)
    reasons: dict[str, Text] = Field(default_factory=dict)
    resolutions: dict[Measured, Resolution] = Field(default_factory=dict)
    claims: list[Claim] = Field(default_factory=list, max_length=_MOST)
    _name: str = PrivateAttr("")
    _configs: dict[str, Config] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _names(self) -> Paper:
        check("protocol", self.protocol, {})
        for name, values in self.configurations.items():
            check(f"configuration {name}", values, self.protocol)
        for name in {ALL, GRID} & self.figures.keys():
            raise ValueError(f"figures.{name}: must have another name: figure={name} is a sweep of every paper")
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
        for claim in self.claims:
            _known(f"claim {claim.id}: configuration", claim.sides, self.configurations)
            _known(f"claim {claim.id}: figure", [claim.figure] if claim.figure is not None else [], self.figures)
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
        """Return a figure's number: the stated one, else the one in a name like `fig2` or `exp3`, else its name."""
        stated = self.figures[figure].number
        numbered = _NUMBERED.fullmatch(figure)
        return str(stated) if stated is not None else numbered[1] if numbered else figure

    def place(self, claim: Claim) -> str:
        """Return number and panel of a claim's figure, such as `2a`; an empty string if no figure shows it."""
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

    def quotes(self, figure: str, row: str) -> list[tuple[Claim, int]]:
        """Return the numbers that the paper quotes for one row of a figure, each with its epoch."""
        epochs = self._configs[row].training.epochs
        claims = [c for c in self.claims if (c.figure, c.of) == (figure, row) and c.is_number and c.metric in MEASURES]
        return [(claim, epoch) for claim in claims if (epoch := claim.reduce.epoch(epochs)) is not None]

    def require(self, language: str) -> None:
        """Raise `PaperError` if a text is missing in a language."""
        texts = {f"figures.{name}.title": figure.title for name, figure in self.figures.items()}
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
    raise PaperError(f"paper={name}: must be one of {', '.join(options)}{nearest(name, options)}")


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


def _known(place: str, names: list[str], there: Mapping[str, Any]) -> None:
    for name in names:
        if name not in there:
            allowed = ", ".join(there) or "none"
            raise ValueError(f"{place}: there is no {name!r}{nearest(name, there)}; allowed: {allowed}")
