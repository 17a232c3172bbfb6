"""The figure of verdicts: a bar for each of a paper's figures, with the number of statements by verdict."""

from collections import Counter
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fmnist_sweep.report.claims import Results, by_figure
from fmnist_sweep.report.figures.style import WIDTH, styled
from fmnist_sweep.report.texts import Texts

# Hatches tell the verdicts apart in grey print.
_LOOKS: dict[str, dict[str, Any]] = {
    "reproduced": {"facecolor": "#009E73", "edgecolor": "white"},
    "not reproduced": {"facecolor": "#D55E00", "hatch": "////", "edgecolor": "white"},
    "open": {"facecolor": "#bbbbbb", "edgecolor": "white"},
    "not run": {"facecolor": "#eeeeee", "edgecolor": "white"},
}
_ROW = 0.24  # inches


@styled
def verdict_bars(results: Results, texts: Texts) -> Figure | None:
    """Draw the bars, or return None for a paper without statements."""
    rows = [(label, Counter(str(one.verdict) for one in own)) for _, label, own in by_figure(results, texts) if own]
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, 0.7 + _ROW * len(rows)), layout="constrained")
    ax = figure.subplots()
    for place, (_, counts) in enumerate(rows):
        start = 0
        for name, look in _LOOKS.items():
            if count := counts[name]:
                ax.barh(place, count, left=start, height=0.75, **look)
                box = {"facecolor": look["facecolor"], "edgecolor": "none", "pad": 1}
                ax.text(start + count / 2, place, f"{count}", ha="center", va="center", fontweight="bold", bbox=box)
                start += count
    ax.set_yticks(range(len(rows)), [label for label, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(texts("figures.statements"))
    ax.grid(visible=False, axis="y")
    handles = []
    for name, look in _LOOKS.items():
        if count := sum(counts[name] for _, counts in rows):
            words = texts(f"page.{name}" if count == 1 else f"page.{name} many")
            handles.append(Patch(**look, label=f"{count} {words}"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure
