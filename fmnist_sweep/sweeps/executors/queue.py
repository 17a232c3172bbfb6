"""Write the names of what each cluster job trains to a JSON file beside it. Other sweeps in the store read the file."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fmnist_sweep import files

_ENDING = "_names.json"
_LARGEST = 16 << 20  # bytes


def note(folder: Path, job: str, names: Sequence[str]) -> None:
    """Write the names of what a job trains."""
    (folder / f"{job}{_ENDING}").write_text(json.dumps(list(names)))


def noted(folders: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Yield the folder, job id and names of each job noted in a subfolder of `folders`.

    Skip files without valid content, because any program may have written them.
    """
    for path in folders.glob(f"*/*{_ENDING}"):
        job = path.name.removesuffix(_ENDING)
        try:
            names = json.loads(files.read(path, _LARGEST))
        except (OSError, ValueError, RecursionError):
            continue
        if re.fullmatch(r"[0-9]+_[0-9]+", job) and isinstance(names, list) and all(isinstance(n, str) for n in names):
            yield path.parent, job, names
