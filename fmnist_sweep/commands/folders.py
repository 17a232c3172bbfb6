"""Find the runs that a command is to read."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from fmnist_sweep.config.identity import is_run_name
from fmnist_sweep.console import busy
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store.layout import RECORD
from fmnist_sweep.store.tables import Collection, collect

USUAL = Path("multirun")  # where sweeps keep their runs


def read_folder(folder: Path) -> Collection:
    """Read the runs of a folder. Raise `ConfigError` if there are none."""
    try:
        with busy(f"reading the runs in {folder}"):
            collection = collect(folder)
    except OSError as error:
        raise ConfigError(f"cannot read {folder}: {error.strerror}; give the folder of a sweep") from error
    if collection.runs.empty:
        single = (folder / RECORD).exists()
        hint = "it is a run: give the folder above it" if single else "give the folder of a sweep, or run one first"
        raise ConfigError(f"no runs in {folder}; {hint}")
    return collection


def run_directory(given: str) -> Path:
    """Return the directory of a run from its path, its name in the usual folder, or a part of the name.

    Raise `ConfigError` if there is no such run, or more than one.
    """
    for path in (Path(given), USUAL / given):
        if (path / RECORD).is_file():
            return path
    names = [name for name in _names(USUAL) if given in name]
    if len(names) == 1:
        return USUAL / names[0]
    if names:
        raise ConfigError(f"{given}: {len(names)} runs in {USUAL} have this in their names; give more, as {names[0]}")
    close = difflib.get_close_matches(given, _names(USUAL), n=1)
    hint = f"did you mean {close[0]}?" if close else "give the directory of a run, or its name in multirun"
    raise ConfigError(f"{given}: there is no such run; {hint}")


def _names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if is_run_name(name)) if folder.is_dir() else []
