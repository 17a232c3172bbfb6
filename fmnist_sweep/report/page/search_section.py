"""The page's section on searches: history, importances and front as Plotly figures, and a table of the best trials.

Optuna's own figures are not used: they are in English, and they show the contents of a storage as HTML.
"""

import html
import itertools
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from fmnist_sweep.config.settings import SHORT
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import one_line
from fmnist_sweep.report.figures.style import TRAINING, VALIDATION
from fmnist_sweep.report.page.curves_section import AXIS, LAYOUT
from fmnist_sweep.report.page.render import Section
from fmnist_sweep.report.page.tables import Cell, Table
from fmnist_sweep.report.search_history import Search, Trial
from fmnist_sweep.report.texts import Texts, sentence

_SHOWN = 10
_WIDE = 20  # an axis is logarithmic above this ratio of maximum to minimum


def searches_section(searches: Sequence[Search], texts: Texts) -> Section:
    """Show searches, each with its plots and its best trials."""
    shown: list[dict[str, Any]] = []
    plots: dict[str, Any] = {}
    for search in searches:
        one = _search(search, texts)
        titles = {f"search-plot-{len(plots) + n}": title for n, title in enumerate(one["plots"], 1)}
        plots |= {name: one["plots"][title] for name, title in titles.items()}
        shown.append(one | {"plots": titles})
    return Section("searches", {"searches": shown}, [("searches", texts("page.searches"))], plots)


def _search(search: Search, texts: Texts) -> dict[str, Any]:
    """Return what the template shows of a search; `plots` maps titles to Plotly's figures as plain values."""
    said = {state: search.counts[state] for state in ("complete", "pruned", "fail", "running")}
    saving = ""
    if search.whole:
        share = 100 * (1 - search.spent / search.whole)
        saving = texts("page.search_saving", spent=search.spent, whole=search.whole, share=f"{share:.0f}")
    plots = {}
    if any(trial.values for trial in search.trials):
        plots[texts("page.search_history")] = _history(search, texts)
    if len(search.objectives) == 2 and search.best:
        plots[texts("page.search_front")] = _front(search, texts)
    if len(search.importances) > 1:
        title = texts("page.search_importances", objective=_objective(search.objectives[0], texts))
        plots[title] = _importances(search, texts)
    counted = texts("page.search_counts", **said)
    return {"name": search.name, "counts": counted, "saving": saving, "plots": plots, "table": _table(search, texts)}


def _table(search: Search, texts: Texts) -> Table:
    shown = search.ranked()[:_SHOWN]
    params = list(dict.fromkeys(key for trial in shown for key in trial.params))
    headings = [texts("page.search_trial"), *(sentence(_objective(name, texts)) for name in search.objectives)]
    headings += [_factor(key, texts) for key in params] + [texts("page.search_runs")]
    rows = []
    for trial in shown:
        cells = [Cell(f"{trial.number}", trial.number)]
        cells += [Cell(f"{value:.4g}", value, "number") for value in trial.values]
        for value in (trial.params.get(key, "") for key in params):
            cells.append(Cell(_short(value), style="number" if isinstance(value, float) else "free"))
        rows.append([*cells, Cell(", ".join(trial.runs), style="name")])
    return Table(headings, rows)


def _history(search: Search, texts: Texts) -> dict[str, Any]:
    """Plot the first objective by trial, and the best value so far."""
    figure = go.Figure()
    valued = [trial for trial in search.trials if trial.values]
    complete = [trial for trial in search.trials if trial.state == "complete"]
    for state, style, symbol in (("complete", TRAINING, "circle"), ("pruned", VALIDATION, "x")):
        trials = [trial for trial in valued if trial.state == state]
        marker = {"color": style.colour, "symbol": symbol, "size": 8}
        _dots(figure, trials, [t.number for t in trials], texts(f"page.{state}"), marker)
    figure.add_scatter(
        x=[trial.number for trial in complete],
        y=list(itertools.accumulate((t.values[0] for t in complete), max if search.maximized[0] else min)),
        mode="lines",
        name=texts("page.search_best_so_far"),
        line={"color": "#000000", "shape": "hv", "width": 1.5},
        hoverinfo="skip",
    )
    found = _finished(figure, texts("page.search_trial"), sentence(_objective(search.objectives[0], texts)))
    values = [trial.values[0] for trial in valued]
    if min(values) > 0 and max(values) > _WIDE * min(values):
        found["layout"]["yaxis"] |= {"type": "log", "dtick": "D2"}
    return found


def _front(search: Search, texts: Texts) -> dict[str, Any]:
    """Plot two objectives against each other, with the front marked."""
    figure = go.Figure()
    complete = [trial for trial in search.trials if trial.state == "complete"]
    for is_best, colour, symbol in ((False, "#888888", "circle"), (True, VALIDATION.colour, "diamond")):
        trials = [trial for trial in complete if (trial.number in search.best) == is_best]
        name = texts("page.search_on_front" if is_best else "page.search_others")
        marker = {"color": colour, "symbol": symbol, "size": 9}
        _dots(figure, trials, [t.values[0] for t in trials], name, marker, objective=1)
    return _finished(figure, *(sentence(_objective(name, texts)) for name in search.objectives))


def _importances(search: Search, texts: Texts) -> dict[str, Any]:
    shares = sorted(search.importances.items(), key=lambda pair: pair[1])
    names = [html.escape(_factor(key, texts)) for key, _ in shares]
    values = [share for _, share in shares]
    figure = go.Figure(go.Bar(x=values, y=names, orientation="h", text=[f"{share:.2f}" for share in values]))
    figure.update_traces(marker_color=TRAINING.colour, hoverinfo="skip", textposition="outside", cliponaxis=False)
    found = _finished(figure, texts("page.search_share"), "")
    found["layout"]["xaxis"]["range"] = [0, 1.3 * max(values)]  # leaves room for the numbers
    return found


def _dots(
    figure: go.Figure, trials: list[Trial], x: list[Any], name: str, marker: dict[str, Any], objective: int = 0
) -> None:
    """Add a marker for each trial, if any. Hovering shows its parameters, escaped because Plotly reads them as HTML."""
    told = []
    for trial in trials:
        params = "<br>".join(html.escape(f"{key} {_short(value)}") for key, value in trial.params.items())
        told.append(f"<b>{trial.number}</b>: {trial.values[0]:.4g}<br>{params}")
    if trials:
        figure.add_scatter(
            x=x,
            y=[trial.values[objective] for trial in trials],
            mode="markers",
            name=name,
            text=told,
            hovertemplate="%{text}<extra></extra>",
            marker=marker,
        )


def _finished(figure: go.Figure, x: str, y: str) -> dict[str, Any]:
    figure.update_layout(LAYOUT)
    figure.update_layout(
        height=420, margin={"t": 40}, xaxis={**AXIS, "title": {"text": x}}, yaxis={**AXIS, "title": {"text": y}}
    )
    plain: dict[str, Any] = figure.to_plotly_json()
    return plain


def _objective(name: str, texts: Texts) -> str:
    """Describe an objective in words."""
    measure = name.removeprefix("best_")
    if measure in MEASURES:
        words = texts(f"page.{measure}")
        return words if measure == name else texts("page.search_best", measure=words)
    return texts("page.search_distance", figure=name) if "." in name else texts("page.search_value")


def _factor(key: str, texts: Texts) -> str:
    return texts.factor(SHORT.get(key, key))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))
