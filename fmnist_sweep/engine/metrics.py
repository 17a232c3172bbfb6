"""The metrics of a run after each epoch."""

import math
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """A run's metrics after an epoch. Losses of cross-entropy are in nats, accuracies are fractions.

    `train_*` and `val_*` are measured after the epoch with dropout off, as means over all samples. `running_*` are
    measured on the batches during training, with dropout on: `running_loss` is the mean over batches of each batch's
    mean loss, `running_accuracy` the fraction of samples that were predicted correctly. `test_*` are measured like
    `val_*`, on the test images, and only with `data.validation=split`. All losses are of the kind that is minimised.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    running_loss: float
    running_accuracy: float
    val_loss: float
    val_accuracy: float
    test_loss: float | None = None
    test_accuracy: float | None = None

    @property
    def finite(self) -> bool:
        """Tell whether all metrics are finite. They are not once training has diverged."""
        return all(map(math.isfinite, self.row()))

    def row(self) -> tuple[float, ...]:
        """Return the values that were measured, in order."""
        return tuple(value for value in astuple(self) if value is not None)


_EPOCH, *_NAMES = (field.name for field in fields(Metrics))
# The test measures never choose anything, in a search or among seeds. So they are kept apart.
MEASURES, TEST_MEASURES = tuple(_NAMES[:-2]), tuple(_NAMES[-2:])
METRICS_COLUMNS = (_EPOCH, *MEASURES)

# Generalisation gaps. They are positive if the model does better on its training images.
GAPS = {
    "loss_gap": ("val_loss", "train_loss"),
    "accuracy_gap": ("train_accuracy", "val_accuracy"),
    "running_gap": ("running_accuracy", "val_accuracy"),
}


def terms(metric: str) -> tuple[str, ...]:
    """Return the measures of a metric: itself, or the two that a gap or `train_loss - test_loss` subtracts."""
    return GAPS.get(metric) or tuple(metric.split(" - "))
