"""The command `fmnist-sweep rm`: remove the directories of runs, after a question.

A directory is removed only if it holds nothing but files that this project writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import filelock

from fmnist_sweep.commands.folders import USUAL
from fmnist_sweep.console import Parser, output, program, refuse
from fmnist_sweep.errors import ConfigError, count, one_line
from fmnist_sweep.store import layout, run_directory

# What locks and trackers leave in a run's directory, and Hydra in it and in its folder `.hydra`.
_FURTHER = re.compile(r"run\.log|\.fmnist_sweep\.lock|events\.out\.tfevents\.\d+\.fmnist_sweep")
_HYDRA = ("config.yaml", "hydra.yaml", "overrides.yaml")
_LISTED = 3  # foreign files that a refusal names


def main(arguments: list[str]) -> int:
    """Run the command. Return 0, 1 if the answer is no, or 2 if one of the runs cannot be removed: then none is."""
    parser = Parser(prog=program("fmnist_sweep rm"), description=" ".join(str(__doc__).split()))
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's directory, or its name in multirun")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(arguments)
    try:
        with ExitStack() as locks:
            directories = list(dict.fromkeys(map(_directory, options.runs)))
            _lock([(directory, _checked(directory)) for directory in directories], locks)
            for directory in directories:
                output.print(str(directory))
            if not options.yes and not _agreed(f"remove {count(len(directories), 'run')}?"):
                return 1
            for directory in directories:
                _remove(directory)
    except ConfigError as error:
        return refuse(str(error))
    except OSError as error:
        return refuse(f"cannot remove {error.filename}: {error.strerror}")
    output.print(f"removed {count(len(directories), 'run')}")
    return 0


def _directory(given: str) -> Path:
    for path in (Path(given), USUAL / given):
        if os.path.lexists(path):
            return path.absolute()
    raise ConfigError(f"{given}: is not there; give the directory of a run, or its name in {USUAL}")


def _checked(directory: Path) -> layout.Record:
    """Return the record of a run whose directory may be removed. Raise `ConfigError` for any other file or folder."""
    if directory.is_symlink() or not directory.is_dir():
        raise ConfigError(f"{directory}: is not the directory of a run")
    try:
        record = layout.read_record(directory)
    except layout.RecordError as error:
        raise ConfigError(f"{directory}: is not known to be a run ({error}); nothing was removed") from error
    foreign = [path.name for path in sorted(directory.iterdir()) if not _files(path)]
    if foreign:
        more = f" and {len(foreign) - _LISTED} more" if len(foreign) > _LISTED else ""
        named = one_line(", ".join(foreign[:_LISTED]))
        raise ConfigError(f"{directory}: holds {named}{more}, which no run writes; nothing was removed")
    return record


def _files(path: Path) -> list[Path]:
    """Return the files that an entry of a run's directory is or has; an empty list if it is not the project's."""
    if path.is_symlink():
        return []
    if path.is_file():
        return [path] if layout.is_ours(path.name) or _FURTHER.fullmatch(path.name) else []
    within = list(path.iterdir()) if path.name == ".hydra" and path.is_dir() else []
    is_hydras = all(file.name in _HYDRA and file.is_file() and not file.is_symlink() for file in within)
    return within if is_hydras else []


def _lock(runs: Sequence[tuple[Path, layout.Record]], locks: ExitStack) -> None:
    """Lock the runs. Raise `ConfigError` if a process trains one of them."""
    made: dict[str, tuple[filelock.BaseFileLock, Path]] = {}
    for directory, record in runs:
        lock = run_directory.lock(directory, record.name)
        made.setdefault(lock.lock_file, (lock, directory))  # runs of one trajectory share a lock
    for lock, directory in made.values():
        try:
            if Path(lock.lock_file).with_suffix(".lease").exists():
                raise filelock.Timeout(lock.lock_file)
            locks.enter_context(lock.acquire(timeout=0))
        except filelock.Timeout as error:
            raise ConfigError(f"{directory}: is being trained; nothing was removed") from error


def _agreed(question: str) -> bool:
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        raise ConfigError("nobody answered; add --yes to remove without a question") from None


def _remove(directory: Path) -> None:
    """Remove a run's files and then its directory, which fails if another file has come into it meanwhile."""
    # Remove run.json last: until then the directory is known to be the run's.
    for path in sorted(directory.iterdir(), key=lambda path: path.name == layout.RECORD):
        for file in _files(path):
            file.unlink()
        if path.is_dir():
            path.rmdir()
    directory.rmdir()
