"""The numbers that a run has after each epoch."""

import math
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """A run's numbers after an epoch; losses in nats, accuracies as fractions.

    `train_*` and `val_*` are measured after the epoch with dropout off, as means over all samples. `running_*` are
    taken from the batches as they go by, dropout on: `running_loss` is the mean over batches of each batch's mean
    loss, `running_accuracy` the share of samples that were predicted right.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    running_loss: float
    running_accuracy: float
    val_loss: float
    val_accuracy: float

    @property
    def finite(self) -> bool:
        """False once training has diverged."""
        return all(map(math.isfinite, astuple(self)))


METRICS_COLUMNS = tuple(field.name for field in fields(Metrics))


MEASURES = METRICS_COLUMNS[1:]


# Generalisation gaps, positive where the model does better on what it was trained on.
GAPS = {
    "loss_gap": ("val_loss", "train_loss"),
    "accuracy_gap": ("train_accuracy", "val_accuracy"),
    "running_gap": ("running_accuracy", "val_accuracy"),
}
