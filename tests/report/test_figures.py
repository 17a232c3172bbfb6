"""Figures of papers and comparisons: panels, curves, markers and texts, on made-up runs."""

import functools
from itertools import pairwise, product

import matplotlib
import numpy as np
import pytest
from made_up_runs import write_grid, write_run
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Text

from fmnist_sweep import papers
from fmnist_sweep.report.comparisons import comparison_tables
from fmnist_sweep.report.figures.comparisons import comparison_figures
from fmnist_sweep.report.figures.confusion import confusion, confusion_figure, mistakes_figure
from fmnist_sweep.report.figures.paper_figures import paper_figure
from fmnist_sweep.report.figures.style import STYLE, encode, styles
from fmnist_sweep.report.summaries import finals
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect, recipe

CURVES, FINAL = "caprari2024", "bordone2025"  # of the one all figures are curves, of the other most are final values
read = functools.cache(papers.read)


def write_paper(store, paper, seeds=2, **fixed):
    """Write the runs of every configuration of a paper."""
    for config in {str(config): config for config in read(paper).configs.values()}.values():
        name, arguments = config.optimizer["name"].lower(), {k: v for k, v in config.optimizer.items() if k != "name"}
        training, model = config.training, config.model
        factors = {"batch_size": training.batch_size, "epochs": training.epochs}
        factors |= {"dropout": model.dropout, "hidden": model.hidden, **fixed}
        for seed in range(seeds):
            write_run(store, optimizer=name, optimizer_args=arguments, seed=seed, **factors)


def load(store, paper):
    """The runs of a paper's protocol, or without a paper all."""
    collection = collect(store, read(paper).covers) if paper else collect(store)
    return collection, Curves(collection)


def draw(store, name, paper=CURVES, language="en"):
    return laid_out(paper_figure(read(paper), name, load(store, paper)[1], Texts(language)))


def compare(store, paper=CURVES, language="en"):
    collection, curves = load(store, paper)
    of = read(paper) if paper else None
    return comparison_figures(of, comparison_tables(of, collection, curves), collection.runs, Texts(language))


