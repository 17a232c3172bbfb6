"""Functions that draw runs on a user's own axes, in the report's style.

Each function takes runs as `fmnist_sweep.read` returns them, a row per run and epoch. `curves` and `finals` also take
the matplotlib `Axes` to draw on (None: pyplot's current ones) and return it. Filter the table first to choose which
runs are drawn. The table may join several stores: a run is identified by its path, and of several runs with the same
configuration and seed one is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_sweep import papers
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import ConfigError, nearest
from fmnist_sweep.papers.statistics import mean_interval
from fmnist_sweep.report.figures.paper_figures import paper_figure
from fmnist_sweep.report.figures.style import Style, band, dots, epoch_axis, styles
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.frames import Runs, check_paths, collected, warn_of_runs
from fmnist_sweep.store.layout import FINISHED
from fmnist_sweep.store.tables import CONFIGURATION, factors, ordered, varying

_TEXTS = Texts("en")


def curves(runs: pd.DataFrame, measure: str = "val_accuracy", by: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw a measure by epoch: a line for the mean of several runs, and a band from minimum to maximum.

    Args:
        runs: the runs to draw.
        measure: train_loss, train_accuracy, running_loss, running_accuracy, val_loss or val_accuracy.
        by: the factor with a line for each level, such as optimizer or `batch_size`. Runs of one level must
            differ in nothing but their seeds. By default each configuration has a line, over its seeds.
        ax: the axes to draw on.
    """
    _check("measure", measure, MEASURES)
    ax = ax or pyplot.gca()
    for label, rows, style in _groups(_each_once(runs), by):
        over_runs = rows.groupby("epoch")[measure].agg(mean="mean", min="min", max="max", seeds="count")
        band(ax, over_runs.reset_index(), style, label)
    epoch_axis(ax, _TEXTS)
    ax.set_ylabel(_axis(measure))
    ax.legend()
    return ax


def finals(runs: pd.DataFrame, measure: str = "val_accuracy", by: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw a measure after the last epoch: a faint dot for each finished run, their mean and its 95 % t interval.

    Args:
        runs: the runs to draw; unfinished ones are left out.
        measure, by, ax: as in `curves`; each of its lines is a row here.
    """
    _check("measure", measure, MEASURES)
    ax = ax or pyplot.gca()
    runs = _each_once(runs)
    groups = _groups(runs[(runs["status"] == "done") & (runs["epoch"] == runs["epochs"])], by)
    for place, (_, rows, style) in enumerate(groups):
        values = rows[measure].to_numpy()
        dots(ax, place, values, mean_interval(values), style)
    ax.set_yticks(range(len(groups)), [label for label, _, _ in groups])
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlabel(_axis(measure))
    return ax


def figure(runs: Runs, name: str, paper: str = papers.DEFAULT) -> Figure:
    """Draw a figure of a paper with the numbers that the paper quotes, such as `fig1` of caprari2024.

    Raises:
        ConfigError: if there is no such paper or figure, or no run of it.
    """
    read = papers.read(paper)
    _check("figure", name, read.figures)
    drawn = paper_figure(read, name, Curves(collected(runs, read.covers)), _TEXTS)
    if drawn is None:
        raise ConfigError(f"{name}: there are no runs of it; fs.sweep(figure={name!r}) trains them")
    return drawn


def _each_once(runs: pd.DataFrame) -> pd.DataFrame:
    """Keep one run of each configuration and seed, and warn of the others.

    Finished runs are preferred, then the run with the most epochs.
    """
    check_paths(runs)
    rows = runs.drop_duplicates(["path", "epoch"], ignore_index=True)
    key = [*CONFIGURATION, "seed"]
    found = rows.drop_duplicates("path").assign(rows=rows["path"].map(rows["path"].value_counts()))
    found["finished"] = found["status"].isin(FINISHED)
    found = found.sort_values(["finished", "rows"], ascending=False, kind="stable")
    kept = found.drop_duplicates(key)
    copies = found[~found["path"].isin(kept["path"])].merge(kept, on=key, suffixes=("", "_kept"))
    warn_of_runs(zip(copies["path"], "same configuration and seed as " + copies["path_kept"], strict=True))
    return rows[rows["path"].isin(kept["path"])]


def _groups(runs: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame, Style]]:
    """Split the runs into lines. Return the label, the rows and the style of each."""
    if runs.empty:
        raise ConfigError("there are no such runs; train some, or filter less")
    if by is None:
        varied = varying(runs)
        labelled = {_TEXTS.configuration(rows.iloc[0], varied): rows for _, rows in runs.groupby(CONFIGURATION)}
        groups = {label: labelled[label] for label in ordered(labelled)}
    else:
        _check("by", by, factors(runs))
        groups = {_TEXTS.level(by, level): runs[runs[by] == level] for level in ordered(runs[by].dropna())}
        unlike = dict.fromkeys(key for rows in groups.values() for key in varying(rows) if rows[key].nunique() > 1)
        unlike.pop(by, None)
        if unlike:
            raise ConfigError(
                f"by={by}: runs of one level differ in {', '.join(unlike)}, and a mean over unlike configurations says "
                "nothing; keep one level of these, or leave out by for a line per configuration"
            )
    looks = styles(by or "", range(len(groups))).values()
    return [(label, rows, look) for (label, rows), look in zip(groups.items(), looks, strict=True)]


def _axis(measure: str) -> str:
    curve, _, kind = measure.partition("_")
    return f"{_TEXTS(f'figures.{kind}')}, {_TEXTS(f'figures.{curve}')}"


def _check(what: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{what}={value}: must be one of {', '.join(allowed)}{nearest(value, allowed)}")
