"""The claims file: its format, read and checked; `claims.yaml` beside it holds the paper's claims."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import yaml

from fmnist_sweep.report.reductions import KINDS, REAL_PARAMETERS, Reduction
from fmnist_sweep.report.selection import GAPS, METRICS, Selection

LANGUAGES = ("en", "es")
ClaimKind = Literal["value", "shape", "comparison"]

_KEYS = ("id", "section", "figure", "quote", "statement", "kind", "of", "metric", "reduce", "expect", "why")
_REQUIRED_TYPES = {"optimizer": str, "batch_size": int, "dropout": float, "epochs": int}
_OPTIONAL_TYPES = {"hidden": str, "validation": str, "pixel_mean": float, "pixel_std": float}

T = TypeVar("T")


class ClaimsError(ValueError):
    """A claims file that cannot be used; the message is one line that names the claim and the key."""


@dataclass(frozen=True)
class Expectation:
    """What a claim expects of its quantity: a region from `low` to `high`, one end of which may be infinite.

    The ends of `value` ± tolerance belong to it; that of "above" or "below" does not.
    """

    value: float
    low: float
    high: float

    @property
    def is_about(self) -> bool:
        """Whether a value with a tolerance is expected, rather than a side of one."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def tolerance(self) -> float:
        """How far from `value` the region reaches."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        """Such as "0.35 ± 0.05", "> 0.4" or "< 0"."""
        if self.is_about:
            return f"{self.value:g} ± {self.tolerance:g}"
        return f"> {self.low:g}" if math.isfinite(self.low) else f"< {self.high:g}"


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, and the expression over the results that decides it.

    The quantity is `reduce` of `metric` of the runs that `of` selects; a comparison subtracts the same of
    `than`. `statement` and `why` (of the tolerance or threshold) are by language.
    """

    id: str
    section: str
    figure: str
    quote: str
    statement: Mapping[str, str]
    kind: ClaimKind
    of: Selection
    than: Selection | None
    metric: str
    reduce: Reduction
    expect: Expectation
    why: Mapping[str, str]

    @property
    def expression(self) -> str:
        """The quantity, in the claims file's own words."""
        minus = f" minus {self.than}" if self.than else ""
        return f"{self.reduce} of {self.metric}: {self.of}{minus}"


