"""Errors that a user can mend: one line that says what is wrong, what is allowed and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_TYPES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}  # OmegaConf's names, in words


class ConfigError(ValueError):
    """A value in the configuration that cannot be used."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the known word nearest to this one, or nothing where none is near."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


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
    wrong_type = re.search(r"could not be converted to (\w+)", " ".join(firsts))
    if wrong_type and wrong_type[1] in _TYPES:
        return f"{firsts[0]}: must be {_TYPES[wrong_type[1]]}"
    return ": ".join(dict.fromkeys(firsts[:2])) or type(error).__name__