def laid_out(figure):
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()
    return figure


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder of runs for each paper, of three seeds."""
    folders = {paper: tmp_path_factory.mktemp(paper) for paper in (CURVES, FINAL)}
    write_grid(folders[CURVES])
    write_paper(folders[FINAL], FINAL, seeds=3)
    return folders


@pytest.fixture(scope="module")
def comparisons(stores):
    return compare(stores[CURVES])


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def quotes(ax):
    found = [one for one in ax.lines if str(one.get_label()).startswith("Paper:")]
    return {(float(one.get_xdata()[0]), float(one.get_ydata()[0]), str(one.get_marker())) for one in found}


def bands(ax):
    return [one.get_paths()[0].vertices[:, 1] for one in ax.collections if isinstance(one, PolyCollection)]


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def legend(figure):
    """The note above the legend, and its labels."""
    (box,) = figure.legends
    return [box.get_title().get_text(), *(one.get_text() for one in box.get_texts())]


def ticks(ax):
    return [one.get_text() for one in ax.get_yticklabels()]


@pytest.mark.parametrize(
    ("paper", "name", "titled", "shared"),
    [
        (CURVES, "fig1", ["a) Adam", "b) Adam", "c) SGD", "d) SGD"], "With batch 100, dropout 0.2, 30 epochs"),
        (CURVES, "fig3", ["a) SGD, batch 500", "b) SGD, batch 500"], "With dropout 0.2, 30 epochs"),
        (CURVES, "fig5", ["a) Adam, 100 epochs", "b) Adam, 100 epochs"], "With batch 100, dropout 0.2"),
        (FINAL, "final", ["Adam, batch 32, 30 epochs"], "With lr 0.001, dropout 0.2, hidden 128-64"),
    ],
)
def test_panels_say_what_differs_and_the_note_what_is_shared(stores, paper, name, titled, shared):
    figure = draw(stores[paper], name, paper)
    assert titles(figure) == [f"{title}, 3 seeds" for title in titled]
    measured = ["Loss (nats)", "Accuracy (fraction)"] * 2
    assert [ax.get_ylabel() for ax in figure.axes] == (measured[: len(titled)] if paper == CURVES else measured[1:2])
    assert {ax.get_xlabel() for ax in figure.axes} == {"Epoch"}
    training = "Training" if paper == CURVES else "Training, dropout on"
    note, *names = legend(figure)
    band = "band: middle 68 % of them (16th to 84th percentile)"
    assert note.replace("\n", " ") == f"{shared}. Line: mean of seeds; {band}"
    assert names[:2] == [training, "Validation"]


@pytest.mark.parametrize(("paper", "name"), [(CURVES, "fig1"), (CURVES, "fig5"), (FINAL, "final")])
def test_curves_are_the_mean_of_the_runs_and_the_band_spans_them(stores, paper, name):
    figure, (_, curves) = read(paper).figures[name], load(stores[paper], paper)
    panels = draw(stores[paper], name, paper).axes
    for ax, (row, measure) in zip(panels, product(figure.rows, figure.measures), strict=True):
        config = read(paper).configs[row]
        epochs = config.training.epochs
        for curve in (*figure.curves, "val"):
            metric = f"{curve}_{measure}"
            values = curves.sample(recipe(config), epochs, [metric]).values(metric)
            x, y = line(ax, Texts("en")(f"figures.{curve}"))
            np.testing.assert_array_equal(x, np.arange(1, epochs + 1))
            np.testing.assert_allclose(y, values.mean(axis=0))
            assert any(h.min() == values.min() and h.max() == values.max() for h in bands(ax))


def test_the_numbers_that_claims_quote_are_marked_at_their_epochs(stores):
    loss, accuracy, sgd_loss, _ = draw(stores[CURVES], "fig1").axes
    assert quotes(loss) == {(1, 0.475, "o"), (30, 0.35, "o"), (1, 0.52, "s"), (30, 0.475, "s")}
    assert quotes(accuracy) == {(1, 0.83, "o"), (30, 0.87, "o"), (30, 0.84, "s")}
    assert quotes(sgd_loss) == {(30, 0.3, "o"), (30, 0.35, "s")}
    figure = draw(stores[CURVES], "fig3")
    assert quotes(figure.axes[0]) == {(30, 0.4, "^")}
    assert legend(figure)[3:] == ["Paper: curve not stated, above this value", "Paper: curve not stated"]
    assert {(5, 0.868, "s"), (30, 0.88, "s")} <= quotes(draw(stores[FINAL], "final", FINAL).axes[0])


def test_spanish_figures_have_no_english_label(stores):
    figure = draw(stores[CURVES], "fig1", language="es")
    assert [ax.get_ylabel() for ax in figure.axes[:2]] == ["Pérdida (nats)", "Precisión (fracción)"]
    assert (figure.axes[0].get_xlabel(), titles(figure)[1]) == ("Época", "b) Adam, 3 semillas")
    note, *names = legend(figure)
    assert note.replace("\n", " ") == (
        "Con lote 100, dropout 0.2, 30 épocas. Línea: media de las semillas; "
        "banda: el 68 % central (percentiles 16 a 84)"
    )
    assert names == [
        *("Entrenamiento", "Validación", "Artículo: entrenamiento", "Artículo: validación"),
    ]
    assert ticks(draw(stores[FINAL], "exp6", FINAL, "es").axes[0])[0] == "lote 32\n3 semillas"


def test_one_seed_has_no_band_and_no_mean(tmp_path):
    write_run(tmp_path, batch_size=500)
    figure = draw(tmp_path, "fig2")
    assert titles(figure)[0] == "a) Adam, batch 500, 1 seed"
    assert legend(figure)[0] == "With dropout 0.2, 30 epochs"
    assert not bands(figure.axes[0])


def test_a_figure_is_drawn_as_soon_as_a_run_serves_one_of_its_rows(tmp_path):
    write_run(tmp_path, epochs=30)
    assert paper_figure(read(CURVES), "fig5", Curves(collect(tmp_path)), Texts("en")) is None
    assert titles(draw(tmp_path, "fig1"))[1:3] == ["b) Adam, 1 seed", "c) SGD, no runs"]


def test_unfinished_seeds_are_drawn_only_where_none_is_finished(tmp_path):
    write_run(tmp_path, seed=0, epochs_done=12, status="running")
    write_run(tmp_path, seed=1, epochs_done=5, status="interrupted")
    figure = draw(tmp_path, "fig1")
    assert titles(figure)[0] == "a) Adam, 2 seeds\n12 of 30 epochs"
    assert len(line(figure.axes[0], "training")[0]) == 12
    write_run(tmp_path, seed=2)
    assert titles(draw(tmp_path, "fig1"))[0] == "a) Adam, 1 seed"


def test_a_diverged_run_is_drawn_as_far_as_it_goes(tmp_path):
    values = np.full((3, 6), 0.5)
    values[2] = np.inf
    write_run(tmp_path, batch_size=500, epochs_done=3, status="diverged", curve=values)
    np.testing.assert_array_equal(line(draw(tmp_path, "fig2").axes[0], "training")[1], [0.5, 0.5])


def test_final_values_lie_beside_the_papers_with_the_reach_of_one_more_run(tmp_path):
    for seed, value in enumerate((0.7, 0.72, 0.74)):
        curve = np.full((10, 6), value)
        curve[:, 3] -= 0.1  # the training accuracy, dropout on
        sgd = {"optimizer": "sgd", "optimizer_args": {"lr": 0.001}, "seed": seed, "epochs": 10}
        write_run(tmp_path, **sgd, curve=curve)
        write_run(tmp_path, **sgd, batch_size=32, curve=curve[:4], epochs_done=4, status="running")
    figure = draw(tmp_path, "exp6", FINAL)
    (ax,) = figure.axes
    assert ticks(ax) == [
        "batch 32\n3 seeds\n4 of 10 epochs",
        *(f"batch {n}\n{'3 seeds' if n == 100 else 'no runs'}" for n in (64, 100, 128, 256)),
    ]
    bars = [one for one in ax.containers if isinstance(one, ErrorbarContainer)]
    reach = 4.302653 * 0.02 * np.sqrt(1 + 1 / 3)  # t(0.975, 2) s sqrt(1 + 1/n)
    assert [one[0].get_xdata()[0] for one in bars] == pytest.approx([0.62, 0.72])  # a row, which is whole
    for one, middle in zip(bars, (0.62, 0.72), strict=True):
        (segment,) = one[2][0].get_segments()
        assert segment[:, 0] == pytest.approx([middle - reach, middle + reach])
    quoted = sorted(quotes(ax), key=lambda quote: quote[1])
    assert [(x, marker) for x, _, marker in quoted][4:6] == [(0.688, "o"), (0.7285, "s")]
    assert len(quoted) == 10
    assert legend(figure)[0].startswith("With SGD, lr 0.001, dropout 0.2, 10 epochs, hidden 128-64. Mean of seeds")


def test_final_values_are_marked_with_what_is_quoted_of_the_end_alone(stores):
    figures = {"final": read(FINAL).figures["final"].model_copy(update={"kind": "final"})}
    paper = read(FINAL).model_copy(update={"figures": figures})
    (ax,) = paper_figure(paper, "final", load(stores[FINAL], FINAL)[1], Texts("en")).axes
    assert {quote[0] for quote in quotes(ax)} == {0.8799, 0.88}


OWN = """
title: Mine
authors: [N. N.]
year: 2026
language: en
configurations: {adam: {epochs: 3}}
figures:
  all-curves: {title: {en: All}, rows: [adam], training: both, measures: [accuracy]}
  table-1:
    {title: {en: All}, kind: final, rows: [adam], training: both, measures: [accuracy], reduce: {at_best: val_loss}}