def load_claims(path: Path | None = None) -> list[Claim]:
    """Read a claims file, by default the package's own.

    Raises `ClaimsError` where the file cannot be read or does not follow the format that the default file
    explains.
    """
    source = resources.files(__package__) / "claims.yaml" if path is None else path
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ClaimsError(f"{source.name}, line {line}: not YAML: {error.problem}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ClaimsError(f"{source.name}: cannot be read: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ClaimsError(f"{source.name}: nested too deeply") from error
    return _parse_file(content, source.name)


def _parse_file(content: Any, name: str) -> list[Claim]:
    top = _mapping(content, name, required=("claims",), optional=("selections", "reasons"))
    selections = {
        key: _selection(value, f"{name}: selections: {key}")
        for key, value in _mapping(top.get("selections", {}), f"{name}: selections").items()
    }
    reasons = {
        key: _by_language(value, f"{name}: reasons: {key}")
        for key, value in _mapping(top.get("reasons", {}), f"{name}: reasons").items()
    }
    if not isinstance(top["claims"], list) or not top["claims"]:
        raise ClaimsError(f"{name}: claims: must be a list of at least one claim")
    claims: list[Claim] = []
    for number, entry in enumerate(top["claims"], 1):
        where = f"{name}: claim {number}"
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            where = f"{name}: claim {entry['id']}"
        claim = _claim(entry, where, selections, reasons)
        if any(claim.id == other.id for other in claims):
            raise ClaimsError(f"{where}: id: used twice; each claim needs its own")
        claims.append(claim)
    return claims


def _claim(
    entry: Any, where: str, selections: Mapping[str, Selection], reasons: Mapping[str, Mapping[str, str]]
) -> Claim:
    fields = _mapping(entry, where, required=_KEYS, optional=("than",))
    kind = _choice(fields["kind"], ("value", "shape", "comparison"), f"{where}: kind")
    if (kind == "comparison") != ("than" in fields):
        raise ClaimsError(f"{where}: than: a comparison needs it and no other kind takes it, and this is a {kind}")
    of = _named(fields["of"], f"{where}: of", selections, _selection)
    than = _named(fields["than"], f"{where}: than", selections, _selection) if "than" in fields else None
    reduce = _reduction(fields["reduce"], f"{where}: reduce")
    for selection in (of, than):
        misfit = reduce.misfit(selection.epochs) if selection else None
        if misfit:
            raise ClaimsError(f"{where}: reduce: {reduce.name}: {misfit} (of {selection})")
    return Claim(
        id=_text(fields["id"], f"{where}: id"),
        section=_text(fields["section"], f"{where}: section"),
        figure=_text(fields["figure"], f"{where}: figure", empty=True),
        quote=_text(fields["quote"], f"{where}: quote"),
        statement=_by_language(fields["statement"], f"{where}: statement"),
        kind=cast(ClaimKind, kind),
        of=of,
        than=than,
        metric=_choice(fields["metric"], (*METRICS, *GAPS), f"{where}: metric"),
        reduce=reduce,
        expect=_expectation(fields["expect"], f"{where}: expect"),
        why=_named(fields["why"], f"{where}: why", reasons, _by_language),
    )


def _selection(value: Any, where: str) -> Selection:
    given = _mapping(value, where, required=_REQUIRED_TYPES, optional=_OPTIONAL_TYPES)
    for key, entry in given.items():
        key_type = {**_REQUIRED_TYPES, **_OPTIONAL_TYPES}[key]
        if key_type is str:
            _text(entry, f"{where}: {key}")
        else:
            _number(entry, f"{where}: {key}", whole=key_type is int, least=1 if key_type is int else None)
    return Selection(**given)


def _reduction(value: Any, where: str) -> Reduction:
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        raise ClaimsError(f"{where}: must be one of {', '.join(KINDS)}, as in 'last' or '{{at: 1}}'")
    (name, given), *_ = value.items()
    kind = KINDS[_choice(name, KINDS, where)]
    where = f"{where}: {name}"
    if kind.shorthand and not isinstance(given, dict):
        given = {kind.shorthand: given}
    window = {"from", "to"}
    parameters = _mapping(
        given,
        where,
        required=[key for key in kind.parameters if key not in window],
        optional=[key for key in kind.parameters if key in window],
    )
    for key, entry in parameters.items():
        _number(entry, f"{where}: {key}", whole=key not in REAL_PARAMETERS, least=None)
    return Reduction(name, parameters)


def _expectation(value: Any, where: str) -> Expectation:
    fields = _mapping(value, where, optional=("about", "tolerance", "above", "below"))
    numbers = {key: _number(entry, f"{where}: {key}", least=None) for key, entry in fields.items()}
    if numbers.keys() == {"about", "tolerance"}:
        if numbers["tolerance"] <= 0:
            raise ClaimsError(f"{where}: tolerance: must be above 0, not {numbers['tolerance']:g}")
        about, tolerance = numbers["about"], numbers["tolerance"]
        # Rounded so that 0.36 lies within 0.35 ± 0.01, which binary fractions would deny.
        return Expectation(about, round(about - tolerance, 12), round(about + tolerance, 12))
    if numbers.keys() == {"above"}:
        return Expectation(numbers["above"], numbers["above"], math.inf)
    if numbers.keys() == {"below"}:
        return Expectation(numbers["below"], -math.inf, numbers["below"])
    raise ClaimsError(f"{where}: must hold either about and tolerance, or above, or below")


def _named(value: Any, where: str, named: Mapping[str, T], parse: Callable[[Any, str], T]) -> T:
    """A thing written out in place, or the name of one at the top of the file."""
    return named[_choice(value, named, where)] if isinstance(value, str) else parse(value, where)


def _by_language(value: Any, where: str) -> Mapping[str, str]:
    texts = _mapping(value, where, required=LANGUAGES)
    return {language: _text(texts[language], f"{where}: {language}") for language in LANGUAGES}


def _mapping(
    value: Any, where: str, required: Iterable[str] = (), optional: Iterable[str] | None = None
) -> dict[str, Any]:
    """Check that a value is a mapping with these keys; without either, with any keys that are text."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ClaimsError(f"{where}: must be a mapping (key: value), not {value!r:.60}")
    required = tuple(required)
    if required or optional is not None:
        for key in value:
            _choice(key, (*required, *(optional or ())), where, "unknown key")
    missing = [key for key in required if key not in value]
    if missing:
        raise ClaimsError(f"{where}: {missing[0]}: missing")
    return value


def _choice(value: Any, allowed: Iterable[str], where: str, problem: str = "unknown") -> str:
    allowed = list(allowed)
    if isinstance(value, str) and value in allowed:
        return value
    nearest = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise ClaimsError(f"{where}: {problem} {value!r:.60}; {hint}allowed: {', '.join(allowed) or 'nothing'}")


def _text(value: Any, where: str, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value.strip() or empty):
        raise ClaimsError(f"{where}: must be text (in quotes if it looks like a number), not {value!r:.60}")
    return value


def _number(value: Any, where: str, whole: bool = False, least: float | None = 0) -> float:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not abs(value) < 1e12:
        raise ClaimsError(f"{where}: must be a {'whole ' if whole else ''}number, not {value!r:.60}")
    if least is not None and value < least:
        raise ClaimsError(f"{where}: must be at least {least:g}, not {value:g}")
    return value
