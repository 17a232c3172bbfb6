"""Run a follower process for each tracker beside a sweep, so that a tracker that hangs does not delay training.

A follower's standard input is a pipe from this process. The pipe closes when this process ends, even by kill -9. The
follower then sends the rest and ends.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fmnist_sweep.config.schema import TrackerConfig
from fmnist_sweep.config.trackers import chosen
from fmnist_sweep.console import console

QUIET_SECONDS = 3.0  # how long a follower may take after the sweep before the user is told
DRAIN_SECONDS = 60.0  # how long all followers together may take after the sweep


@dataclass(frozen=True)
class _Child:
    name: str
    process: subprocess.Popen[str]
    command: str  # the command that starts the same follower by hand, without --follow
    printer: threading.Thread


class Followers:
    """The followers of one sweep. When the sweep ends, they have a limited time to send the rest."""

    def __init__(self, trackers: TrackerConfig):
        self._trackers = chosen(trackers)
        self._followed: set[Path] = set()
        self._children: list[_Child] = []

    def __enter__(self) -> Followers:
        return self

    def follow(self, stores: Iterable[Path]) -> None:
        """Start a follower for each tracker on those folders that do not have one yet."""
        new = sorted(set(stores) - self._followed)
        self._followed.update(new)
        for name, settings in self._trackers.items() if new else ():
            options = [f"--{key}={value}" for key, value in asdict(settings).items() if value is not None]
            self._children.append(_start(name, [*map(_short, new), name, *options]))

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS
        for child in self._children:
            with suppress(BrokenPipeError):
                child.process.stdin.close()  # type: ignore[union-attr]
        try:
            for child in self._children:
                _drain(child, deadline)
        finally:
            for child in self._children:
                child.process.kill()
                child.printer.join(QUIET_SECONDS)
                if child.process.wait() != 0:
                    line = f"{child.name} did not get everything; to send the rest, run: {child.command}"
                    console.print(line)


def _start(name: str, arguments: list[str]) -> _Child:
    packages, paths = str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")
    if packages != sysconfig.get_path("purelib"):  # a checkout, which Python may find only from the current folder
        paths = os.pathsep.join(filter(None, [packages, paths]))
    command = ["-m", "fmnist_sweep.track", *arguments]
    process = subprocess.Popen(
        [sys.executable, *command, "--until-eof"],
        env=os.environ | ({"PYTHONPATH": paths} if paths else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C then reaches only the sweep, which ends its followers
    )
    printer = threading.Thread(target=_print_lines, args=[process], daemon=True)
    printer.start()
    return _Child(name, process, shlex.join(["python", *command]), printer)


def _print_lines(process: subprocess.Popen[str]) -> None:
    for line in process.stdout or ():
        console.print(line.rstrip())


def _drain(child: _Child, deadline: float) -> None:
    try:
        child.process.wait(QUIET_SECONDS)
    except subprocess.TimeoutExpired:
        console.print(f"sending the rest to {child.name}; Ctrl-C leaves it")
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))


def _short(store: Path) -> str:
    """Return a folder's path as a user would type it."""
    path = os.path.relpath(store)
    return str(store) if path.startswith(("..", "-")) else path
