"""The command `fmnist-sweep show`: print a run's configuration, status, last metrics and files."""

from __future__ import annotations

from fmnist_sweep.commands.again import command
from fmnist_sweep.commands.folders import run_directory
from fmnist_sweep.config.identity import DEFAULTS
from fmnist_sweep.config.settings import settings
from fmnist_sweep.console import Parser, busy, output, program, refuse
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.store import layout
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps.leaderboard import text_of
from fmnist_sweep.sweeps.progress import minutes


def main(arguments: list[str]) -> int:
    """Run the command. Return 0, or 2 if there is no such run or its run.json is unusable."""
    parser = Parser(prog=program("fmnist_sweep show"), description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a run's directory, its name in multirun, or a part of the name")
    options = parser.parse_args(arguments)
    try:
        path = run_directory(options.run)
        with busy("reading the run"):  # this imports torch
            record = layout.read_record(path)
            described = settings(record.config)
    except ConfigError as error:
        return refuse(str(error))
    except layout.RecordError as error:
        return refuse(f"{path}: {error}")
    directory = RunDirectory(path)
    status, metrics = directory.inspect().status or "unreadable", directory.metrics()
    time = f", {minutes(record.seconds)} of training" if record.seconds else ""
    output.print(f"{record.name}: {status}, {len(metrics)} of {record.config.training.epochs} epochs{time}")
    if record.error:
        output.print(f"  error: {record.error}")
    if record.cut_from:
        output.print(f"  cut from: {record.cut_from}")
    if len(metrics):
        output.print("last epoch")
        for name, value in zip([*MEASURES, *TEST_MEASURES], metrics[-1], strict=False):
            output.print(f"  {name}: {value:.4f}")
    if record.test:
        output.print(f"  test_loss: {record.test.loss:.4f}")
        output.print(f"  test_accuracy: {record.test.accuracy:.4f}")
    output.print("configuration; keys that are not listed have their defaults")
    for key, value in described.items():
        if key not in DEFAULTS or DEFAULTS[key] != value:
            output.print(f"  {key}: {text_of(value)}")
    output.print(f"files in {path}")
    for file in sorted(path.iterdir()):
        size = f": {file.stat().st_size:,} bytes" if file.is_file() else "/"
        output.print(f"  {file.name}{size}")
    output.print("the command")
    output.print(f"  {command(record.config, [record.config.seed], path.parent)}", soft_wrap=True)  # a line to copy
    return 0
