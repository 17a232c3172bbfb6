"""Tables about runs, on made-up runs whose answers are known."""

from itertools import product

import numpy as np
import pytest
from made_up_runs import write_run

from fmnist_sweep import papers
from fmnist_sweep.report.judging import summaries
from fmnist_sweep.report.judging.summaries import finals, main_effects
from fmnist_sweep.report.runs.collection import FACTORS, collect
from fmnist_sweep.report.runs.curves import Curves

BATCH, DROPOUT = "training.batch_size", "model.dropout"


def rows(train, val):
    """Metrics whose accuracies are given and whose losses are 1 minus them, shape `(epochs, 6)`."""
    a, b = np.array(train), np.array(val)
    return np.stack([1 - a, a, 1 - a, a, 1 - b, b], axis=1)


def ends(store, accuracy, seed=0, **configuration):
    """A run of one epoch that ends at a validation accuracy."""
    write_run(store, epochs=1, seed=seed, curve=rows([0.5], [accuracy]), **configuration)


def test_a_configuration_is_summed_up_over_its_seeds(tmp_path):
    write_run(tmp_path, epochs=2, seed=0, curve=rows([0.5, 0.8], [0.7, 0.6]), seconds_per_epoch=1)
    write_run(tmp_path, epochs=2, seed=1, curve=rows([0.5, 0.9], [0.5, 0.8]), seconds_per_epoch=2)
    write_run(tmp_path, epochs=2, seed=2, curve=rows([0.5], [0.5]), epochs_done=1, status="running")
    write_run(tmp_path, epochs=2, optimizer="sgd", curve=rows([0.5], [0.5]), epochs_done=1, status="failed")
    ends(tmp_path, 0.6, optimizer="sgd", batch_size=7)
    table = summaries.summary(collect(tmp_path))
    assert [*FACTORS, "optimizer_args", "recipe", "n"] == list(table.columns[: len(FACTORS) + 3])
    adam, other, sgd = (row for _, row in table.iterrows())
    assert (adam["optimizer"], adam["n"], adam["unfinished"]) == ("Adam", 2, 1)
    assert adam["train_accuracy_mean"] == pytest.approx(0.85)
    assert adam["val_accuracy_mean"] == pytest.approx(0.7)
    assert adam["val_accuracy_sd"] == pytest.approx(0.2 / np.sqrt(2))
    assert adam["val_loss_mean"] == pytest.approx(0.3)
    assert adam["best_val_accuracy_mean"] == pytest.approx(0.75)
    assert adam["seconds_mean"] == pytest.approx(3)
    assert (sgd["optimizer"], sgd["n"], sgd["unfinished"]) == ("SGD", 0, 1)
    assert np.isnan(sgd["val_accuracy_mean"])
    assert (other[BATCH], other["val_accuracy_mean"]) == (7, 0.6)
    assert np.isnan(other["val_accuracy_sd"])  # one seed has no spread


def test_final_metrics_are_those_of_the_last_epoch_of_finished_runs(tmp_path):
    write_run(tmp_path, epochs=2, curve=rows([0.5, 0.8], [0.7, 0.6]))
    write_run(tmp_path, epochs=2, seed=1, curve=rows([0.5, 0.8], [0.7, 0.6]), status="interrupted")
    table = finals(collect(tmp_path))
    assert list(table["seed"]) == [0]
    assert (table["val_accuracy"][0], table["best_val_accuracy"][0], table["seconds"][0]) == (0.6, 0.7, 1.4)
    assert table["gap"][0] == pytest.approx(0.2)


def test_measures_of_no_finished_run_are_numbers(tmp_path):
    write_run(tmp_path, epochs=5, epochs_done=2, status="interrupted")
    (row,) = summaries.summary(collect(tmp_path)).to_dict("records")
    assert (row["n"], row["unfinished"]) == (0, 1) and np.isnan(row["seconds_mean"])
    assert set(finals(collect(tmp_path))[["best_val_accuracy", "seconds"]].dtypes) == {np.dtype(float)}


