"""Describe configurations by the keys that a user types, and find the keys in which they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_sweep.config.identity import identity
from fmnist_sweep.config.schema import Config

# The full key of each value that has a shorter key on the command line.
SHORT = {
    "optimizer.name": "optimizer",
    "training.batch_size": "batch_size",
    "training.epochs": "epochs",
    "model.dropout": "dropout",
}
_FIRST = ("optimizer", "optimizer.lr", "batch_size", "dropout", "epochs")


def settings(config: Config) -> dict[str, Any]:
    """Return the values of a configuration by the keys of the command line, such as `batch_size` or `optimizer.lr`.

    `optimizer` is the class. Arguments that were not given have torch's defaults. The keys that most sweeps vary come
    first.
    """
    values = {SHORT.get(key, key): value for key, value in identity(config).items()}
    return {key: values[key] for key in (*_FIRST, *values) if key in values}


def varied(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys, but for the seed, in which some of these results of `settings` differ.

    An argument of the optimizer counts only if it differs between optimizers of one class.
    """
    found = []
    for key in dict.fromkeys(key for values in configurations for key in values if key != "seed"):
        of_class = key.startswith("optimizer.")
        having = [values for values in configurations if key in values]
        seen = {(values["optimizer"] if of_class else "", str(values[key])) for values in having}
        if len(seen) > len({name for name, _ in seen}):
            found.append(key)
    return found
