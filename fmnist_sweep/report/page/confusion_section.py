"""The page's section on confusions: which classes each configuration confuses, with example images."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from fmnist_sweep import data
from fmnist_sweep.report.figures.confusion import IMAGES, Counts, confusion, frequent
from fmnist_sweep.report.page.render import Section, data_uri
from fmnist_sweep.report.summaries import finals
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.store.layout import RecordError, read_predictions
from fmnist_sweep.store.tables import CONFIGURATION, Collection, varying

SPRITE_COLUMNS = 32

_MOST_SHEETS = 10
_SIDE = 28

_Place = tuple[data.Division, int]  # an image: how its validation set was made, and its index there


@dataclass(frozen=True)
class Pair:
    """One confusion: the two classes, its count over all seeds, and the images that most seeds confuse this way."""

    true: int
    predicted: int
    count: int
    images: tuple[_Place, ...]


class Sheet(NamedTuple):
    """The confusions of one configuration over the seeds with usable predictions, the most frequent ones as `pairs`.

    `configuration` is a row of `summaries.finals`, `part` the validation images, and `votes` each seed's predictions,
    shape `(n_seeds, n)`.
    """

    configuration: Mapping[str, Any]
    seeds: tuple[int, ...]
    counts: Counts
    pairs: tuple[Pair, ...]
    part: data.Part
    votes: NDArray[np.uint8]


class Examples(NamedTuple):
    """The confusion sheets that fit on the page, the best final validation accuracy first.

    `more` counts the configurations left out. `found` is whether Fashion-MNIST is on this machine, and `kept` whether
    any finished run kept its predictions.
    """

    sheets: tuple[Sheet, ...]
    more: int
    found: bool
    kept: bool

    def sprite(self) -> tuple[bytes, dict[_Place, int]]:
        """Return a PNG with the images of all sheets, and the number of each image in it.

        The images are dark on white, `SPRITE_COLUMNS` in a row.
        """
        images = {
            image: sheet.part.images[image[1]] for sheet in self.sheets for pair in sheet.pairs for image in pair.images
        }
        rows = max(1, -(-len(images) // SPRITE_COLUMNS))
        sheet = np.full((rows * SPRITE_COLUMNS, _SIDE, _SIDE), 255, np.uint8)
        for cell, image in zip(sheet, images.values(), strict=False):
            cell[:] = 255 - image
        whole = sheet.reshape(rows, SPRITE_COLUMNS, _SIDE, _SIDE).swapaxes(1, 2).reshape(rows * _SIDE, -1)
        content = BytesIO()
        Image.fromarray(whole).quantize(16).save(content, "PNG", optimize=True)
        return content.getvalue(), {image: number for number, image in enumerate(images)}


def confusions_section(shown: Examples, collection: Collection, texts: Texts) -> Section:
    """Show for each configuration which classes it confuses, and on which images."""
    sprite, places = shown.sprite()
    factors = varying(collection.runs)
    values = {
        "shown": shown,
        "names": [sentence(texts.configuration(sheet.configuration, factors)) for sheet in shown.sheets],
        "sprite": data_uri("image/png", sprite),
        "places": places,
        "columns": SPRITE_COLUMNS,
    }
    return Section("confusions", values, [("confusions", texts("page.confusions"))])


def examples(collection: Collection, folder: Path | None = None) -> Examples:
    """Collect the confusions of every configuration that kept predictions.

    This function downloads nothing: without Fashion-MNIST on this machine there are no sheets. It leaves out
    predictions that are corrupt or are for another number of images.

    Args:
        folder: the folder of Fashion-MNIST; by default where sweeps keep it.
    """
    kept = collection.runs.loc[collection.runs["has_predictions"], ["name", "path"]]
    runs = finals(collection).merge(kept.rename(columns={"name": "run"}), on="run")
    images = _images(folder)
    if images is None or runs.empty:
        return Examples((), 0, images is not None, not runs.empty)
    groups = sorted((rows for _, rows in runs.groupby(CONFIGURATION)), key=lambda rows: -rows["val_accuracy"].mean())
    divisions = [_division(rows.iloc[0]) for rows in groups[:_MOST_SHEETS]]
    parts = {division: data.split(*images, division)[1] for division in divisions}
    sheets = (_sheet(rows, division, parts[division]) for rows, division in zip(groups, divisions, strict=False))
    return Examples(tuple(filter(None, sheets)), len(groups[_MOST_SHEETS:]), True, True)


def _images(folder: Path | None) -> tuple[data.Part, data.Part] | None:
    found = data.find(folder)
    try:
        return data.load_parts(found) if found else None
    except data.DataError:
        return None


def _division(row: Mapping[str, Any]) -> data.Division:
    size = row["data.split.size"]
    size = int(size) if size >= 1 else float(size)  # a column that also holds fractions is of floats
    return data.Division(row["data.validation"], size, row["data.split.take"], int(row["data.split.seed"]))


def _sheet(rows: pd.DataFrame, division: data.Division, part: data.Part) -> Sheet | None:
    predictions = {}
    for seed, path in zip(rows["seed"], rows["path"], strict=True):
        with suppress(RecordError):
            predictions[int(seed)] = read_predictions(Path(path))
    usable = {seed: classes for seed, classes in predictions.items() if classes.shape == part.labels.shape}
    if not usable:
        return None
    votes = np.stack(list(usable.values()))
    counts = np.sum([confusion(part.labels, one) for one in votes], axis=0)
    configuration = rows.iloc[0].to_dict()
    pairs = []
    for true, predicted, count in frequent(counts):
        # An image that most seeds confuse says more about the configuration than one that a single seed confuses.
        agreeing = (votes == predicted).sum(axis=0) * (part.labels == true)
        order = np.argsort(-agreeing, kind="stable")[:IMAGES]
        images = tuple((division, int(index)) for index in order if agreeing[index])
        pairs.append(Pair(true, predicted, count, images))
    return Sheet(configuration, tuple(usable), counts, tuple(pairs), part, votes)
