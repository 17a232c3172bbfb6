"""A paper's figures from the runs of a store: curves or final values, with the numbers that the paper quotes."""

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_letters
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fmnist_sweep import papers
from fmnist_sweep.engine.metrics import FloatArray
from fmnist_sweep.papers.claims import Claim
from fmnist_sweep.papers.reductions import Reduction
from fmnist_sweep.papers.statistics import prediction_interval
from fmnist_sweep.report.figures.style import (
    CURVES,
    NEUTRAL,
    RUNNING,
    WIDTH,
    Style,
    band,
    dots,
    epoch_axis,
    legend,
    styled,
    wrapped,
)
from fmnist_sweep.report.texts import OPTIMIZER, Texts, sentence
from fmnist_sweep.store.curves import Curve, Curves, spread
from fmnist_sweep.store.tables import recipe

_PANEL_HEIGHT = 2.3
_TITLE, _LABEL = 86, 26  # characters: of titles across a figure, of a row's label
_QUOTE = {"linestyle": "none", "markersize": 6, "markerfacecolor": "none", "markeredgewidth": 1.4, "zorder": 4}


class _Quote(NamedTuple):
    """A number that the paper quotes, with its look and legend label. `curve` is train, running, val or test."""

    curve: str
    measure: str
    epoch: int
    value: float
    look: dict[str, Any]


class _Row(NamedTuple):
    """A configuration of a figure: epochs, phrases by key (`Texts.phrases`), curves by seed, and quoted numbers."""

    epochs: int
    phrases: dict[str, str]
    curves: dict[int, Curve]
    quotes: list[_Quote]

    def progress(self, texts: Texts) -> list[str]:
        """Say how many seeds are drawn and, if none is complete, how many epochs they have."""
        count = len(self.curves)
        if not count:
            return [texts("figures.no_runs")]
        seeds = texts("figures.seed" if count == 1 else "figures.seeds", n=count)
        done = max(len(curve.metrics) for curve in self.curves.values())
        unfinished = [texts("figures.unfinished", done=done, epochs=self.epochs)] if done < self.epochs else []
        return [seeds, *unfinished]


def paper_figures(paper: papers.Paper, curves: Curves, texts: Texts) -> dict[str, Figure]:
    """Draw each of `paper.figures` that some run belongs to."""
    figures = {name: paper_figure(paper, name, curves, texts) for name in paper.figures}
    return {name: figure for name, figure in figures.items() if figure is not None}


@styled
def paper_figure(paper: papers.Paper, name: str, curves: Curves, texts: Texts) -> Figure | None:
    """Draw one of `paper.figures`. Return None if no run belongs to any of its rows.

    A figure of kind curves has a row of panels for each configuration, and a panel for each measure. A figure of kind
    final has a panel for each measure, with the configurations one below the other. It shows each seed's last value,
    their mean and the 95 % prediction interval of one run. Only seeds with all epochs are drawn. If none has all, a
    figure of kind curves shows the epochs that exist.
    """
    figure = paper.figures[name]
    phrases = texts.phrases(paper.configs)
    looks = _looks(figure, paper.tested(name))
    rows = []
    for row in figure.rows:
        config, last = paper.configs[row], paper.configs[row].training.epochs
        quotes = [_quote(claim, epoch, looks, texts) for claim, epoch in paper.quotes(name, row)]
        quotes = [one for one in quotes if one.measure in figure.measures]
        rows.append(_Row(last, phrases[row], curves.drawn(recipe(config), last), quotes))
    if not any(row.curves for row in rows):
        return None
    said = [row.phrases for row in rows]
    if figure.kind == "final":
        return _final_figure(figure, rows, looks, _differing(said) or [OPTIMIZER], texts)
    differing = _differing([next(iter(phrases.values())), *said])
    return _curves_figure(figure, rows, looks, list(dict.fromkeys([OPTIMIZER, *differing])), texts)


def _looks(figure: papers.Figure, tested: bool) -> dict[str, Style]:
    """Return the curves of a figure with their styles."""
    shown = (*figure.curves, "val", *(["test"] if tested else []))
    return {curve: RUNNING if curve == "running" and "train" in shown else CURVES[curve] for curve in shown}


