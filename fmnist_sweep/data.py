"""Fashion-MNIST: find or fetch the data set, verify it, and load it onto a device.

The process that starts the work calls `prepare`. Every process that trains calls `load`, which maps the files into
memory, so that processes on a CPU share one copy of the images. `python -m fmnist_sweep.data` prepares the data and
prints their folder.

Source of the data: Xiao, Rasul and Vollgraf, "Fashion-MNIST", arXiv:1708.07747.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import math
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep import download, files
from fmnist_sweep.console import program
from fmnist_sweep.errors import UserError

if TYPE_CHECKING:
    import torch


FILES: dict[str, tuple[int, ...]] = {  # shapes of the uint8 arrays
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
CHECKSUMS = {  # SHA-256 of the decompressed files
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
PIXELS = 28 * 28
IMAGES = FILES["train-images-idx3-ubyte"][0]
TEST_IMAGES = FILES["t10k-images-idx3-ubyte"][0]
SYSTEM_FOLDER = Path("/") / download.PACKAGE_FOLDER
TORCHVISION_LAYOUT = Path("FashionMNIST/raw")
HOLDOUT_SEED = 20241119
HOLDOUT_SIZE = 10_000


class DataError(UserError):
    """Fashion-MNIST is unavailable. The first line says why and what to do; manual steps may follow."""


def cache_folder() -> Path:
    """Return the folder in the user's cache that holds the data unless the configuration names another one."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "fmnist_sweep"


def find(folder: Path | None = None) -> Path | None:
    """Return the folder that holds the four decompressed files, for `load_parts`, or None if there is none.

    Search `folder` if given, then the user's cache, and torchvision's layout below each. Fetch and verify nothing.
    """
    return _first((folder or cache_folder()).expanduser(), cache_folder())


def prepare(folder: Path | None = None) -> Path:
    """Find or fetch the four files, verify them, and return the folder that holds them decompressed.

    If `folder` (None: the user's cache) or torchvision's layout below it has all four files, use it unchanged.
    Otherwise fill that layout from the first source that has all four files, with or without .gz: these two folders,
    the user's cache, the system's package, the network. Never replace an existing file.

    Raises:
        DataError: a file is wrong (the message has its name and both checksums), a folder is not readable or writable,
            or no source could deliver.
    """
    home = cache_folder() if folder is None else Path(folder).expanduser().absolute()
    try:
        place = _first(home) or _fill(home)
        for name in FILES:
            _read(place, name)
        return place
    except OSError as error:
        problem = f"{error.filename or home}: {error.strerror or error}"
        raise DataError(f"{problem}; choose another folder with data.dir=FOLDER") from error


def _first(*homes: Path, ends: tuple[str, ...] = ("",)) -> Path | None:
    """Return the first of `homes`, or torchvision's layout below it, that has all four files with any of `ends`."""
    places = (home / layout for home in homes for layout in (".", TORCHVISION_LAYOUT))
    return next((p for p in places if all(any(os.path.isfile(p / f"{name}{e}") for e in ends) for name in FILES)), None)


def _read(folder: Path, name: str) -> bytes:
    """Return the decompressed content of a file in `folder`, plain or .gz; raise DataError if its checksum is wrong."""
    path = folder / name if (folder / name).is_file() else folder / f"{name}.gz"
    size = 4 + 4 * len(FILES[name]) + math.prod(FILES[name])  # bytes of the magic number, the dimensions and the values
    try:
        content = files.read(path, 2 * size)
        if path.suffix == ".gz":
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(size + 1)  # it may decompress to any length
        found = hashlib.sha256(content).hexdigest()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        found = f"what gzip cannot read ({error})"
    if found != CHECKSUMS[name]:
        raise DataError(
            f"{path} is not Fashion-MNIST's {name}: expected SHA-256 of the content {CHECKSUMS[name]}, "
            f"found {found}; put the right file there, or remove it to have it fetched again"
        )
    return content


