"""How the report's commands write files and refuse."""

import os
import sys
from pathlib import Path


def replace(path: Path, content: bytes) -> Path:
    """Replace a file at once, so that a reader never finds half of it. Returns `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def refuse(message: str) -> int:
    """Say in one line what is wrong. Returns the exit code."""
    print(message, file=sys.stderr)
    return 2
