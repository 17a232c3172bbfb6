"""Read the space of a search from overrides that Hydra has parsed.

Overrides have the same meaning as in hydra-optuna-sweeper: a list of values is a choice, `range(1,5)` and
`int(interval(1,5))` are integers, `interval(0,1)` are real numbers, and `tag(log,...)` makes an interval logarithmic.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Transformer,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from fmnist_sweep.errors import ConfigError

Params = Mapping[str, Any]  # a trial's values by key


@dataclass(frozen=True)
class Space:
    """The keys to search, and the fixed overrides.

    Attributes:
        distributions: Optuna's distribution for each key.
        fixed: overrides that every job has.
        keys: each key as written in overrides, such as `++optimizer.lr`.
        choices: for each key, its choices as written in overrides; empty for a numeric range.
    """

    distributions: dict[str, BaseDistribution]
    fixed: list[str]
    keys: dict[str, str]
    choices: dict[str, dict[Any, str]]

    @classmethod
    def of(cls, overrides: Sequence[Override]) -> Space:
        """Read a space. Raise `ConfigError` if an override cannot be searched or there is nothing to search."""
        space = cls({}, [], {}, {})
        for override in overrides:
            if not override.is_sweep_override():
                space.fixed.append(str(override.input_line))
                continue
            key = override.get_key_element()
            name = key.lstrip("+")
            if name == "seed":
                raise ConfigError(
                    f"{override.input_line}: a search over seeds would pick the luckiest; "
                    "give one seed, or seeds=N for a mean"
                )
            space.keys[name] = key
            space.distributions[name] = _distribution(override, space.choices.setdefault(name, {}))
        if not space.keys:
            raise ConfigError("nothing to search: give a key several values or an interval, as in key=interval(0,1)")
        return space

    def overrides(self, params: Params) -> list[str]:
        """Return the overrides for a job of a trial with these values."""
        texts = {name: self.choices[name].get(value) or repr(value) for name, value in params.items()}
        return [*self.fixed, *(f"{self.keys[name]}={text}" for name, text in texts.items())]

    def corners(self) -> Iterator[list[str]]:
        """Yield one job for each choice and each interval end of each key; other keys keep their first value."""
        ends = {name: _ends(distribution) for name, distribution in self.distributions.items()}
        first = {name: values[0] for name, values in ends.items()}
        for name, values in ends.items():
            yield from (self.overrides({**first, name: value}) for value in values)

    def described(self) -> dict[str, Any]:
        """Return the distributions as plain values, which are equal for equal spaces."""
        return {name: json.loads(distribution_to_json(one)) for name, one in sorted(self.distributions.items())}


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
