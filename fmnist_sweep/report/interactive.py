"""Curves that respond to the reader: a Plotly figure of every trajectory of a store, one metric at a time."""

import html
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fmnist_sweep.report import labels
from fmnist_sweep.report.collect import CONFIGURATION, Collection
from fmnist_sweep.report.labels import Language, Style
from fmnist_sweep.report.page_texts import words
from fmnist_sweep.report.paper import FIGURES
from fmnist_sweep.report.tables import varying

METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss", "running_accuracy", "running_loss")
MOST_CURVES = 60

_MOST_EPOCHS = 250  # of a curve: beyond, only so many of its epochs are drawn, evenly
_FIRST_SHOWN = 6
_DIGITS = 4
_SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down", "P": "cross", "X": "x"}
# What differs between curves is told by these, the factor with most levels first.
_TELLING = ("batch_size", "optimizer", "dropout", "hidden", "validation", "pixel_mean", "pixel_std")


def curves_figure(collection: Collection, language: Language = "en") -> tuple[dict[str, Any], int] | None:
    """Mean and band over seeds of every trajectory, as Plotly's JSON.

    The learning rate is constant, so runs that differ only in epochs have one trajectory; the longest run of
    each seed stands for it. Names that come from run directories are escaped, because Plotly reads them as
    HTML.

    Returns:
        The figure as plain values (`data`, `layout`), and how many trajectories are left out of it (beyond
        `MOST_CURVES`, the least accurate); None if no run has an epoch.
    """
    metrics = collection.metrics
    if metrics.empty:
        return None
    same = [column for column in CONFIGURATION if column != "epochs"]
    lengths = metrics.groupby([*same, "seed", "run"], as_index=False, sort=False).agg(done=("epoch", "size"))
    longest = lengths.sort_values("done", ascending=False).drop_duplicates([*same, "seed"])
    rows = metrics[metrics["run"].isin(longest["run"])].replace([np.inf, -np.inf], np.nan)
    groups = dict(iter(rows.groupby(same, sort=True)))
    best = sorted(groups, key=lambda key: -np.nan_to_num(groups[key]["val_accuracy"].max()))
    shown = {key: groups[key] for key in groups if key in best[:MOST_CURVES]}
    firsts = [table.iloc[0] for table in shown.values()]
    factors = [factor for factor in varying(pd.DataFrame(firsts)) if factor != "epochs"]
    looks = _looks(pd.DataFrame(firsts))
    first_shown = _first_shown(firsts)
    series = [_series(table) for table in shown.values()]
    figure = go.Figure()
    for number, (first, table) in enumerate(zip(firsts, series, strict=True)):
        whole = labels.configuration(first, factors, language)
        name = html.escape(labels.sentence(whole))
        seeds = words("curve_seeds", language, n=int(table["seeds"].max()))
        visible = True if number in first_shown else "legendonly"
        shared = {"legendgroup": str(number), "visible": visible}
        epochs = table["epoch"].tolist()
        figure.add_scatter(
            **shared,
            x=epochs + epochs[::-1],
            y=[],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=_translucent(looks[number]["line"]["color"]),
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            **shared,
            **looks[number],
            x=epochs,
            y=[],
            name=name,
            hovertemplate=f"{name}<br>{words('epoch', language)} %{{x}}: <b>%{{y}}</b> "
            f"(%{{customdata[0]}} {words('to', language)} %{{customdata[1]}}; {seeds})<extra></extra>",
        )
    views = {metric: _view(series, metric) for metric in METRICS}
    for trace, y, customdata in zip(figure.data, *views[METRICS[0]].values(), strict=True):
        trace.update(y=y, customdata=customdata)
    figure.update_layout(_layout(views, language))
    return figure.to_plotly_json(), len(groups) - len(shown)


