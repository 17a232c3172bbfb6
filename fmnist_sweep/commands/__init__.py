"""The subcommands of `fmnist-sweep`: read what sweeps left, and the project's other commands."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence

from fmnist_sweep.console import busy
from fmnist_sweep.errors import nearest

# Each command's module, which has a function `main(arguments)` that returns the exit code, and what it does.
COMMANDS = {
    "ls": ("fmnist_sweep.commands.ls", "list the configurations of a folder, the best first, or its runs"),
    "best": ("fmnist_sweep.commands.best", "print the best configuration, and the command that trains it again"),
    "show": ("fmnist_sweep.commands.show", "print a run's configuration, status, last metrics and files"),
    "rm": ("fmnist_sweep.commands.rm", "remove runs; it asks first"),
    "report": ("fmnist_sweep.report.__main__", "write page, figures, tables and verdicts from the runs of a folder"),
    "verdicts": ("fmnist_sweep.commands.verdicts", "print which of a paper's statements a report found reproduced"),
    "track": ("fmnist_sweep.track.__main__", "send runs to TensorBoard, MLflow or Weights & Biases"),
    "papers": ("fmnist_sweep.papers.__main__", "start a paper's file, or print the reference of the format"),
    "data": ("fmnist_sweep.data", "find or fetch Fashion-MNIST and verify it"),
}


def is_command(word: str) -> bool:
    """Return whether the first word of a command line can only be meant as a command: a word without `=` and dash."""
    return re.fullmatch(r"[A-Za-z_][\w.]*", word) is not None


def main(name: str, arguments: Sequence[str]) -> int:
    """Run a command. Return its exit code, 2 if there is no such command."""
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(
            f"fmnist_sweep: {name}: overrides are written key=value, and commands are {known}{nearest(name, COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    with busy("starting"):
        module = importlib.import_module(COMMANDS[name][0])
    code: int = module.main(list(arguments))
    return code
