"""Name a command as the user typed it, and refuse in one line."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn


def program(module: str) -> str:
    """Return the command name of `module` as the user typed it, for usage and error messages."""
    script = Path(sys.argv[0]).name
    return script if script.startswith("fmnist-sweep") else f"python -m {module}"


def refuse(message: str) -> int:
    """Print one line to stderr that says what is wrong. Return the exit code, 2."""
    print(message, file=sys.stderr)
    return 2


class Parser(argparse.ArgumentParser):
    """A parser that refuses arguments in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")
