"""Sources of Fashion-MNIST on the network: torchvision's mirrors, then Debian's package.

A source is a function that fills an empty folder and returns the folder (itself or one below it) in which the
files then lie, or raises FetchError. `fmnist_sweep.data` checks what arrived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.client import HTTPException
from pathlib import Path

PACKAGE = "dataset-fashion-mnist"
PACKAGE_FOLDER = Path("usr/share/datasets/fashion-mnist")
TIMEOUT_SECONDS = 15  # without an answer or a further byte

Source = Callable[[Path], Path]


class FetchError(Exception):
    """A source cannot deliver; one line that says which and why."""


def sources(names: Iterable[str]) -> Iterator[Source]:
    """Yields the sources to try, in order, for the IDX files `names` (without .gz)."""
    from torchvision.datasets import FashionMNIST  # 3 s, and seldom needed

    archives = [f"{name}.gz" for name in names]
    for mirror in FashionMNIST.mirrors:
        yield partial(from_mirror, mirror, archives)
    yield from_debian


def say(message: str) -> None:
    """Prints one line of progress, apart from the program's own output."""
    print(message, file=sys.stderr, flush=True)


def from_mirror(mirror: str, archives: Iterable[str], folder: Path) -> Path:
    """Downloads `archives` from below the URL `mirror`, which ends in a slash.

    Raises FetchError at the first one that does not come, so that a dead mirror costs one timeout.
    """
    from urllib.request import urlopen

    from rich.console import Console
    from rich.progress import wrap_file

    console = Console(stderr=True)

    for archive in archives:
        url = mirror + archive
        terminal = sys.stderr.isatty()
        if not terminal:
            say(f"fetching {url}")
        try:
            with (
                urlopen(url, timeout=TIMEOUT_SECONDS) as response,
                open(folder / archive, "wb") as file,
            ):
                size = int(response.headers.get("Content-Length", 0))
                with wrap_file(response, size, description=archive, console=console, disable=not terminal) as source:
                    shutil.copyfileobj(source, file)
        except (OSError, HTTPException, ValueError) as error:
            raise FetchError(f"{url}: {error}") from error
    return folder


def from_debian(folder: Path) -> Path:
    """Downloads and unpacks Debian's package, as any user and without installing it.

    Where the system's package lists are empty or old, fresh ones are fetched into `folder`; the system's stay
    as they are.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise FetchError(f"Debian's package {PACKAGE}: there is no apt-get and dpkg-deb here")
    say(f"fetching Debian's package {PACKAGE} with apt-get")
    try:
        _run("apt-get", *_options(), "download", PACKAGE, cwd=folder)
    except FetchError:
        say("apt-get cannot fetch it with the package lists of this system: fetching fresh lists")
        options = [*_options(), *_private_lists(folder)]
        warning = _run("apt-get", *options, "update", cwd=folder)
        try:
            _run("apt-get", *options, "download", PACKAGE, cwd=folder)
        except FetchError as error:
            raise FetchError(f"{error}{warning and f', for apt-get update said: {warning}'}") from error
    archive = next(folder.glob(f"{PACKAGE}_*.deb"))
    _run("dpkg-deb", "-x", str(archive), str(folder), cwd=folder)
    return folder / PACKAGE_FOLDER


def _options() -> list[str]:
    """Options of apt-get: bounded waits, and root stays root, for the user _apt may not enter our folder."""
    options = [f"-oAcquire::{scheme}::Timeout={TIMEOUT_SECONDS}" for scheme in ("http", "https")]
    options.append("-oAcquire::Retries=1")
    if os.geteuid() == 0:
        options.append("-oAPT::Sandbox::User=root")
    return options


def _private_lists(folder: Path) -> list[str]:
    """Options that make apt-get keep its package lists and its cache below `folder`."""
    lists, cache = folder / "lists", folder / "cache"
    for state in (lists, cache / "archives"):
        (state / "partial").mkdir(parents=True)
    return [f"-oDir::State::Lists={lists}", f"-oDir::Cache={cache}"]


def _run(*command: str, cwd: Path) -> str:
    """Runs a command, which shows progress if there is a terminal.

    Returns its first complaint, which may be none (""). Raises FetchError with it if the command failed.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    complaints = sorted(done.stderr.splitlines(), key=lambda line: not line.startswith("E: "))
    first = next(iter(complaints), "")
    if done.returncode != 0:
        words = " ".join(word for word in command if not word.startswith("-o"))
        raise FetchError(f"{words}: {first or f'exit code {done.returncode}'}")
    return first
