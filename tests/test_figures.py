"""The paper's figures: panels, curves, markers and texts, on made-up runs."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from made_up_runs import write_grid, write_run
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from fmnist_sweep.report import Collection, collect
from fmnist_sweep.report.comparisons import comparison_figures
from fmnist_sweep.report.figures import STYLE, curve_panel, paper_figure, save
from fmnist_sweep.report.labels import LANGUAGES, Language, styles
from fmnist_sweep.report.mistakes import (
    class_accuracy,
    confusion,
    confusion_figure,
    confusion_matrix,
    mistakes_figure,
)
from fmnist_sweep.report.paper import FIGURES, Configuration, trajectories
from fmnist_sweep.report.tables import finals, main_effects


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    store = tmp_path_factory.mktemp("grid")
    write_grid(store)
    return collect(store)


@pytest.fixture(scope="module")
def comparisons(grid: Collection) -> dict[str, Figure]:
    return comparison_figures(grid)


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()
    return figure


def line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def markers(ax: Axes) -> set[tuple[float, float, str]]:
    found = [one for one in ax.lines if one.get_linestyle() == "None"]
    return {(float(one.get_xdata()[0]), float(one.get_ydata()[0]), str(one.get_marker())) for one in found}


def bands(ax: Axes) -> list[PolyCollection]:
    return [one for one in ax.collections if isinstance(one, PolyCollection)]


def legend(figure: Figure) -> list[str]:
    (box,) = figure.legends
    return [one.get_text() for one in box.get_texts()]


def assert_legible(figure: Figure) -> None:
    """Every text lies within the figure, and no legend over a panel."""
    drawn(figure)
    frame = figure.bbox.padded(1)
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            assert inside or not on_axis(text, figure), f"{text.get_text()!r} is cut off"
    for box in figure.legends:
        assert not any(box.get_window_extent().overlaps(ax.get_window_extent()) for ax in figure.axes)


def on_axis(text: Text, figure: Figure) -> bool:
    """Whether a text is drawn: ticks outside an axis' limits are not, but matplotlib keeps them."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if text in (tick.label1, tick.label2):
                    return bool(low <= tick.get_loc() <= high)
    return True


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        (
            "fig1",
            [
                "a) Adam, batch 100, 3 seeds",
                "b) Adam, batch 100, 3 seeds",
                "c) SGD, batch 100, 3 seeds",
                "d) SGD, batch 100, 3 seeds",
            ],
        ),
        ("fig2", ["a) Adam, batch 500, 3 seeds", "b) Adam, batch 500, 3 seeds"]),
        ("fig3", ["a) SGD, batch 500, 3 seeds", "b) SGD, batch 500, 3 seeds"]),
        ("fig4", ["a) Adam, batch 1000, 3 seeds", "b) Adam, batch 1000, 3 seeds"]),
        ("fig5", ["a) Adam, 100 epochs, 3 seeds", "b) Adam, 100 epochs, 3 seeds"]),
    ],
)
def test_each_figure_has_the_papers_panels(grid: Collection, name: str, titles: list[str]) -> None:
    figure = drawn(paper_figure(grid, name))
    assert [ax.get_title(loc="left") for ax in figure.axes] == titles
    assert [ax.get_ylabel() for ax in figure.axes] == ["Loss (nats)", "Accuracy (fraction)"] * (len(titles) // 2)
    assert {ax.get_xlabel() for ax in figure.axes} == {"Epoch"}
    assert legend(figure)[:2] == ["Training", "Validation"]
    assert "Line: mean of seeds; band: min to max" in legend(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_curves_are_the_mean_of_the_runs_and_the_band_spans_them(grid: Collection, name: str) -> None:
    axes = drawn(paper_figure(grid, name)).axes
    for i, row in enumerate(FIGURES[name]):
        wanted = row.configuration
        runs = grid.metrics.query(
            "optimizer == @wanted.optimizer and batch_size == @wanted.batch_size and dropout == 0.2 "
            "and epochs == @wanted.epochs"
        )
        for ax, measure in zip(axes[2 * i : 2 * i + 2], ("loss", "accuracy"), strict=True):
            for curve, label in (("train", "training"), ("val", "validation")):
                values = runs.pivot(index="seed", columns="epoch", values=f"{curve}_{measure}").to_numpy()
                assert values.shape == (3, wanted.epochs)
                x, y = line(ax, label)
                np.testing.assert_array_equal(x, np.arange(1, wanted.epochs + 1))
                np.testing.assert_allclose(y, values.mean(axis=0))
                heights = [band.get_paths()[0].vertices[:, 1] for band in bands(ax)]
                assert any(h.min() == values.min() and h.max() == values.max() for h in heights)


def test_the_papers_numbers_are_marked_at_their_epochs(grid: Collection) -> None:
    loss, accuracy, sgd_loss, _ = drawn(paper_figure(grid, "fig1")).axes
    assert markers(loss) == {(1, 0.475, "o"), (30, 0.35, "o"), (1, 0.52, "s"), (30, 0.475, "s")}
    assert markers(accuracy) == {(1, 0.83, "o"), (30, 0.87, "o"), (30, 0.84, "s")}
    assert markers(sgd_loss) == {(30, 0.3, "o"), (30, 0.35, "s")}
    figure = drawn(paper_figure(grid, "fig3"))
    assert markers(figure.axes[0]) == {(30, 0.4, "^")}
    assert legend(figure)[2:4] == ["Paper: above this", "Paper: curve not named"]
    assert markers(drawn(paper_figure(grid, "fig5")).axes[1]) == {(100, 0.95, "o"), (100, 0.84, "s")}


def test_spanish_figures_have_no_english_label(grid: Collection) -> None:
    figure = drawn(paper_figure(grid, "fig1", "es"))
    loss, accuracy = figure.axes[:2]
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("Época", "Pérdida (nats)")
    assert accuracy.get_ylabel() == "Precisión (fracción)"
    assert accuracy.get_title(loc="left") == "b) Adam, lote 100, 3 semillas"
    assert legend(figure) == [
        "Entrenamiento",
        "Validación",
        "Artículo: entrenamiento",
        "Artículo: validación",
        "Línea: media de semillas; banda: mín a máx",
    ]


def test_one_seed_has_no_band_and_no_mean(tmp_path: Path) -> None:
    write_run(tmp_path, batch_size=500)
    figure = drawn(paper_figure(collect(tmp_path), "fig2"))
    assert figure.axes[0].get_title(loc="left") == "a) Adam, batch 500, 1 seed"
    assert legend(figure) == ["Training", "Validation", "Paper: validation"]
    assert not bands(figure.axes[0])


def test_a_longer_run_stands_in_for_the_first_30_epochs(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=100)
    long = collect(tmp_path)
    assert len(trajectories(long, Configuration())) == 30
    np.testing.assert_array_equal(line(drawn(paper_figure(long, "fig1")).axes[0], "training")[0], np.arange(1, 31))
    write_run(tmp_path, epochs=30)
    assert set(trajectories(collect(tmp_path), Configuration())["epochs"]) == {30}


def test_a_longer_run_stands_in_for_one_that_is_not_finished(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=100)
    write_run(tmp_path, epochs=30, epochs_done=12, status="running")
    assert set(trajectories(collect(tmp_path), Configuration())["epochs"]) == {100}


def test_a_shorter_run_is_no_part_of_a_figure(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=30)
    assert paper_figure(collect(tmp_path), "fig5") is None


def test_unfinished_seeds_are_drawn_only_where_none_is_finished(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0, epochs_done=12, status="running")
    write_run(tmp_path, seed=1, epochs_done=5, status="interrupted")
    axes = drawn(paper_figure(collect(tmp_path), "fig1")).axes
    assert axes[0].get_title(loc="left") == "a) Adam, batch 100, 2 seeds\n12 of 30 epochs"
    assert len(line(axes[0], "training")[0]) == 12
    assert "no runs" in [text.get_text() for text in axes[2].texts]
    write_run(tmp_path, seed=2)
    axes = drawn(paper_figure(collect(tmp_path), "fig1")).axes
    assert axes[0].get_title(loc="left") == "a) Adam, batch 100, 1 seed"


def test_a_diverged_run_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    values = np.full((3, 6), 0.5)
    values[2] = np.inf
    write_run(tmp_path, batch_size=500, epochs_done=3, status="diverged", curve=values)
    _, y = line(drawn(paper_figure(collect(tmp_path), "fig2")).axes[0], "training")
    np.testing.assert_array_equal(y, [0.5, 0.5, np.nan])


def test_a_panel_can_be_drawn_anywhere(grid: Collection) -> None:
    metrics = trajectories(grid, Configuration())
    mine = Figure().add_subplot()
    assert curve_panel(metrics, "loss", ax=mine) is mine
    assert curve_panel(metrics, "loss").figure is not mine.figure


def test_the_same_runs_give_the_same_files(grid: Collection, tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        paths = save(drawn(paper_figure(grid, "fig2")), folder, "fig2")
        assert [path.name for path in paths] == ["fig2.png", "fig2.pdf"]
        contents.append([path.read_bytes() for path in paths])
        assert sorted(folder.iterdir()) == sorted(paths)
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"\x89PNG")
    assert contents[0][1].startswith(b"%PDF")
    assert b"CreationDate" not in contents[0][1]


def strange(store: Path) -> None:
    """Configurations with long names, many levels, one seed here and three there, unfinished runs."""
    for seed in range(3):
        write_run(store, optimizer="adam", epochs=5, seed=seed)
        write_run(store, optimizer="sgd", epochs=5, seed=seed, batch_size=7)
    for i in range(12):
        arguments = {"lr": 0.01, "momentum": 0.05 * i, "nesterov": True, "weight_decay": 1e-05}
        write_run(store, optimizer="sgd", optimizer_args=arguments, epochs=5, hidden=(i + 1, 2), dropout=i / 20)
    write_run(store, optimizer="adam", epochs=5, validation="holdout", batch_size=64)
    write_run(store, optimizer="adam", epochs=5, epochs_done=2, status="running", batch_size=9)


def under_way(store: Path) -> None:
    """The paper's configurations, none of them finished."""
    for rows in FIGURES.values():
        for row in rows:
            wanted = row.configuration
            for seed in range(10):
                write_run(
                    store,
                    optimizer=wanted.optimizer,
                    batch_size=wanted.batch_size,
                    epochs=wanted.epochs,
                    epochs_done=12,
                    status="running",
                    seed=seed,
                )


def one_run(store: Path) -> None:
    write_run(store, epochs=1)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("fill", [write_grid, strange, under_way, one_run])
def test_every_text_is_inside_its_figure(tmp_path: Path, language: Language, fill: Callable[[Path], None]) -> None:
    fill(tmp_path)
    collection = collect(tmp_path)
    figures = {name: paper_figure(collection, name, language) for name in FIGURES}
    figures |= comparison_figures(collection, language)
    for figure in figures.values():
        if figure is not None:
            assert_legible(figure)


def test_what_a_grid_allows_is_compared(comparisons: dict[str, Figure], tmp_path: Path) -> None:
    assert set(comparisons) == {
        "curves-by-optimizer",
        "curves-by-batch-size",
        "curves-by-dropout",
        "final",
        "gap",
        "convergence",
        "main-effects",
        "parallel-coordinates",
    }
    assert comparison_figures(collect(tmp_path)) == {}
    one_run(tmp_path)
    assert set(comparison_figures(collect(tmp_path))) == {"final", "gap", "convergence"}


def test_curves_by_batch_size_are_told_apart_by_colour_and_line(
    grid: Collection, comparisons: dict[str, Figure]
) -> None:
    figure = comparisons["curves-by-batch-size"]
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == ["Adam", "SGD"]
    lines = figure.axes[0].lines
    assert [one.get_label() for one in lines] == ["batch 100", "batch 500", "batch 1000"]
    assert len({one.get_color() for one in lines}) == 3
    assert len({style.line for style in styles("batch_size", [100, 500, 1000]).values()}) == 3
    _, y = line(figure.axes[0], "batch 500")
    expected = trajectories(grid, Configuration(batch_size=500)).groupby("epoch")["val_loss"].mean()
    np.testing.assert_allclose(y, expected)


def test_configurations_are_ranked_by_accuracy(grid: Collection, comparisons: dict[str, Figure]) -> None:
    ax = comparisons["final"].axes[0]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert len(names) == 24
    means = finals(grid).groupby(["optimizer", "batch_size", "dropout", "epochs"])["val_accuracy"].mean()
    optimizer, batch_size, dropout, epochs = means.idxmax()
    best = f"{ {'adam': 'Adam', 'sgd': 'SGD'}[optimizer] }, batch {batch_size}, dropout {dropout:g}, {epochs} epochs"
    assert names[0] == best
    low, high = ax.get_ylim()
    assert low > high  # the first is on top


def test_what_never_gets_there_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, epochs=30)
    write_run(tmp_path, epochs=30, seed=1)
    write_run(tmp_path, optimizer="sgd", epochs=30, curve=np.full((30, 6), 0.5))
    figure = drawn(comparison_figures(collect(tmp_path))["convergence"])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["Adam", "SGD (0 of 1 seeds)"]


def test_main_effects_are_drawn_where_the_table_says(grid: Collection, comparisons: dict[str, Figure]) -> None:
    figure = comparisons["main-effects"]
    table = main_effects(finals(grid), "val_accuracy")
    for ax, factor in zip(figure.axes[:4], ("optimizer", "batch_size", "dropout", "epochs"), strict=True):
        np.testing.assert_allclose(ax.lines[0].get_ydata(), table.loc[table["factor"] == factor, "mean"])


def test_a_confusion_matrix_counts_what_was_taken_for_what() -> None:
    labels = np.array([0, 0, 0, 6, 9], np.uint8)
    counts = confusion(labels, np.array([0, 6, 6, 6, 9], np.uint8))
    assert counts.sum() == 5
    assert (counts[0, 0], counts[0, 6], counts[6, 6], counts[9, 9]) == (1, 2, 1, 1)
    texts = {
        (round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in confusion_matrix(counts).texts
    }
    assert texts == {(0, 0): "33", (6, 0): "67", (6, 6): "100", (9, 9): "100"}
    assert [bar.get_width() for bar in class_accuracy(counts).patches][::6] == [1 / 3, 1]
    with pytest.raises(ValueError, match="4 predictions for 5 labels"):
        confusion(labels, labels[:4])


@pytest.mark.parametrize("language", LANGUAGES)
def test_mistakes_show_the_most_frequent_confusions_first(language: Language) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 20)
    predictions = labels.copy()
    predictions[:3] = 6
    predictions[40] = 4
    images = np.arange(200 * 28 * 28).reshape(200, 28, 28).astype(np.uint8)
    figure = mistakes_figure(images, labels, predictions, language)
    names = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert (
        names
        == {
            "en": ["T-shirt/top →\nShirt (3)", "Pullover →\nCoat (1)"],
            "es": ["Camiseta →\nCamisa (3)", "Pulóver →\nAbrigo (1)"],
        }[language]
    )
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    assert len(shown) == 4
    np.testing.assert_array_equal(shown[0], images[0])
    assert_legible(figure)
    assert_legible(confusion_figure(confusion(labels, predictions), language))
    assert_legible(mistakes_figure(images, labels, labels, language))


@pytest.mark.mpl_image_compare(style="default", tolerance=5, savefig_kwargs={"dpi": 60})
@pytest.mark.parametrize("name", ["fig1", "fig3"])
def test_paper_figure_looks_as_before(grid: Collection, name: str) -> Figure:
    return drawn(paper_figure(grid, name, "es" if name == "fig3" else "en"))


@pytest.mark.mpl_image_compare(style="default", tolerance=5, savefig_kwargs={"dpi": 60})
@pytest.mark.parametrize("name", ["curves-by-batch-size", "convergence", "main-effects", "parallel-coordinates"])
def test_comparison_looks_as_before(comparisons: dict[str, Figure], name: str) -> Figure:
    return drawn(comparisons[name])
