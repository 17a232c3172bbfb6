"""Draw the learning curves of one run, in the report's style."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.report.figures.style import CURVES, WIDTH, epoch_axis, styled
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.track.runs import TrackedRun

NAME = "learning-curves"


@styled
def learning_curves(run: TrackedRun) -> bytes:
    """Return a PNG with a panel for loss and one for accuracy, each with training and validation."""
    texts = Texts("en")
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    epochs = range(1, len(run.metrics) + 1)
    for what, ax in zip(("loss", "accuracy"), figure.subplots(1, 2), strict=True):
        for curve in ("train", "val"):
            values, style = run.metrics[:, MEASURES.index(f"{curve}_{what}")], CURVES[curve]
            marker = style.marker if len(values) == 1 else ""  # one epoch draws no line
            label = sentence(texts(f"figures.{curve}"))
            ax.plot(epochs, values, style.colour, linestyle=style.line, marker=marker, label=label)
        epoch_axis(ax, texts)
        ax.set_ylabel(texts(f"figures.{what}"))
    figure.suptitle(run.name, fontsize=8)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()