claims:
  - id: "{figure}-{metric}"
    section: "1"
    figure: "{figure}"
    quote: "{value}"
    statement: {en: "{value}"}
    kind: run
    of: adam
    metric: "{metric}"
    reduce: {at_best: val_loss}
    expect: {about: "{value}", tolerance: 0.01}
    why: {en: Why.}
    each:
      - {figure: table-1, metric: train_accuracy, value: 0.11}
      - {figure: table-1, metric: val_accuracy, value: 0.31}
      - {figure: table-1, metric: running_accuracy, value: 0.21}
      - {figure: all-curves, metric: val_accuracy, value: 0.31}
"""


def own_paper(folder, tests):
    """The paper `OWN`; with `tests`, its last claim on each figure is about the test accuracy."""
    (folder / "own.yaml").write_text(OWN)
    paper = papers.read(str(folder / "own.yaml"))
    claims = [claim.model_copy(update={"metric": "test_accuracy"}) if tests else claim for claim in paper.claims[2:]]
    changed = paper.model_copy(update={"claims": [*paper.claims[:2], *claims]})
    return changed


@pytest.mark.parametrize("tests", [False, True])
def test_both_training_curves_and_the_test_curve_are_told_apart(tmp_path, tests):
    for seed in range(3):
        values = np.array(
            [[0.5, level, 0.5, level + 0.1, 0.5 - level, level + 0.2, 0.5, level + 0.3] for level in (0, 0.1, 0)]
        )
        write_run(tmp_path / "runs", epochs=3, seed=seed, curve=values[:, : 8 if tests else 6] + seed / 1000)
    paper, curves = own_paper(tmp_path, tests), Curves(collect(tmp_path / "runs"))
    lines = {"training": 0.1, "training, dropout on": 0.2, "validation": 0.3} | ({"test": 0.4} if tests else {})
    (ax,) = laid_out(paper_figure(paper, "all-curves", curves, Texts("en"))).axes
    for label, value in lines.items():
        np.testing.assert_allclose(line(ax, label)[1], [value - 0.099, value + 0.001, value - 0.099])
    looks = {(one.get_color(), str(one.get_linestyle())) for one in ax.lines if one.get_label() in lines}
    assert len(looks) == len(lines)

    figure = laid_out(paper_figure(paper, "table-1", curves, Texts("en")))
    (ax,) = figure.axes
    bars = [one[0] for one in ax.containers if isinstance(one, ErrorbarContainer)]
    assert [one.get_xdata()[0] for one in bars] == pytest.approx([value + 0.001 for value in lines.values()])
    heights = [one.get_ydata()[0] for one in bars]
    assert heights == sorted(heights) and heights[0] > -0.5 and heights[-1] < 0.5
    assert "Epoch with the best validation loss" in legend(figure)[0]
    quoted = dict(
        zip(("training", "validation", "test" if tests else "training, dropout on"), (0.11, 0.31, 0.21), strict=True)
    )
    marked = {x: y for x, y, _ in quotes(ax)}
    for label, value in quoted.items():  # each below the values that it belongs to
        height = heights[list(lines).index(label)]
        assert height < marked[value] < height + 0.8 / len(lines)


def test_the_same_runs_give_the_same_files(stores):
    first, second = (encode(draw(stores[CURVES], "fig3")) for _ in range(2))
    assert first == second
    assert first["png"].startswith(b"\x89PNG")
    assert first["pdf"].startswith(b"%PDF") and b"CreationDate" not in first["pdf"]


def strange(store):
    """Configurations with long names, many levels, one seed here and three there, unfinished runs."""
    for seed in range(3):
        write_run(store, optimizer="adam", epochs=5, seed=seed)
        write_run(store, optimizer="sgd", epochs=5, seed=seed, batch_size=7)
    for i in range(12):
        arguments = {"lr": 0.01, "momentum": 0.05 * i + 0.1, "nesterov": True, "weight_decay": 1e-05}
        write_run(store, optimizer="sgd", optimizer_args=arguments, epochs=5, hidden=(i + 2, 2), dropout=i / 20)
    write_run(store, optimizer="adam", epochs=5, validation="holdout", batch_size=64)
    write_run(store, optimizer="adam", epochs=5, epochs_done=2, status="running", batch_size=9)


def under_way(store):
    for paper in (CURVES, FINAL):
        write_paper(store, paper, seeds=10, epochs_done=4, status="running")


def one_run(store):
    write_run(store, epochs=1)


def many_keys(store):
    """Configurations that differ in seven keys, one at a time, one of them in many levels; and a grid of 60 runs."""
    rates = [{"lr": round(0.0001 * 1.5**i, 6), "momentum": 0.9} for i in range(20)]
    for arguments in rates:
        write_run(store, optimizer="sgd", optimizer_args=arguments, epochs=5)
    for more in (
        {"optimizer": "adam", "optimizer_args": {"lr": 0.001}},
        {"dropout": 0.5},
        {"hidden": (1024, 512, 256, 128)},
        {"batch_size": 1000},
        {"mean": 0.2860},
        {"validation": "holdout"},
    ):
        write_run(store, **{"optimizer": "sgd", "optimizer_args": rates[5], "epochs": 5} | more)
    for size, arguments, seed in product((32, 64, 128, 4096), rates[::4], range(3)):
        write_run(store, optimizer="sgd", optimizer_args=arguments, epochs=5, batch_size=size, seed=seed)


def everything(store):
    write_grid(store, seeds=(0, 1))
    write_paper(store, FINAL)


def assert_legible(figure):
    """Every text lies within the figure, and no legend over a panel."""
    laid_out(figure)
    frame = figure.bbox.padded(1)
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and is_drawn(text, figure):
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            assert inside, f"{text.get_text()!r} is cut off"
    for ax in figure.axes:
        names = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_rotation() == 0]
        assert not any(one.x1 > other.x0 for one, other in pairwise(names)), "ticks overlap"
    for box in figure.legends:
        assert not any(box.get_window_extent().overlaps(ax.get_window_extent()) for ax in figure.axes)


def is_drawn(text, figure):
    """Tell whether a text is drawn: matplotlib keeps ticks outside an axis' limits, but does not draw them."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if text in (tick.label1, tick.label2):
                    return bool(low <= tick.get_loc() <= high)
    return True


