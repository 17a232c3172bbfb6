"""Explain every key of the configuration with the comments of conf/, which are the one source of these words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fmnist_sweep.config.schema import CONFIG_FOLDER
from fmnist_sweep.config.settings import SHORT

_LINE = re.compile(r"(?P<indent> *)(?P<group>- )?(?P<key>[\w]+):(?: (?P<value>.*?))?(?:\s+# (?P<words>.*))?")
_LEFT, _WIDTH = 38, 118  # columns of the key, and of the whole text


class Key(NamedTuple):
    """A key, its default as it is typed, and what it means."""

    name: str
    default: str
    words: str


def keys() -> list[Key]:
    """Return the keys of conf/config.yaml, and those of each tracker, with their comments."""
    found = list(_keys_of(CONFIG_FOLDER / "config.yaml"))
    for path in sorted((CONFIG_FOLDER / "tracker").glob("*.yaml")):
        found += [key._replace(name=f"tracker.{path.stem}.{key.name}") for key in _keys_of(path)]
    return found


def _keys_of(path: Path) -> Iterator[Key]:
    """Yield the keys of a file. A key without a comment of its own is part of the one above it."""
    sections: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line == "hydra:":
            return  # Hydra's own settings, which --hydra-help explains
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            continue
        indent = len(match["indent"])
        sections = [section for section in sections if section[0] < indent and not match["group"]]
        name = ".".join([*(section for _, section in sections), match["key"]])
        if match["value"]:
            if match["words"]:
                yield Key(SHORT.get(name, name), match["value"].strip('"').replace(", ", ","), match["words"])
        else:
            sections.append((indent, match["key"]))


def text() -> str:
    """Return the keys as a text of two columns, for the template of --help."""
    lines = []
    for key in keys():
        left = f"  {key.name}={key.default}"
        words = textwrap.wrap(key.words, _WIDTH - _LEFT, break_on_hyphens=False)
        if len(left) >= _LEFT:
            lines.append(left)
            left = ""
        lines += [f"{first:{_LEFT}}{line}" for first, line in zip([left, *[""] * len(words)], words, strict=False)]
    return "\n".join(lines).replace("$", "$$")  # Hydra's help is a string.Template: a lone $ would name a variable
