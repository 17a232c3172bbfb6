"""What each configuration takes for what, with the images it happens to, for the page."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from fmnist_sweep import data
from fmnist_sweep.report.collect import CONFIGURATION, Collection, predictions
from fmnist_sweep.report.mistakes import Counts, confusion
from fmnist_sweep.report.run_files import CLASSES, RunFileError
from fmnist_sweep.report.tables import finals

SPRITE_COLUMNS = 32

_MOST_SHEETS = 60
_PAIRS = 6
_IMAGES = 8
_SIDE = 28


@dataclass(frozen=True)
class Pair:
    """One confusion: classes, how often over all seeds, and its first images as places in the sprite."""

    true: int
    predicted: int
    count: int
    images: tuple[int, ...]


@dataclass(frozen=True)
class Sheet:
    """The confusions of one configuration.

    Attributes:
        configuration: its columns `CONFIGURATION`.
        seeds: those whose predictions could be used.
        counts: confusion matrix over those seeds, shape `(10, 10)`.
        pairs: its most frequent confusions.
        part: images and true classes.
        votes: the predictions of each seed, shape `(n_seeds, n)`.
    """

    configuration: dict[str, Any]
    seeds: tuple[int, ...]
    counts: Counts
    pairs: tuple[Pair, ...]
    part: data.Part
    votes: NDArray[np.uint8]


@dataclass(frozen=True)
class Examples:
    """The sheets of a store, the best final validation accuracy first.

    Attributes:
        sheets: as many as there is room for.
        more: how many were left out.
        sprite: a PNG with the images of all sheets, dark on white, `SPRITE_COLUMNS` in a row; None without any.
        found: whether Fashion-MNIST is on this machine.
        kept: whether any finished run kept its predictions.
    """

    sheets: tuple[Sheet, ...]
    more: int
    sprite: bytes | None
    found: bool
    kept: bool

    @property
    def sprite_uri(self) -> str:
        """The sprite for use in a page."""
        return f"data:image/png;base64,{b64encode(self.sprite or b'').decode()}"


def examples(collection: Collection, folder: Path | None = None) -> Examples:
    """The confusions of every configuration with predictions.

    Nothing is fetched: where the data are not on this machine there are no sheets. Predictions that cannot be
    used (torn, or for another number of images) are left out.

    Args:
        collection: the store.
        folder: where Fashion-MNIST is; by default where a sweep keeps it.
    """
    runs = finals(collection).merge(
        collection.runs[["name", "path", "has_predictions"]].rename(columns={"name": "run"}), on="run"
    )
    runs = runs[runs["has_predictions"]]
    arrays = find_arrays(folder)
    if arrays is None or runs.empty:
        return Examples((), 0, None, arrays is not None, not runs.empty)
    parts = {kind: data.split(arrays, kind)[1] for kind in set(runs["validation"])}
    groups = sorted(runs.groupby(CONFIGURATION), key=lambda group: -group[1]["val_accuracy"].mean())
    places: dict[tuple[str, int], int] = {}
    sheets = []
    for key, rows in groups[:_MOST_SHEETS]:
        configuration = dict(zip(CONFIGURATION, key, strict=True))
        validation = configuration["validation"]
        sheet = _sheet(configuration, rows, parts[validation], validation, places)
        if sheet is not None:
            sheets.append(sheet)
    images = [parts[kind].images[index] for kind, index in places]
    return Examples(tuple(sheets), len(groups[_MOST_SHEETS:]), _sprite(images), True, True)


def find_arrays(folder: Path | None = None) -> dict[str, NDArray[np.uint8]] | None:
    """Fashion-MNIST as `data.load_arrays` gives it, from where a sweep leaves it; None if it is not there."""
    cache = data.cache_folder()
    homes = [cache] if folder is None else [folder, cache]
    for place in (*(home / layout for home in homes for layout in (".", data.TORCHVISION_LAYOUT)), cache / "unpacked"):
        try:
            return data.load_arrays(place)
        except data.DataError:
            continue
    return None


def _sheet(
    configuration: dict[str, Any],
    rows: pd.DataFrame,
    part: data.Part,
    validation: str,
    places: dict[tuple[str, int], int],
) -> Sheet | None:
    votes, seeds = [], []
    for seed, path in zip(rows["seed"], rows["path"], strict=True):
        try:
            classes = predictions(path)
        except RunFileError:
            continue
        if classes.shape == part.labels.shape:
            votes.append(classes)
            seeds.append(int(seed))
    if not votes:
        return None
    stacked = np.stack(votes)
    counts = sum((confusion(part.labels, one) for one in stacked), np.zeros((CLASSES, CLASSES), np.int64))
    pairs = tuple(_pairs(counts, part.labels, stacked, validation, places))
    return Sheet(configuration, tuple(seeds), counts, pairs, part, stacked)


def _pairs(
    counts: Counts,
    labels: NDArray[np.uint8],
    votes: NDArray[np.uint8],
    validation: str,
    places: dict[tuple[str, int], int],
) -> list[Pair]:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    pairs = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]:
        true, predicted = divmod(int(cell), CLASSES)
        if not wrong[true, predicted]:
            break
        # Images that most seeds get wrong say more of the configuration than those of one seed.
        agreeing = (votes == predicted).sum(axis=0) * (labels == true)
        order = np.argsort(-agreeing, kind="stable")[:_IMAGES]
        indices = [(validation, int(index)) for index in order if agreeing[index]]
        images = tuple(places.setdefault(index, len(places)) for index in indices)
        pairs.append(Pair(true, predicted, int(wrong[true, predicted]), images))
    return pairs


def _sprite(images: list[NDArray[np.uint8]]) -> bytes | None:
    if not images:
        return None
    rows = -(-len(images) // SPRITE_COLUMNS)
    sheet = np.full((rows * SPRITE_COLUMNS, _SIDE, _SIDE), 255, np.uint8)
    sheet[: len(images)] = 255 - np.stack(images)
    whole = sheet.reshape(rows, SPRITE_COLUMNS, _SIDE, _SIDE).swapaxes(1, 2).reshape(rows * _SIDE, -1)
    content = BytesIO()
    Image.fromarray(whole).quantize(16).save(content, "PNG", optimize=True)
    return content.getvalue()
