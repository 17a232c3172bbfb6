"""Stop on the user's signal: Ctrl-C (SIGINT), SIGTERM, or closing the terminal (SIGHUP)."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = "stopped; the same command goes on from here"

# `timeout`, `uv run` and shells forward signals that the terminal has already sent to this process.
# A signal within this time after another one counts as the same one.
_SAME_SECONDS = 0.1

# Ignore further signals for this long, so that the cleanup can end worker processes and mark runs as interrupted.
_CLEANING_SECONDS = 5.0

_last_heard = float("-inf")


class Stopped(KeyboardInterrupt):
    """The user stopped the command with signal `number`."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@dataclass
class Stop:
    """A request to stop at the end of the epoch; `number` is the first signal, or None if there was none."""

    number: int | None = None

    @property
    def asked(self) -> bool:
        """Return whether the user asked to stop."""
        return self.number is not None


def end_on_signals() -> None:
    """Make signals end this process: the first raises `Stopped`; one after the cleanup time exits immediately."""
    first: list[float] = []

    def end(number: int) -> None:
        if not first:
            first.append(time.monotonic())
            raise Stopped(number)
        if time.monotonic() - first[0] > _CLEANING_SECONDS:
            os._exit(128 + number)

    _install(end)


def ignore_signals() -> None:
    """Ignore all signals while the process exits, when Python no longer calls handlers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stoppable(clean_up: Callable[[], None]) -> Iterator[Stop]:
    """Record the first signal inside the `with` block, and raise `Stopped` on the second.

    If there was a signal, call `clean_up` when the block ends, ignore further signals meanwhile, and raise `Stopped`.
    """
    stop, is_ending = Stop(), False

    def note(number: int) -> None:
        if is_ending:
            return
        if stop.number is not None:
            raise Stopped(number)
        stop.number = number
        with suppress(OSError):  # not print: the signal may have interrupted a print
            os.write(2, b"\nstopping at the end of the epoch; once more to stop now\n")

    before = _install(note)
    try:
        yield stop
    finally:
        is_ending = True
        try:
            if stop.asked:
                clean_up()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if stop.number is not None:
        raise Stopped(stop.number)


def _install(react: Callable[[int], Any]) -> dict[int, Any]:
    """Install `react` as the handler of each signal. Return the previous handlers."""

    def handle(number: int, _: FrameType | None) -> None:
        global _last_heard
        if number == signal.SIGHUP:
            _leave_terminal()
        now = time.monotonic()
        is_another, _last_heard = now - _last_heard > _SAME_SECONDS, now
        if is_another:
            react(number)

    before: dict[int, Any] = {}
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if number != signal.SIGHUP or handler is not signal.SIG_IGN:  # nohup ignores SIGHUP: keep that
            before[number] = signal.signal(number, handle)
    return before


def _leave_terminal() -> None:
    """Redirect terminal output to the null device, since writing to a closed terminal is an error."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                os.dup2(nothing, stream)
    os.close(nothing)
