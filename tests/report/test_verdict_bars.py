"""The figure of verdicts: its bars are the counts of the verdicts, figure by figure."""

from collections import Counter
from pathlib import Path

import pytest
from made_up_runs import write_run
from matplotlib.patches import Rectangle
from page_stores import PAPER
from test_figures import assert_legible

from fmnist_sweep.report.__main__ import main
from fmnist_sweep.report.claims import by_figure, judged
from fmnist_sweep.report.figures.verdict_bars import verdict_bars
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.tables import collect


@pytest.mark.parametrize("language", ["en", "es"])
def test_each_figure_has_a_bar_with_the_number_of_statements_by_verdict(tmp_path: Path, language: str) -> None:
    for seed in range(5):
        write_run(tmp_path, seed=seed)
        write_run(tmp_path, optimizer="sgd", seed=seed)
    results, texts = judged(PAPER, collect(tmp_path)), Texts(language)
    figure = verdict_bars(results, texts)
    assert figure
    (ax,) = figure.axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    groups = {label: own for _, label, own in by_figure(results, texts) if own}
    assert labels == list(groups)
    for place, label in enumerate(labels):
        bars = [one for one in ax.patches if isinstance(one, Rectangle) and round(one.get_y() + 0.375) == place]
        counts = Counter(one.verdict for one in groups[label])
        assert sorted(bar.get_width() for bar in bars) == sorted(counts.values())
        assert bars[-1].get_x() + bars[-1].get_width() == len(groups[label])
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len({one.verdict for one in results.verdicts}) == len(said) == 4
    assert sum(int(words.split()[0]) for words in said) == len(PAPER.claims)
    assert_legible(figure)


def test_a_report_on_a_paper_writes_it(tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    assert main([str(tmp_path / "runs"), "--output", str(tmp_path / "out"), "--data", str(tmp_path / "nowhere")]) == 0
    assert {"verdicts.png", "verdicts.pdf"} <= {path.name for path in (tmp_path / "out").iterdir()}
