"""Tables about runs, on made-up runs whose answers are known."""

from itertools import product

import numpy as np
import pytest
from made_up_runs import write_run
from page_stores import PAPER

from fmnist_sweep import papers
from fmnist_sweep.report import summaries
from fmnist_sweep.report.comparisons import interaction_effects, main_effects, ranking
from fmnist_sweep.report.summaries import finals
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect, factors

BATCH, DROPOUT = "batch_size", "dropout"


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
    collection = collect(tmp_path)
    table = summaries.summary(collection, PAPER)
    described = factors(collection.runs)
    assert ["configuration", *described, "recipe", "n"] == list(table.columns[: len(described) + 3])
    assert set(table["configuration"]) == {""}
    adam, other, sgd = (row for _, row in table.iterrows())
    assert (adam["optimizer"], adam["n"], adam["unfinished"]) == ("Adam", 2, 1)
    assert adam["train_accuracy"] == pytest.approx(0.85)
    assert adam["val_accuracy"] == pytest.approx(0.7)
    assert adam["seconds"] == pytest.approx(3)
    assert (sgd["optimizer"], sgd["n"], sgd["failed"]) == ("SGD", 0, 1)
    assert np.isnan(sgd["val_accuracy"])
    assert (other[BATCH], other["val_accuracy"]) == (7, 0.6)
    write_run(tmp_path, epochs=30)
    write_run(tmp_path, epochs=30, batch_size=1000)
    names = summaries.summary(collect(tmp_path), PAPER)["configuration"]
    assert {name for name in names if name} == {"adam", "adam-1000"}


def test_final_metrics_are_those_of_the_last_epoch_of_finished_runs(tmp_path):
    write_run(tmp_path, epochs=2, curve=rows([0.5, 0.8], [0.7, 0.6]))
    write_run(tmp_path, epochs=2, seed=1, curve=rows([0.5, 0.8], [0.7, 0.6]), status="interrupted")
    table = finals(collect(tmp_path))
    assert list(table["seed"]) == [0]
    assert (table["val_accuracy"][0], table["best_val_accuracy"][0], table["seconds"][0]) == (0.6, 0.7, 1.4)
    assert table["gap"][0] == pytest.approx(0.2)


def test_measures_of_no_finished_run_are_numbers(tmp_path):
    write_run(tmp_path, epochs=5, epochs_done=2, status="interrupted")
    (row,) = summaries.summary(collect(tmp_path), PAPER).to_dict("records")
    assert (row["n"], row["unfinished"]) == (0, 1) and np.isnan(row["seconds"])
    assert set(finals(collect(tmp_path))[["best_val_accuracy", "seconds"]].dtypes) == {np.dtype(float)}


def effects(store):
    """Main effects on the validation accuracy, by factor and level."""
    table = main_effects(finals(collect(store)))
    return table[table["measure"] == "val_accuracy"].set_index(["factor", "level"])


def interactions(store, *factors):
    """Interactions of two factors in the validation accuracy, by their levels."""
    table = interaction_effects(finals(collect(store)))
    rows = table[(table["measure"] == "val_accuracy") & (table["factor"] == factors[0])]
    return rows[rows["other_factor"] == factors[1]].set_index(["level", "other_level"])


def test_a_main_effect_averages_over_the_other_factors_where_every_level_was_run(tmp_path):
    accuracy = {("adam", 100): 0.5, ("adam", 500): 0.6, ("sgd", 100): 0.7, ("sgd", 500): 0.8}
    for ((optimizer, batch_size), value), seed in product(accuracy.items(), (0, 1)):
        ends(tmp_path, value + seed / 100, seed, optimizer=optimizer, batch_size=batch_size)
    ends(tmp_path, 0.1, optimizer="sgd", dropout=0.5)  # of what was run with one level alone nothing counts
    table = effects(tmp_path)
    assert table["mean"]["optimizer", "Adam"] == pytest.approx(0.555)
    assert table["mean"]["optimizer", "SGD"] == pytest.approx(0.755)
    assert table["mean"][BATCH, 500] - table["mean"][BATCH, 100] == pytest.approx(0.1)
    assert set(table.loc[["optimizer", BATCH], "combinations"]) == {2}
    # Seeds that go up and down together in both combinations, as here, vary as much as in one: t(0.975, 1).
    assert table["high"][BATCH, 100] - table["mean"][BATCH, 100] == pytest.approx(12.7062 * 0.005, rel=1e-4)


