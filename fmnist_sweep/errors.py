"""Errors that a user can mend: one line that says what is wrong, what is allowed and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

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


def one_of(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise `ConfigError` unless the value is among those allowed."""
    words = ["null" if option is None else str(option) for option in allowed]
    if ("null" if value is None else value) not in words:
        raise ConfigError(f"{name}={value}: must be one of {', '.join(words)}{nearest(str(value), words)}")


class RunError(RuntimeError):
    """A run that did not end well; what it left is in its directory."""


def one_line(error: BaseException) -> str:
    """What an error and its causes say, in one line."""
    chain = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        if isinstance(link, ConfigError | RunError):
            return str(link)
        chain.append(link)
        link = link.__cause__ or link.__context__
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; choose another folder with hydra.sweep.dir=FOLDER"
    # Hydra says which override, OmegaConf (its cause) says what is wrong with it.
    firsts = [
        str(link).splitlines()[0].rstrip(".").removeprefix("Error merging override ") for link in chain if str(link)
    ]
    for pattern, allowed in _WRONG_TYPES.items():
        if re.search(pattern, " ".join(firsts)):
            return f"{firsts[0]}: must be {allowed}"
    return ": ".join(dict.fromkeys(firsts[:2])) or type(error).__name__
