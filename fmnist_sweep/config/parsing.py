"""Parse overrides as typed, and suggest a correction for a wrong one."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from fmnist_sweep.errors import ConfigError

# First words of the parser's grammar messages, which are about tokens and would not help a user.
_OF_GRAMMAR = (
    "LexerNoViable",
    "mismatched input",
    "extraneous input",
    "no viable alternative",
    "token recog",
    "missing ",
)


def parse(arguments: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Parse overrides. Raise `ConfigError` for a wrong one; it says what is wrong and what to write instead."""
    parser = OverridesParser.create(loader)
    parsed = []
    for line in arguments:
        try:
            parsed += parser.parse_overrides([line])
            if not parsed[-1].key_or_group:
                raise ValueError
        # Hydra's parser does not catch some Python errors, for example for `range(a,b)`.
        except (HydraException, ValueError, TypeError, AssertionError) as error:
            raise ConfigError(f"{line or repr(line)}: {_mistake(line, parser, error)}") from error
    return parsed


def _mistake(line: str, parser: OverridesParser, error: Exception) -> str:
    key, equals, value = line.partition("=")
    if control := next((char for char in line if not char.isprintable()), None):
        what = (
            "carriage return, as lines of a file made on Windows end with" if control == "\r" else "control character"
        )
        return f"holds a {what}; take it out"
    if key == "" or (not equals and not line.startswith("~")):
        return "overrides are written key=value, several values key=a,b"
    if value.startswith("~"):
        return f"the shell expands ~ only at the start of a word; write {key}=$HOME{value[1:]}"
    if line != line.strip() or key != key.strip():
        return f"has a space beside the key; write {key.strip()}={value.strip()}"
    if value.rstrip().endswith(",") or value.startswith(",") or ",," in value:
        return f"a value is missing beside a comma; several values are written without spaces, as in {key}=a,b"
    for opening, closing in ("[]", "{}", "()"):
        if value.count(opening) != value.count(closing):
            return f"{opening} and {closing} do not match; quote the argument if the shell splits it"
    for mark in "'\"":
        if value.count(mark) % 2:
            return f"a quote {mark} is not closed; the shell takes quotes away, so write \"{key}='...'\""
    said = [text for text in str(error).splitlines() if text.strip()]
    said = [text for text in said if not text.startswith(("Error parsing override", "See https", *_OF_GRAMMAR))]
    if said and not set(said[0]) <= {" ", "^"}:
        return f"{said[0].partition(': ')[2] or said[0]}; overrides are written key=value, several values key=a,b"
    try:
        parser.parse_overrides([quoted := f"{key}='{value}'"])
    except HydraException:
        return "overrides are written key=value, several values key=a,b"
    return f'contains a special character; write "{quoted}"'