def test_a_main_effect_averages_over_the_other_factors_where_every_level_was_run(tmp_path):
    accuracy = {("adam", 100): 0.5, ("adam", 500): 0.6, ("sgd", 100): 0.7, ("sgd", 500): 0.8, ("sgd", 7): 0.1}
    for ((optimizer, batch_size), value), seed in product(accuracy.items(), (0, 1)):
        ends(tmp_path, value + seed / 100, seed, optimizer=optimizer, batch_size=batch_size)
    effects = main_effects(finals(collect(tmp_path)), "val_accuracy").set_index(["factor", "level"])
    # Batch 7 was not run with Adam: it neither counts against SGD nor is compared itself.
    assert effects.loc[("optimizer", "Adam"), "mean"] == pytest.approx(0.555)
    assert effects.loc[("optimizer", "SGD"), "mean"] == pytest.approx(0.755)
    assert effects.loc[("optimizer", "SGD"), "combinations"] == 2
    assert (BATCH, 7) not in effects.index
    assert effects.loc[(BATCH, 100), "combinations"] == 2
    assert effects["mean"][BATCH, 500] - effects["mean"][BATCH, 100] == pytest.approx(0.1)


def test_a_main_effect_compares_seeds_in_the_same_combinations(tmp_path):
    for seed, (optimizer, base), (dropout, more) in product(
        (0, 1), (("adam", 0.5), ("sgd", 0.7)), ((0.05, 0.1), (0.2, 0.0))
    ):
        ends(tmp_path, base + more + seed / 100, seed, optimizer=optimizer, dropout=dropout)
    for dropout in (0.05, 0.2):  # a third combination, so far with one seed: it is not compared yet
        ends(tmp_path, 0.1, batch_size=500, dropout=dropout)
    effects = main_effects(finals(collect(tmp_path)), "val_accuracy").set_index(["factor", "level"])
    assert effects["combinations"][DROPOUT, 0.05] == 2
    assert effects["mean"][DROPOUT, 0.05] == pytest.approx(0.705)
    assert effects["high"][DROPOUT, 0.05] - 0.705 == pytest.approx(12.7062 * 0.005, rel=1e-4)  # t(0.975, 1)


def test_a_level_that_was_run_more_often_does_not_drive_out_the_others(tmp_path):
    for optimizer, batch_size in product(("adam", "sgd"), (100, 500, 1000)):
        ends(tmp_path, 0.5, optimizer=optimizer, batch_size=batch_size)
    for optimizer, dropout in product(("adam", "sgd"), (0.05, 0.1, 0.3)):  # with batch 100 alone
        ends(tmp_path, 0.5, optimizer=optimizer, dropout=dropout)
    effects = main_effects(finals(collect(tmp_path)), "val_accuracy").set_index("factor")
    assert effects.loc[BATCH, ["level", "combinations"]].to_numpy().tolist() == [[100, 2], [500, 2], [1000, 2]]


def test_one_configuration_has_no_main_effects(tmp_path):
    assert main_effects(finals(collect(tmp_path)), "val_accuracy").empty
    ends(tmp_path, 0.5)
    assert main_effects(finals(collect(tmp_path)), "val_accuracy").empty


def test_interactions_average_over_the_combinations_run_with_every_pair_of_levels(tmp_path):
    # Adam gains with the batch what SGD loses, so that the two main effects of the batch size are nothing.
    accuracy = {("adam", 100): 0.6, ("adam", 500): 0.7, ("sgd", 100): 0.8, ("sgd", 500): 0.7}
    for ((optimizer, batch_size), value), dropout, seed in product(accuracy.items(), (0.05, 0.2), (0, 1)):
        ends(tmp_path, value - dropout + seed / 100, seed, optimizer=optimizer, batch_size=batch_size, dropout=dropout)
    ends(tmp_path, 0.1, optimizer="adam", dropout=0.5)  # neither this combination nor this batch size was crossed
    ends(tmp_path, 0.1, optimizer="sgd", batch_size=7)
    runs = finals(collect(tmp_path))
    table = summaries.interactions(runs, "val_accuracy", ("optimizer", BATCH)).set_index(["optimizer", BATCH])
    assert table["mean"].to_dict() == pytest.approx(
        {("Adam", 100): 0.48, ("Adam", 500): 0.58, ("SGD", 100): 0.68, ("SGD", 500): 0.58}
    )
    assert set(table["combinations"]) == {2}
    assert table["high"]["Adam", 100] - 0.48 == pytest.approx(12.7062 * 0.005, rel=1e-4)  # t(0.975, 1), over seeds
    effects = main_effects(runs, "val_accuracy").set_index(["factor", "level"])
    assert effects["mean"][BATCH, 100] == pytest.approx(effects["mean"][BATCH, 500])


