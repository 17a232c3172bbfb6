"""Tables about finished runs, on made-up runs whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
from made_up_runs import write_run
from numpy.typing import NDArray

from fmnist_sweep.report import collect
from fmnist_sweep.report.tables import finals, intervals, main_effects, reaching, summary


def rows(train: list[float], val: list[float]) -> NDArray[np.float64]:
    """Metrics whose accuracies are given and whose losses are 1 minus them, shape `(epochs, 6)`."""
    a, b = np.array(train), np.array(val)
    return np.stack([1 - a, a, 1 - a, a, 1 - b, b], axis=1)


def test_a_configuration_is_summed_up_over_its_seeds(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=2, seed=0, curve=rows([0.5, 0.8], [0.7, 0.6]), seconds_per_epoch=1)
    write_run(tmp_path, epochs=2, seed=1, curve=rows([0.5, 0.9], [0.5, 0.8]), seconds_per_epoch=2)
    write_run(tmp_path, epochs=2, seed=2, curve=rows([0.5], [0.5]), epochs_done=1, status="running")
    write_run(tmp_path, epochs=2, optimizer="sgd", curve=rows([0.5], [0.5]), epochs_done=1, status="failed")
    table = summary(collect(tmp_path)).set_index("optimizer")
    adam = table.loc["adam"]
    assert (adam["n"], adam["unfinished"]) == (2, 1)
    assert adam["train_accuracy_mean"] == pytest.approx(0.85)
    assert adam["val_accuracy_mean"] == pytest.approx(0.7)
    assert adam["val_accuracy_sd"] == pytest.approx(0.2 / np.sqrt(2))
    assert adam["val_loss_mean"] == pytest.approx(0.3)
    assert adam["best_val_accuracy_mean"] == pytest.approx(0.75)
    assert adam["seconds_mean"] == pytest.approx(3)
    sgd = table.loc["sgd"]
    assert (sgd["n"], sgd["unfinished"]) == (0, 1)
    assert np.isnan(sgd["val_accuracy_mean"])


def test_one_seed_has_a_mean_and_no_spread(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=1, curve=rows([0.8], [0.6]))
    row = summary(collect(tmp_path)).iloc[0]
    assert row["val_accuracy_mean"] == 0.6
    assert np.isnan(row["val_accuracy_sd"])


def test_final_metrics_are_those_of_the_last_epoch_of_finished_runs(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=2, curve=rows([0.5, 0.8], [0.7, 0.6]))
    write_run(tmp_path, epochs=2, seed=1, curve=rows([0.5, 0.8], [0.7, 0.6]), status="interrupted")
    table = finals(collect(tmp_path))
    assert list(table["seed"]) == [0]
    assert table["val_accuracy"][0] == 0.6
    assert table["best_val_accuracy"][0] == 0.7
    assert table["gap"][0] == pytest.approx(0.2)


def test_the_interval_is_students(tmp_path: Path) -> None:
    for seed, accuracy in enumerate([0.7, 0.8, 0.9]):
        write_run(tmp_path, epochs=1, seed=seed, curve=rows([0.5], [accuracy]))
    row = intervals(finals(collect(tmp_path)), "val_accuracy", ["optimizer", "batch_size"]).iloc[0]
    assert row["mean"] == pytest.approx(0.8)
    assert row["high"] - row["mean"] == pytest.approx(4.30265 * 0.1 / np.sqrt(3), rel=1e-4)  # t(0.975, 2)


def test_a_main_effect_averages_over_the_other_factors_where_every_level_was_run(tmp_path: Path) -> None:
    accuracy = {("adam", 100): 0.5, ("adam", 500): 0.6, ("sgd", 100): 0.7, ("sgd", 500): 0.8, ("sgd", 7): 0.1}
    for (optimizer, batch_size), value in accuracy.items():
        for seed in (0, 1):
            last = [value + seed / 100]
            write_run(
                tmp_path,
                optimizer=optimizer,
                batch_size=batch_size,
                epochs=1,
                seed=seed,
                curve=rows([0.5], last),
            )
    effects = main_effects(finals(collect(tmp_path)), "val_accuracy").set_index(["factor", "level"])
    # Batch 7 was not run with Adam: it neither counts against SGD nor is compared itself.
    assert effects.loc[("optimizer", "adam"), "mean"] == pytest.approx(0.555)
    assert effects.loc[("optimizer", "sgd"), "mean"] == pytest.approx(0.755)
    assert effects.loc[("optimizer", "sgd"), "combinations"] == 2
    assert ("batch_size", 7) not in effects.index
    assert effects.loc[("batch_size", 100), "combinations"] == 2
    assert effects["mean"]["batch_size", 500] - effects["mean"]["batch_size", 100] == pytest.approx(0.1)


def test_a_main_effect_compares_seeds_in_the_same_combinations(tmp_path: Path) -> None:
    for seed in (0, 1):
        for optimizer, base in (("adam", 0.5), ("sgd", 0.7)):
            for dropout, more in ((0.05, 0.1), (0.2, 0.0)):
                last = [base + more + seed / 100]
                write_run(tmp_path, optimizer=optimizer, dropout=dropout, epochs=1, seed=seed, curve=rows([0.5], last))
    for dropout in (0.05, 0.2):  # a third combination, so far with one seed: it is not compared yet
        write_run(tmp_path, optimizer="adam", batch_size=500, dropout=dropout, epochs=1, curve=rows([0.5], [0.1]))
    effects = main_effects(finals(collect(tmp_path)), "val_accuracy").set_index(["factor", "level"])
    assert effects["combinations"]["dropout", 0.05] == 2
    assert effects["mean"]["dropout", 0.05] == pytest.approx(0.705)
    assert effects["high"]["dropout", 0.05] - 0.705 == pytest.approx(12.7062 * 0.005, rel=1e-4)  # t(0.975, 1)


def test_one_configuration_has_no_main_effects(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=1)
    assert main_effects(finals(collect(tmp_path)), "val_accuracy").empty


def test_the_first_epoch_that_reaches_an_accuracy_counts_in_the_longest_run(tmp_path: Path) -> None:
    curve = rows([0.5] * 4, [0.6, 0.7, 0.6, 0.8])
    write_run(tmp_path, epochs=2, curve=curve[:2], seconds_per_epoch=9)
    write_run(tmp_path, epochs=4, curve=curve, seconds_per_epoch=2)
    for accuracy, epoch in ((0.7, 2), (0.8, 4)):
        reached = reaching(collect(tmp_path), accuracy)
        assert list(reached["epoch"]) == [epoch]
        assert list(reached["seconds"]) == [2 * epoch]
    assert reaching(collect(tmp_path), 0.9)["epoch"].isna().all()
