"""The command `python -m fmnist_sweep`: one run, or a sweep with -m."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import suppress

from hydra.core.config_loader import ConfigLoader

from fmnist_sweep import commands, hydra_internals, overrides, paper_option
from fmnist_sweep.application import Application
from fmnist_sweep.data import DataError
from fmnist_sweep.errors import ConfigError, RunError, reason
from fmnist_sweep.overrides import as_typed
from fmnist_sweep.records import one_line

_LONGEST_LINE = 2000  # optimizers and papers that there are may be many


def main() -> int:
    """Run the command; the exit code is 0, 1 where a run did not end well, or 2 where the arguments are wrong."""
    arguments = hydra_internals.arguments()
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # With it Hydra raises what it would else print over many lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _carry_out(arguments)
    except Exception as error:  # what a value may be is for Hydra, OmegaConf and torch to say, each in its own way
        if wants_traceback:
            raise
        # Where no data can be had, the manual steps follow on lines of their own.
        said = (
            str(error)
            if isinstance(error, DataError)
            else one_line(as_typed(reason(error), arguments.overrides), _LONGEST_LINE)
        )
        print(f"fmnist_sweep: {said}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    except KeyboardInterrupt:
        print("fmnist_sweep: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _carry_out(arguments: Namespace) -> None:
    loader = commands.loader_for(arguments.overrides, arguments.config_dir, arguments.config_path)
    if arguments.shell_completion:
        return hydra_internals.complete(arguments, lambda words: _completable(words, loader), Application())
    shows = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info
    lines = commands.rewrite(arguments.overrides, loader, trains=not shows)
    if shows or arguments.resolve or arguments.experimental_rerun:
        return hydra_internals.show(arguments, lines, Application())
    commands.carry_out(lines, loader, multirun=arguments.multirun, config_name=arguments.config_name)


def _completable(words: list[str], loader: ConfigLoader) -> list[str]:
    """The whole words of a line to complete, as Hydra composes them."""
    with suppress(ConfigError):
        words = paper_option.take(words, loader, trains=False)
    for number, word in enumerate(words):
        if "=" in word:
            with suppress(ConfigError):
                (words[number],) = overrides.rewrite([word], loader)
    return words


if __name__ == "__main__":
    sys.exit(main())
