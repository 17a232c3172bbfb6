"""Sources of Fashion-MNIST on the network: torchvision's mirrors, then Debian's package."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

PACKAGE = "dataset-fashion-mnist"
PACKAGE_FOLDER = Path("usr/share/datasets/fashion-mnist")
TIMEOUT = (3.05, 15)  # seconds: to connect to one address of a mirror (it may have eight), and for the next byte
# Root stays root, because the user _apt may not enter our folder.
_APT = ("apt-get", "-oAcquire::http::Timeout=15", "-oAcquire::Retries=1", "-oAPT::Sandbox::User=root")


class FetchError(Exception):
    """A source cannot deliver; one line that says which and why."""


def say(message: str) -> None:
    """Prints one line of progress, apart from the program's own output."""
    print(message, file=sys.stderr, flush=True)


def sources() -> Iterator[Callable[[Path], Path]]:
    """Yields what to try, in order; each fills an empty folder and returns where in it the files then lie."""
    from torchvision.datasets import FashionMNIST  # 3 s, and seldom needed

    for mirror in FashionMNIST.mirrors:
        yield partial(from_mirror, mirror, FashionMNIST.resources)
    yield from_debian


def from_mirror(mirror: str, resources: list[tuple[str, str]], folder: Path) -> Path:
    """Downloads `resources`, names and MD5 sums, from below the URL `mirror`, which ends in a slash.

    Raises FetchError at the first one that does not come, so that a dead mirror costs one timeout.
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
        except requests.RequestException as error:  # its text may be a stack of addresses and retries
            status = "" if error.response is None else f" {error.response.status_code}"
            raise FetchError(f"{host} does not give {name} ({type(error).__name__}{status})") from error
        except ValueError as error:
            raise FetchError(f"{host} gives a {name} that does not have the MD5 sum {md5}") from error
    return folder


def from_debian(folder: Path) -> Path:
    """Downloads and unpacks Debian's package, as any user and without installing it.

    Where the system's package lists are empty or old, fresh ones go below `folder`; the system's stay as they are.
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
            say(str(error))  # the repository that failed need not be the one that has the package
        _run(folder, *apt, "download", PACKAGE)
    _run(folder, "dpkg-deb", "-x", *map(str, folder.glob("*.deb")), ".")
    return folder / PACKAGE_FOLDER


def _run(folder: Path, *command: str) -> None:
    """Runs a command in `folder`, its progress on the terminal if any; raises FetchError with its first complaint."""
    stdout = 2 if sys.stderr.isatty() else subprocess.DEVNULL
    done = subprocess.run(command, cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0:
        lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        reason = next((line for line in lines if line.startswith("E: ")), lines[0])
        raise FetchError(f"{' '.join(word for word in command if not word.startswith('-o'))}: {reason}")
