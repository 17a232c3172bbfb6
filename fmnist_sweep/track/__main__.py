"""The command `python -m fmnist_sweep.track`: send runs to a tracker, once or as they grow."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fmnist_sweep.config import trackers
from fmnist_sweep.config.schema import TRACKERS, MlflowConfig, TensorBoardConfig, WandbConfig
from fmnist_sweep.console import Parser, program, refuse
from fmnist_sweep.errors import ConfigError, first_problem, one_line
from fmnist_sweep.track.follower import Follower

_LISTED = 20  # maximum number of problems to print
_PAUSE = 2.0  # minimum seconds between looks; after a slow look the pause is twice its duration
_PAUSE_IN_TROUBLE = 10.0
_SETTINGS: dict[str, Any] = {"tensorboard": TensorBoardConfig, "mlflow": MlflowConfig, "wandb": WandbConfig}
_HELP = {
    "tensorboard": {"folder": "folder for the event files, made if needed (default: each run's own directory)"},
    "mlflow": {
        "uri": "of a server, such as http://127.0.0.1:5000, or of a database (default: MLFLOW_TRACKING_URI, or else "
        "what `mlflow server` opens in this folder)",
        "experiment": "that gets the runs, made if needed (default: %(default)s)",
    },
    "wandb": {
        "project": "that gets the runs (default: %(default)s)",
        "folder": "where the folder wandb is, or will be made, with the runs for `wandb sync` (default: this folder)",
    },
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command with `arguments`, by default those of the command line.

    Returns:
        The exit code: 0; 1 if something could not be sent; 2 if a setting is wrong, the folder cannot be read, or the
        tracker's package is not installed.
    """
    options = vars(_parser().parse_args(arguments))
    stores, name = [Path(store) for store in options.pop("runs")], options.pop("tracker")
    follow, until_eof = options.pop("follow"), options.pop("until_eof")
    try:
        settings = _SETTINGS[name](**options)
        trackers.check(name)
        for store in stores:
            os.scandir(store).close()
    except ValidationError as error:
        return refuse(first_problem(error))
    except ConfigError as error:
        return refuse(str(error))
    except OSError as error:
        return refuse(f"cannot read {error.filename}: {error.strerror}; give the folder of a sweep")
    follower = Follower(name, settings, [store.absolute() for store in stores])
    return _follow(follower, name, until_eof) if follow or until_eof else _send(follower, name)


def _send(follower: Follower, name: str) -> int:
    follower.inspect()
    for store in follower.elsewhere:
        _say(f"{store}: another process is sending its runs to {name}")
    counts = Counter(outcome for outcome, _ in follower.outcomes.values())
    _say(f"runs up to date in {name}: {counts['sent']}")
    if counts["waiting"]:
        _say(f"in training, to be sent when they have ended: {counts['waiting']}")
    problems = [(path, *outcome) for path, outcome in follower.outcomes.items() if outcome[1]]
    for path, outcome, why in problems[:_LISTED]:
        _say(f"{outcome}: {one_line(path.name, 1000)}: {why}")
    if len(problems) > _LISTED:
        _say(f"and {len(problems) - _LISTED} more that are unusable or not sent")
    if follower.down:
        _say(f"{name}: {follower.down}; the same command sends the rest")
    return 1 if follower.trouble else 0


def _follow(follower: Follower, name: str, until_eof: bool) -> int:
    """Look repeatedly until Ctrl-C. With `until_eof`, also stop after one last look when the standard input has ended.

    Without `until_eof` the standard input is not read. Under cron, systemd or sbatch it has already ended. In the
    background of a terminal, reading it would halt this process.
    """
    os.nice(10)  # training has priority
    ended = threading.Event()
    if until_eof:
        threading.Thread(target=_wait_for_end, args=[ended], daemon=True).start()
    in_trouble = False
    with suppress(KeyboardInterrupt):
        while True:
            is_last, began = ended.is_set(), time.monotonic()
            follower.inspect()
            if follower.trouble and not in_trouble:
                _say(f"{name}: {follower.trouble}; training continues, and what is missing is sent as soon as possible")
            elif in_trouble and not follower.trouble:
                _say(f"{name}: everything that was missing has been sent")
            in_trouble = bool(follower.trouble)
            if is_last:
                break
            pause = max(_PAUSE, 2 * (time.monotonic() - began))
            ended.wait(_PAUSE_IN_TROUBLE if in_trouble else pause)
    return 1 if follower.trouble else 0


def _wait_for_end(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    ended.set()


def _say(line: str) -> None:
    with suppress(BrokenPipeError):  # the process that started this one may have been killed
        print(line, flush=True)


def _parser() -> Parser:
    parser = Parser(
        prog=program("fmnist_sweep.track"),
        description="Send the runs of a sweep to a tracker, finished or not. Runs that it has are not sent again.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUNS_DIR", help="folder of the runs, or one run's")
    choices = parser.add_subparsers(dest="tracker", required=True, metavar="TRACKER", help=" or ".join(TRACKERS))
    for name in TRACKERS:
        options = choices.add_parser(name, help=f"TRACKER {name} --help has its options")
        for item in fields(_SETTINGS[name]):
            options.add_argument(f"--{item.name}", default=item.default, help=_HELP[name][item.name])
        options.add_argument("--follow", action="store_true", help="keep sending as runs grow, until Ctrl-C")
        options.add_argument(
            "--until-eof", action="store_true", help="like --follow, but stop when standard input ends"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
