"""Rewrite overrides so that numbers can choose options of a config group, as in `batch_size=100,500`.

Hydra accepts only the name of an option, not a number. So this module rewrites arguments before Hydra parses them. If
every number names an option of its group, the numbers become quoted choices. Otherwise they are assigned to the value
that the group sets, so any number works. Arguments with unknown names are rejected here with a message of one line.
"""

import re
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, OverrideType, QuotedString, RangeSweep, ValueType

from fmnist_sweep.config.parsing import parse
from fmnist_sweep.config.schema import KEYS, TRACKERS
from fmnist_sweep.errors import ConfigError, nearest

GROUPS = ("optimizer", "batch_size", "dropout", "epochs", "figure", "paper", "tracker")
SETS = ("figure", "tracker")  # a list of options is one choice, not a sweep
FIGURE = "figure@hydra.sweeper="  # as Hydra takes it: a figure's file has settings of the sweeper
NUMBERS = {"batch_size": "training.batch_size", "epochs": "training.epochs", "dropout": "model.dropout"}
WHOLE_NUMBERS = ("batch_size", "epochs")
MOST_JOBS = 100_000  # in a sweep: more would fill the memory before the first job is composed


def rewrite(arguments: Sequence[str], loader: ConfigLoader) -> list[str]:
    """Rewrite typed overrides for Hydra, for example `batch_size=100,64` to `training.batch_size=100,64`.

    Raises:
        ConfigError: an override has a name that the loader does not know, or a number is given twice.
    """
    overrides = parse(arguments, loader)
    given: dict[str, str | None] = {}
    for override in overrides:
        key = target(override)
        if key in NUMBERS.values() and key in given:
            # Hydra applies options and numbers at different times, so the last one would not always win.
            raise ConfigError(f"{override.input_line}: given twice, see {given[key]}; give it once")
        given[key] = override.input_line
        _check_length(override)
    _check_trackers(overrides)
    settings = _settings(overrides, loader)
    lines = [_rewrite_one(override, loader, settings) for override in overrides]
    if "optimizer.name" in given and not {"optimizer", "optimizer.lr"} & given.keys():
        lines.append("~optimizer.lr")  # that of the default option, which is another class's
    return lines


def _check_trackers(overrides: Sequence[Override]) -> None:
    chosen = [word for override in overrides if override.key_or_group == "tracker" for word in words(override)]
    for override in overrides:
        for name in TRACKERS:
            if override.key_or_group.startswith(f"tracker.{name}.") and name not in chosen:
                raise ConfigError(f"{override.input_line}: its tracker is not chosen; add tracker={name}")


def target(override: Override) -> str:
    """Return the key that an override sets. For a group in `NUMBERS`, this is the key of the number."""
    return NUMBERS.get(override.key_or_group, override.key_or_group)


def without_overridden(lines: Sequence[str], arguments: Sequence[str], loader: ConfigLoader) -> list[str]:
    """Return the overrides of a file that the command line does not replace.

    If the command line chooses an optimizer, the file's arguments for the optimizer are dropped too.

    Args:
        lines: the file's overrides, rewritten for Hydra.
        arguments: the overrides of the command line, rewritten for Hydra.
        loader: the loader that knows the options of each group.
    """
    parser = OverridesParser.create(loader)
    given = {target(override) for override in parser.parse_overrides(list(arguments))}
    parsed = {str(override.input_line): target(override) for override in parser.parse_overrides(list(lines))}
    return [
        line
        for line, key in parsed.items()
        if key not in given and not ("optimizer" in given and key.startswith("optimizer."))
    ]


def _check_length(override: Override) -> None:
    """Raise `ConfigError` for a range of more than `MOST_JOBS` values, which would take too long to list."""
    sweep = override.value()
    if isinstance(sweep, RangeSweep):
        assert sweep.start is not None and sweep.stop is not None
        if not abs(sweep.stop - sweep.start) <= MOST_JOBS * abs(sweep.step):  # `not <=` also catches nan
            raise ConfigError(f"{override.input_line}: gives more than {MOST_JOBS} values, the most that a sweep takes")


def is_sweep(arguments: Sequence[str]) -> str | None:
    """Return the first override that gives several values, or None."""
    return next((override.input_line for override in parse(arguments) if override.is_sweep_override()), None)


def as_typed(message: str, typed: Sequence[str]) -> str:
    """Replace keys in a message that were rewritten for Hydra with the keys that the user typed."""
    for line in typed:
        key = line.partition("=")[0]
        forms = [
            f"++{key}",
            f"hydra.sweeper.{key}",
            FIGURE[:-1] if key == "figure" else None,
            NUMBERS.get(key),
            key.rpartition(".")[2] if key in NUMBERS.values() else None,
        ]
        for form in filter(None, forms):
            message = re.sub(rf"(?<![\w.+]){re.escape(form)}(?==)", key.replace("\\", r"\\"), message)
    return message


def words(override: Override) -> list[str]:
    """Return the values of an override without quotes. Figures, trackers and papers may also have the form `[a,b]`."""
    _check_length(override)
    values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    if values and override.key_or_group in (*SETS, "paper") and isinstance(values[0], list):
        values = values[0]
    texts = [value.text if isinstance(value, QuotedString) else value for value in values]
    return ["null" if text is None else str(text) for text in texts]


def _settings(overrides: Sequence[Override], loader: ConfigLoader) -> list[str]:
    """Return the settings of the chosen sweeper. The user may type them without `hydra.sweeper.`."""
    names = [str(override.value()) for override in overrides if override.key_or_group == "hydra/sweeper"]
    if not names:
        return ["zip"]  # of the sweeper that config.yaml chooses
    return _settings_of(names[-1]) if names[-1] in loader.get_group_options("hydra/sweeper") else []


