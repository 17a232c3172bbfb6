"""Run directories with made-up numbers, for tests of what reads them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.identity import digest, run_name
from fmnist_sweep.config.schema import Config, DataConfig, ModelConfig, TrainingConfig
from fmnist_sweep.store import layout

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def learning_curves(optimizer: str, batch_size: int, dropout: float, seed: int) -> Curve:
    """Curves that look like a classifier's: epochs of shape `(n,)` -> the six measures, shape `(n, 6)`.

    A longer run has the rows of a shorter one; seeds differ a little; SGD is slower, the larger the batch.
    """
    adam = optimizer == "adam"
    pace = 0.25 if adam else 0.12 * (100 / batch_size) ** 0.5
    wobble = (0.015 if adam else 0.004) * (100 / batch_size) ** 0.3

    def curve(epochs: NDArray[np.float64]) -> NDArray[np.float64]:
        draws = [np.random.default_rng([seed, batch_size, int(epoch)]).normal(size=2) for epoch in epochs]
        noise = wobble * np.array(draws)
        left = np.exp(-pace * epochs)
        train_loss = 0.32 + 0.25 * left + 0.1 * dropout + noise[:, 0] / 2
        val_loss = train_loss + 0.08 * (1 - left) + noise[:, 1]
        train_accuracy = 1 - 0.37 * train_loss
        val_accuracy = 1 - 0.36 * val_loss
        running = [train_loss + 0.1, train_accuracy - 0.03]
        return np.stack([train_loss, train_accuracy, *running, val_loss, val_accuracy], axis=1)

    return curve


def write_run(
    store: Path,
    *,
    optimizer: str = "adam",
    optimizer_args: Mapping[str, Any] | None = None,
    batch_size: int = 100,
    dropout: float = 0.2,
    epochs: int = 30,
    seed: int = 0,
    hidden: Sequence[int] = (128, 64),
    validation: str = "test",
    mean: float = 0.5,
    std: float = 0.5,
    status: layout.Status = "done",
    error: str | None = None,
    epochs_done: int | None = None,
    seconds_per_epoch: float = 0.7,
    curve: Curve | NDArray[np.float64] | None = None,
    predictions: NDArray[np.uint8] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Write one run directory as a sweep does and return it.

    Args:
        store: folder of run directories, made if needed.
        optimizer: adam, or else a kind of SGD; its class in `torch.optim` is Adam for adam, otherwise SGD.
        optimizer_args: `{"lr": 0.01}` by default.
        epochs_done: rows of metrics; all epochs by default.
        curve: the six measures: a function of the epochs, or an array of shape `(epochs_done, 6)`; with 8 columns the
            last two are test metrics.
        predictions: uint8 classes, left out by default.
        environment: what the record says of the machine besides the default.
    """
    name = "Adam" if optimizer == "adam" else "SGD"
    config = Config(
        optimizer={"name": name, **({"lr": 0.01} if optimizer_args is None else optimizer_args)},
        training=TrainingConfig(batch_size, epochs),
        model=ModelConfig(list(hidden), dropout),
        data=DataConfig(validation, mean, std),
        seed=seed,
    )
    count = epochs if epochs_done is None else epochs_done
    at = np.arange(1, count + 1)
    if curve is None:
        curve = learning_curves(optimizer, batch_size, dropout, seed)
    values = curve if not callable(curve) else curve(at.astype(float)) if count else np.empty((0, 6))
    record = layout.Record(
        status=status,
        name=run_name(config, digest(config, "cpu")),
        error=error,
        epochs_done=count,
        seconds=count * seconds_per_epoch,
        test=layout.Test(loss=0.4, accuracy=0.86) if validation == "holdout" and status == "done" else None,
        config=config,
        environment={"python": "3.11.7", "torch": "2.14.1", "device": "cpu", "git_commit": None, **(environment or {})},
    )
    run = store / record.name
    run.mkdir(parents=True)
    (run / layout.RECORD).write_bytes(record.encode())
    for file, columns in ((layout.METRICS, values), (layout.TIMING, seconds_per_epoch * at[:, None])):
        rows = ((int(epoch), *row) for epoch, row in zip(at, columns.tolist(), strict=True))
        header = layout.csv_header(file, tests=columns.shape[1] == 8)
        (run / file).write_bytes(header + layout.csv_lines(rows))
    if predictions is not None:
        (run / layout.PREDICTIONS).write_bytes(layout.encode_predictions(predictions))
    return run


def write_grid(store: Path, seeds: Sequence[int] = (0, 1, 2), **fixed: Any) -> None:
    """Write the grid of 24 configurations, each with `seeds`; `fixed` goes to every run."""
    for optimizer, batch_size, dropout, epochs, seed in product(
        ("adam", "sgd"), (100, 500, 1000), (0.05, 0.2), (30, 100), seeds
    ):
        chosen = {"optimizer": optimizer, "batch_size": batch_size, "dropout": dropout, "epochs": epochs}
        write_run(store, **chosen, seed=seed, **fixed)
