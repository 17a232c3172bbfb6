"""The command `fmnist-sweep best`: print the best configuration, and the command that trains it again."""

from __future__ import annotations

from pathlib import Path

from fmnist_sweep.commands.again import command
from fmnist_sweep.commands.folders import USUAL, read_folder
from fmnist_sweep.console import Parser, output, program, refuse
from fmnist_sweep.errors import ConfigError, count
from fmnist_sweep.store.layout import read_record
from fmnist_sweep.store.summary import summary
from fmnist_sweep.store.tables import CONFIGURATION
from fmnist_sweep.sweeps.leaderboard import mean_and_sd, text_of


def main(arguments: list[str]) -> int:
    """Run the command. Return 0, or 2 if the folder holds no finished runs."""
    options = _parser().parse_args(arguments)
    try:
        collection = read_folder(options.folder)
    except ConfigError as error:
        return refuse(str(error))
    by_key = summary(collection)
    best, described = summary(collection, CONFIGURATION).iloc[0], by_key.iloc[0]
    if not best["n"]:
        return refuse(f"no run in {options.folder} is finished; the command of the sweep goes on with them")
    runs = collection.runs[(collection.runs[CONFIGURATION] == best[CONFIGURATION]).all(axis=1)]
    done = runs[runs["status"] == "done"].sort_values("seed")
    accuracy, loss = (mean_and_sd(best[key], best[f"{key}_sd"]) for key in ("val_accuracy", "val_loss"))
    over = f"mean ± sd of {count(len(done), 'seed')}" if len(done) > 1 else "1 seed"
    output.print(f"best of {count(len(by_key), 'configuration')} in {options.folder}, by validation accuracy ({over})")
    output.print(f"  val_accuracy: {accuracy}")
    output.print(f"  val_loss: {loss}")
    for key in by_key.columns[: list(by_key.columns).index("n")]:
        if value := text_of(described[key]):
            output.print(f"  {key}: {value}")
    output.print("to train it again, with more seeds or rerun=true:")
    line = command(read_record(Path(done["path"].iloc[0])).config, done["seed"], options.folder)
    output.print(f"  {line}", soft_wrap=True)  # a line to copy
    return 0


def _parser() -> Parser:
    parser = Parser(prog=program("fmnist_sweep best"), description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=USUAL, metavar="FOLDER", help="of runs (default: multirun)"
    )
    return parser
