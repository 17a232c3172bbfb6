"""Files that may come from anyone: nothing that is no file is waited for, and no more than a limit is read."""

import errno
import os
import stat
from pathlib import Path


def read(path: Path, limit: int) -> bytes:
    """The content of a plain file.

    Raises:
        OSError: it cannot be read, is no plain file or holds more than `limit` bytes; `strerror` says which.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would be waited for until someone writes
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
