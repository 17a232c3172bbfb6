"""Damage a file: cut it, flip bits, write zeros, append bytes, or remove it."""

from __future__ import annotations

from pathlib import Path
from random import Random


def damages(content: bytes, flips: int) -> list[str]:
    """The names of what is tried of a file.

    Args:
        content: the file's.
        flips: how often chance draws which bit, and which eight bits, are flipped.
    """
    names = [f"cut-at-{length}" for length in _lengths(content)]
    names += [f"flip-{bits}-bits-{draw}" for bits in (1, 8) for draw in range(flips) if content]
    return [*names, "gone", "zeros", "more"]


def _lengths(content: bytes) -> list[int]:
    """Nothing, one byte, around each end of a line and of what torch, NumPy and SQLite pad to, and all but the last."""
    size = len(content)
    ends = [at for at, byte in enumerate(content) if byte == 10] if size < 5000 else [64, 128, 4096, size // 2]
    return sorted({n for at in [0, *ends, size - 32, size] for n in (at - 1, at, at + 1) if 0 <= n < size})


def damage(path: Path, name: str, random: Random) -> None:
    """Do to a file what the name says."""
    content = bytearray(path.read_bytes())
    kind, _, rest = name.partition("-")
    if kind == "gone":
        path.unlink()
    elif kind == "zeros":
        path.write_bytes(bytes(len(content)))
    elif kind == "more":
        path.write_bytes(content + random.randbytes(40))
    elif kind == "cut":
        path.write_bytes(content[: int(rest.rpartition("-")[2])])
    else:
        for _ in range(int(rest.partition("-")[0])):
            bit = random.randrange(8 * len(content))
            content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
