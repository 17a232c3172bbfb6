"""The command `python -m fmnist_sweep.report.site`: write one page on several papers, from the tables of their reports.

It judges the claims and draws the figures again from each report's results.csv. It trains nothing.
"""

import argparse
import sys
from pathlib import Path

from fmnist_sweep import papers
from fmnist_sweep.papers.paper import Paper, PaperError
from fmnist_sweep.papers.verdicts import judge
from fmnist_sweep.report.figures.paper_figures import paper_figure
from fmnist_sweep.report.figures.style import encode
from fmnist_sweep.report.page.render import render_papers
from fmnist_sweep.report.page.verdict_section import Judgement, judgement
from fmnist_sweep.report.texts import LANGUAGES, Texts
from fmnist_sweep.report.writing import refuse, replace
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.published import read_results
from fmnist_sweep.store.tables import Collection

_FILES = {language: "index.html" if language == LANGUAGES[0] else f"index.{language}.html" for language in LANGUAGES}


def main(arguments: list[str] | None = None) -> int:
    """Write the pages that `arguments` (by default the command line) ask for.

    Returns:
        0 on success; 2 if there is no report, if a table or a paper cannot be used, or if the folder cannot be written.
    """
    parser = argparse.ArgumentParser(prog="python -m fmnist_sweep.report.site", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of reports, each named as its paper")
    folder: Path = parser.parse_args(arguments).folder
    tables = list(folder.glob("*/results.csv"))
    if not tables:
        return refuse(f"no report in {folder}: write one with python -m fmnist_sweep.report --output {folder}/PAPER")
    try:
        by_table = {table: papers.read(table.parent.name) for table in tables}
        for paper in by_table.values():
            for language in LANGUAGES:
                paper.require(language)
        found = [(paper, read_results(table, paper.covers)) for table, paper in by_table.items()]
    except (PaperError, ValueError) as error:
        return refuse(str(error))
    except OSError as error:
        return refuse(f"cannot read {error.filename}: {error.strerror}")
    found.sort(key=lambda pair: (pair[0].year, pair[0].name))
    for language, name in _FILES.items():
        texts = Texts(language)
        page = render_papers([_judged(paper, collection, texts) for paper, collection in found], _FILES, texts)
        try:
            print(f"wrote {replace(folder / name, page.encode())}")
        except OSError as error:
            return refuse(f"cannot write {error.filename}: {error.strerror}")
    return 0


def _judged(paper: Paper, collection: Collection, texts: Texts) -> Judgement:
    curves = Curves(collection)
    figures = {name: paper_figure(paper, name, curves, texts) for name in paper.figures}
    drawn = {name: encode(figure) for name, figure in figures.items() if figure is not None}
    return judgement(paper, collection, curves, judge(paper, curves), drawn, texts)


if __name__ == "__main__":
    sys.exit(main())
