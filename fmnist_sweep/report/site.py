"""The command `python -m fmnist_sweep.report.site`: write a page on each paper and a front page, from their reports.

It judges the claims and draws the figures again from each report's results.csv. It trains nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fmnist_sweep import papers
from fmnist_sweep.console import refuse
from fmnist_sweep.files import replace
from fmnist_sweep.papers.paper import PaperError
from fmnist_sweep.report.claims import Results, judged
from fmnist_sweep.report.figures.paper_figures import paper_figures
from fmnist_sweep.report.figures.style import encode
from fmnist_sweep.report.page.pages import front_page, paper_page
from fmnist_sweep.report.page.pictures import picture
from fmnist_sweep.report.page.render import Link
from fmnist_sweep.report.texts import LANGUAGES, Texts
from fmnist_sweep.store.published import read_results

_FRONT = "papers"  # the front page


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
    every = [judged(paper, collection) for paper, collection in found]
    for language in LANGUAGES:
        try:
            for name, page in _pages(every, Texts(language)).items():
                print(f"wrote {replace(folder / name, page.encode())}")
        except OSError as error:
            return refuse(f"cannot write {error.filename}: {error.strerror}")
    return 0


def _pages(every: Sequence[Results], texts: Texts) -> dict[str, str]:
    """Return the front page and a page for each paper, by the name of its file."""
    pages, shown = {}, []
    for results in every:
        figures = paper_figures(results.paper, results.curves, texts)
        pictures = {name: picture(figure, encode(figure)["png"]) for name, figure in figures.items()}
        address = _file(results.paper.name, texts.language)
        front = Link(_file(_FRONT, texts.language), texts("page.all_papers"))
        pages[address] = paper_page(results, pictures, [front, *_translations(results.paper.name, texts)], texts)
        shown.append((results, pictures, address))
    return pages | {_file(_FRONT, texts.language): front_page(shown, _translations(_FRONT, texts), texts)}


def _file(name: str, language: str) -> str:
    return f"{name}.html" if language == LANGUAGES[0] else f"{name}.{language}.html"


def _translations(name: str, texts: Texts) -> list[Link]:
    others = [language for language in LANGUAGES if language != texts.language]
    return [Link(_file(name, other), texts(f"page.language_{other}"), other) for other in others]


if __name__ == "__main__":
    sys.exit(main())
