"""The command `python -m fmnist_sweep`: one run, a sweep with -m, or a command such as `ls`."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

try:
    from fmnist_sweep import commands, console, stopping
except ModuleNotFoundError as missing:  # a Python without what `make setup` installs
    sys.exit(f"fmnist_sweep: {missing} in {sys.executable}; run `. .venv/bin/activate` first, or make setup")

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

_LONGEST_LINE = 2000  # a message may list many optimizers or papers


def main() -> int:
    """Run the command.

    Returns:
        The exit code: 0 for success, 1 if a run failed, 2 if the arguments are wrong, 130 after Ctrl-C, 143 after
        SIGTERM, 129 if the terminal was closed.
    """
    stopping.end_on_signals()
    try:
        return _main()
    except KeyboardInterrupt as error:  # also those that a library raises
        print(f"fmnist_sweep: {stopping.STOPPED}", file=sys.stderr)
        return 128 + (error.number if isinstance(error, stopping.Stopped) else signal.SIGINT)
    finally:
        stopping.ignore_signals()


def _main() -> int:
    if len(sys.argv) > 1 and commands.is_command(sys.argv[1]):
        return commands.main(sys.argv[1], sys.argv[2:])
    # These imports take a second, so they run after `main` has installed the signal handlers.
    with nullcontext() if _completes() else console.busy("starting"):
        from fmnist_sweep import cli  # noqa: F401, which `_carry_out` needs
        from fmnist_sweep.config import hydra_private
        from fmnist_sweep.config.messages import reason
        from fmnist_sweep.config.overrides import as_typed
        from fmnist_sweep.data import DataError
        from fmnist_sweep.errors import RunError, one_line

    arguments = hydra_private.arguments()
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # With this setting, Hydra raises errors instead of printing them over many lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _carry_out(arguments)
    except Exception as error:  # Hydra, OmegaConf and torch each reject a value with their own errors
        if wants_traceback:
            raise
        message = str(error)
        if not isinstance(error, DataError):  # its manual steps are on further lines
            message = one_line(as_typed(reason(error), arguments.overrides), _LONGEST_LINE)
        print(f"fmnist_sweep: {message}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    return 0


def _completes() -> bool:
    """Return whether a shell asks for completions, so that nothing may be written to the terminal."""
    return not {"-sc", "--shell-completion", "--shell_completion"}.isdisjoint(sys.argv)


def _carry_out(arguments: Namespace) -> None:
    from fmnist_sweep import cli
    from fmnist_sweep.config import hydra_private

    loader = cli.loader_for(arguments.overrides, arguments.config_dir, arguments.config_path)
    if arguments.shell_completion:
        return hydra_private.complete(arguments, lambda words: _completable(words, loader), cli.Application())
    shows = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info
    with console.busy("reading the configuration"):
        lines = cli.rewrite(arguments.overrides, loader, trains=not shows)
    if shows or arguments.resolve or arguments.experimental_rerun:
        return hydra_private.show(arguments, lines, cli.Application())
    cli.carry_out(lines, loader, multirun=arguments.multirun, config_name=arguments.config_name)


def _completable(words: list[str], loader: ConfigLoader) -> list[str]:
    """Rewrite the complete words of the line for Hydra, and leave any word that cannot be rewritten as it is."""
    from fmnist_sweep.config import overrides
    from fmnist_sweep.errors import ConfigError
    from fmnist_sweep.papers.paper_option import consume_paper_option

    with suppress(ConfigError):
        words = consume_paper_option(words, loader, trains=False)
    for number, word in enumerate(words):
        if "=" in word:
            with suppress(ConfigError):
                words[number] = overrides.rewrite([word], loader)[0]
    return words


if __name__ == "__main__":
    sys.exit(main())
