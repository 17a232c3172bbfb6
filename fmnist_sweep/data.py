"""Fashion-MNIST: find it or fetch it, verify it, hold it on a device.

`prepare` is for the process that starts the work: it finds or fetches the four files, verifies them and
returns the folder where they lie decompressed. `load` is for every process that trains: it maps that folder,
so that processes on a CPU share one copy of the images. `python -m fmnist_sweep.data` prepares the data and
prints where they are.

Source of the data: Xiao, Rasul and Vollgraf, "Fashion-MNIST", arXiv:1708.07747.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep import fetching
from fmnist_sweep.staging import only_here, staging

if TYPE_CHECKING:
    import torch


class IdxFile(NamedTuple):
    """One file: SHA-256 of its decompressed content, shape of its array of uint8, name of that array."""

    sha256: str
    shape: tuple[int, ...]
    array: str


FILES = {
    "train-images-idx3-ubyte": IdxFile(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", (60_000, 28, 28), "train_images"
    ),
    "train-labels-idx1-ubyte": IdxFile(
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", (60_000,), "train_labels"
    ),
    "t10k-images-idx3-ubyte": IdxFile(
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", (10_000, 28, 28), "test_images"
    ),
    "t10k-labels-idx1-ubyte": IdxFile(
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", (10_000,), "test_labels"
    ),
}
CHECKSUMS = {name: file.sha256 for name, file in FILES.items()}
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PIXELS = 28 * 28
SYSTEM_FOLDER = Path("/") / fetching.PACKAGE_FOLDER
TORCHVISION_LAYOUT = Path("FashionMNIST/raw")
HOLDOUT_SEED = 20241119
HOLDOUT_SIZE = 10_000
_CHUNK = 1 << 20


class DataError(Exception):
    """Fashion-MNIST cannot be had; the first line says what is wrong and what to do."""


def cache_folder() -> Path:
    """Where the data are kept unless the configuration names a folder: the user's cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "fmnist_sweep"


def prepare(folder: Path | None = None) -> Path:
    """Finds or fetches the four files, verifies them, returns the folder that holds them decompressed.

    Looked for in `folder` (None: the user's cache) and in torchvision's layout below it, then in the system's
    package folder, then on the network. In the first place that holds any of the files, all four must be
    right. What is fetched, and what the system has compressed, goes into torchvision's layout below `folder`,
    which is made if need be; compressed files found in `folder` are left alone and unpacked into the cache.

    Raises:
        DataError: a file is missing or wrong (named, with both sums), or a folder is not writable, or nothing
            could be fetched (then lines with the manual steps follow the first).
    """
    try:
        home = cache_folder() if folder is None else Path(folder).expanduser().absolute()
        own = next(filter(_holds_any, (home, home / TORCHVISION_LAYOUT)), None)
        source = own or (SYSTEM_FOLDER if _holds_any(SYSTEM_FOLDER) else None)
        if source is not None:
            paths = _verify(source)
            if all(path.suffix != ".gz" for path in paths):
                return source
        target = home / TORCHVISION_LAYOUT if own is None else cache_folder() / "unpacked"
        if not _holds_any(target):
            with only_here(target):
                if not _holds_any(target):  # else the process that this one waited for has filled it
                    with staging(target) as staged:
                        if source is not None:
                            _unpack(source, staged)
                        else:
                            _fetch(home, target, staged)
        _verify(target)
        return target
    except OSError as error:
        problem = f"{error.filename or home}: {error.strerror or error}"
        raise DataError(f"{problem}; choose another folder with data.dir=FOLDER") from error


def _holds_any(folder: Path) -> bool:
    return any(_path_of(folder, name) is not None for name in FILES)


