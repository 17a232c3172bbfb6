"""The file of a search: made whole, kept from other processes, and not believed where a disk has changed it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import filelock
from optuna.storages import BaseStorage, RDBStorage

from fmnist_sweep.config.messages import reason
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store.search_seals import SEAL, digest

SQLITE = "sqlite:///"
REMAKE = "remove the file, and the same command makes it anew from the runs that are there"

_ANOTHER_FILE = "choose another file with hydra.sweeper.storage=FILE"


def lock(path: Path) -> AbstractContextManager[Any]:
    """Keep a file from other processes; `ConfigError` where one has it."""
    folder = path.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return filelock.FileLock(folder / f"{path.name}.lock").acquire(timeout=0)
    except filelock.Timeout as error:
        raise ConfigError(f"{path}: another process is searching with it; wait for it or stop it") from error


def in_file(path: Path) -> RDBStorage:
    """The storage in a file, which is made under another name first, so that none is ever half made.

    Raises:
        ConfigError: the file is no storage, or is damaged.
    """
    if not path.exists():
        temporary = path.with_name(f"{path.name}.fmnist_sweep.tmp")  # a name that nobody else gives a file
        temporary.unlink(missing_ok=True)
        database(f"{SQLITE}{temporary}").engine.dispose()
        # SQLite would take what a process left half written in a file of this name back in the new one.
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        temporary.rename(path)
    try:
        # Not to read alone: what a process left half written when it was killed is undone first.
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
    except Exception as error:  # SQLAlchemy's, of tables that are not as Optuna made them
        raise ConfigError(f"{path}: {reason(error)}; {_ANOTHER_FILE}, or if a search made it {REMAKE}") from error


def database(url: str) -> RDBStorage:
    """The storage at an address; `ConfigError` where there is none."""
    try:
        return RDBStorage(url)
    except Exception as error:  # Optuna's, SQLAlchemy's and those of whatever driver the address names
        raise ConfigError(f"storage={url}: {reason(error)}; {_ANOTHER_FILE}") from error


@contextmanager
def undamaged(where: str, remedy: str) -> Iterator[None]:
    """What cannot be read or does not fit within is damage, told as a `ConfigError`."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # Optuna's and SQLAlchemy's, of a file that may hold anything
        raise ConfigError(f"{where} is damaged: {reason(error)}; {remedy}") from error


def check_problem(storage: BaseStorage, study_id: int, known: Any) -> None:
    """Raise `ValueError` where what a study is known to search is not what was written; None: nothing was."""
    sealed = storage.get_study_system_attrs(study_id).get(SEAL)
    if sealed not in (None, digest(known)) and (known is not None or storage.get_n_trials(study_id)):
        raise ValueError("what it searches is not what was written")


def seal_problem(storage: BaseStorage, study_id: int, problem: dict[str, Any]) -> None:
    """Write what a study is said to search from now on; that is to be written next."""
    storage.set_study_system_attr(study_id, SEAL, digest(problem))