def _series(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, least and greatest over seeds of each metric by epoch, thinned."""
    groups = rows.groupby("epoch")
    spread = groups[list(METRICS)].agg(["mean", "min", "max"])
    spread.columns = [f"{metric}_{kind}" for metric, kind in spread.columns]
    spread["seeds"] = groups["seed"].nunique()
    table = spread.reset_index()
    if len(table) <= _MOST_EPOCHS:
        return table
    kept = np.unique(np.linspace(0, len(table) - 1, _MOST_EPOCHS).round().astype(int))
    return table.iloc[kept]


def _view(series: list[pd.DataFrame], metric: str) -> dict[str, list[Any]]:
    """What a metric gives every trace, band and line in turn: `y` and `customdata` (least and greatest)."""
    y: list[Any] = []
    customdata: list[Any] = []
    for table in series:
        mean, low, high = (_rounded(table[f"{metric}_{kind}"]) for kind in ("mean", "min", "max"))
        y += [high + low[::-1], mean]
        customdata += [None, list(zip(low, high, strict=True))]
    return {"y": y, "customdata": customdata}


def _rounded(values: "pd.Series[float]") -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.{_DIGITS}g}") for value in values]


def _layout(views: dict[str, dict[str, list[Any]]], language: Language) -> dict[str, Any]:
    titles = {metric: labels.sentence(_title(metric, language)) for metric in METRICS}
    buttons = [
        {
            "label": labels.sentence(words(metric, language)),
            "method": "update",
            "args": [view, {"yaxis.title.text": titles[metric], "yaxis.autorange": True}],
        }
        for metric, view in views.items()
    ]
    axis = {"gridcolor": "#dddddd", "linecolor": "#888888", "ticks": "outside", "automargin": True, "zeroline": False}
    return {
        "template": "none",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1b1b1b"},
        "height": 640,
        "margin": {"l": 20, "r": 12, "t": 76, "b": 40},
        "xaxis": {**axis, "title": {"text": words("epoch", language)}, "rangemode": "tozero"},
        "yaxis": {**axis, "title": {"text": titles[METRICS[0]]}},
        "dragmode": False,  # or a finger that scrolls the page would zoom
        "hovermode": "closest",
        "hoverdistance": 40,
        "hoverlabel": {"bgcolor": "white", "align": "left", "namelength": -1},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"},
        "updatemenus": [
            {
                "buttons": buttons,
                "x": 0,
                "xanchor": "left",
                "y": 1.0,
                "yanchor": "bottom",
                "pad": {"b": 12},
                "bgcolor": "white",
                "bordercolor": "#888888",
                "showactive": True,
            }
        ],
    }


def _title(metric: str, language: Language) -> str:
    return words(f"unit_{metric.rpartition('_')[2]}", language, metric=words(metric, language))


def _first_shown(firsts: list[pd.Series]) -> set[int]:
    """The trajectories of the paper's figures, or the first few where it has none."""
    wanted = [row.configuration for rows in FIGURES.values() for row in rows]
    factors = ("optimizer", "batch_size", "dropout", "hidden", "validation", "pixel_mean", "pixel_std")
    papers = {
        number
        for number, first in enumerate(firsts)
        if any(all(first[factor] == getattr(one, factor) for factor in factors) for one in wanted)
    }
    return papers or set(range(min(_FIRST_SHOWN, len(firsts))))


def _looks(firsts: pd.DataFrame) -> list[dict[str, Any]]:
    """Colour, dash and marker of each row, for the three factors with most levels, in this order."""
    counts = {factor: firsts[factor].nunique() for factor in _TELLING}
    ranked = sorted(_TELLING, key=lambda factor: -counts[factor])[:3]
    styles = [labels.styles(factor, firsts[factor]) for factor in ranked]
    looks = []
    for values in firsts[ranked].itertuples(index=False):
        colour, dash, marker = (style[value] for style, value in zip(styles, values, strict=True))
        plain = counts[ranked[2]] < 2
        looks.append(
            {
                "mode": "lines" if plain else "lines+markers",
                "line": {"color": colour.colour, "dash": _dash(dash), "width": 2},
                "marker": {"symbol": _SYMBOLS.get(marker.marker, "diamond"), "size": 7, "maxdisplayed": 12},
            }
        )
    return looks


def _dash(style: Style) -> str:
    return "solid" if style.line == "-" else ",".join(f"{2 * length:g}px" for length in style.line[1])


def _translucent(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
