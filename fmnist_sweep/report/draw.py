"""Functions that draw runs on a user's own axes, in the report's style.

Each function takes runs as `fmnist_sweep.read` returns them, a row per run and epoch. Filter the table first to choose
which runs are drawn. The table may join several stores: a run is identified by its path, and of several runs with the
same configuration and seed one is drawn.

`curves`, `finals` and `against` return the matplotlib `Axes` they drew on: one, or an array if there are
several panels. They make a figure of their own unless `ax` is given.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_sweep import papers
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES
from fmnist_sweep.errors import ConfigError, nearest
from fmnist_sweep.papers.statistics import Interval, mean_interval
from fmnist_sweep.report.figures.confusion import confusion as count_confusions
from fmnist_sweep.report.figures.confusion import confusion_figure
from fmnist_sweep.report.figures.paper_figures import paper_figure
from fmnist_sweep.report.figures.style import (
    MODEL,
    Style,
    apart,
    band,
    dots,
    epoch_axis,
    is_logarithmic,
    shared,
    styles,
    wrapped,
)
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.store.curves import Curves, bands
from fmnist_sweep.store.frames import Runs, collected, each_once, last_epochs
from fmnist_sweep.store.predictions import predicted
from fmnist_sweep.store.tables import differing, factors, ordered, sorted_by, varying

_TEXTS = Texts("en")
_LINE = 34  # characters in a line of a label
_PANEL = (4.4, 3.0)  # inches, without the legend
_APART = 0.07  # the least distance of two ticks, as a fraction of the axis
_MOST_LINES = 32  # in a column of a legend
_MOST_INSIDE = 8  # lines that a legend inside a user's axes names


class _Group(NamedTuple):
    """A line or a row of a panel: runs that differ in their seeds alone."""

    label: str
    rows: pd.DataFrame
    style: Style


def curves(
    runs: pd.DataFrame,
    metric: str | Sequence[str] = "val_accuracy",
    by: str | None = None,
    col: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> Any:
    """Draw a metric by epoch: a line for the mean over seeds, and a band that holds the middle 68 % of them.

        fs.draw.curves(runs, ["val_loss", "val_accuracy"], by="optimizer", col="batch_size")

    Args:
        runs: the runs to draw.
        metric: train_loss, train_accuracy, running_loss, running_accuracy, val_loss or val_accuracy, and test_loss or
            test_accuracy where they were measured; or a list of them, with a row of panels for each.
        by: the key with a line for each of its values, such as `optimizer` or `batch_size`. Runs of one line must
            differ in nothing but their seeds. By default each configuration has a line.
        col: the key with a column of panels for each of its values.
        ax: the axes to draw on, or as many as there are panels, by rows.

    Returns:
        The axes, or an array of them if there are several panels.

    Raises:
        ConfigError: a name is unknown, or a line would be a mean over runs of several configurations.
    """

    def draw(ax: Axes, metric: str, groups: Sequence[_Group]) -> None:
        for label, rows, style in groups:
            band(ax, bands(rows.pivot(index="epoch", columns="path", values=metric)), style, label)
        epoch_axis(ax, _TEXTS)
        ax.set_ylabel(_axis(metric))

    return _panels(each_once(runs), metric, by, col, ax, draw, note=_TEXTS("figures.band"))


def finals(
    runs: pd.DataFrame,
    metric: str | Sequence[str] = "val_accuracy",
    by: str | None = None,
    col: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> Any:
    """Draw a metric after the last epoch: a faint dot for each finished run, their mean and its 95 % t interval.

    Args:
        runs: the runs to draw; unfinished ones are left out.
        metric, by, col, ax: as in `curves`; each of its lines is a row here.

    Returns, raises: as `curves`. `ConfigError` also if no run is finished.
    """

    def draw(ax: Axes, metric: str, groups: Sequence[_Group]) -> None:
        for place, (_, rows, style) in enumerate(groups):
            values = rows[metric].dropna().to_numpy()
            if values.size:
                dots(ax, place, values, mean_interval(values), style)
        ax.set_yticks(range(len(groups)), [label for label, _, _ in groups])
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.set_xlabel(_axis(metric))

    return _panels(last_epochs(each_once(runs)), metric, by, col, ax, draw, note=_TEXTS("figures.interval"), rows=True)


def against(
    runs: pd.DataFrame,
    x: str = "optimizer.lr",
    metric: str | Sequence[str] = "val_accuracy",
    by: str | None = None,
    col: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> Any:
    """Draw a metric after the last epoch against a key whose values are numbers.

    Each finished run is a faint dot; a line joins the means over seeds, which have bars for their 95 % t intervals. The
    axis of a learning rate, a weight decay and of numbers that span more than a factor of 20 is logarithmic.

        fs.draw.against(runs, x="optimizer.lr", by="optimizer")

    Args:
        runs: the runs to draw; unfinished ones are left out.
        x: the key on the horizontal axis, such as `optimizer.lr`, `batch_size`, `dropout` or `epochs`.
        metric, by, col, ax: as in `curves`.

    Returns, raises: as `curves`. `ConfigError` also if no run is finished, or the key has values that are no numbers.
    """
    rows = last_epochs(each_once(runs))
    _check("x", x, factors(rows))
    rows = rows.dropna(subset=x)
    if not pd.api.types.is_numeric_dtype(rows[x]):
        said = ", ".join(map(str, ordered(rows[x])[:5]))
        raise ConfigError(f"x={x}: has values that are not numbers ({said}); draw.finals(by={x!r}) shows them as rows")
    levels = np.array(ordered(rows[x]), float)
    wide = is_logarithmic(x, levels)

    def draw(ax: Axes, metric: str, groups: Sequence[_Group]) -> None:
        for label, part, style in groups:
            by_level = part.dropna(subset=metric).groupby(x)[metric]
            means = pd.DataFrame(
                {level: mean_interval(values.to_numpy()) for level, values in by_level}, Interval._fields
            ).T
            look: dict[str, Any] = {"color": style.colour, "marker": style.marker}
            ax.plot(part[x], part[metric], linestyle="none", markersize=3, alpha=0.35, **look)
            reach = [means["mean"] - means["low"], means["high"] - means["mean"]]
            line = {"linestyle": style.line, "markersize": 4.5, "capsize": 2, "elinewidth": 1}
            ax.errorbar(means.index, means["mean"], yerr=reach, label=label, **line, **look)
        ax.set_xscale("log" if wide and len(levels) > 1 else "linear")
        places = np.log(levels) if wide else levels
        kept = apart(places, _APART * np.ptp(places))
        ax.set_xticks(levels[kept], [f"{level:g}" for level in levels[kept]])
        ax.set_xticks([], minor=True)
        ax.set_xlabel(_TEXTS.factor(x))
        ax.set_ylabel(_axis(metric))

    return _panels(rows, metric, by, col, ax, draw, note=_TEXTS("figures.interval"), x=x)


def confusion(runs: pd.DataFrame) -> Figure:
    """Draw which classes are taken for which: shares of each true class in percent, and accuracy by class.

    Args:
        runs: the rows of one run, or of several seeds of one configuration, such as `fs.best(runs).runs`; their
            predictions are added up.

    Raises:
        ConfigError: the runs are of several configurations, or kept no predictions.
        DataError: Fashion-MNIST is not on this machine.
    """
    rows = each_once(runs)
    if several := differing(rows):
        raise ConfigError(
            f"runs differ in {', '.join(several)}; give those of one configuration, such as fs.best(runs).runs"
        )
    found = [predicted(path) for path in rows["path"].unique()]
    counts = np.sum([count_confusions(true, classes) for true, classes in found], axis=0)
    return _shown(confusion_figure(counts, _TEXTS, _TEXTS.configuration(rows.iloc[0], MODEL)))


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
    return _shown(drawn)


def _shown(figure: Figure) -> Figure:
    """Load the backend: before, a notebook shows a figure that pyplot did not make as text."""
    pyplot.switch_backend(pyplot.get_backend())
    return figure


def _panels(
    runs: pd.DataFrame,
    metric: str | Sequence[str],
    by: str | None,
    col: str | None,
    ax: Axes | Sequence[Axes] | None,
    draw: Callable[[Axes, str, Sequence[_Group]], None],
    *,
    note: str,
    x: str | None = None,
    rows: bool = False,
) -> Any:
    """Draw a row of panels for each metric and a column for each level of `col`.

    Args:
        draw: draws groups on the axes of a panel.
        note: how to read a panel.
        x: the key on the horizontal axis, if any.
        rows: whether a panel has a row for each group, which names it in place of a legend.
    """
    metrics = [metric] if isinstance(metric, str) else list(metric)
    for one in metrics:
        _check("metric", one, [name for name in (*MEASURES, *TEST_MEASURES) if name in runs])
    for name, key in (("by", by), ("col", col)):
        if key is not None:
            _check(name, key, factors(runs))
    groups = _groups(runs, by, col, x)
    levels = ordered(runs[col].dropna()) if col else [None]
    labels = [wrapped(group.label, _LINE) for group in groups]
    beside = rows and col is None  # metrics side by side, so that they share the names of the rows
    axes = _axes(ax, (1, len(metrics)) if beside else (len(metrics), len(levels)), labels, rows=rows)
    for one, line in zip(metrics, axes.T if beside else axes, strict=True):
        for level, panel in zip(levels, line, strict=True):
            drawn = [
                _Group(label, group.rows if col is None else group.rows[group.rows[col] == level], group.style)
                for label, group in zip(labels, groups, strict=True)
            ]
            draw(panel, one, drawn if rows else [group for group in drawn if len(group.rows)])
            if col:
                panel.set_title(sentence(_TEXTS.level(col, level)))
    width = 2 * _LINE if rows else _LINE
    notes = "\n".join(textwrap.fill(words, width) for words in (shared(runs, _TEXTS), note) if words)
    if rows:
        axes[-1][0].set_xlabel(f"{axes[-1][0].get_xlabel()}\n{notes}")
    else:
        lines = {line.get_label(): line for panel in axes.flat for line in panel.get_legend_handles_labels()[0]}
        _legend(axes, [lines[label] for label in labels if label in lines], notes, own=ax is None)
    return axes[0][0] if axes.size == 1 else np.squeeze(axes)


def _groups(runs: pd.DataFrame, by: str | None, col: str | None, x: str | None) -> list[_Group]:
    """Split the runs into lines, in the order of their levels."""
    apart = [key for key in (col, x) if key]
    keys = [by] if by else [key for key in varying(runs) if key not in apart] or ["optimizer"]
    found = []
    runs = sorted_by(runs.dropna(subset=by) if by else runs, keys)
    for _, rows in runs.groupby(keys, sort=False, dropna=False):
        for _, alike in rows.groupby(apart) if apart else [("", rows)]:
            if several := differing(alike):
                more = f"col={several[0]!r} for a panel each, " if col is None else ""
                raise ConfigError(
                    f"by={by}: runs of one level differ in {', '.join(several)}, and a mean over unlike configurations "
                    f"says nothing; add {more}keep one level of these, or leave out by for a line per configuration"
                )
        found.append((_TEXTS.configuration(rows.iloc[0], keys), rows))
    looks = styles(by or "", range(len(found))).values()
    return [_Group(label, rows, look) for (label, rows), look in zip(found, looks, strict=True)]


def _axes(ax: Axes | Sequence[Axes] | None, shape: tuple[int, int], labels: Sequence[str], *, rows: bool) -> Any:
    """Return the axes of all panels, of the given shape. A figure of our own has room for all labels."""
    if ax is not None:
        given = np.array(ax, dtype=object).reshape(-1)
        if given.size != shape[0] * shape[1]:
            raise ConfigError(f"ax: {given.size} axes for {shape[0] * shape[1]} panels; give one for each, or none")
        return given.reshape(shape)
    heights = [label.count("\n") + 1 for label in labels]
    width, height = _PANEL
    if rows:
        height = 0.9 + (0.1 + 0.17 * max(heights)) * max(len(heights), 3)
    height = max(height * shape[0], 0 if rows else 1 + 0.16 * min(sum(heights), _MOST_LINES))
    columns = 1 if rows else -(-sum(heights) // _MOST_LINES)
    figure = pyplot.figure(figsize=(width * shape[1] + 2.4 * columns, height), layout="constrained")
    sharex: Any = ("row" if shape[0] > 1 else False) if rows else True
    return figure.subplots(*shape, squeeze=False, sharex=sharex, sharey=True if rows else "row")


def _legend(axes: Any, handles: Sequence[Any], notes: str, *, own: bool) -> None:
    """Name the lines: right of all panels in a figure of our own; else on the last of the axes, many beside it."""
    figure = axes.flat[0].figure
    most = _MOST_LINES if own else int(figure.get_figheight() / 0.16)
    columns = -(-sum(str(handle.get_label()).count("\n") + 1 for handle in handles) // most)
    look: dict[str, Any] = {"handles": handles, "fontsize": "small", "ncols": columns, "frameon": False}
    if own:
        for ax in axes.flat:
            ax.label_outer()
        look |= {"title": notes, "title_fontsize": "small", "alignment": "left"}
        figure.legend(**look, loc="outside right upper")
    elif len(handles) <= _MOST_INSIDE:
        axes.flat[-1].legend(**look)
    else:
        axes.flat[-1].legend(**look, loc="upper left", bbox_to_anchor=(1.01, 1))
        if figure.get_layout_engine() is None:
            figure.set_layout_engine("constrained")  # else the legend would be cut


def _axis(metric: str) -> str:
    curve, _, kind = metric.partition("_")
    return f"{_TEXTS(f'figures.{kind}')}, {_TEXTS(f'figures.{curve}')}"


def _check(what: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{what}={value}: must be one of {', '.join(allowed)}{nearest(str(value), allowed)}")
