"""The command `python -m fmnist_sweep.report`: write page, figures and tables from the runs that exist."""

import errno
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
from hydra.core.config_loader import ConfigLoader
from matplotlib.figure import Figure

from fmnist_sweep import papers
from fmnist_sweep.config import hydra_private
from fmnist_sweep.console import Parser, program, refuse
from fmnist_sweep.errors import count
from fmnist_sweep.files import replace
from fmnist_sweep.papers.paper import PaperError
from fmnist_sweep.papers.single_runs import FEWEST
from fmnist_sweep.report.choice import NONE, choose
from fmnist_sweep.report.claims import Results, judged, row
from fmnist_sweep.report.comparisons import comparison_tables
from fmnist_sweep.report.figures.comparisons import comparison_figures
from fmnist_sweep.report.figures.confusion import confusion_figure, mistakes_figure
from fmnist_sweep.report.figures.paper_figures import paper_figures
from fmnist_sweep.report.figures.style import MODEL, encode
from fmnist_sweep.report.figures.verdict_bars import verdict_bars
from fmnist_sweep.report.page.confusion_section import Examples, examples
from fmnist_sweep.report.page.pages import report, sweep_report
from fmnist_sweep.report.page.pictures import picture
from fmnist_sweep.report.page.sweep_section import headline
from fmnist_sweep.report.page.tables import departures
from fmnist_sweep.report.search_history import FILE as SEARCH_FILE
from fmnist_sweep.report.search_history import Search, read_searches
from fmnist_sweep.report.summaries import missing, seeds_of, summary
from fmnist_sweep.report.texts import LANGUAGES, Texts
from fmnist_sweep.store import layout
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.published import read_results
from fmnist_sweep.store.tables import Collection, collect

_RESULTS = "results.csv"
_BEGINNING = b"run,status,recipe,"  # of a report's results.csv, the first file that a report writes
_ON_THE_SWEEP = f"this is a report on your sweep, as no run is of {papers.DEFAULT}; --paper NAME judges a paper"
_LISTED = 20  # the most problems of a kind, and seeds of a configuration, that are printed


def main(arguments: list[str] | None = None) -> int:
    """Write the report that `arguments` (by default the command line) ask for.

    Returns:
        0 on success; 1 if there is no run, or none of the paper's protocol; 2 if the paper has a mistake or lacks the
        language, if the runs cannot be read, or if the output cannot be written.
    """
    options = _parser().parse_args(arguments)
    store: Path = options.runs
    try:
        read = partial(read_results if store.suffix == ".csv" else collect, store)
        loader = _loader(options.config_dir, options.paper or papers.DEFAULT)
        paper, collection = choose(options.paper, options.lang, read, loader)
        searches, complaint = read_searches(store)
        if complaint:
            collection = collection.with_problem(SEARCH_FILE, "unreadable", complaint)
    except (PaperError, ValueError) as error:
        return refuse(str(error))
    except OSError as error:
        return refuse(f"cannot read {store}: {error.strerror}; give the folder of a sweep")
    others = f"left out: {count(collection.others, 'run')} of another protocol than {options.paper or papers.DEFAULT}'s"
    if collection.runs.empty and not searches:
        for line in _problems(collection):
            print(line)
        single = (store / layout.RECORD).exists()
        hint = "it is a single run: give the folder above it" if single else "run a sweep first"
        if collection.others:
            hint = f"{others}; choose another --paper, or none"
        print(f"no runs in {store}: {hint}", file=sys.stderr)
        return 1
    results, texts = judged(paper, collection) if paper else None, Texts(options.lang)
    try:
        written = write(collection, results, searches, examples(collection, options.data), options.output, texts)
    except OSError as error:
        path = error.filename or options.output
        return refuse(f"cannot write {path}: {error.strerror}; choose another --output")
    done = (collection.runs["status"] == "done").sum()
    said = [f"{count(len(collection.runs), 'run')} in {store}, {done} of them done"]
    said += [others] if collection.others else []
    if not paper:
        said += [_ON_THE_SWEEP] if options.paper is None else []
        said += [headline(collection, texts)]
    said += ["wrote " + ", ".join(map(str, paths)) for paths in written]
    if results:
        said += [
            f"departs from the paper: {text}" for text in departures(results.paper, results.paper.configurations, texts)
        ]
        said += [*_missing(results), *_lacking(results)]
    # A single print, because a pipe into `head` could close between two.
    print("\n".join([*said, *_problems(collection)]))
    return 0


