"""Every word a reader of the report sees, in each language: one YAML file a language, one object bound to it."""

import functools
from collections.abc import Iterable, Mapping
from importlib import resources
from itertools import groupby
from typing import Any

import yaml

from fmnist_sweep.config.schema import Config, identity

LANGUAGES = ("en", "es")
OPTIMIZER = "optimizer.name"  # the first of a configuration's phrases


class Texts:
    """The texts of one of `LANGUAGES`."""

    def __init__(self, language: str):
        self.language = language
        self._texts = _read(language)
        self.classes: list[str] = self._texts["classes"]
        self.definitions: list[dict[str, str]] = self._texts["definitions"]

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key such as `figures.loss` (section and name), its fields filled with `values`."""
        section, _, name = key.partition(".")
        text: str = self._texts[section][name]
        return text.format(**values)

    def level(self, factor: str, value: Any) -> str:
        """One level of a factor in words, as `batch 100` or `SGD`."""
        return self(f"levels.{factor}", value=value)

    def configuration(self, values: Mapping[str, Any], factors: Iterable[str]) -> str:
        """A configuration in words: its level of each of `factors`, with commas."""
        return ", ".join(self.level(factor, values[factor]) for factor in factors)

    def phrases(self, configs: Mapping[str, Config]) -> dict[str, dict[str, str]]:
        """Each configuration in words, by keys of `identity`: its optimizer's class, and all in which they differ.

        Arguments of optimizers count where they differ between optimizers of one class.
        """
        every = {name: identity(config) for name, config in configs.items()}
        keys = [OPTIMIZER]
        for key in dict.fromkeys(key for values in every.values() for key in values if key != OPTIMIZER):
            of_class = key.startswith("optimizer.")
            having = [values for values in every.values() if key in values]
            seen = {(values[OPTIMIZER] if of_class else "", str(values[key])) for values in having}
            if len(seen) > len({name for name, _ in seen}):
                keys.append(key)
        return {
            name: {key: self._phrase(key, values[key]) for key in keys if key in values}
            for name, values in every.items()
        }

    def _phrase(self, key: str, value: Any) -> str:
        section, _, argument = key.partition(".")
        if key == OPTIMIZER:
            return str(value)
        if section == "optimizer":
            return f"{argument} {value}"
        return self.level(key, "-".join(map(str, value)) if isinstance(value, list) else value)


def sentence(words: str) -> str:
    """`words` with a capital first letter."""
    return words[:1].upper() + words[1:]


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers as `0-4, 7`, with the dash of ranges."""
    parts = [[n for _, n in run] for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{part[0]}\N{EN DASH}{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


@functools.cache
def _read(language: str) -> dict[str, Any]:
    content = (resources.files(__package__) / f"{language}.yaml").read_text(encoding="utf-8")
    texts: dict[str, Any] = yaml.safe_load(content)
    return texts
