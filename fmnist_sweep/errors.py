"""Errors that a user can mend: one line that says what is wrong, what is allowed and what to do."""

import difflib
import re
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

# What OmegaConf says of a value of the wrong type, and what the user must give instead.
_WRONG_TYPES = {
    r"could not be converted to Integer": "a whole number",
    r"could not be converted to Float": "a number",
    r"could not be converted to Boolean|is not a valid bool": "true or false",
    r"is not a ListConfig": "a list, such as [128,64]",
    r"is not Optional": "given: null is not allowed",
}


class ConfigError(ValueError):
    """A value in the configuration that cannot be used."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the known word nearest to this one, or nothing where none is near."""
    spellings = {option.lower(): option for option in known}
    same_end = [option for option in spellings if option.endswith(f".{word.lower()}")]
    matches = same_end or difflib.get_close_matches(word.lower(), spellings, n=1)
    return f"; did you mean {spellings[matches[0]]}?" if matches else ""


def first_problem(error: ValidationError, allowed: Sequence[str] = ()) -> str:
    """The first thing that a schema does not accept, in one line: place, value, what is allowed.

    Of the `allowed` keys, the nearest is suggested.
    """
    problem = error.errors(include_url=False)[0]
    place = ".".join(map(str, problem["loc"]))
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{place}: there is no such key{nearest(place, allowed)}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{place}: is missing"
    message = problem["msg"].removeprefix("Value error, ").replace("a valid ", "a ", 1)
    message = re.sub(r"^\w+ should|( after validation, not \d+)$", lambda m: "" if m[1] else "must", message)
    if problem["type"] == "value_error":
        return f"{place}: {message}" if place else message
    return f"{place}={problem['input']!s:.60}: {message}"


def count(number: int, noun: str) -> str:
    """A number with its noun, as in `1 run` and `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class RunError(RuntimeError):
    """A run that did not end well; what it left is in its directory."""


def reason(error: BaseException) -> str:
    """What an error and its causes say, in one line."""
    chain = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        if isinstance(link, ConfigError | RunError):
            return str(link)
        chain.append(link)
        link = link.__cause__ or link.__context__
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    # Hydra says which override, OmegaConf (its cause) says what is wrong with it.
    firsts = [
        str(link).splitlines()[0].rstrip(".").removeprefix("Error merging override ") for link in chain if str(link)
    ]
    for pattern, allowed in _WRONG_TYPES.items():
        if re.search(pattern, " ".join(firsts)):
            return f"{firsts[0]}: must be {allowed}"
    if not firsts:
        return f"{type(error).__name__}; HYDRA_FULL_ERROR=1 shows where"
    return ": ".join(dict.fromkeys(firsts[:2]))
