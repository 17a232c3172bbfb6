"""How the report's commands write files and refuse."""

import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

RESULTS = "results.csv"
_BEGINNING = b"run,status,recipe,"  # of a report's results.csv, which is written first


def check_free(folder: Path, names: Iterable[str]) -> None:
    """Raise `FileExistsError` where a folder that is no report's holds a file under one of these names."""
    try:
        with (folder / RESULTS).open("rb") as file:
            is_report = file.read(len(_BEGINNING)) == _BEGINNING
    except FileNotFoundError:
        is_report = False
    for path in [] if is_report else [folder / name for name in names]:
        if path.exists():
            raise FileExistsError(errno.EEXIST, "is there already, and no report wrote it", str(path))


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