@pytest.mark.parametrize("language", ["en", pytest.param("es", marks=pytest.mark.slow)])
@pytest.mark.parametrize("fill", [everything, strange, under_way, one_run, many_keys])
def test_every_text_is_inside_its_figure(tmp_path, language, fill):
    fill(tmp_path)
    for figure in compare(tmp_path, None, language).values():
        assert_legible(figure)
    for paper in (CURVES, FINAL):
        curves, texts = load(tmp_path, paper)[1], Texts(language)
        figures = [paper_figure(read(paper), name, curves, texts) for name in read(paper).figures]
        for figure in [*filter(None, figures), *compare(tmp_path, paper, language).values()]:
            assert_legible(figure)


def test_what_a_store_allows_is_compared_under_names_that_no_paper_can_use(comparisons, tmp_path):
    overlays = {f"curves-by-{factor}" for factor in ("optimizer", "batch-size", "dropout")}
    rankings = {"final-values", "generalisation-gap", "convergence-speed"}
    assert set(comparisons) == overlays | rankings | {"main-effects", "interaction-effects"}
    assert all("-" in name for name in comparisons)  # a paper's figures are words
    assert compare(tmp_path) == {}
    one_run(tmp_path)
    assert set(compare(tmp_path)) == rankings


def test_curves_by_batch_size_are_told_apart_by_colour_and_line(stores, comparisons):
    figure = comparisons["curves-by-batch-size"]
    assert titles(figure)[:2] == ["Adam", "SGD"]
    lines = figure.axes[0].lines
    assert [one.get_label() for one in lines] == ["batch 100", "batch 500", "batch 1000"]
    assert len({one.get_color() for one in lines}) == 3
    assert len({style.line for style in styles("batch_size", [100, 500, 1000]).values()}) == 3
    config = read(CURVES).configs["adam-500"]
    sample = Curves(collect(stores[CURVES])).sample(recipe(config), 30, ["val_loss"])
    expected = sample.values("val_loss").mean(axis=0)
    np.testing.assert_allclose(line(figure.axes[0], "batch 500")[1], expected)


