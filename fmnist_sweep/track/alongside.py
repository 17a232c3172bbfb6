"""Followers beside a sweep, each in a process of its own: what hangs there holds up no training.

A follower's standard input is a pipe that this process holds: it ends when the sweep does, however that ends.
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

from fmnist_sweep import track
from fmnist_sweep.config import TrackerConfig
from fmnist_sweep.display import console

QUIET_SECONDS = 3.0  # that a follower may take at the end without a word
DRAIN_SECONDS = 60.0  # that it may take in all


@dataclass(frozen=True)
class _Child:
    name: str
    arguments: list[str]
    process: subprocess.Popen[str]
    reader: threading.Thread


class Followers:
    """Followers of some stores for all trackers that are chosen; at the end what is missing is sent, within bounds."""

    def __init__(self, trackers: TrackerConfig):
        self._trackers = track.chosen(trackers)
        self._followed: set[Path] = set()
        self._children: list[_Child] = []

    def __enter__(self) -> Followers:
        return self

    def follow(self, stores: Iterable[Path]) -> None:
        """Follow the runs of further stores."""
        new = sorted(set(stores) - self._followed)
        self._followed |= set(new)
        for name, settings in self._trackers.items() if new else ():
            options = [f"--{key}={value}" for key, value in asdict(settings).items() if value is not None]
            self._children.append(_start(name, [*map(_shown, new), name, *options]))

    def __exit__(self, *_: object) -> None:
        until = time.monotonic() + DRAIN_SECONDS
        for child in self._children:
            with suppress(BrokenPipeError):
                child.process.stdin.close()  # type: ignore[union-attr]
        try:
            for child in self._children:
                _drain(child, until)
        finally:
            for child in self._children:
                child.process.kill()
                child.process.wait()
                child.reader.join()
                if child.process.returncode != 0:
                    command = shlex.join(["python", "-m", "fmnist_sweep.track", *child.arguments])
                    console.print(
                        f"{child.name} does not have everything; this sends the rest: {command}", markup=False
                    )


def _start(name: str, arguments: list[str]) -> _Child:
    packages, paths = str(Path(track.__file__).parents[2]), os.environ.get("PYTHONPATH")
    if packages != sysconfig.get_path("purelib"):  # a checkout, which is perhaps found by the folder that this is in
        paths = os.pathsep.join(filter(None, [packages, paths]))
    process = subprocess.Popen(
        [sys.executable, "-m", "fmnist_sweep.track", *arguments, "--until-eof"],
        env=os.environ | ({"PYTHONPATH": paths} if paths else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for the sweep, which then tells its followers
    )
    reader = threading.Thread(target=_print, args=[process], daemon=True)
    reader.start()
    return _Child(name, arguments, process, reader)


def _print(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        console.print(line.rstrip(), markup=False)


def _drain(child: _Child, until: float) -> None:
    try:
        child.process.wait(QUIET_SECONDS)
    except subprocess.TimeoutExpired:
        console.print(f"sending the rest to {child.name}; Ctrl-C leaves it")
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, until - time.monotonic()))


def _shown(store: Path) -> str:
    """A folder as one would type it."""
    path = os.path.relpath(store)
    return str(store) if path.startswith(("..", "-")) else path
