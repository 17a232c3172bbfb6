"""The command `fmnist-sweep ls`: list the configurations of a folder, the best first, or its runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fmnist_sweep.commands.folders import USUAL, read_folder
from fmnist_sweep.console import Parser, output, print_table, program, refuse
from fmnist_sweep.errors import ConfigError, count
from fmnist_sweep.store.summary import summary
from fmnist_sweep.store.tables import Collection
from fmnist_sweep.sweeps.leaderboard import print_leaderboard

_NOT_RUNS = ("unreadable", "waiting", "foreign", "superseded")  # kinds of problems of directories without a row
_WORDS = {"waiting": "not started", "foreign": "not a run", "superseded": "another directory of the same run"}


def main(arguments: list[str]) -> int:
    """Run the command. Return 0, or 2 if the folder holds no runs."""
    options = _parser().parse_args(arguments)
    try:
        collection = read_folder(options.folder)
    except ConfigError as error:
        return refuse(str(error))
    if options.runs:
        _print_runs(collection)
    else:
        print_leaderboard(output, summary(collection), options.top)
    statuses = Counter(collection.runs["status"])
    problems = collection.problems.loc[~collection.problems["name"].isin(collection.runs["name"]), "kind"]
    others = Counter(kind for kind in problems if kind in _NOT_RUNS)
    told = [f"{number:,} {_WORDS.get(status, status)}" for status, number in (statuses + others).most_common()]
    output.print(f"{count(len(collection.runs), 'run')} in {options.folder}: {', '.join(told)}")
    return 0


def _parser() -> Parser:
    parser = Parser(prog=program("fmnist_sweep ls"), description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=USUAL, metavar="FOLDER", help="of runs (default: multirun)"
    )
    parser.add_argument("--runs", action="store_true", help="a row per run, by name")
    parser.add_argument("--top", type=int, metavar="N", help="only the first N configurations")
    return parser


def _print_runs(collection: Collection) -> None:
    last = collection.metrics.drop_duplicates("run", keep="last").set_index("run")
    rows = []
    for run in collection.runs.to_dict("records"):
        name = run["name"]
        values = [f"{last.at[name, key]:.4f}" if name in last.index else "" for key in ("val_loss", "val_accuracy")]
        rows.append([name, run["status"], f"{run['epochs_done']}/{run['epochs']}", *values])
    print_table(output, ["run", "status", "epochs", "val_loss", "val_accuracy"], rows)
