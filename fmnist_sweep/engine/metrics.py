"""The metrics of a run after each epoch."""

import math
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """A run's metrics after an epoch. Losses are in nats, accuracies are fractions.

    `train_*` and `val_*` are measured after the epoch with dropout off, as means over all samples. `running_*` are
    measured on the batches during training, with dropout on: `running_loss` is the mean over batches of each batch's
    mean loss, `running_accuracy` the fraction of samples that were predicted correctly.
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
        """Tell whether all metrics are finite. They are not once training has diverged."""
        return all(map(math.isfinite, astuple(self)))


METRICS_COLUMNS = tuple(field.name for field in fields(Metrics))


MEASURES = METRICS_COLUMNS[1:]

# Only runs that split a validation set off the training set (`data.validation=split`) measure these after each epoch.
TEST_MEASURES = ("test_loss", "test_accuracy")


# Generalisation gaps. They are positive if the model does better on its training images.
GAPS = {
    "loss_gap": ("val_loss", "train_loss"),
    "accuracy_gap": ("train_accuracy", "val_accuracy"),
    "running_gap": ("running_accuracy", "val_accuracy"),
}


def terms(metric: str) -> tuple[str, ...]:
    """Return the measures of a metric: itself, or the two that a gap or `train_loss - test_loss` subtracts."""
    return GAPS.get(metric) or tuple(metric.split(" - "))
