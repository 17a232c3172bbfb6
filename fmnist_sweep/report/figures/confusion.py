"""Figures of the confusions between classes: confusion matrix, accuracy by class, and misclassified images."""

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fmnist_sweep.data import CLASS_NAMES
from fmnist_sweep.report.figures.style import WIDTH, styled, wrapped
from fmnist_sweep.report.texts import Texts, sentence

Classes = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]

CLASSES = len(CLASS_NAMES)
IMAGES = 8  # that are shown for each confusion

_BARS = "#777777"  # a colour that no factor uses
_PAIRS = 6


def confusion(labels: Classes, predictions: Classes) -> Counts:
    """Count how often each class was predicted as each class. Sum over seeds for a configuration's counts.

    Args:
        labels: true class indices, shape `(n,)`.
        predictions: predicted class indices of one run, shape `(n,)`.

    Returns:
        Counts of shape `(10, 10)`: a row for each true class, a column for each predicted class.

    Raises:
        ValueError: if the shapes differ, as when the predictions are for another data set.
    """
    if labels.shape != predictions.shape:
        raise ValueError(f"{len(predictions)} predictions for {len(labels)} labels: they belong to different data sets")
    cells = labels.astype(np.int64) * CLASSES + predictions
    return np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def frequent(counts: Counts) -> list[tuple[int, int, int]]:
    """List the most frequent confusions as true class, predicted class and count. `counts` is as from `confusion`."""
    wrong = (counts * ~np.eye(CLASSES, dtype=bool)).ravel()
    cells = np.argsort(-wrong, kind="stable")[:_PAIRS].tolist()
    return [(*divmod(cell, CLASSES), int(wrong[cell])) for cell in cells if wrong[cell]]


@styled
def confusion_figure(counts: Counts, texts: Texts, model: str) -> Figure:
    """Draw the predictions for each true class in percent on the left, and the fraction recognised on the right.

    Shares that round to zero are left blank.

    Args:
        counts: as from `confusion`.
        model: the configuration in words.
    """
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    figure.suptitle(wrapped(sentence(model), 100), fontsize="large")
    matrix, bars = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
    percent = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    matrix.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(percent):
        if share >= 0.5:
            colour = "white" if share > 50 else "black"
            matrix.text(column, row, f"{share:.0f}", ha="center", va="center", color=colour, fontsize="small")
    matrix.set_xticks(range(CLASSES), texts.classes, rotation=45, ha="right", rotation_mode="anchor")
    matrix.set_yticks(range(CLASSES), texts.classes)
    matrix.grid(False)
    matrix.set_xlabel(texts("figures.predicted"))
    matrix.set_ylabel(texts("figures.true"))
    matrix.set_title(texts("figures.confusion"))
    fractions = percent.diagonal() / 100
    drawn = bars.barh(range(CLASSES), fractions, color=_BARS, height=0.7)
    bars.bar_label(drawn, [f"{fraction:.3f}" for fraction in fractions], padding=2, fontsize="small")
    bars.tick_params(labelleft=False)
    bars.set_xlim(0, 1.25)
    bars.set_xticks([0, 0.5, 1])
    bars.grid(False, axis="y")
    bars.set_xlabel(texts("figures.class_accuracy"))
    return figure


@styled
def mistakes_figure(images: npt.NDArray[np.uint8], labels: Classes, predictions: Classes, texts: Texts) -> Figure:
    """Draw the most frequent confusions of a run, each with its first images.

    Args:
        images: shape `(n, 28, 28)`, 0 to 255.
        labels: true class indices, shape `(n,)`.
        predictions: predicted class indices of one run, shape `(n,)`.
    """
    pairs = frequent(confusion(labels, predictions))
    names = texts.classes
    figure = Figure(figsize=(WIDTH, 0.4 + 0.7 * max(1, len(pairs))), layout="constrained")
    axes = figure.subplots(max(1, len(pairs)), IMAGES + 1, squeeze=False, width_ratios=(2, *[1] * IMAGES))
    figure.suptitle(texts("figures.mistakes"), fontsize="large")
    for ax in axes.flat:
        ax.set_axis_off()
    for (true, predicted, n), row in zip(pairs, axes, strict=False):
        name = texts("figures.mistake", true=names[true], predicted=names[predicted], n=n)
        row[0].text(1, 0.5, name, ha="right", va="center", transform=row[0].transAxes)
        shown = np.flatnonzero((labels == true) & (predictions == predicted))[:IMAGES]
        for index, ax in zip(shown, row[1:], strict=False):
            ax.imshow(images[index], cmap="gray_r", vmin=0, vmax=255)
    if not pairs:
        axes[0][0].text(0, 0.5, texts("figures.no_mistakes"), va="center")
    return figure
