"""Read files that may come from anyone, and replace files as a whole."""

import errno
import os
import stat
from pathlib import Path


def read(path: Path, limit: int) -> bytes:
    """Return the content of a plain file. Never wait for a pipe, and read at most `limit` bytes.

    Raises:
        OSError: the file is unreadable, is not a plain file, or has more than `limit` bytes; `strerror` says which.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # else opening a named pipe waits for a writer
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a plain file", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"is larger than {limit // 1024} KiB, the most that is read", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes) -> Path:
    """Replace a file atomically, so that a reader never sees half of it. Return `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
