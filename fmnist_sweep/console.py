"""The name of a command: that of the script which started it, or `python -m MODULE`."""

import sys
from pathlib import Path


def program(module: str) -> str:
    """What to call the command of `module` in its usage and errors, as it was typed."""
    script = Path(sys.argv[0]).name
    return script if script.startswith("fmnist-sweep") else f"python -m {module}"
