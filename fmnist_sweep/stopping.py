"""Stop when the user says so: by Ctrl-C (SIGINT), by SIGTERM, or by closing the terminal (SIGHUP)."""

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

# `timeout`, `uv run` and shells pass on a signal that this process has had from the terminal already.
_SAME_SECONDS = 0.1

# So long nothing disturbs what leaves no process and no run behind.
_CLEANING_SECONDS = 5.0

_last_heard = float("-inf")


class Stopped(KeyboardInterrupt):
    """The user stopped the command, by the signal of this number."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@dataclass
class Stop:
    """A request to stop at the end of the epoch; `number` is that of the first signal."""

    number: int | None = None

    @property
    def asked(self) -> bool:
        """Whether there is such a request."""
        return self.number is not None


def end_on_signals() -> None:
    """End this process on signals, from now on: the first raises `Stopped`; one that comes much later exits at once."""
    first: list[float] = []

    def end(number: int) -> None:
        if not first:
            first.append(time.monotonic())
            raise Stopped(number)
        if time.monotonic() - first[0] > _CLEANING_SECONDS:
            os._exit(128 + number)

    _install(end)


def ignore_signals() -> None:
    """Let nothing disturb the end of this process, where Python calls no handlers any more."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stoppable(clean_up: Callable[[], None]) -> Iterator[Stop]:
    """Note the first signal within, and raise `Stopped` for the second.

    After the first, `clean_up` is called at the end, whatever signals come meanwhile, and `Stopped` is raised.
    """
    stop, is_ending = Stop(), False

    def note(number: int) -> None:
        if is_ending:
            return
        if stop.number is not None:
            raise Stopped(number)
        stop.number = number
        with suppress(OSError):  # not by print, which the signal may have interrupted
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
    """Have `react` called for each signal. Returns the handlers before."""

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
        if number != signal.SIGHUP or handler is not signal.SIG_IGN:  # as nohup has it
            before[number] = signal.signal(number, handle)
    return before


def _leave_terminal() -> None:
    """Write no more to a terminal that has been closed: it would be an error."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                os.dup2(nothing, stream)
    os.close(nothing)
