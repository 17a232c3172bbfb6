"""The command `python -m fmnist_sweep.report`: page, figures and tables from whatever runs there are."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from matplotlib.figure import Figure

from fmnist_sweep.report import labels
from fmnist_sweep.report.claims import evaluate, load_claims, to_rows
from fmnist_sweep.report.collect import Collection, collect
from fmnist_sweep.report.comparisons import comparison_figures
from fmnist_sweep.report.examples import Examples, examples
from fmnist_sweep.report.figures import paper_figure, save, write
from fmnist_sweep.report.mistakes import confusion_figure, mistakes_figure
from fmnist_sweep.report.page import render
from fmnist_sweep.report.paper import FIGURES, missing, seeds_of
from fmnist_sweep.report.tables import summary

_FACTORS = ("optimizer", "batch_size", "dropout", "epochs")
_LISTED = 20  # problems of a kind, and seeds of a configuration, that are printed


def main(arguments: list[str] | None = None) -> int:
    """Write the report that `arguments` (by default the command line) ask for.

    Returns:
        0; 1 if the store holds no run; 2 if it cannot be read or the output cannot be written.
    """
    options = _parser().parse_args(arguments)
    try:
        collection = collect(options.runs)
    except OSError as error:
        return _refuse(f"cannot read {options.runs}: {error.strerror}; give the folder of a sweep")
    if collection.runs.empty:
        for line in _problems(collection):
            print(line)
        single = (options.runs / "run.json").exists()
        hint = "it is a single run: give the folder above it" if single else "run a sweep first"
        print(f"no runs in {options.runs}: {hint}", file=sys.stderr)
        return 1
    try:
        written = _write(collection, options.output, options.lang, options.data)
    except OSError as error:
        path = error.filename or options.output
        return _refuse(f"cannot write {path}: {error.strerror}; choose another --output")
    done = (collection.runs["status"] == "done").sum()
    said = [f"{len(collection.runs)} runs in {options.runs}, {done} of them done"]
    said += ["wrote " + ", ".join(map(str, paths)) for paths in written]
    # At once, so that a pipe into `head` does not close between two lines.
    print("\n".join([*said, *_missing(collection), *_problems(collection)]))
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m fmnist_sweep.report",
        description="Judge the paper's claims by the runs of a sweep, finished or not: write index.html (everything "
        "on one page), claims.csv and claims.json (a verdict on each claim), results.csv (a row per run and epoch), "
        "summary.csv (a row per configuration over its seeds) and every figure (PNG and PDF); say what is missing.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("runs", nargs="?", type=Path, default="multirun", metavar="RUNS_DIR", help="folder of the runs")
    parser.add_argument(
        "--output", type=Path, default="report", metavar="DIR", help="folder to write to, made if needed"
    )
    parser.add_argument("--lang", choices=labels.LANGUAGES, default="en", help="language of page and figures")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of Fashion-MNIST, for the images of mistakes; nothing is fetched (default: where sweeps keep it)",
    )
    return parser


def _write(collection: Collection, output: Path, language: labels.Language, data: Path | None) -> list[list[Path]]:
    """Write every file; one list for each line that says so."""
    output.mkdir(parents=True, exist_ok=True)
    shown = examples(collection, data)
    paper = {name: paper_figure(collection, name, language) for name in FIGURES}
    figures = {name: figure for name, figure in paper.items() if figure is not None}
    figures |= comparison_figures(collection, language)
    drawn = {name: save(figure, output, name) for name, figure in figures.items()}
    written = [*drawn.values(), *(save(figure, output, name) for name, figure in _confusions(shown, language).items())]
    verdicts = evaluate(load_claims(), collection.metrics)
    rows = to_rows(verdicts)
    claims = pd.DataFrame([{key: _cell(value) for key, value in row.items()} for row in rows])
    for name, table in (("results", collection.metrics), ("summary", summary(collection)), ("claims", claims)):
        content = table.to_csv(index=False, na_rep="nan" if name != "claims" else "", lineterminator="\n")
        written.append([write(output / f"{name}.csv", content.encode())])
    content = json.dumps(rows, ensure_ascii=False, allow_nan=False, indent=1)
    written.append([write(output / "claims.json", content.encode())])
    pictures = {name: next(path for path in paths if path.suffix == ".png") for name, paths in drawn.items()}
    page = render(collection, verdicts, {name: path.read_bytes() for name, path in pictures.items()}, shown, language)
    written.append([write(output / "index.html", page.encode())])
    return written


def _confusions(shown: Examples, language: labels.Language) -> dict[str, Figure]:
    """Figures for the configuration with the best validation accuracy; its first seed's mistakes."""
    if not shown.sheets:
        return {}
    best = shown.sheets[0]
    return {
        "confusion": confusion_figure(best.counts, language),
        "mistakes": mistakes_figure(best.part.images, best.part.labels, best.votes[0], language),
    }


def _cell(value: Any) -> Any:
    """A value of claims.json as a cell of claims.csv."""
    return json.dumps(value) if isinstance(value, list) else value


def _missing(collection: Collection) -> Iterator[str]:
    absent = missing(collection, seeds_of(collection) or [0])
    columns = [column for column in absent.columns if column not in ("seed", "epochs_done")]
    for key, rows in absent.groupby(columns, sort=False):
        values = dict(zip(columns, key, strict=True))
        wanted = labels.configuration(values, _FACTORS, "en")
        seeds = [
            f"{seed} ({done} epochs so far)" if done else f"{seed}"
            for seed, done in zip(rows["seed"], rows["epochs_done"], strict=True)
        ]
        rest = f" and {len(seeds) - _LISTED} more" if len(seeds) > _LISTED else ""
        yield f"missing for {values['figure']}: {wanted}, seed {', '.join(seeds[:_LISTED])}{rest}"


def _problems(collection: Collection) -> Iterator[str]:
    problems = collection.problems
    for kind in sorted(set(problems["kind"])):
        rows = problems[problems["kind"] == kind]
        for name, message in zip(rows["name"][:_LISTED], rows["message"][:_LISTED], strict=True):
            yield f"{kind}: {name}: {message}"
        if len(rows) > _LISTED:
            yield f"{kind}: and {len(rows) - _LISTED} more"


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
