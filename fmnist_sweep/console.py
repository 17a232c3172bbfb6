"""The name of a command: its installed script, or `python -m MODULE`."""

import sys
from pathlib import Path


def program(module: str) -> str:
    """Return the command name of `module` as the user typed it, for usage and error messages."""
    script = Path(sys.argv[0]).name
    return script if script.startswith("fmnist-sweep") else f"python -m {module}"
