"""Lets numbers choose options of a config group, as in `batch_size=100,500`.

Hydra takes a group's option by name only, and refuses a number there. So arguments are rewritten before Hydra
parses them: where every number names an option of its group they become quoted choices; otherwise they go to the
value that the group sets, so that any number works. Arguments that name nothing known are refused here, in one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import get_type_hints

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, OverrideType, QuotedString, ValueType
from hydra.errors import HydraException

from fmnist_sweep.config import Config
from fmnist_sweep.errors import ConfigError, nearest

GROUPS = ("optimizer", "batch_size", "dropout", "epochs", "figure")
NUMBERS = {"batch_size": "training.batch_size", "epochs": "training.epochs", "dropout": "model.dropout"}


def rewrite(arguments: Sequence[str], loader: ConfigLoader) -> list[str]:
    """Rewrite command-line overrides so that Hydra understands them; `ConfigError` for those that name nothing.

    Args:
        arguments: overrides as typed, such as `batch_size=100,64`.
        loader: knows the options of each group, those of `--config-dir` included.

    Returns:
        The overrides in the same order, such as `training.batch_size=100,64`.
    """
    try:
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{reason}; overrides are written key=value, several values key=a,b") from error
    return [_rewrite_one(override, loader) for override in overrides]


def is_sweep(arguments: Sequence[str]) -> str | None:
    """The first of these overrides that gives several values, or None."""
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    return next((override.input_line for override in overrides if override.is_sweep_override()), None)


def known_keys() -> list[str]:
    """Every key of the configuration and every group that an override can name."""
    return [*GROUPS, *_leaves(Config)]


def _leaves(cls: type, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(cls)
    for item in fields(cls):
        if is_dataclass(hints[item.name]):
            yield from _leaves(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield prefix + item.name


def _rewrite_one(override: Override, loader: ConfigLoader) -> str:
    key, line = override.key_or_group, override.input_line
    assert line is not None
    if override.type != OverrideType.CHANGE or override.package or override.is_hydra_override():
        return line
    if key.startswith("optimizer."):
        # Arguments beyond those that the option's file lists are welcome; the optimizer's signature decides.
        return f"++{line}"
    known = known_keys()
    if key not in known:
        raise ConfigError(f"{line}: there is no {key}; see --help for what there is{nearest(key, known)}")
    if key not in GROUPS or override.value_type == ValueType.INTERVAL_SWEEP:
        return line.replace(key, NUMBERS.get(key, key), 1)
    return _rewrite_group(override, loader.get_group_options(key, results_filter=ObjectType.CONFIG))


def _rewrite_group(override: Override, options: list[str]) -> str:
    key = override.key_or_group
    values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    words = [value.text if isinstance(value, QuotedString) else _text(value) for value in values]
    if not words:
        raise ConfigError(f"{override.input_line}: matches none of the options {', '.join(options)}")
    if override.input_line and "${" in override.input_line:
        return override.input_line
    if key == "figure" and words == ["null"]:
        return "figure=null"
    chosen = {word: _option(word, options) for word in words}
    for word, option in chosen.items():
        if option is None and not (key in NUMBERS and _is_number(word)):
            also = ", or any number" if key in NUMBERS else ""
            raise ConfigError(f"{key}={word}: must be one of {', '.join(options)}{also}{nearest(word, options)}")
    if key == "figure":
        # Several figures are one sweep over the union of their grids, not a sweep over figures.
        return f"figure=[{','.join(words)}]" if len(words) > 1 else f"figure={words[0]}"
    if all(chosen.values()):
        # Names stay as they are; numbers are quoted, or Hydra would take them for numbers again.
        return _join(override, key, [str(name) if _is_name(name) else f"'{name}'" for name in chosen.values()])
    for word in words:
        if not _is_number(word):
            raise ConfigError(
                f"{override.input_line}: the option {word} cannot be mixed with numbers that are no option"
            )
    return _join(override, NUMBERS[key], words)


def _join(override: Override, key: str, words: list[str]) -> str:
    joined = ",".join(words)
    shuffled = isinstance(override.value(), ChoiceSweep) and getattr(override.value(), "shuffle", False)
    return f"{key}=shuffle({joined})" if shuffled else f"{key}={joined}"


def _option(word: str, options: list[str]) -> str | None:
    """The option that this word names: itself, or as a number (0.20 for 0.2)."""
    if word in options:
        return word
    return next((o for o in options if _is_number(o) and _is_number(word) and float(o) == float(word)), None)


def _text(value: object) -> str:
    return "null" if value is None else str(value)


def _is_name(word: str | None) -> bool:
    return word is not None and word.isidentifier()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