def _path_of(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, plain rather than compressed; None if there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _verify(folder: Path) -> list[Path]:
    """Checks all four files of `folder`, plain or compressed, and returns their paths."""
    return [_read(folder, name) for name in FILES]


def _unpack(source: Path, target: Path) -> None:
    """Writes the four files of `source` decompressed into the folder `target`, checking what is written."""
    for name in FILES:
        with open(target / name, "wb") as file:
            _read(source, name, file)
            file.flush()
            os.fsync(file.fileno())  # or a power cut after the renaming would leave files that hold nothing


def _read(folder: Path, name: str, sink: BinaryIO | None = None) -> Path:
    """Reads one file of `folder` decompressed, into `sink` if given; DataError if its sum is wrong."""
    path = _path_of(folder, name)
    if path is None:
        raise _wrong(folder / name, name, "no such file")
    digest = hashlib.sha256()
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                if sink is not None:
                    sink.write(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        found = f"{digest.hexdigest()} up to where gzip fails ({error})"
        raise _wrong(path, name, found) from error
    found = digest.hexdigest()
    if found != CHECKSUMS[name]:
        other = next((f", which is {other}" for other, sha256 in CHECKSUMS.items() if sha256 == found), "")
        raise _wrong(path, name, found + other)
    return path


def _wrong(path: Path, name: str, found: str) -> DataError:
    return DataError(
        f"{path} is not Fashion-MNIST's {name}: expected SHA-256 of the content {CHECKSUMS[name]}, "
        f"found {found}; put the right file there, or remove all four to have them fetched again"
    )


def _fetch(home: Path, target: Path, staged: Path) -> None:
    """Fills `staged` from the first source on the network whose files are right; DataError if none is."""
    fetching.say(f"Fashion-MNIST is not here yet: fetching it into {target}")
    failures = []
    for source in fetching.sources(FILES):
        with TemporaryDirectory(dir=staged) as download:
            try:
                return _unpack(source(Path(download)), staged)
            except (fetching.FetchError, DataError) as error:
                failures.append(str(error))
                fetching.say(f"failed: {error}")
    raise DataError(
        f"Fashion-MNIST is neither in {home} nor in {SYSTEM_FOLDER}, and it could not be fetched "
        f"({'; '.join(failures)}): give it by hand, either way, and start again\n"
        f"  1. on Debian or Ubuntu: sudo apt-get update && sudo apt-get install {fetching.PACKAGE}\n"
        f"  2. or copy these four files, with or without .gz, into {home}: {', '.join(FILES)}\n"
        "     (from a machine with a network: github.com/zalandoresearch/fashion-mnist)"
    )


def load_arrays(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Maps the files of a folder that `prepare` returned, without verifying them again.

    Returns:
        `train_images` [60000, 28, 28], `train_labels` [60000], `test_images` [10000, 28, 28], `test_labels`
        [10000]. Processes share their memory; writing to an array changes neither files nor other processes.
    """
    try:
        return {file.array: _map(folder / name, file.shape) for name, file in FILES.items()}
    except (OSError, ValueError) as error:
        raise DataError(f"cannot map {folder}: {error}; run python -m fmnist_sweep.data") from error


def _map(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    header = 4 + 4 * len(shape)  # a magic number and the dimensions
    return np.memmap(path, np.uint8, "c", offset=header, shape=shape)


class Part(NamedTuple):
    """Images uint8 [n, 28, 28] and their labels uint8 [n], in data set order."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def split(arrays: dict[str, NDArray[np.uint8]], validation: str) -> tuple[Part, Part, Part | None]:
    """Splits what `load_arrays` returned into training, validation and test parts.

    Args:
        arrays: the four arrays of `load_arrays`.
        validation: "test" (the paper's protocol): the 60,000 training images train, the 10,000 test images
            validate, and there is no test part. "holdout": of the training images those that the first 10,000
            entries of a permutation name validate and the other 50,000 train; the test images are the test
            part. The permutation is that of NumPy's RandomState(HOLDOUT_SEED), a stream that NEP 19 freezes.
    """
    train = Part(arrays["train_images"], arrays["train_labels"])
    test = Part(arrays["test_images"], arrays["test_labels"])
    if validation == "test":
        return train, test, None
    if validation == "holdout":
        held_out = np.zeros(len(train.labels), dtype=bool)
        held_out[np.random.RandomState(HOLDOUT_SEED).permutation(len(held_out))[:HOLDOUT_SIZE]] = True
        kept, held = (Part(train.images[mask], train.labels[mask]) for mask in (~held_out, held_out))
        return kept, held, test
    raise DataError(f"data.validation={validation}: must be test or holdout")


@dataclass(frozen=True)
class Data:
    """Fashion-MNIST on a device: images uint8 [n, 784], labels int64 [n]; mean and std of pixels in 0..1."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    val_images: torch.Tensor
    val_labels: torch.Tensor
    test_images: torch.Tensor | None
    test_labels: torch.Tensor | None
    mean: float
    std: float

    def batch(self, images: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Normalises `images` into `out` with this data's mean and standard deviation: see `normalise`."""
        return normalise(images, out, self.mean, self.std)


def normalise(images: torch.Tensor, out: torch.Tensor, mean: float, std: float) -> torch.Tensor:
    """Writes (images / 255 - mean) / std into `out` and returns it; images uint8, out float32, of one shape.

    Copying and then multiplying is quicker than a product that converts as it goes (16 against 21
    microseconds for 100 images on one core).
    """
    return out.copy_(images).mul_(1 / (255 * std)).sub_(mean / std)


def load(folder: Path, validation: str, device: torch.device, mean: float, std: float) -> Data:
    """Loads a folder that `prepare` returned onto `device`, split as `split` says.

    On a CPU with validation "test" the images are views of the mapped files: processes share their memory.
    """
    import torch

    def on_device(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(part.images.reshape(-1, PIXELS)).to(device)
        return images, torch.from_numpy(part.labels.astype(np.int64)).to(device)

    train, val, test = split(load_arrays(folder), validation)
    test_images, test_labels = (None, None) if test is None else on_device(test)
    return Data(*on_device(train), *on_device(val), test_images, test_labels, mean, std)


def main() -> None:
    """Prepares the data and prints where they are; exit code 1 if they cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m fmnist_sweep.data", description=main.__doc__)
    parser.add_argument("--dir", type=Path, help="where they are or shall be (default: a folder of the user's cache)")
    try:
        print(prepare(parser.parse_args().dir))
    except DataError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
