"""Create, lock and open the database of a search, and check it for damage."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import filelock
from optuna.storages import RDBStorage

from fmnist_sweep.config.messages import reason
from fmnist_sweep.errors import ConfigError

SQLITE = "sqlite:///"
REMAKE = "remove the file, and the same command makes it anew from the runs that are there"

_ANOTHER_FILE = "choose another file with hydra.sweeper.storage=FILE"


def lock(path: Path) -> AbstractContextManager[Any]:
    """Lock a file against other processes. Raise `ConfigError` if one has locked it already."""
    folder = path.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return filelock.FileLock(folder / f"{path.name}.lock").acquire(timeout=0)
    except filelock.Timeout as error:
        raise ConfigError(f"{path}: another process is searching with it; wait for it or stop it") from error


def in_file(path: Path) -> RDBStorage:
    """Open the storage in an SQLite file, or create it. Raise `ConfigError` if it is no storage, or is damaged.

    A new file gets its name only when it is complete, so a crash never leaves an incomplete one.
    """
    if not path.exists():
        temporary = path.with_name(f"{path.name}.fmnist_sweep.tmp")  # no other program uses this name
        temporary.unlink(missing_ok=True)
        database(f"{SQLITE}{temporary}").engine.dispose()
        # SQLite would apply an old journal of this name, left by a killed process, to the new file.
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        temporary.rename(path)
    try:
        # Open for writing, so that SQLite first rolls back the unfinished changes of a killed process.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            is_optunas = connection.execute("select 1 from sqlite_master where name = 'studies'").fetchone()
            contradictions = [str(one) for (one,) in connection.execute("pragma integrity_check(1)") if one != "ok"]
            orphans = connection.execute("pragma foreign_key_check").fetchall()
            contradictions += [f"a row of {table} belongs to none of {parent}" for table, _, parent, _ in orphans]
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path}: {error}; {_ANOTHER_FILE}, or if a search made it {REMAKE}") from error
    if not is_optunas:
        raise ConfigError(f"{path}: is no storage of Optuna; {_ANOTHER_FILE}, or if a search made it {REMAKE}")
    if contradictions:
        raise ConfigError(f"{path}: is damaged: {contradictions[0]}; {REMAKE}")
    try:
        return RDBStorage(f"{SQLITE}{path}")
    except Exception as error:  # SQLAlchemy's errors for tables that Optuna did not make
        raise ConfigError(f"{path}: {reason(error)}; {_ANOTHER_FILE}, or if a search made it {REMAKE}") from error


def database(url: str) -> RDBStorage:
    """Open the storage at a database URL. Raise `ConfigError` if that fails."""
    try:
        return RDBStorage(url)
    except Exception as error:  # errors of Optuna, SQLAlchemy or the URL's database driver
        raise ConfigError(f"storage={url}: {reason(error)}; {_ANOTHER_FILE}") from error
