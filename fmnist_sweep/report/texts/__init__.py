"""All words that a reader of the report sees: a YAML file for each language, and `Texts`, which reads one of them."""

import functools
from collections.abc import Iterable, Mapping
from importlib import resources
from itertools import groupby
from typing import Any

import pandas as pd
import yaml

from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.settings import settings, varied
from fmnist_sweep.papers.reductions import Reduction

LANGUAGES = ("en", "es")
OPTIMIZER = "optimizer"  # the key of a configuration's first phrase


class Texts:
    """The texts in one of `LANGUAGES`."""

    def __init__(self, language: str):
        self.language = language
        self._texts = _read(language)
        self.classes: list[str] = self._texts["classes"]
        self.definitions: list[dict[str, Any]] = self._texts["definitions"]
        self.plotly: dict[str, str] = self._texts["plotly"]

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key such as `figures.loss` (section and name), with its fields filled from `values`."""
        section, _, name = key.partition(".")
        text: str = self._texts[section][name]
        return text.format(**values)

    def level(self, factor: str, value: Any) -> str:
        """Describe a level of a factor in words, as `batch 100`, `SGD` or, for an optimizer's argument, `lr 0.01`."""
        shown = f"{value:g}" if isinstance(value, float) else value
        argument = factor.removeprefix("optimizer.")
        return f"{argument} {shown}" if argument != factor else self(f"levels.{factor}", value=shown)

    def factor(self, factor: str) -> str:
        """Name a factor in words, as `Batch size`. An optimizer's argument has torch's name for it."""
        named = factor in self._texts["factors"]
        return self(f"factors.{factor}") if named else factor.removeprefix("optimizer.")

    def configuration(self, values: Mapping[str, Any], factors: Iterable[str]) -> str:
        """Describe a configuration in words: its level of each of `factors`, separated by commas.

        An argument that its optimizer does not have is left out.
        """
        return ", ".join(self.level(factor, values[factor]) for factor in factors if not pd.isna(values[factor]))

    def phrases(self, configs: Mapping[str, Config]) -> dict[str, dict[str, str]]:
        """Describe each configuration in words, by keys of `settings`: the optimizer, and all keys that differ."""
        every = {name: settings(config) for name, config in configs.items()}
        keys = list(dict.fromkeys([OPTIMIZER, *varied(list(every.values()))]))
        return {
            name: {key: self._phrase(key, values[key]) for key in keys if key in values}
            for name, values in every.items()
        }

    def metric(self, metric: str) -> str:
        """Describe a metric of a claim in words, as `validation loss`."""
        if metric == "epoch":
            return self("page.epoch_number")
        first, *rest = (self(f"page.{name}") for name in metric.split(" - "))
        return self("page.difference", first=first, second=rest[0]) if rest else first

    def reduction(self, reduce: Reduction) -> str:
        """Describe a reduction in words, as `mean of the last 5 epochs`."""
        values = dict(reduce.parameters)
        window = {key: values.pop(key) for key in ("from", "to") if key in values}
        said = {"first": window.get("from"), "last": window.get("to")}
        values["window"] = self(f"page.{'_'.join(['window', *window])}", **said) if window else ""
        key = reduce.name
        if reduce.chooser:
            values["of"] = self.metric(reduce.chooser)
            delta = values.pop("min_delta", 0)
            values["delta"] = self("page.min_delta", value=delta) if delta else ""
            if "tol" in values:
                values["delta"] = self("page.tol", value=values.pop("tol"))
            key += "_with_patience" if reduce.name == "at_best" and "patience" in values else ""
        return self(f"page.reduce_{key}", **values)

    def _phrase(self, key: str, value: Any) -> str:
        return self.level(
            key, "-".join(map(str, value)) if isinstance(value, list) else "null" if value is None else value
        )


def sentence(words: str) -> str:
    """Return `words` with a capital first letter."""
    return words[:1].upper() + words[1:]


def inner(words: str) -> str:
    """Return `words` with a small first letter, as they stand within a sentence."""
    return words[:1].lower() + words[1:]


def ranges(numbers: Iterable[int]) -> str:
    """Format whole numbers as `0-4, 7`, with an en dash for each range."""
    parts = [[n for _, n in run] for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{part[0]}\N{EN DASH}{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


@functools.cache
def _read(language: str) -> dict[str, Any]:
    content = (resources.files(__package__) / f"{language}.yaml").read_text(encoding="utf-8")
    texts: dict[str, Any] = yaml.safe_load(content)
    return texts
