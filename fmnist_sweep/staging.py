"""Folders that appear whole or not at all, made by one process while the others wait."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def only_here(target: Path) -> Iterator[None]:
    """Keeps other processes from making `target` meanwhile; waits, saying so, if one is at it.

    Makes the folder above `target`; whatever it made and finds empty afterwards it removes. The lock dies
    with its holder.
    """
    from filelock import FileLock, Timeout

    parent = target.parent
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    lock = FileLock(parent / f".{target.name}.lock")
    patience = 0.0
    while not lock.is_locked:
        parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            print(f"waiting for another process that makes {target}", file=sys.stderr, flush=True)
            patience = -1
        except FileNotFoundError:
            continue  # another process failed and removed the folder that it had made
    try:
        yield
    finally:
        # Removed while it is held, so that who waits for this file notices and starts over.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its name when all went well and else is removed.

    Its name is always the same, so that what a killed process left is found: hold `only_here(target)`.
    """
    staged = target.parent / f".{target.name}.incoming"
    if staged.exists():
        shutil.rmtree(staged)
    staged.mkdir()
    try:
        yield staged
        staged.rename(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