def _fill(home: Path) -> Path:
    """Fill torchvision's layout below `home` and return it. One process does this while the others wait."""
    from filelock import FileLock

    raw = home / TORCHVISION_LAYOUT
    raw.mkdir(parents=True, exist_ok=True)
    download.say(f"putting Fashion-MNIST into {raw}, or waiting for the process that does; 30 MB if no copy is here")
    with FileLock(raw.parent / ".fmnist_sweep.lock"):
        if local := _first(home, cache_folder(), SYSTEM_FOLDER, ends=("", ".gz")):
            return _copy(local, raw)
        failures = []
        for source in download.sources():
            with TemporaryDirectory() as folder:
                try:
                    return _copy(source(Path(folder)), raw)
                except (download.FetchError, DataError) as error:
                    failures.append(str(error))
                    download.say(str(error))
    raise DataError(
        f"Fashion-MNIST is neither in {home} nor in {SYSTEM_FOLDER}, and it could not be fetched "
        f"({'; '.join(failures)}): give it by hand, either way, and start again\n"
        f"  1. on Debian or Ubuntu: sudo apt-get update && sudo apt-get install {download.PACKAGE}\n"
        f"  2. or copy from github.com/zalandoresearch/fashion-mnist into {home}: {', '.join(FILES)} (or these as .gz)"
    )


def _copy(source: Path, target: Path) -> Path:
    """Verify all four files of `source`, then write the ones that `target` lacks, decompressed."""
    contents = {name: _read(source, name) for name in FILES}
    for name in FILES:
        if not (target / name).exists():
            unfinished = target / f".{name}.part"  # a fixed name, so that a later call overwrites it after a kill
            unfinished.write_bytes(contents[name])
            unfinished.replace(target / name)
    return target


