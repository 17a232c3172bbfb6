"""A row for each configuration: means over its finished runs, the best first."""

import numpy as np
import pytest
from made_up_runs import write_run

from fmnist_sweep.store.summary import summary
from fmnist_sweep.store.tables import collect


def ending(store, accuracy, seed=0, best=0.0, **more):
    """Write a run of two epochs whose validation accuracy is `best`, then `accuracy`; its loss is 1 - accuracy."""
    curve = np.array([[0.5, 0.5, 0.5, 0.5, 1 - value, value] for value in (best, accuracy)])
    write_run(store, epochs=2, seed=seed, curve=curve, **more)


def test_configurations_are_ranked_by_their_mean_over_finished_runs(tmp_path):
    ending(tmp_path, 0.6, batch_size=64)
    ending(tmp_path, 0.8, seed=1, batch_size=64, best=0.9)
    ending(tmp_path, 0.9, batch_size=128)
    write_run(tmp_path, batch_size=128, epochs=2, seed=1, epochs_done=1, status="interrupted")
    for batch_size, status in ((1000, "failed"), (256, "diverged")):
        write_run(tmp_path, batch_size=batch_size, epochs=2, epochs_done=1, status=status)
    table = summary(collect(tmp_path))
    assert list(table.columns[:7]) == ["batch_size", "n", "unfinished", "failed", "diverged", "val_loss", "val_loss_sd"]
    assert table["batch_size"].tolist() == [128, 64, 256, 1000]
    counts = table[["n", "unfinished", "failed", "diverged"]].to_numpy().tolist()
    assert counts == [[1, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    small = table.loc[1]
    assert small["val_accuracy"] == pytest.approx(0.7) and small["val_loss"] == pytest.approx(0.3)
    assert small["val_accuracy_sd"] == pytest.approx(0.2 / np.sqrt(2))
    assert (small["best_epoch"], small["seconds"]) == (1.5, pytest.approx(1.4))
    assert np.isnan(table.loc[0, "val_accuracy_sd"])  # one seed has no spread
    assert table.loc[2:, "val_accuracy"].isna().all() and "test_accuracy" not in table


def test_equal_accuracies_are_ranked_by_loss_and_a_test_is_shown(tmp_path):
    for place, loss in enumerate((0.3, 0.2)):
        curve = np.array([[0.5, 0.5, 0.5, 0.5, loss, 0.9]])
        write_run(tmp_path, epochs=1, dropout=place / 10, curve=curve, validation="holdout")
    table = summary(collect(tmp_path))
    assert table["dropout"].tolist() == [0.1, 0.0] and table["test_accuracy"].tolist() == [0.86, 0.86]


def test_runs_that_differ_in_nothing_are_described_by_their_optimizer(tmp_path):
    assert summary(collect(tmp_path)).empty
    ending(tmp_path, 0.6)
    ending(tmp_path, 0.7, seed=1)
    assert summary(collect(tmp_path)).iloc[0][["optimizer", "n"]].tolist() == ["Adam", 2]
