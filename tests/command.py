"""Call the command in tests: in a process of its own, or in this process, which takes a tenth of the time."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins

from fmnist_sweep import stopping
from fmnist_sweep.__main__ import main

INLINE = "hydra.launcher.executor=inline"  # a sweep trains in the process that calls it


def run_command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m fmnist_sweep` with these arguments, as a user would in the folder `cwd`."""
    done = subprocess.run(
        [sys.executable, "-m", "fmnist_sweep", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    done.stderr = _without_waiting(done.stderr)
    return done


def _without_waiting(err: str) -> str:
    """Leave out the lines such as `starting …`: which there are depends on the speed of the machine."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.endswith(" …\n"))


@dataclass(frozen=True)
class Called:
    """Result of a call of the command."""

    code: int | str | None
    out: str
    err: str


def call(*arguments: str, cwd: Path) -> Called:
    """Call the command's main function in this process.

    A single run and Hydra's basic launcher train in this process. Give a sweep `INLINE`, or it starts workers.
    """

    def typed() -> int:
        os.environ.pop("HYDRA_FULL_ERROR", None)
        sys.argv = ["fmnist_sweep", *arguments]
        return main()

    return captured(typed, cwd)


def captured(function: Callable[[], int], cwd: Path) -> Called:
    """Call a command's function in the folder `cwd`, and undo what it changes in this process."""
    out, err = io.StringIO(), io.StringIO()
    with _process_as_before(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        os.chdir(cwd)
        try:
            code: int | str | None = function()
        except SystemExit as end:
            code = end.code
    return Called(code, out.getvalue(), _without_waiting(err.getvalue()))


@contextlib.contextmanager
def _process_as_before() -> Iterator[None]:
    """Undo what a call changes in the process: folder, arguments, environment, signals, logging, threads, Hydra."""
    folder, arguments, environment = os.getcwd(), sys.argv, dict(os.environ)
    log = logging.getLogger()
    handlers, level = log.handlers[:], log.level
    threads = torch.get_num_threads()
    signals = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    Plugins.instance()  # they register their options once, as they are imported
    options = ConfigStore.instance().repo
    ConfigStore.instance().repo = copy.deepcopy(options)
    ConfigStore.instance().repo.pop("figure", None)  # those of papers that other tests have read
    try:
        yield
    finally:
        os.chdir(folder)
        sys.argv = arguments
        os.environ.clear()
        os.environ.update(environment)
        for handler in log.handlers:
            if handler not in handlers:
                handler.close()
        log.handlers[:] = handlers
        log.setLevel(level)
        torch.set_num_threads(threads)
        for number, handler in signals.items():
            signal.signal(number, handler)
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        ConfigStore.instance().repo = options
