"""Run directories with made-up numbers, for tests of what reads them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = "epoch,train_loss,train_accuracy,running_loss,running_accuracy,val_loss,val_accuracy"
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
        columns = [
            train_loss,
            train_accuracy,
            train_loss + 0.1,
            train_accuracy - 0.03,
            val_loss,
            val_accuracy,
        ]
        return np.stack(columns, axis=1)

    return curve


def write_run(
    store: Path,
    *,
    optimizer: str = "adam",
    optimizer_class: str | None = None,
    optimizer_args: dict[str, Any] | None = None,
    batch_size: int = 100,
    dropout: float = 0.2,
    epochs: int = 30,
    seed: int = 0,
    hidden: Sequence[int] = (128, 64),
    validation: str = "test",
    status: str = "done",
    error: str | None = None,
    epochs_done: int | None = None,
    seconds_per_epoch: float = 0.7,
    curve: Curve | NDArray[np.float64] | None = None,
    predictions: NDArray[np.uint8] | None = None,
) -> Path:
    """Write one run directory as a sweep does.

    Args:
        store: folder of run directories, made if needed.
        optimizer: name of the option, as in the run's name.
        optimizer_class: in `torch.optim`; by default Adam for adam, otherwise SGD.
        optimizer_args: `{"lr": 0.01}` by default.
        batch_size, dropout, epochs, seed, hidden, validation: the configuration.
        status, error: as in `run.json`.
        epochs_done: rows of metrics; all epochs by default.
        seconds_per_epoch: of training.
        curve: the six measures: a function of the epochs, or an array of shape `(epochs_done, 6)`.
        predictions: uint8 classes, left out by default.

    Returns:
        The run's directory.
    """
    arguments = {"lr": 0.01} if optimizer_args is None else optimizer_args
    optimizer_class = optimizer_class or ("Adam" if optimizer == "adam" else "SGD")
    config = {
        "optimizer": {"name": optimizer_class, **arguments},
        "training": {"batch_size": batch_size, "epochs": epochs},
        "model": {"hidden": list(hidden), "dropout": dropout},
        "data": {"validation": validation, "mean": 0.5, "std": 0.5},
        "seed": seed,
    }
    same = {**config, "training": batch_size}
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{optimizer}-bs{batch_size}-do{dropout:g}-ep{epochs}-seed{seed}-{digest}"
    count = epochs if epochs_done is None else epochs_done
    if curve is None:
        curve = learning_curves(optimizer, batch_size, dropout, seed)
    at = np.arange(1.0, count + 1)
    values = curve(at) if callable(curve) and count else np.empty((0, 6)) if callable(curve) else curve
    info = {
        "format": 1,
        "name": name,
        "status": status,
        "error": error,
        "epochs_done": count,
        "seconds": count * seconds_per_epoch,
        "cut_from": None,
        "test": {"loss": 0.4, "accuracy": 0.86} if validation == "holdout" and status == "done" else None,
        "config": config,
        "environment": {"python": "3.11.7", "torch": "2.14.1", "device": "cpu", "git_commit": None},
    }
    run = store / name
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(info))
    lines = [f"{i},{','.join(map(repr, row))}\n" for i, row in enumerate(values.tolist(), start=1)]
    (run / "metrics.csv").write_text(HEADER + "\n" + "".join(lines))
    times = [f"{i},{i * seconds_per_epoch!r}\n" for i in range(1, count + 1)]
    (run / "timing.csv").write_text("epoch,seconds\n" + "".join(times))
    if predictions is not None:
        np.save(run / "predictions.npy", predictions)
    return run


def write_grid(store: Path, seeds: Sequence[int] = (0, 1, 2), **fixed: Any) -> None:
    """Write the grid of 24 configurations, each with `seeds`; `fixed` goes to every run."""
    for optimizer in ("adam", "sgd"):
        for batch_size in (100, 500, 1000):
            for dropout in (0.05, 0.2):
                for epochs in (30, 100):
                    for seed in seeds:
                        write_run(
                            store,
                            optimizer=optimizer,
                            batch_size=batch_size,
                            dropout=dropout,
                            epochs=epochs,
                            seed=seed,
                            **fixed,
                        )