def test_an_interaction_is_found_in_either_order_of_its_factors(tmp_path):
    for batch_size, dropout in [*product((100, 500), (0.05, 0.2)), *product((100,), (0.1, 0.3, 0.4, 0.5))]:
        ends(tmp_path, 0.5, batch_size=batch_size, dropout=dropout)
    for factors in ((BATCH, DROPOUT), (DROPOUT, BATCH)):
        table = summaries.interactions(finals(collect(tmp_path)), "val_accuracy", factors)
        assert set(zip(table[BATCH], table[DROPOUT], strict=True)) == set(product((100, 500), (0.05, 0.2)))


def test_factors_that_were_varied_one_at_a_time_have_no_interaction(tmp_path):
    for batch_size, dropout in ((100, 0.2), (500, 0.2), (1000, 0.2), (100, 0.05), (100, 0.1)):
        ends(tmp_path, 0.5, batch_size=batch_size, dropout=dropout)
    assert summaries.interactions(finals(collect(tmp_path)), "val_accuracy", (BATCH, DROPOUT)).empty


def test_the_first_epoch_that_reaches_an_accuracy_counts_in_the_longest_finished_run(tmp_path):
    curve = rows([0.5] * 4, [0.6, 0.7, 0.6, 0.8])
    write_run(tmp_path, epochs=2, curve=curve[:2], seconds_per_epoch=9)
    write_run(tmp_path, epochs=4, curve=curve, seconds_per_epoch=2)
    write_run(tmp_path, epochs=9, epochs_done=4, status="running", curve=curve)
    for accuracy, epoch in ((0.7, 2), (0.8, 4)):
        reached = summaries.reaching(collect(tmp_path), accuracy)
        assert list(reached["epoch"]) == [epoch]
        assert list(reached["seconds"]) == [2 * epoch]
    assert summaries.reaching(collect(tmp_path), 0.9)["epoch"].isna().all()


def test_missing_names_each_seed_of_each_figure_and_of_what_claims_alone_need(tmp_path):
    paper = papers.read("caprari2024")
    assert summaries.target_accuracy(paper) == 0.84
    assert summaries.seeds_of(paper, Curves(collect(tmp_path))) == []
    assert set(summaries.missing(paper, Curves(collect(tmp_path)))["seed"]) == {0}
    for name in ("adam-dropout-0.05", "sgd-dropout-0.05"):
        for seed in (0, 1):
            write_run(tmp_path, optimizer=name.partition("-")[0], dropout=0.05, seed=seed)
    write_run(tmp_path, optimizer="adam", epochs=100, seed=0)
    write_run(tmp_path, optimizer="adam", epochs=100, seed=1, epochs_done=40, status="running")
    write_run(tmp_path, optimizer="sgd", seed=0)
    write_run(tmp_path, optimizer="sgd", epochs=2, seed=2)  # a smaller sweep, which no figure asks for
    write_run(tmp_path, optimizer="adam", batch_size=500, seed=0, dropout=0.05)
    write_run(tmp_path, optimizer="adam", batch_size=500, seed=1, hidden=(10,))
    curves = Curves(collect(tmp_path))
    assert summaries.seeds_of(paper, curves) == [0, 1]
    assert set(summaries.missing(paper, curves).itertuples(index=False, name=None)) == {
        ("fig1", "sgd", 1, 0),
        *((figure, name, seed, 0) for seed in (0, 1) for figure, name in (("fig2", "adam-500"), ("fig3", "sgd-500"))),
        *(("fig4", "adam-1000", seed, 0) for seed in (0, 1)),
        ("fig5", "adam-100-epochs", 1, 40),
        *(("", "sgd-1000", seed, 0) for seed in (0, 1)),
    }


def test_seeds_that_open_claims_got_are_missing_nowhere_else(tmp_path):
    paper = papers.read("caprari2024")
    for seed in range(9):
        write_run(tmp_path, optimizer="sgd", seed=seed)
    write_run(tmp_path, optimizer="sgd", seed=9, epochs_done=3, status="interrupted")
    absent = summaries.missing(paper, Curves(collect(tmp_path)))
    assert set(absent.loc[absent["configuration"] == "adam-500", "seed"]) == {0, 1, 2, 3, 4}
    assert absent.loc[absent["configuration"] == "sgd", ["seed", "epochs_done"]].to_numpy().tolist() == [[9, 3]]
