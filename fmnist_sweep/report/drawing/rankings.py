"""Configurations in order of a result: where each seed ended, the mean and its interval."""

import pandas as pd
from matplotlib.figure import Figure

from fmnist_sweep.report.drawing.style import WIDTH, Looks, dots, styled, wrapped
from fmnist_sweep.report.judging.statistics import mean_interval
from fmnist_sweep.report.judging.summaries import varying
from fmnist_sweep.report.runs.collection import CONFIGURATION
from fmnist_sweep.report.texts import Texts, sentence

_MOST_ROWS = 40
_LINE = 45  # characters of a name


@styled
def final_figure(runs: pd.DataFrame, looks: Looks, texts: Texts) -> Figure:
    """Final validation accuracy and loss by configuration, best on top; `runs` are of `finals`."""
    return _ranking(runs, ("val_accuracy", "val_loss"), looks, texts, descending=True)


@styled
def gap_figure(runs: pd.DataFrame, looks: Looks, texts: Texts) -> Figure:
    """The generalisation gap by configuration, the smallest on top; `runs` are of `finals`."""
    return _ranking(runs, ("gap",), looks, texts, descending=False)


@styled
def convergence_figure(runs: pd.DataFrame, accuracy: float, looks: Looks, texts: Texts) -> Figure:
    """Epochs and seconds to a validation accuracy, the quickest on top; `runs` are of `reaching` with it."""
    runs = runs.rename(columns={"epoch": "reached_epoch", "seconds": "reached_seconds"})
    figure = _ranking(runs, ("reached_epoch", "reached_seconds"), looks, texts, descending=False)
    figure.suptitle(texts("figures.reached", accuracy=accuracy), fontsize="large")
    for ax in figure.axes:
        ax.update_datalim([(0, 0)], updatey=False)
        ax.autoscale_view()
        ax.set_xlim(left=0)
    return figure


def _ranking(runs: pd.DataFrame, measures: tuple[str, ...], looks: Looks, texts: Texts, *, descending: bool) -> Figure:
    # Where no run has a result the mean is nan: such a configuration goes last.
    groups = runs.groupby(CONFIGURATION)
    means = groups[measures[0]].mean().sort_values(ascending=not descending, kind="stable")
    ranked = [groups.get_group(key) for key in means.index[:_MOST_ROWS]]
    firsts = pd.concat([seeds.head(1) for seeds in ranked])
    factors = varying(firsts)
    words = [texts.configuration(row, factors) for row in firsts.to_dict("records")]
    names = [wrapped(sentence(configuration), _LINE) for configuration in words]
    lines = max(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(WIDTH, 0.9 + (0.05 + 0.13 * lines) * len(names)), layout="constrained")
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for measure, ax in zip(measures, axes, strict=True):
        for place, seeds in enumerate(ranked):
            values = seeds[measure].dropna().to_numpy()
            if len(values):
                dots(ax, place, values, mean_interval(values), looks["optimizer"][seeds["optimizer"].iloc[0]])
        ax.set_xlabel(texts(f"figures.{measure}"))
    reached = [seeds[measures[0]].notna() for seeds in ranked]
    notes = ["" if r.all() else texts("figures.reached_by", n=r.sum(), of=len(r)) for r in reached]
    axes[0].set_yticks(range(len(names)), [name + note for name, note in zip(names, notes, strict=True)])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    more = [texts("figures.more", n=len(means) - len(names))] if len(means) > len(names) else []
    figure.supxlabel(". ".join([texts("figures.interval"), *more]), fontsize="medium")
    return figure
