"""Name a command as the user typed it, and refuse in one line."""

import sys
from pathlib import Path


def program(module: str) -> str:
    """Return the command name of `module` as the user typed it, for usage and error messages."""
    script = Path(sys.argv[0]).name
    return script if script.startswith("fmnist-sweep") else f"python -m {module}"


def refuse(message: str) -> int:
    """Print one line to stderr that says what is wrong. Return the exit code, 2."""
    print(message, file=sys.stderr)
    return 2