def _curves_figure(
    figure: papers.Figure, rows: Sequence[_Row], looks: Mapping[str, Style], told: Sequence[str], texts: Texts
) -> Figure:
    columns = len(figure.measures)
    picture = Figure(figsize=(WIDTH, _PANEL_HEIGHT * len(rows) + 0.5), layout="constrained")
    letters = iter([f"{letter}) " for letter in ascii_letters] if columns * len(rows) > 1 else [""])
    for row, panels in zip(rows, picture.subplots(len(rows), columns, squeeze=False), strict=True):
        seeds, *unfinished = row.progress(texts)
        for measure, ax in zip(figure.measures, panels, strict=True):
            for curve, style in looks.items():
                table = spread(row.curves, f"{curve}_{measure}")
                band(ax, table, style, texts(f"figures.{curve}"))
            for quote in row.quotes:
                if quote.measure == measure:
                    ax.plot(quote.epoch, quote.value, **quote.look, clip_on=False)
            ax.set_xlim(0, row.epochs * 1.03)
            epoch_axis(ax, texts)
            ax.set_ylabel(texts(f"figures.{measure}"))
            title = wrapped(f"{next(letters)}{_words(row, told)}, {seeds}", _TITLE // columns)
            ax.set_title("\n".join([title, *unfinished]))
    handles = [_handle(curve, style, texts, linestyle=style.line) for curve, style in looks.items()]
    several = any(len(row.curves) > 1 for row in rows)
    notes = [_shared(rows, told, texts), texts("figures.band") if several else ""]
    legend(picture, [*handles, *_quote_handles(rows)], notes)
    return picture


def _final_figure(
    figure: papers.Figure, rows: Sequence[_Row], looks: Mapping[str, Style], told: Sequence[str], texts: Texts
) -> Figure:
    labels = ["\n".join([wrapped(_words(row, told), _LABEL), *row.progress(texts)]) for row in rows]
    lines = sum(max(1.5 * len(looks), label.count("\n") + 1.5) for label in labels)
    picture = Figure(figsize=(WIDTH, 1.2 + 0.17 * lines), layout="constrained")
    axes = picture.subplots(1, len(figure.measures), sharey=True, squeeze=False)[0]
    for measure, ax in zip(figure.measures, axes, strict=True):
        for place, row in enumerate(rows):
            _final_values(ax, place, row, looks, measure, figure.reduce)
            ax.axhline(place - 0.5, color="#bbbbbb", linewidth=0.6)
        ax.set_xlabel(texts(f"figures.{measure}"))
        ax.grid(visible=False, axis="y")
    axes[0].set_yticks(range(len(rows)), labels)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    look = {"linestyle": "none", "markersize": 4.5}
    handles = [_handle(curve, style, texts, marker=style.marker, **look) for curve, style in looks.items()]
    shown = "" if figure.reduce.name == "last" else sentence(texts.reduction(figure.reduce))
    notes = [_shared(rows, told, texts), shown, texts("figures.prediction")]
    legend(picture, [*handles, *_quote_handles(rows)], notes)
    return picture


def _final_values(ax: Axes, place: int, row: _Row, looks: Mapping[str, Style], measure: str, reduce: Reduction) -> None:
    """Draw the curves' values one below the other, and the paper's numbers below each."""
    whole = [curve for curve in row.curves.values() if len(curve.metrics) == row.epochs]
    training = next(iter(looks))
    for nth, (curve, style) in enumerate(looks.items()):
        height = place - 0.3 + 0.8 * nth / len(looks)
        values = _reduced(reduce, f"{curve}_{measure}", whole)
        if len(values):
            dots(ax, height, values, prediction_interval(values), style)
        for quote in row.quotes:
            # A number of a training curve that is not drawn belongs to the one that is.
            if (quote.curve if quote.curve in looks else training, quote.measure) == (curve, measure):
                ax.plot(quote.value, height + 0.4 / len(looks), **quote.look)


def _reduced(reduce: Reduction, metric: str, curves: Sequence[Curve]) -> FloatArray:
    """Reduce a metric to a value for each of the curves that measure it."""
    metrics = [metric, *([reduce.chooser] if reduce.chooser else [])]
    measured = [curve for curve in curves if curve.measures(metrics)]
    if not measured:
        return np.empty(0)
    return reduce(*(np.array([curve.values(one) for curve in measured]) for one in metrics))


def _quote(claim: Claim, epoch: int, looks: Mapping[str, Style], texts: Texts) -> _Quote:
    curve, _, measure = claim.metric.rpartition("_")
    style = NEUTRAL if claim.unnamed else looks.get(curve, CURVES[curve])
    bound = "above" if claim.expect.above is not None else "below" if claim.expect.below is not None else None
    words = [texts("figures.unnamed") if claim.unnamed else texts(f"figures.{curve}")]
    words += [texts(f"figures.{bound}")] if bound else []
    marker = {"above": "^", "below": "v", None: style.marker}[bound]
    look = {"marker": marker, "markeredgecolor": style.colour, "label": texts("figures.quote", name=", ".join(words))}
    return _Quote(curve, measure, epoch, claim.expect.value, _QUOTE | look)


def _handle(curve: str, style: Style, texts: Texts, **look: Any) -> Artist:
    return Line2D([], [], color=style.colour, label=sentence(texts(f"figures.{curve}")), **look)


def _quote_handles(rows: Iterable[_Row]) -> list[Artist]:
    """Return a legend handle for each kind of quoted number."""
    looks = {quote.look["label"]: quote.look for row in rows for quote in row.quotes}
    return [Line2D([], [], **look) for look in looks.values()]


def _differing(phrases: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys in which the configurations differ."""
    keys = dict.fromkeys(key for one in phrases for key in one)
    return [key for key in keys if len({one.get(key) for one in phrases}) > 1]


def _words(row: _Row, keys: Iterable[str]) -> str:
    return ", ".join(row.phrases[key] for key in keys if key in row.phrases)


def _shared(rows: Sequence[_Row], told: Sequence[str], texts: Texts) -> str:
    """Describe the settings that titles and labels omit because all rows share them."""
    words = _words(rows[0], [key for key in rows[0].phrases if key not in told])
    return texts("figures.shared", shared=words) if words else ""