def test_a_combination_counts_once_however_many_seeds_it_has(tmp_path):
    # With Adam and dropout 0.2, which has 40 seeds, accuracy rises with the batch size; with all others it falls.
    for optimizer, dropout, epochs in product(("adam", "sgd"), (0.05, 0.2), (1, 2)):
        much_run = (optimizer, dropout, epochs) == ("adam", 0.2, 1)
        for seed, (place, batch_size) in product(range(40 if much_run else 5), enumerate((100, 500, 1000))):
            accuracy = 0.8 + (0.02 if much_run else -0.02) * place
            curve = rows([0.5] * epochs, [accuracy] * epochs)
            chosen = {"optimizer": optimizer, "dropout": dropout, "epochs": epochs, "batch_size": batch_size}
            write_run(tmp_path, **chosen, seed=seed, curve=curve)
    table = effects(tmp_path).loc[BATCH]
    assert table["mean"].to_dict() == pytest.approx({100: 0.8, 500: 0.785, 1000: 0.77})
    assert set(table[["combinations", "seeds", "most_seeds"]].itertuples(index=False, name=None)) == {(8, 5, 40)}


def test_levels_are_compared_where_most_of_them_were_run_and_the_rest_are_named(tmp_path):
    for optimizer, batch_size in product(("adam", "sgd"), (100, 500)):
        for seed in range(9):
            ends(tmp_path, 0.5, seed, optimizer=optimizer, batch_size=batch_size)
    ends(tmp_path, 0.5, optimizer="adam", batch_size=1000)  # so Adam alone has three batch sizes
    ends(tmp_path, 0.5, optimizer="sgd", batch_size=7, dropout=0.6)
    table = effects(tmp_path)
    assert table["combinations"][BATCH].to_dict() == {7: 0, 100: 1, 500: 1, 1000: 1}
    assert np.isnan(table["mean"][BATCH, 7])
    assert table["combinations"]["optimizer"].to_dict() == {"Adam": 2, "SGD": 2}
    assert table["combinations"][DROPOUT].to_dict() == {0.2: 0, 0.6: 0}


def test_factors_that_were_varied_one_at_a_time_are_compared_in_one_combination_and_do_not_interact(tmp_path):
    for batch_size, dropout in ((100, 0.2), (500, 0.2), (1000, 0.2), (100, 0.05), (100, 0.1)):
        ends(tmp_path, batch_size / 10000 + dropout, batch_size=batch_size, dropout=dropout)
    table = effects(tmp_path)
    assert table["mean"][BATCH].to_dict() == pytest.approx({100: 0.21, 500: 0.25, 1000: 0.3})
    assert table["mean"][DROPOUT].to_dict() == pytest.approx({0.05: 0.06, 0.1: 0.11, 0.2: 0.21})
    assert set(table.loc[[BATCH, DROPOUT], "combinations"]) == {1}
    assert table.loc[[BATCH, DROPOUT], ["low", "high"]].isna().all(axis=None)  # one seed tells no spread
    assert interactions(tmp_path, BATCH, DROPOUT).empty


def test_one_configuration_has_no_effects(tmp_path):
    assert effects(tmp_path).empty
    ends(tmp_path, 0.5)
    assert effects(tmp_path).empty
    assert interaction_effects(finals(collect(tmp_path))).empty