def test_configurations_are_ranked_by_accuracy(stores, comparisons):
    ax = comparisons["final-values"].axes[0]
    factors = ["optimizer", "batch_size", "dropout", "epochs"]
    means = finals(collect(stores[CURVES])).groupby(factors)["val_accuracy"].mean().sort_values(ascending=False)
    names = [f"{opt}, batch {size}, dropout {dropout:g}, {epochs} epochs" for opt, size, dropout, epochs in means.index]
    assert ticks(ax) == names
    low, high = ax.get_ylim()
    assert low > high  # the first is on top


def test_convergence_is_to_the_accuracy_quoted_of_the_papers_base_and_says_who_never_gets_there(tmp_path):
    write_run(tmp_path, epochs=30)
    write_run(tmp_path, epochs=30, seed=1)
    write_run(tmp_path, optimizer="sgd", epochs=30, curve=np.full((30, 6), 0.5))
    for paper, accuracy in ((CURVES, "0.84"), (FINAL, "0.7379")):
        figure = compare(tmp_path, paper)["convergence-speed"]
        assert figure.get_suptitle() == f"Epochs until the validation accuracy reaches {accuracy}"
        assert ticks(figure.axes[0]) == ["Adam", "SGD (reached by 0 of 1 seeds in 30 epochs)"]
        assert len(figure.axes) == 1  # seconds would tell how busy the machine was


