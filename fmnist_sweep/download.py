"""Download Fashion-MNIST from torchvision's mirrors or from Debian's package."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

PACKAGE = "dataset-fashion-mnist"
PACKAGE_FOLDER = Path("usr/share/datasets/fashion-mnist")
TIMEOUT = (3.05, 15)  # seconds to connect to one address of a mirror (it may have eight), and to wait for the next byte
# apt keeps running as root, because its user _apt may lack access to our folder.
_APT = ("apt-get", "-oAcquire::http::Timeout=15", "-oAcquire::Retries=1", "-oAPT::Sandbox::User=root")


class FetchError(Exception):
    """A source cannot deliver the data. The message says in one line which source and why."""


def say(message: str) -> None:
    """Print a line of progress to stderr, so that stdout holds only the program's results."""
    print(message, file=sys.stderr, flush=True)


def sources() -> Iterator[Callable[[Path], Path]]:
    """Yield the sources to try, in order. Each one fills an empty folder and returns the path of the files in it."""
    from torchvision.datasets import FashionMNIST  # this import takes 3 s and is seldom needed

    for mirror in FashionMNIST.mirrors:
        yield partial(from_mirror, mirror, FashionMNIST.resources)
    yield from_debian


def from_mirror(mirror: str, resources: list[tuple[str, str]], folder: Path) -> Path:
    """Download `resources` (file names and MD5 sums) from the URL `mirror`, which ends in a slash.

    Raises:
        FetchError: a file could not be fetched. The first failure ends the loop, so a dead mirror costs one timeout.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=TIMEOUT)
    host = urlsplit(mirror).netloc
    say(f"fetching Fashion-MNIST from {host}")
    for name, md5 in resources:
        try:
            pooch.retrieve(mirror + name, f"md5:{md5}", name, folder, downloader=download)
        except requests.RequestException as error:  # its text may list many addresses and retries
            status = "" if error.response is None else f" {error.response.status_code}"
            raise FetchError(f"{host} does not give {name} ({type(error).__name__}{status})") from error
        except ValueError as error:
            raise FetchError(f"{host} gives a {name} that does not have the MD5 sum {md5}") from error
    return folder


def from_debian(folder: Path) -> Path:
    """Download and unpack Debian's package. This needs no root and installs nothing.

    If the system's package lists are empty or old, fetch new ones into `folder` and leave the system's unchanged.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise FetchError(f"Debian's package {PACKAGE}: there is no apt-get and dpkg-deb here")
    say(f"fetching Debian's package {PACKAGE}")
    try:
        _run(folder, *_APT, "download", PACKAGE)
    except FetchError:
        say("not with the package lists of this system: fetching fresh ones")
        apt = (*_APT, f"-oDir::State={folder}", f"-oDir::State::Lists={folder}/lists", f"-oDir::Cache={folder}")
        try:
            _run(folder, *apt, "-oAPT::Update::Error-Mode=any", "update")
        except FetchError as error:
            say(str(error))  # continue: another repository may have the package
        _run(folder, *apt, "download", PACKAGE)
    _run(folder, "dpkg-deb", "-x", *map(str, folder.glob("*.deb")), ".")
    return folder / PACKAGE_FOLDER


def _run(folder: Path, *command: str) -> None:
    """Run a command in `folder` and show its progress on a terminal; raise FetchError with its first error message."""
    stdout = 2 if sys.stderr.isatty() else subprocess.DEVNULL
    done = subprocess.run(command, cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0:
        lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        reason = next((line for line in lines if line.startswith("E: ")), lines[0])
        raise FetchError(f"{' '.join(word for word in command if not word.startswith('-o'))}: {reason}")
