"""What each job of a cluster trains, by name, in plain JSON beside it: another sweep in the store reads it."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fmnist_sweep import files

_ENDING = "_names.json"
_LARGEST = 16 << 20  # bytes


def note(folder: Path, job: str, names: Sequence[str]) -> None:
    """Keep the names of what a job trains."""
    (folder / f"{job}{_ENDING}").write_text(json.dumps(list(names)))


def noted(folders: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Of each job that was noted in a folder of these: the folder, its id, and the names; what is no note is left out.

    The files may be anyone's.
    """
    for path in folders.glob(f"*/*{_ENDING}"):
        job = path.name.removesuffix(_ENDING)
        try:
            names = json.loads(files.read(path, _LARGEST))
        except (OSError, ValueError, RecursionError):
            continue
        if re.fullmatch(r"[0-9]+_[0-9]+", job) and isinstance(names, list) and all(isinstance(n, str) for n in names):
            yield path.parent, job, names
