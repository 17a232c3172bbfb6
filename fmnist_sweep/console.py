"""Write to the terminal: progress and answers, the name of a command as it was typed, and refusals in one line."""

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_WIDEST = 10_000  # columns of a table, more than any terminal has
_SILENT_SECONDS = 2.0  # elsewhere than on a terminal, what takes longer than this is said


def _console(*, stderr: bool) -> Console:
    made = Console(stderr=stderr, highlight=False, markup=False)
    if not made.is_terminal:
        made.width = 200  # only a terminal limits the width
        made.soft_wrap = True  # a line of a file is not broken
    return made


console = _console(stderr=True)  # for what a command is doing, and what a sweep ended with
output = _console(stderr=False)  # for what a command was asked to tell


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Say what takes time while the block runs: with a spinner on a terminal, elsewhere in a line if it takes long.

    Do not print to standard output inside the block.
    """
    if console.is_terminal:
        # Standard output may be a file, so its lines must not be sent to the terminal.
        with Live(Spinner("dots", text=what), console=console, transient=True, redirect_stdout=False):
            yield
        return
    timer = threading.Timer(_SILENT_SECONDS, console.print, [f"{what} …"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def print_table(to: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; on a terminal that is too narrow for it, a block of `column: value` lines for each row.

    Args:
        to: where to print.
        columns: the heading of each column. The first one, of a mark or a name, begins each block.
        rows: a cell for each column. Empty cells are left out of a block.
    """
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    if to.measure(table, options=to.options.update(width=_WIDEST)).maximum <= to.width:
        to.print(table)
        return
    for first, *rest in rows:
        to.print(f"{first or '-'}")
        for column, value in zip(columns[1:], rest, strict=True):
            if value:
                to.print(f"  {column}: {value}")


def program(module: str) -> str:
    """Return the name of a command as the user typed it, for usage and error messages.

    Args:
        module: what follows `python -m`, such as `fmnist_sweep.report`, or `fmnist_sweep ls`.
    """
    script = Path(sys.argv[0]).name
    if script == "fmnist-sweep":
        return " ".join([script, *module.replace(".", " ").split()[1:]])
    return script if script.startswith("fmnist-sweep") else f"python -m {module}"


def sweep_program() -> str:
    """Return the name of the command that trains, in the form in which the user typed the present command."""
    return "fmnist-sweep" if Path(sys.argv[0]).name.startswith("fmnist-sweep") else "python -m fmnist_sweep"


def refuse(message: str) -> int:
    """Print one line to stderr that says what is wrong. Return the exit code, 2."""
    print(message, file=sys.stderr)
    return 2


class Parser(argparse.ArgumentParser):
    """A parser that refuses arguments in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")
