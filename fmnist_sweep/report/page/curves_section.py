"""The page's interactive curves: a Plotly figure of every recipe of a store, one metric at a time."""

import html
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from fmnist_sweep.engine.metrics import TEST_MEASURES
from fmnist_sweep.report.figures.style import Style, styles, wrapped
from fmnist_sweep.report.page.render import Section
from fmnist_sweep.report.texts import Texts, sentence
from fmnist_sweep.store.curves import Curves, spread
from fmnist_sweep.store.tables import Collection, sorted_by, varying

_METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss", "running_accuracy", "running_loss")
_MOST_CURVES = 60
_MOST_EPOCHS = 250  # a longer curve is thinned to this many evenly spaced epochs
_FIRST_SHOWN = 6
_DIGITS = 4
_WIDEST = 40  # characters in a line of the legend
_SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down", "P": "cross", "X": "x"}

AXIS = {"gridcolor": "#dddddd", "linecolor": "#888888", "ticks": "outside", "automargin": True, "zeroline": False}
LAYOUT = {
    "template": "none",
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1b1b1b"},
    "margin": {"l": 20, "r": 12, "t": 40, "b": 40},
    "dragmode": False,  # otherwise a finger that scrolls the page would zoom the plot
    "hovermode": "closest",
    "hoverlabel": {"bgcolor": "white", "align": "left", "namelength": -1},
    "legend": {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"},
}


class CurvesPlot(NamedTuple):
    """The mean and the band over seeds of every recipe.

    Attributes:
        figure: Plotly's JSON as plain values, without `y`. `data` has a band and a line for each of `choices`; it is
            empty if no run has an epoch. `layout` is the rest.
        views: for each metric, `y` of each band and line in turn, and the title of the y axis. A band follows the
            maxima forwards and then the minima backwards.
        choices: for each configuration, its name in words, and whether it is shown at first. A few of them are.
        more: the number of recipes left out, the least accurate ones beyond `_MOST_CURVES`.
    """

    figure: dict[str, Any]
    views: dict[str, dict[str, Any]]
    choices: list[tuple[str, bool]]
    more: int


def curves_section(collection: Collection, curves: Curves, texts: Texts, first: Iterable[str] = ()) -> Section:
    """Show the curves of a store, at first those of the recipes `first` that were run, or else some."""
    plot = curves_plot(collection, curves, texts, first)
    plots = {"curves-plot": plot.figure | {"views": plot.views}} if plot.choices else {}
    return Section("curves", plot._asdict(), [("curves", texts("page.curves"))], plots)


def curves_plot(collection: Collection, curves: Curves, texts: Texts, first: Iterable[str] = ()) -> CurvesPlot:
    """Build the interactive curves of a store. Text from run directories is escaped because Plotly reads it as HTML."""
    runs = collection.runs
    longest = {
        key: {seed: curve for seed, curve in seeds.items() if len(curve.metrics)}
        for key, seeds in curves.longest().items()
    }
    tests = collection.metrics.filter(TEST_MEASURES).dropna(axis=1, how="all")
    metrics = [*_METRICS, *tests]
    best = {key: max(c.values("val_accuracy").max() for c in seeds.values()) for key, seeds in longest.items() if seeds}
    kept = sorted(best, key=lambda key: -best[key])[:_MOST_CURVES]
    rows = runs[runs["recipe"].isin(kept)].drop_duplicates("recipe").set_index("recipe")
    rows = sorted_by(rows, varying(rows))
    factors = [factor for factor in varying(rows) if factor != "epochs"]
    first_shown = ([key for key in dict.fromkeys(first) if key in rows.index] or list(rows.index))[:_FIRST_SHOWN]
    tables = {key: {metric: _thinned(spread(longest[key], metric)) for metric in metrics} for key in rows.index}
    figure = go.Figure()
    choices = []
    for (key, row), look in zip(rows.iterrows(), _looks(rows[factors]), strict=True):
        words = sentence(texts.configuration(row, factors))
        choices.append((words, key in first_shown))
        name = html.escape(wrapped(words, _WIDEST), quote=False).replace("\n", "<br>")
        seeds = texts("page.curve_seeds", n=len(longest[key]))
        shared = {"legendgroup": key, "visible": key in first_shown}
        epochs = tables[key][_METRICS[0]]["epoch"].tolist()
        figure.add_scatter(
            **shared,
            x=epochs + epochs[::-1],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor="rgba({},{},{},0.15)".format(*hex_to_rgb(look["line"]["color"])),
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            **shared,
            **look,
            x=epochs,
            name=name,
            hovertemplate=f"{name}<br>{texts('page.epoch')} %{{x}}: <b>%{{y}}</b> "
            f"(%{{customdata[0]}} {texts('page.to')} %{{customdata[1]}}; {seeds})<extra></extra>",
        )
    views = {}
    for metric in metrics:
        title = texts(f"page.unit_{metric.rpartition('_')[2]}", metric=sentence(texts(f"page.{metric}")))
        views[metric] = {"y": _values([table[metric] for table in tables.values()]), "title": title}
    figure.update_layout(LAYOUT)
    figure.update_layout(
        height=640,
        legend={"itemclick": False, "itemdoubleclick": False},  # configurations are chosen beside the plot
        xaxis={**AXIS, "title": {"text": texts("page.epoch")}, "rangemode": "tozero"},
        yaxis=AXIS,
        hoverdistance=40,
        showlegend=True,
    )
    return CurvesPlot(figure.to_plotly_json(), views, choices, len(best) - len(rows))


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    count = min(len(table), _MOST_EPOCHS)
    return table.iloc[np.linspace(0, len(table) - 1, count).round().astype(int)]


def _values(tables: list[pd.DataFrame]) -> list[list[float | None]]:
    def rounded(column: pd.Series) -> list[float | None]:
        return [None if math.isnan(x) else float(f"{x:.{_DIGITS}g}") for x in column]  # JSON has no nan

    values = []
    for table in tables:
        mean, low, high = (rounded(table[kind]) for kind in ("mean", "low", "high"))
        values += [high + low[::-1], mean]
    return values


def _looks(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Choose colour, dash and marker for each row.

    They encode the three factors with the most levels. If these do not tell all rows apart, a row's position sets its
    look.
    """
    rows = rows.astype("object").where(rows.notna(), "")  # an optimizer may lack an argument
    ranked = sorted(rows.columns, key=lambda factor: -rows[factor].nunique())[:3]
    by_factor = [[styles(factor, rows[factor])[level] for level in rows[factor]] for factor in ranked]
    chosen = list(zip(*by_factor, strict=True))
    if len(set(chosen)) < len(rows):
        chosen = [(style, style, style) for style in styles("", range(len(rows))).values()]
    looks = []
    for found in chosen:
        colour, dash, marker = (*found, None, None)[:3]
        line = {"color": colour.colour, "dash": _dash(dash) if dash else "solid", "width": 2}
        symbol = _SYMBOLS.get(marker.marker, "diamond") if marker else "circle"
        mode = "lines+markers" if marker else "lines"
        looks.append({"mode": mode, "line": line, "marker": {"symbol": symbol, "size": 7, "maxdisplayed": 12}})
    return looks


def _dash(style: Style) -> str:
    return "solid" if style.line == "-" else ",".join(f"{2 * length:g}px" for length in style.line[1])