def test_interactions_show_that_the_batch_size_works_in_opposite_directions(tmp_path):
    for optimizer, size, dropout, seed in np.ndindex(2, 3, 2, 2):
        accuracy = 0.8 + (0.02 if optimizer else -0.02) * (size - 1) - 0.01 * dropout + 0.001 * seed
        chosen = {"optimizer": ("sgd", "adam")[optimizer], "batch_size": (100, 500, 1000)[size]}
        curve = np.full((1, 6), accuracy)
        write_run(tmp_path, **chosen, dropout=(0.05, 0.2)[dropout], epochs=1, seed=seed, curve=curve)
    figures = compare(tmp_path)
    flat = figures["main-effects"].axes[1].lines[0].get_ydata()
    np.testing.assert_allclose(flat, np.full(3, 0.7955))
    ax = figures["interaction-effects"].axes[0]  # the strongest interaction is first
    np.testing.assert_allclose(line(ax, "Adam")[1], [0.7755, 0.7955, 0.8155])
    np.testing.assert_allclose(line(ax, "SGD")[1], [0.8155, 0.7955, 0.7755])


def test_effects_say_over_how_many_combinations_and_seeds_and_what_is_left_out(tmp_path):
    for optimizer, size, seed in product(("adam", "sgd"), (100, 500), range(3)):
        write_run(tmp_path, optimizer=optimizer, batch_size=size, epochs=1, seed=seed)
    for seed in range(3, 5):
        write_run(tmp_path, epochs=1, seed=seed)
    write_run(tmp_path, epochs=1, batch_size=7, dropout=0.6)
    figures = compare(tmp_path)
    said = "2 combinations,\n3 to 5 seeds each"
    assert titles(figures["main-effects"]) == [said, said, "", ""]
    assert [ax.get_xlabel() for ax in figures["main-effects"].axes][2:] == ["Optimizer", "Batch size"]
    left_out = "Left out, because they were not run in the same combinations: batch 7, dropout 0.2, dropout 0.6"
    assert left_out in figures["main-effects"].get_supxlabel()
    assert figures["main-effects"].get_supxlabel().startswith("With lr 0.01, hidden 128-64, 1 epochs\n")
    ax = figures["interaction-effects"].axes[0]
    assert ax.get_legend().get_title().get_text() == "1 combination,\n3 to 5 seeds each"
    assert figures["interaction-effects"].get_supxlabel().endswith(": batch 7")