def _settings_of(sweeper: str) -> list[str]:
    node = ConfigStore.instance().load(f"hydra/sweeper/{sweeper}.yaml").node
    return [str(key) for key in node if not str(key).startswith("_")]


def _needs(key: str) -> str:
    """Return a hint for a setting of a sweeper that was not chosen, or "" for any other key."""
    if key == "zip":
        return " here; only a grid pairs up values, so leave out zip=, hydra/sweeper= or until="
    if key in _settings_of("settle"):
        return " here; it belongs to until=settled, so add that and paper=NAME"
    return " here; it belongs to a search, so add -m hydra/sweeper=search" if key in _settings_of("search") else ""


def _rewrite_one(override: Override, loader: ConfigLoader, settings: Sequence[str]) -> str:
    key, line, known = override.key_or_group, override.input_line, [*GROUPS, *KEYS, *settings]
    assert line is not None
    if key in settings:
        if override.is_sweep_override():
            raise ConfigError(f"{line}: is a setting of the sweeper, not swept; a list is written [a,b]")
        return f"hydra.sweeper.{line}"
    if key == "paper":
        raise ConfigError(f"{line}: a paper is chosen on the command line alone, as paper=NAME")
    if key in GROUPS and override.type in (OverrideType.ADD, OverrideType.FORCE_ADD):
        raise ConfigError(f"{line}: {key} is there already; write it without +")
    if key not in known and override.is_add() and "." not in key and not loader.get_group_options(key):
        own = "; a group of your own needs --config-dir=FOLDER, which holds its folder"
        raise ConfigError(f"{line}: there is no {key}{nearest(key, [one for one in known if '.' not in one]) or own}")
    if override.type == OverrideType.ADD and key in KEYS and not key.startswith("tracker."):
        raise ConfigError(f"{line}: {key} is there already; write it without +")
    if "/" in key and override.value() is None and (options := loader.get_group_options(key)):
        raise ConfigError(f"{line}: must be one of {', '.join(options)}")
    group, names_option = key.replace(".", "/"), key.startswith("hydra.") and isinstance(override.value(), str)
    if names_option and key.count(".") == 1 and loader.get_group_options(group):
        raise ConfigError(f"{line}: choose an option with a slash; write {group}={override.value()}")
    if override.type != OverrideType.CHANGE or override.package or override.is_hydra_override():
        return line
    if key.startswith("optimizer."):
        # Allow arguments that the option's file does not list. `optimizers.check` compares them with the signature.
        return f"++{line}"
    if key not in known:
        meant = _needs(key) or f"; --help lists all keys{nearest(key, [*known, 'optimizer.lr'])}"
        raise ConfigError(f"{line}: there is no {key}{meant}")
    if key not in GROUPS or override.value_type == ValueType.INTERVAL_SWEEP or _is_by_layer(override):
        return line.replace(key, NUMBERS.get(key, key), 1)
    return _rewrite_group(override, loader.get_group_options(key, results_filter=ObjectType.CONFIG))


def _is_by_layer(override: Override) -> bool:
    """Return whether dropout is given as a list with a number for each layer, or as several values among them lists."""
    value = override.value()
    values = value.list if isinstance(value, ChoiceSweep) else [value]
    return override.key_or_group == "dropout" and any(isinstance(one, list) for one in values)


def _rewrite_group(override: Override, options: list[str]) -> str:
    key, line, typed = override.key_or_group, str(override.input_line), words(override)
    if key == "tracker" and typed in ([], ["null"]):
        return "tracker=[]"
    if not typed:
        raise ConfigError(f"{line}: matches none of the options {', '.join(options)}")
    if "${" in line:
        return line
    if key == "figure" and typed == ["null"]:
        return f"{FIGURE}[]"
    chosen = {word: _option(word, options) for word in typed}
    for word, option in chosen.items():
        if option is None and not (key in NUMBERS and _is_number(word)):
            also = ", or any number" if key in NUMBERS else ""
            raise ConfigError(f"{key}={word}: must be one of {', '.join(options)}{also}{nearest(word, options)}")
    if all(chosen.values()):
        # Names stay unchanged. Numbers are quoted, or Hydra would read them as numbers again.
        options = [str(chosen[word]) for word in typed]
        names = [option if option.isidentifier() else f"'{option}'" for option in options]
        if key not in SETS:
            return f"{key}={','.join(names)}"
        names = list(dict.fromkeys(names))
        value = names[0] if len(names) == 1 else f"[{','.join(names)}]"
        return f"{FIGURE}{value}" if key == "figure" else f"{key}={value}"
    for word in typed:
        if not _is_number(word):
            raise ConfigError(f"{line}: the option {word} cannot be combined with numbers that are not options")
    numbers = map(_whole, typed) if key in WHOLE_NUMBERS else typed
    return f"{NUMBERS[key]}={','.join(numbers)}"


def _option(word: str, options: list[str]) -> str | None:
    """Return the option that a word names, by its text or by its number (0.20 names 0.2), or None."""
    if word in options:
        return word
    return next((o for o in options if _is_number(o) and _is_number(word) and float(o) == float(word)), None)


def _whole(word: str) -> str:
    """Write a whole number without a point or exponent (64.0 and 6.4e1 as 64). Return other words unchanged."""
    return f"{float(word):.0f}" if not word.isdecimal() and float(word).is_integer() else word


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
