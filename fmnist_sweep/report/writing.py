"""File writing and error messages of the report's commands."""

import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

RESULTS = "results.csv"
_BEGINNING = b"run,status,recipe,"  # of a report's results.csv, the first file that a report writes


def check_free(folder: Path, names: Iterable[str]) -> None:
    """Raise `FileExistsError` if a folder that no report wrote holds a file with one of these names."""
    try:
        with (folder / RESULTS).open("rb") as file:
            is_report = file.read(len(_BEGINNING)) == _BEGINNING
    except FileNotFoundError:
        is_report = False
    for path in [] if is_report else [folder / name for name in names]:
        if path.exists():
            raise FileExistsError(errno.EEXIST, "already exists and was not written by a report", str(path))


def replace(path: Path, content: bytes) -> Path:
    """Replace a file atomically, so that a reader never sees half of it. Return `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def refuse(message: str) -> int:
    """Print one line to stderr that says what is wrong. Return the exit code, 2."""
    print(message, file=sys.stderr)
    return 2
