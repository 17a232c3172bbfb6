"""What a configuration takes for what: confusion matrix, accuracy by class, and the images it gets wrong."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_sweep.report.figures import WIDTH, styled
from fmnist_sweep.report.labels import Language, class_names, text
from fmnist_sweep.report.run_files import CLASSES

Classes = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]

_BARS = "#777777"  # no factor's colour
_PAIRS = 6
_IMAGES = 8


def confusion(labels: Classes, predictions: Classes) -> Counts:
    """How often each class was taken for each: add the results of several seeds for a configuration's.

    Args:
        labels: true class indices, shape `(n,)`.
        predictions: those of one run, shape `(n,)`.

    Returns:
        Counts of shape `(10, 10)`: row the true class, column the predicted one.

    Raises:
        ValueError: if the shapes differ, as when the predictions are for another data set.
    """
    if labels.shape != predictions.shape:
        raise ValueError(f"{len(predictions)} predictions for {len(labels)} labels: they are of different data")
    cells = labels.astype(np.int64) * CLASSES + predictions
    return np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


@styled
def confusion_figure(counts: Counts, language: Language = "en") -> Figure:
    """Confusion matrix on the left, accuracy by class on the right; `counts` as `confusion` gives them."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
    confusion_matrix(counts, language=language, ax=left)
    class_accuracy(counts, language=language, ax=right)
    right.tick_params(labelleft=False)
    return figure


@styled
def confusion_matrix(counts: Counts, *, language: Language = "en", ax: Axes | None = None) -> Axes:
    """Each true class's share of predictions in percent, a row a class; what rounds to zero is left blank.

    Args:
        counts: as `confusion` gives them.
        language: of the labels.
        ax: where to draw; a new figure by default.
    """
    ax = Figure(layout="constrained").add_subplot() if ax is None else ax
    percent = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    ax.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(percent):
        number = f"{share:.0f}"
        if number != "0":
            colour = "white" if share > 50 else "black"
            ax.text(column, row, number, ha="center", va="center", color=colour, fontsize="small")
    names = class_names(language)
    ax.set_xticks(range(CLASSES), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(CLASSES), names)
    ax.grid(False)
    ax.set_xlabel(text("predicted", language))
    ax.set_ylabel(text("true", language))
    ax.set_title(text("confusion", language))
    return ax


@styled
def class_accuracy(counts: Counts, *, language: Language = "en", ax: Axes | None = None) -> Axes:
    """A bar per class: the fraction of it that is recognised, from the first class at the top.

    Args:
        counts: as `confusion` gives them.
        language: of the labels.
        ax: where to draw; a new figure by default.
    """
    ax = Figure(layout="constrained").add_subplot() if ax is None else ax
    fractions = counts.diagonal() / np.maximum(1, counts.sum(axis=1))
    bars = ax.barh(range(CLASSES), fractions, color=_BARS, height=0.7)
    ax.bar_label(bars, [f"{fraction:.3f}" for fraction in fractions], padding=2, fontsize="small")
    ax.set_yticks(range(CLASSES), class_names(language))
    ax.set_ylim(CLASSES - 0.5, -0.5)
    ax.set_xlim(0, 1.25)
    ax.set_xticks([0, 0.5, 1])
    ax.grid(False, axis="y")
    ax.set_xlabel(text("class_accuracy", language))
    return ax


@styled
def mistakes_figure(
    images: npt.NDArray[np.uint8], labels: Classes, predictions: Classes, language: Language = "en"
) -> Figure:
    """The most frequent confusions of a run, each with the first images it happened to.

    Args:
        images: shape `(n, 28, 28)`, 0 to 255.
        labels: true class indices, shape `(n,)`.
        predictions: those of one run, shape `(n,)`.
        language: of the labels.
    """
    wrong = confusion(labels, predictions)
    np.fill_diagonal(wrong, 0)
    ranked = [divmod(int(cell), CLASSES) for cell in np.argsort(-wrong, axis=None, kind="stable")]
    pairs = [pair for pair in ranked[:_PAIRS] if wrong[pair]]
    names = class_names(language)
    figure = Figure(figsize=(WIDTH, 0.4 + 0.7 * max(1, len(pairs))), layout="constrained")
    axes = figure.subplots(max(1, len(pairs)), _IMAGES + 1, squeeze=False, width_ratios=(2, *[1] * _IMAGES))
    figure.suptitle(text("mistakes", language), fontsize="large")
    for ax in axes.flat:
        ax.set_axis_off()
    for (true, predicted), row in zip(pairs, axes, strict=False):
        name = text("mistake", language, true=names[true], predicted=names[predicted], n=wrong[true, predicted])
        row[0].text(1, 0.5, name, ha="right", va="center", transform=row[0].transAxes)
        shown = np.flatnonzero((labels == true) & (predictions == predicted))[:_IMAGES]
        for index, ax in zip(shown, row[1:], strict=False):
            ax.imshow(images[index], cmap="gray_r", vmin=0, vmax=255)
    if not pairs:
        axes[0][0].text(0, 0.5, text("no_mistakes", language), va="center")
    return figure
