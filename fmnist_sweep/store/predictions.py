"""Read the final predictions of runs, beside the true classes of the images that validated them."""

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep import data
from fmnist_sweep.console import program
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store import layout

Classes = NDArray[np.uint8]


def predicted(directory: str | Path) -> tuple[Classes, Classes]:
    """Return the true and the predicted classes of a run's validation images, shape `(n,)` each.

    Raises:
        ConfigError: the run kept no predictions.
        DataError: Fashion-MNIST is not on this machine; nothing is fetched.
    """
    path = Path(directory)
    try:
        division, classes = layout.read_record(path).config.data.division, layout.read_predictions(path)
    except layout.MissingFileError as error:
        raise ConfigError(f"{path}: {error}; a run has predictions once it is done, unless it was cut") from error
    except layout.RecordError as error:
        raise ConfigError(f"{path}: {error}; rerun=true trains it again") from error
    folder = data.find()
    if folder is None:
        fetch = program("fmnist_sweep.data")
        raise data.DataError(f"the true classes are Fashion-MNIST's, which is not on this machine; {fetch} fetches it")
    labels = _labels(folder, division)
    if labels.shape != classes.shape:
        raise ConfigError(f"{path}: {len(classes)} predictions for {len(labels)} images; rerun=true trains it again")
    return labels, classes


@functools.lru_cache(maxsize=4)
def _labels(folder: Path, division: data.Division) -> Classes:
    return data.split(*data.load_parts(folder), division)[1].labels
