"""Read the space of a search from overrides that Hydra has parsed.

Overrides have the same meaning as in hydra-optuna-sweeper: a list of values is a choice, `range(1,5)` and
`int(interval(1,5))` are integers, `interval(0,1)` are real numbers, and `tag(log,...)` makes an interval logarithmic.

An argument that some of the searched optimizers do not take is a conditional key: only trials with the others have it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Transformer,
)
from optuna import Study, Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from fmnist_sweep.errors import ConfigError

Params = Mapping[str, Any]  # a trial's values by key
Takes = Callable[[str, str, str], bool]
"""Returns whether a value of a key, such as `optimizer=sgd`, makes another key valid, such as `optimizer.momentum`."""

_CHOOSERS = ("optimizer", "optimizer.name")  # these keys say which others are valid; the last one that is searched does


@dataclass(frozen=True)
class Space:
    """The keys to search, and the fixed overrides.

    Attributes:
        distributions: Optuna's distribution for each key.
        fixed: overrides that every job has, unless their key is in `only`.
        keys: each key as written in overrides, such as `++optimizer.lr`.
        choices: for each key, its choices as written in overrides; empty for a numeric range.
        chooser: the key whose value says if a conditional key is there.
        only: for each conditional key, searched or fixed, the values of `chooser` with which it is there.
    """

    distributions: dict[str, BaseDistribution]
    fixed: dict[str, str]
    keys: dict[str, str]
    choices: dict[str, dict[Any, str]]
    chooser: str = ""
    only: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, overrides: Sequence[Override], takes: Takes | None = None) -> Space:
        """Read a space. Raise `ConfigError` if an override cannot be searched or there is nothing to search.

        Args:
            overrides: the overrides.
            takes: says which arguments the choices of an optimizer take; None if no key is conditional.
        """
        distributions: dict[str, BaseDistribution] = {}
        fixed, keys = {}, {}
        choices: dict[str, dict[Any, str]] = {}
        for override in overrides:
            key = override.get_key_element()
            name = key.lstrip("+")
            if not override.is_sweep_override():
                fixed[name] = str(override.input_line)
                continue
            if name == "seed":
                raise ConfigError(
                    f"{override.input_line}: a search over seeds would pick the luckiest; "
                    "give one seed, or seeds=N for a mean"
                )
            keys[name] = key
            distributions[name] = _distribution(override, choices.setdefault(name, {}))
        if not keys:
            raise ConfigError("nothing to search: give a key several values or an interval, as in key=interval(0,1)")
        chooser = next((key for key in reversed(_CHOOSERS) if choices.get(key)), "")
        only: dict[str, list[Any]] = {}
        if chooser and takes is not None:
            for name in (*keys, *fixed):
                if name.startswith("optimizer.") and name not in _CHOOSERS:
                    with_it = [value for value in choices[chooser] if takes(chooser, str(value), name)]
                    # If no choice takes it, every job gets it, so that the check of the jobs refuses it.
                    if with_it and len(with_it) < len(choices[chooser]):
                        only[name] = with_it
        # A conditional key is sampled when its condition is known.
        ordered = sorted(distributions, key=lambda name: name in only)
        return cls({name: distributions[name] for name in ordered}, fixed, keys, choices, chooser, only)

    def ask(self, study: Study) -> Trial:
        """Ask a study for a trial, and sample the keys that it has."""
        trial = study.ask({name: one for name, one in self.distributions.items() if name not in self.only})
        there = self._there(trial.params)
        for name, distribution in self.distributions.items():  # always in this order: each takes random numbers
            if name in self.only and name in there:
                _suggest(trial, name, distribution)
        return trial

    def _there(self, params: Params) -> set[str]:
        """Return the keys, searched or fixed, that a trial has with these values."""
        absent = {name for name, values in self.only.items() if params[self.chooser] not in values}
        return {*self.keys, *self.fixed} - absent

    def overrides(self, params: Params) -> list[str]:
        """Return the overrides for a job of a trial with these values."""
        there = self._there(params)
        texts = {name: self.choices[name].get(value) or repr(value) for name, value in params.items() if name in there}
        fixed = [line for name, line in self.fixed.items() if name in there]
        return [*fixed, *(f"{self.keys[name]}={text}" for name, text in texts.items())]

    def corners(self) -> Iterator[list[str]]:
        """Yield one job for each choice and each interval end of each key; other keys keep their first value.

        Where a conditional key is at an end, the key on which it depends has the first value that allows it.
        """
        ends = {name: _ends(distribution) for name, distribution in self.distributions.items()}
        first = {name: values[0] for name, values in ends.items()}
        for name, values in ends.items():
            allowed = {self.chooser: self.only[name][0]} if name in self.only else {}
            yield from (self.overrides({**first, **allowed, name: value}) for value in values)

    def described(self) -> dict[str, Any]:
        """Return the distributions and conditions as plain values, which are equal for equal spaces."""
        described = {name: json.loads(distribution_to_json(one)) for name, one in sorted(self.distributions.items())}
        for name in self.only.keys() & described.keys():
            described[name]["only"] = {self.chooser: self.only[name]}
        return described


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    """Sample a value of a key for a trial."""
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)
        return
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, log = distribution.low, distribution.high, distribution.log
    if isinstance(distribution, IntDistribution):
        trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=log)
    else:
        trial.suggest_float(name, low, high, step=distribution.step, log=log)


def _distribution(override: Override, choices: dict[Any, str]) -> BaseDistribution:
    """Return the distribution of an override. If it is a choice, add its values as written to `choices`."""
    sweep, line = override.value(), override.input_line
    log = _is_log(sweep, line)
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        assert low is not None and high is not None
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ConfigError(f"{line}: an interval must begin below its end, as in interval(0,1)")
        if log and low <= 0:
            raise ConfigError(f"{line}: a logarithmic interval must begin above 0, as in tag(log,interval(1e-4,1))")
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(low, high, log=log)
    if log:
        raise ConfigError(f"{line}: only an interval can be logarithmic, as in tag(log,interval(1e-4,1))")
    values: list[Any] = sweep.list if isinstance(sweep, ChoiceSweep) else list(override.sweep_iterator())
    if not values:
        raise ConfigError(f"{line}: has no values; give one at least")
    if isinstance(sweep, RangeSweep):
        least, greatest, step = min(values), max(values), abs(sweep.step)
        if all(isinstance(value, int) for value in values):
            return IntDistribution(least, greatest, step=int(step))
        return FloatDistribution(least, greatest, step=float(step))
    choices |= {_plain(value): Transformer.str(value) for value in values}
    return CategoricalDistribution(list(choices))


def _is_log(sweep: Any, line: str | None) -> bool:
    for tag in getattr(sweep, "tags", ()):
        if tag != "log":
            raise ConfigError(f"{line}: there is no tag {tag}; allowed: log")
    return bool(getattr(sweep, "tags", ()))


def _plain(value: Any) -> str | int | float | bool:
    """Return a choice as the storage holds it: a number, a boolean, or the typed text without quotes."""
    if isinstance(value, QuotedString):
        return value.text
    return value if isinstance(value, str | int | float) else Transformer.str(value)


def _ends(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]
