"""Errors that a user can fix. Each message says in one line what is wrong, what is allowed and what to do."""

import difflib
import re
from collections.abc import Iterable, Sequence

from pydantic import ValidationError


class UserError(Exception):
    """An error that a user can fix. IPython and Jupyter show its message without a traceback."""

    def _render_traceback_(self) -> list[str]:  # IPython's hook
        return [f"{type(self).__name__}: {self}"]


class ConfigError(UserError, ValueError):
    """A value in the configuration is invalid."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the known word most similar to `word`, or "" if none is similar."""
    spellings = {option.lower(): option for option in known}
    same_end = [option for option in spellings if option.endswith(f".{word.lower()}")]
    matches = same_end or difflib.get_close_matches(word.lower(), spellings, n=1)
    return f"; did you mean {spellings[matches[0]]}?" if matches else ""


def first_problem(error: ValidationError, allowed: Sequence[str] = ()) -> str:
    """Return the first problem of a validation error in one line: the key, its value, and the allowed values.

    For an unknown key, suggest the most similar of the `allowed` keys.
    """
    problem = error.errors(include_url=False)[0]
    place = ".".join(map(str, problem["loc"]))
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{place}: there is no such key{nearest(place, allowed)}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{place}: is missing"
    message = problem["msg"].removeprefix("Value error, ").replace("a valid ", "a ", 1)
    message = message.replace("a integer", "a whole number").replace("dictionary", "mapping")
    message = re.sub(r"^\w+ should|( after validation, not \d+)$", lambda m: "" if m[1] else "must", message)
    if problem["type"] == "value_error":
        return f"{place}: {message}" if place else message
    return f"{place}={problem['input']!s:.60}: {message}"


def count(number: int, noun: str) -> str:
    """Format a number with its noun, as in `1 run` and `2,000 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class RunError(UserError, RuntimeError):
    """A run failed; its directory keeps the files that it wrote."""


def one_line(text: str, limit: int = 200) -> str:
    """Fit `text` in one line of a terminal or table: escape unprintable characters and cut it to `limit` characters."""
    start = text[: limit + 1]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in start)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
