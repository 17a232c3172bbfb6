"""A run's learning curves as a picture, drawn as in the report."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fmnist_sweep.records import MEASURES
from fmnist_sweep.report.drawing.style import CURVES, WIDTH, epoch_axis, legend, styled
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.track.runs import TrackedRun

NAME = "learning-curves"


@styled
def learning_curves(run: TrackedRun) -> bytes:
    """A PNG with a panel for loss and one for accuracy, each with training and validation."""
    texts = Texts("en")
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    epochs = np.arange(1, len(run.metrics) + 1)
    for what, ax in zip(("loss", "accuracy"), figure.subplots(1, 2), strict=True):
        for curve in ("train", "val"):
            values = run.metrics[:, MEASURES.index(f"{curve}_{what}")]
            style = CURVES[curve]
            # A single epoch has no line to see.
            marker = style.marker if len(values) == 1 else ""
            ax.plot(
                epochs, np.where(np.isfinite(values), values, np.nan), style.colour, linestyle=style.line, marker=marker
            )
        epoch_axis(ax, texts)
        ax.set_ylabel(texts(f"figures.{what}"))
    figure.suptitle(run.name, fontsize=8)
    labels = {curve: sentence(texts(f"figures.{curve}")) for curve in ("train", "val")}
    lines = [
        Line2D([], [], color=CURVES[c].colour, linestyle=CURVES[c].line, label=label) for c, label in labels.items()
    ]
    legend(figure, lines, [])
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()
