"""Describe a case, and try it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Case:
    """A fault to try.

    Attributes:
        name: says how to repeat it.
        attempt: tries it with a generator; raises where it is not survived; returns how often it struck, None for once.
    """

    name: str
    attempt: Callable[[Random], int | None]

    def outcome(self, seed: int) -> tuple[int, str]:
        """Try it. Returns how often it struck, and what did not hold, empty where all did."""
        try:
            struck = self.attempt(Random(f"{seed} {self.name}"))
        except Exception as error:
            return 1, f"{type(error).__name__}: {error}"
        return (1 if struck is None else struck), ""