def test_interactions_average_over_the_combinations_run_with_every_pair_of_levels(tmp_path):
    # Adam gains with the batch what SGD loses, so that the two main effects of the batch size are nothing.
    accuracy = {("adam", 100): 0.6, ("adam", 500): 0.7, ("sgd", 100): 0.8, ("sgd", 500): 0.7}
    for (optimizer, batch_size), dropout in product(accuracy, (0.05, 0.2)):
        for seed in range(40 if (optimizer, dropout) == ("adam", 0.2) else 2):
            value = accuracy[optimizer, batch_size] - dropout + seed % 2 / 100
            ends(tmp_path, value, seed, optimizer=optimizer, batch_size=batch_size, dropout=dropout)
    ends(tmp_path, 0.1, optimizer="adam", dropout=0.5)  # neither this combination nor this batch size was crossed
    ends(tmp_path, 0.1, optimizer="sgd", batch_size=7)
    table = interactions(tmp_path, "optimizer", BATCH)
    crossed = table[table["combinations"] > 0]
    assert crossed["mean"].to_dict() == pytest.approx(
        {("Adam", 100): 0.48, ("Adam", 500): 0.58, ("SGD", 100): 0.68, ("SGD", 500): 0.58}
    )
    assert set(crossed["combinations"]) == {2}
    assert table["combinations"]["SGD", 7] == 0
    assert set(crossed.loc["Adam", "most_seeds"]) == {40} and set(crossed["seeds"]) == {2}
    assert table["high"]["SGD", 100] - 0.68 == pytest.approx(12.7062 * 0.005, rel=1e-4)  # t(0.975, 1), over seeds


def test_an_interaction_is_found_in_either_order_of_its_factors(tmp_path):
    block = set(product((100, 500), (0.05, 0.2)))
    for place, more in enumerate((product((100,), (0.1, 0.3, 0.4, 0.5)), product((32, 64, 128, 256), (0.05,)))):
        for batch_size, dropout in [*block, *more]:
            ends(tmp_path / f"{place}", 0.5, batch_size=batch_size, dropout=dropout)
        table = interactions(tmp_path / f"{place}", BATCH, DROPOUT)
        assert set(table.index[table["combinations"] > 0]) == block


def test_an_argument_of_an_optimizer_is_a_factor_of_its_own(tmp_path):
    for optimizer, lr in (("adam", 0.01), ("sgd", 0.01), ("sgd", 0.1)):
        for batch_size in (100, 500):
            accuracy = lr + (0.5 if optimizer == "adam" else 0.4) - batch_size / 10000
            ends(tmp_path, accuracy, optimizer=optimizer, optimizer_args={"lr": lr}, batch_size=batch_size)
    table = effects(tmp_path)
    assert table["mean"]["optimizer"].to_dict() == pytest.approx({"Adam": 0.48, "SGD": 0.38})  # with the same rate
    assert table["mean"]["optimizer.lr"].to_dict() == pytest.approx({0.01: 0.38, 0.1: 0.47})  # of SGD
    assert set(table["combinations"]["optimizer"]) == {2}


def test_a_training_reaches_an_accuracy_once_however_long_its_runs_were_to_be(tmp_path):
    curve = rows([0.5] * 4, [0.6, 0.7, 0.6, 0.8])
    write_run(tmp_path, epochs=2, curve=curve[:2])
    write_run(tmp_path, epochs=4, curve=curve)
    write_run(tmp_path, epochs=9, epochs_done=4, status="running", curve=curve)
    write_run(tmp_path, epochs=2, seed=1, curve=curve[:2])
    for accuracy, reached in ((0.7, [2, 2]), (0.8, [4, np.nan]), (0.9, [np.nan, np.nan])):
        table = summaries.reaching(collect(tmp_path), accuracy).sort_values("seed")
        np.testing.assert_array_equal(table["reached_epoch"], reached)
        assert list(table["epochs"]) == [4, 2]


def test_a_mean_over_the_quick_seeds_alone_is_none(tmp_path):
    for seed, (adam, sgd) in enumerate(((0.8, 0.8), (0.6, 0.1))):
        write_run(tmp_path, epochs=2, seed=seed, curve=rows([0.5] * 2, [0.1, adam]))
        write_run(tmp_path, epochs=2, seed=seed, curve=rows([0.5] * 2, [sgd, sgd]), optimizer="sgd")
    table = ranking(summaries.reaching(collect(tmp_path), 0.5), ["recipe"], ["reached_epoch"], ascending=True)
    first, second = table.to_dict("records")
    assert (first["optimizer"], first["mean"], first["seeds"], first["lacking"]) == ("Adam", 2, 2, 0)
    assert (second["optimizer"], second["seeds"], second["lacking"], second["values"]) == ("SGD", 1, 1, [1.0])
    assert np.isnan(second["mean"])


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
