"""The command `python -m fmnist_sweep.report`: figures and tables from whatever runs there are."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from fmnist_sweep.report import labels
from fmnist_sweep.report.collect import Collection, collect
from fmnist_sweep.report.figures import paper_figure, save, write
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
        written = _write(collection, options.output, options.lang)
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
        description="Draw the paper's figures (PNG and PDF) and write results.csv (a row per run and epoch) "
        "and summary.csv (a row per configuration over its seeds) from the runs of a sweep, finished or not; "
        "say what is missing.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("runs", nargs="?", type=Path, default="multirun", metavar="RUNS_DIR", help="folder of the runs")
    parser.add_argument(
        "--output", type=Path, default="report", metavar="DIR", help="folder to write to, made if needed"
    )
    parser.add_argument("--lang", choices=labels.LANGUAGES, default="en", help="language of the figures")
    return parser


def _write(collection: Collection, output: Path, language: labels.Language) -> list[list[Path]]:
    """Write every file; one list for each line that says so."""
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for name in FIGURES:
        figure = paper_figure(collection, name, language)
        if figure is not None:
            written.append(save(figure, output, name))
    for name, table in (("results.csv", collection.metrics), ("summary.csv", summary(collection))):
        content = table.to_csv(index=False, na_rep="nan", lineterminator="\n")
        written.append([write(output / name, content.encode())])
    return written


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