def _loader(folder: Path | None, paper: str) -> ConfigLoader | None:
    """Return a loader that also finds the options of a user's folder; None for those that `papers.read` finds."""
    if folder is None:
        return None
    if not folder.is_dir():
        file = f"paper/{Path(paper).stem}.yaml"
        raise PaperError(f"--config-dir {folder}: is not a folder; give the one that holds {file}")
    return hydra_private.config_loader(str(folder))


def _parser() -> Parser:
    parser = Parser(
        prog=program("fmnist_sweep.report"),
        description="Report on the runs of a sweep, finished or not: write index.html (everything on one page), "
        "results.csv (a row per run and epoch), summary.csv (a row per configuration over its seeds), every figure "
        "(PNG and PDF) and the numbers behind each comparison (a CSV of the same name). Of a paper's runs, also judge "
        "its claims (claims.csv and claims.json), and say what is missing.",
    )
    runs = "folder of runs, or a report's results.csv (default: %(default)s)"
    paper = (
        f"one of conf/paper, or the path of such a file, or {NONE} for a report on the sweep itself (default: "
        f"{papers.DEFAULT}, or {NONE} if it has no configuration of these runs)"
    )
    folder = "folder of yours with paper/NAME.yaml, and with options of other groups, as for a sweep"
    data = "folder of Fashion-MNIST, for the images of mistakes; nothing is fetched (default: where sweeps keep it)"
    parser.add_argument("runs", nargs="?", type=Path, default="multirun", metavar="RUNS", help=runs)
    parser.add_argument("--paper", metavar="NAME|FILE", help=paper)
    parser.add_argument("--config-dir", "-cd", type=Path, metavar="DIR", help=folder)
    parser.add_argument(
        "--output",
        type=Path,
        default="report",
        metavar="DIR",
        help="folder to write to, made if needed (default: %(default)s)",
    )
    parser.add_argument(
        "--lang", choices=LANGUAGES, default="en", help="language of page and figures (default: %(default)s)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help=data)
    return parser


def write(
    collection: Collection,
    results: Results | None,
    searches: Sequence[Search],
    shown: Examples,
    output: Path,
    texts: Texts,
) -> list[list[Path]]:
    """Write every file of the report on a paper's `results`, or without them on the sweep itself.

    Return a list of paths for each line that the command prints about them.
    """
    paper, curves = (results.paper, results.curves) if results else (None, Curves(collection))
    output.mkdir(parents=True, exist_ok=True)
    # Names cannot clash: a paper's figure has none of `DRAWN_ANYWAY`.
    tables = comparison_tables(paper, collection, curves)
    compared = comparison_figures(paper, tables, collection.runs, texts)
    figures = (paper_figures(paper, curves, texts) if paper else {}) | compared
    drawn = {name: encode(figure) for name, figure in figures.items()}
    others = {name: encode(figure) for name, figure in _confusions(shown, texts).items()}
    pictures = {name: picture(figure, drawn[name]["png"]) for name, figure in figures.items()}
    judgements = {}
    if results:
        page = report(results, searches, pictures, shown, texts)
        claims = [row(results.paper, verdict) for verdict in results.verdicts]
        judgements["claims.csv"] = _csv(pd.DataFrame(claims), absent="")
        judgements["claims.json"] = json.dumps(claims, ensure_ascii=False, allow_nan=False, indent=1).encode()
        if bars := verdict_bars(results, texts):
            others["verdicts"] = encode(bars)
    else:
        page = sweep_report(collection, curves, searches, pictures, shown, texts)
    written = []
    for name, files in (drawn | others).items():
        behind = {"csv": _csv(tables[name])} if name in compared else {}
        written.append({f"{name}.{extension}": content for extension, content in (files | behind).items()})
    written += [
        {_RESULTS: _csv(collection.metrics)},
        {"summary.csv": _csv(summary(collection, paper))},
        *({name: content} for name, content in judgements.items()),
        {"index.html": page.encode()},
    ]
    _check_free(output, [name for files in written for name in files])
    # Write this file first, because `_check_free` recognises a report's folder by it.
    replace(output / _RESULTS, _csv(collection.metrics))
    return [[replace(output / name, content) for name, content in files.items()] for files in written]


def _check_free(folder: Path, names: Iterable[str]) -> None:
    """Raise `FileExistsError` if a folder that no report wrote holds a file with one of these names."""
    with suppress(FileNotFoundError), (folder / _RESULTS).open("rb") as file:
        if file.read(len(_BEGINNING)) == _BEGINNING:
            return
    for path in (folder / name for name in names):
        if path.exists():
            raise FileExistsError(errno.EEXIST, "already exists and was not written by a report", str(path))


def _csv(table: pd.DataFrame, absent: str = "nan") -> bytes:
    """Encode a table as CSV. A list in a cell becomes JSON."""
    lists = [name for name in table if table[name].map(type).eq(list).any()]
    plain = {name: table[name].map(lambda cell: json.dumps(cell) if isinstance(cell, list) else cell) for name in lists}
    text: str = table.assign(**plain).to_csv(index=False, na_rep=absent, lineterminator="\n")
    return text.encode()


def _confusions(shown: Examples, texts: Texts) -> dict[str, Figure]:
    """Draw the confusions of the configuration with the best validation accuracy, and its first seed's mistakes."""
    if not shown.sheets:
        return {}
    best = shown.sheets[0]
    return {
        "confusion-matrix": confusion_figure(best.counts, texts, texts.configuration(best.configuration, MODEL)),
        "frequent-mistakes": mistakes_figure(best.part.images, best.part.labels, best.votes[0], texts),
    }


def _missing(results: Results) -> Iterator[str]:
    table = missing(results.paper, results.curves)
    for (figure, name), absent in table.groupby(["figure", "configuration"], sort=False):
        seeds = [
            f"{seed} ({done} epochs so far)" if done else f"{seed}"
            for seed, done in zip(absent["seed"], absent["epochs_done"], strict=True)
        ]
        rest = f" and {len(seeds) - _LISTED} more" if len(seeds) > _LISTED else ""
        yield f"missing for {figure or 'claims'}: {name}, seed {', '.join(seeds[:_LISTED])}{rest}"


def _lacking(results: Results) -> Iterator[str]:
    """Yield a line that says which seeds the claims with too few seeds need for a verdict."""
    few = sum(verdict.case == "few" for verdict in results.verdicts)
    if few:
        given = seeds_of(results.paper, results.curves)
        seeds = sorted([*given, *(seed for seed in range(FEWEST) if seed not in given)][:FEWEST])
        words = ",".join(map(str, seeds))
        yield (
            f"no verdict yet: {few} of {len(results.verdicts)} claims are numbers that one run gave and take {FEWEST} "
            f"seeds: seed={words}, or make figures PAPER={results.paper.name} SEEDS={words}"
        )


def _problems(collection: Collection) -> Iterator[str]:
    problems = collection.problems
    for kind in sorted(set(problems["kind"])):
        listed = problems[problems["kind"] == kind]
        for name, message in zip(listed["name"][:_LISTED], listed["message"][:_LISTED], strict=True):
            yield f"{kind}: {name}: {message}"
        if len(listed) > _LISTED:
            yield f"{kind}: and {len(listed) - _LISTED} more"


if __name__ == "__main__":
    sys.exit(main())