class Part(NamedTuple):
    """Images uint8 [n, 28, 28] and their labels uint8 [n], in data set order."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def load_parts(folder: Path) -> tuple[Part, Part]:
    """Map the training and test images and their labels into memory, from a folder that `prepare` returned.

    Processes share this memory. Writing to an array changes neither the files nor other processes' arrays.
    """
    try:
        arrays = [  # the offset skips the magic number and the dimensions
            np.memmap(folder / name, np.uint8, "c", offset=4 + 4 * len(shape), shape=shape)
            for name, shape in FILES.items()
        ]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot map {folder}: {error}; run python -m fmnist_sweep.data") from error
    return Part(*arrays[:2]), Part(*arrays[2:])


Scale: TypeAlias = "float | NDArray[np.float64]"


class Division(NamedTuple):
    """A division of the images; see `split`. Sizes are numbers of images, or fractions below 1."""

    validation: str
    size: float = 10_000
    take: str = "last"
    seed: int = 0
    train_size: float | None = None

    def counts(self) -> tuple[int, int, int]:
        """Return how many images train, validate, and are measured on as a test set after each epoch."""
        held = {"test": 0, "holdout": HOLDOUT_SIZE, "split": _images(self.size, IMAGES)}[self.validation]
        training = _images(1.0 if self.train_size is None else self.train_size, IMAGES - held)
        validation = TEST_IMAGES if self.validation == "test" else held
        return training, validation, TEST_IMAGES if self.validation == "split" else 0


def _images(size: float, of: int) -> int:
    return round(size * of) if isinstance(size, float) else size


def split(train: Part, test: Part, division: Division) -> tuple[Part, Part, Part | None]:
    """Divide the result of `load_parts` into training, validation and test parts.

    - `test`, the first paper's protocol: the test images validate, and there is no test part.
    - `holdout`: the first 10,000 entries of a permutation select the training images for validation, the other 50,000
      train, and the test images are the test part. The permutation is drawn from NumPy's RandomState(HOLDOUT_SEED),
      and NEP 19 guarantees that its stream never changes.
    - `split`: the last or the first `size` training images validate, or a random choice as for holdout by `seed`.

    With a `train_size`, only the first so many of the training images that are left train.
    """
    training, held, _ = division.counts()
    images = len(train.labels)
    if division.validation == "test":
        kept, validation = train, test
    elif division.validation == "split" and division.take != "random":
        at = held if division.take == "first" else images - held
        begin, end = (Part(train.images[part], train.labels[part]) for part in (slice(at), slice(at, None)))
        validation, kept = (begin, end) if division.take == "first" else (end, begin)
    else:
        seed = HOLDOUT_SEED if division.validation == "holdout" else division.seed
        held_out = np.zeros(images, dtype=bool)
        held_out[np.random.RandomState(seed).permutation(images)[:held]] = True
        kept, validation = (Part(train.images[mask], train.labels[mask]) for mask in (~held_out, held_out))
    kept = Part(kept.images[:training], kept.labels[:training])
    return kept, validation, None if division.validation == "test" else test


def scaling(images: NDArray[np.uint8], mean: float | str, std: float | str) -> tuple[Scale, Scale]:
    """Return the mean and the deviation with which pixels x are scaled to (x / 255 - mean) / std.

    Args:
        images: the training images, [n, 28, 28].
        mean, std: numbers; or `train`, the mean or standard deviation of x / 255 over all pixels of the images; or
            `pixel`, that of each pixel over the images. As in scikit-learn's `StandardScaler`, the deviation is the
            population's, and that of a pixel that never varies counts as 1.

    Returns:
        Each is a number, or an array of shape `(784,)`.
    """
    if not isinstance(mean, str) and not isinstance(std, str):
        return mean, std
    rows = images.reshape(-1, PIXELS)
    # Sums of whole numbers are exact, so they do not depend on the order.
    sums = rows.sum(0, dtype=np.int64)
    chunks = np.array_split(rows, 1 + len(rows) // 1000)
    squares = np.sum([np.square(some, dtype=np.int64).sum(0) for some in chunks], axis=0)
    variances = (squares * len(rows) - sums**2) / len(rows) ** 2
    average = sums.sum() / rows.size
    of_all = math.sqrt(squares.sum() / rows.size - average**2)
    means: dict[str, Scale] = {"train": float(average / 255), "pixel": sums / len(rows) / 255}
    spread = np.where(variances > 0, np.sqrt(variances) / 255, 1.0)
    deviations: dict[str, Scale] = {"train": of_all / 255, "pixel": spread}
    return means[mean] if isinstance(mean, str) else mean, deviations[std] if isinstance(std, str) else std


@dataclass(frozen=True)
class Data:
    """Fashion-MNIST on a device: images uint8 [n, 784], labels int64 [n].

    Attributes:
        mean, std: of pixels in 0..1: a number, or a tensor with one for each pixel, [784].
        tests_every_epoch: whether the test images are measured on after each epoch, and not only once at the end.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    val_images: torch.Tensor
    val_labels: torch.Tensor
    test_images: torch.Tensor | None
    test_labels: torch.Tensor | None
    mean: float | torch.Tensor
    std: float | torch.Tensor
    tests_every_epoch: bool = False

    def batch(self, images: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Write (images / 255 - mean) / std into `out` and return it; uint8 images, float32 `out` of the same shape.

        Copying first and multiplying in place is faster than a product that converts its input.
        """
        return out.copy_(images).mul_(1 / (255 * self.std)).sub_(self.mean / self.std)


def load(
    folder: Path, division: Division, device: torch.device, mean: float | str = 0.5, std: float | str = 0.5
) -> Data:
    """Load the data from a folder that `prepare` returned onto `device`, divided by `split` and scaled by `scaling`.

    On a CPU with validation "test", the images are views of the mapped files, so processes share their memory.
    """
    import torch

    def on_device(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(part.images.reshape(-1, PIXELS)).to(device)
        return images, torch.from_numpy(part.labels.astype(np.int64)).to(device)

    train, val, test = split(*load_parts(folder), division)
    test_images, test_labels = (None, None) if test is None else on_device(test)
    scaled_mean, scaled_std = (
        torch.from_numpy(scale).float().to(device) if isinstance(scale, np.ndarray) else float(scale)
        for scale in scaling(train.images, mean, std)
    )
    every_epoch = division.validation == "split"
    return Data(*on_device(train), *on_device(val), test_images, test_labels, scaled_mean, scaled_std, every_epoch)


def main(arguments: list[str] | None = None) -> int:
    """Find or fetch the data, verify them and print their folder. The exit code is 1 if they are unavailable."""
    parser = argparse.ArgumentParser(prog=program("fmnist_sweep.data"), description=main.__doc__)
    parser.add_argument("--dir", type=Path, help="where they are or shall be (default: a folder of the user's cache)")
    try:
        print(prepare(parser.parse_args(arguments).dir))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
