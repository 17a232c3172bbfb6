"""The store's system calls: counted, made to fail, or recorded to be replayed onto a disk that loses its power."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from fmnist_sweep.store.run_directory import RunDirectory

KINDS = ("open", "write", "fsync", "rename", "unlink", "mkdir")
Call = tuple[str, Path, Any]  # kind, path, and what else there is to it


@dataclass
class Calls:
    """Calls that change what is below a folder.

    Attributes:
        folder: others are let through.
        fails: the kind of call that fails, which of them, and the number of its error.
        made: the calls that went through.
    """

    folder: Path
    fails: tuple[str, int, int] | None = None
    made: list[Call] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def check(self, kind: str, path: Path) -> bool:
        """Count a call; raise where it is the one that fails. Returns whether it is below the folder."""
        if self.folder not in (path, *path.parents):
            return False
        self.counted[kind] += 1
        if self.fails is not None and self.fails[:2] == (kind, self.counted[kind]):
            raise OSError(self.fails[2], os.strerror(self.fails[2]), str(path))
        return True

    def note(self, kind: str, path: Path, more: Any = None) -> None:
        """Record what was done."""
        self.made.append((kind, path, more))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, the calls go through this."""
        with (
            patch.object(Path, "open", self._opening(Path.open)),
            patch.object(os, "open", self._os_opening(os.open)),
            patch.object(os, "fsync", self._fsyncing(os.fsync)),
            patch.object(Path, "rename", self._pathwise("rename", Path.rename)),
            patch.object(Path, "unlink", self._pathwise("unlink", Path.unlink)),
            patch.object(Path, "mkdir", self._pathwise("mkdir", Path.mkdir)),
            patch.object(RunDirectory, "write_record", self._promising(RunDirectory.write_record)),
            patch.object(RunDirectory, "write_checkpoint", self._promising(RunDirectory.write_checkpoint)),
        ):
            yield

    def _pathwise(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *arguments: Any, **named: Any) -> Any:
            ours = self.check(kind, path)
            there = path.exists()
            result = function(path, *arguments, **named)
            if ours and there == (kind != "mkdir"):
                self.note(kind, path, arguments[0] if kind == "rename" else None)
            return result

        return call

    def _fsyncing(self, function: Callable[[int], None]) -> Callable[[int], None]:
        def call(file: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{file}"))
            if self.check("fsync", path) or path in self.folder.parents:
                self.note("fsync", path)
            function(file)

        return call

    def _os_opening(self, function: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
            ours = not isinstance(path, int) and self.check("open", Path(path))
            created = ours and flags & os.O_CREAT and not os.path.exists(path)
            file = function(path, flags, *arguments, **named)
            if created:
                self.note("create", Path(path))
            return file

        return call

    def _opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if "r" in mode or not self.check("open", path):
                return function(path, mode, *arguments, **named)
            kind = "create" if not path.exists() else "truncate" if "w" in mode else None
            stream = function(path, mode, *arguments, **named)
            if kind:
                self.note(kind, path)
            return _Stream(stream, self, path)

        return call

    def _promising(self, function: Callable[..., None]) -> Callable[..., None]:
        """Note what must outlast a loss of power once it has returned: that a run is done, and a checkpoint."""

        def call(directory: RunDirectory, what: Any, *arguments: Any) -> None:
            function(directory, what, *arguments)
            if function.__name__ == "write_checkpoint":
                self.note("promise", directory.path, what)
            elif what.status == "done":
                self.note("promise", directory.path, "done")

        return call


class _Stream:
    """A file whose writes are counted; one that fails has written half."""

    def __init__(self, stream: Any, calls: Calls, path: Path):
        self._stream, self._calls, self._path = stream, calls, path

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, content: bytes) -> int:
        try:
            self._calls.check("write", self._path)
        except OSError:
            self._stream.write(content[: len(content) // 2])
            self._stream.flush()
            raise
        self._calls.note("write", self._path, content)
        return int(self._stream.write(content))


ERRORS = {
    "open": (errno.EACCES, errno.EMFILE, errno.ENOSPC),
    "write": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EIO, errno.EACCES),
    "unlink": (errno.EIO, errno.EACCES),
    "mkdir": (errno.ENOSPC, errno.EACCES),
}


class _Inode:
    """A file's content as it is, and as far as it is on the disk; a folder has none."""

    def __init__(self, content: bytes | None = None):
        self.content = self.durable = content


_Change = dict[Path, "_Inode | None"]  # of names in one folder, together or not at all; None removes


class Disk:
    """A disk as the strictest file system has it: content is there once the file is synced, a name once its folder is.

    The model of Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014, without writes out of order within
    one file.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._names: dict[Path, _Inode] = {}
        self._durable: dict[Path, _Inode] = {}
        self._pending: list[_Change] = []
        for path in sorted(folder.rglob("*")):
            self._names[path] = _Inode(path.read_bytes() if path.is_file() else None)
        self._durable.update(self._names)

    def apply(self, call: Call) -> None:
        """Carry out a recorded call."""
        kind, path, more = call
        if kind in ("create", "mkdir"):
            self._change({path: _Inode(b"" if kind == "create" else None)})
        elif kind == "truncate":
            self._names[path].content = b""
        elif kind == "write":
            self._names[path].content += more
        elif kind == "rename":
            self._change({Path(more): self._names[path], path: None})
        elif kind == "unlink":
            self._change({path: None})
        elif kind == "fsync":
            inode = self._names.get(path)
            if inode is not None and inode.content is not None:
                inode.durable = inode.content
            else:
                for change in [one for one in self._pending if _folder(one) == path]:
                    _make(self._durable, change)
                    self._pending.remove(change)

    def lose_power(self, random: Random, share: float) -> None:
        """Make the folder what is left: what was synced, and of the rest about a share; all of it after a mere kill."""
        left = dict(self._durable)
        for change in self._pending:
            if random.random() < share:
                _make(left, change)
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        for path, inode in sorted(left.items()):
            if not path.parent.is_dir():
                continue
            if inode.content is None:
                path.mkdir()
            else:
                path.write_bytes(_kept(inode, random, share))

    def _change(self, change: _Change) -> None:
        _make(self._names, change)
        self._pending.append(change)


def _folder(change: _Change) -> Path:
    return next(iter(change)).parent


def _make(names: dict[Path, _Inode], change: _Change) -> None:
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def _kept(inode: _Inode, random: Random, share: float) -> bytes:
    """A file's content after the power was lost: of what was not synced nothing, a part, zeros or all."""
    durable, content = inode.durable or b"", inode.content or b""
    if durable == content or share in (0, 1):
        return content if share else durable
    length = random.randint(0, len(content))
    return random.choice([durable, content[:length], content[:length] + bytes(len(content) - length), content])