def test_levels_with_long_names_are_told_apart(tmp_path):
    names = {"dampening": 0.5, "momentum": 0.123456789}
    for decay in (1e-5, 2e-5, 3e-5):
        write_run(tmp_path, optimizer="sgd", optimizer_args={"lr": 0.01, **names, "weight_decay": decay}, epochs=1)
    write_run(tmp_path, optimizer="sgd", epochs=1)
    ax = compare(tmp_path)["main-effects"].axes[-1]
    assert ax.get_xlabel() == "Weight decay"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1e-05", "2e-05", "3e-05"]


def test_confusions_count_what_was_taken_for_what():
    labels = np.array([0, 0, 0, 6, 9], np.uint8)
    counts = confusion(labels, np.array([0, 6, 6, 6, 9], np.uint8))
    assert counts.sum() == 5
    assert (counts[0, 0], counts[0, 6], counts[6, 6], counts[9, 9]) == (1, 2, 1, 1)
    matrix, bars = confusion_figure(counts, Texts("en"), "Adam").axes
    texts = {(*map(round, text.get_position()),): text.get_text() for text in matrix.texts}
    assert texts == {(0, 0): "33", (6, 0): "67", (6, 6): "100", (9, 9): "100"}
    assert [bar.get_width() for bar in bars.patches][::6] == pytest.approx([1 / 3, 1])
    with pytest.raises(ValueError, match="4 predictions for 5 labels"):
        confusion(labels, labels[:4])


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("en", ["T-shirt/top →\nShirt (3)", "Pullover →\nCoat (1)"]),
        ("es", ["Camiseta →\nCamisa (3)", "Pulóver →\nAbrigo (1)"]),
    ],
)
def test_mistakes_show_the_most_frequent_confusions_first(language, names):
    labels = np.repeat(np.arange(10, dtype=np.uint8), 20)
    predictions = labels.copy()
    predictions[:3] = 6
    predictions[40] = 4
    images = np.arange(200 * 28 * 28).reshape(200, 28, 28).astype(np.uint8)
    figure = mistakes_figure(images, labels, predictions, Texts(language))
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == names
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    assert len(shown) == 4
    np.testing.assert_array_equal(shown[0], images[0])
    assert_legible(figure)
    assert_legible(confusion_figure(confusion(labels, predictions), Texts(language), "Adam, lr 0.01"))
    assert_legible(mistakes_figure(images, labels, labels, Texts(language)))


@pytest.mark.skipif(matplotlib.__version_info__ < (3, 11), reason="not the matplotlib of the baseline")
@pytest.mark.mpl_image_compare(style="default", tolerance=5, savefig_kwargs={"dpi": 60})
@pytest.mark.parametrize("name", ["fig1", "exp6", "convergence-speed", "interaction-effects"])
def test_figure_looks_as_before(stores, comparisons, name):
    if "-" in name:
        return laid_out(comparisons[name])
    paper, language = (FINAL, "es") if name == "exp6" else (CURVES, "en")
    return draw(stores[paper], name, paper, language)
