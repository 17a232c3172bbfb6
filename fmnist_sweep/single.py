"""One run, trained in this process."""

from __future__ import annotations

import functools
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from fmnist_sweep import data
from fmnist_sweep.display import RunBar
from fmnist_sweep.errors import RunError, reason
from fmnist_sweep.jobs import make_job, outcome, show_plan
from fmnist_sweep.planning import Job
from fmnist_sweep.track.alongside import Followers

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


def prepare(composed: DictConfig, directory: Path) -> Callable[[], float] | None:
    """Check one run and find its data. Returns what trains it; None for a dry run, which prints the plan instead.

    Raises:
        ConfigError: it cannot work, or its directory holds another run.
        DataError: there are no data.
    """
    job = make_job(composed, directory)
    if job.execution.dry_run:
        show_plan([job])
        return None
    named = job.execution.data_dir
    return functools.partial(_train, job, data.prepare(Path(named) if named else None))


def _train(job: Job, folder: Path) -> float:
    """Train a run, or find it done. Returns its final validation loss; `RunError` where it did not end well."""
    from fmnist_sweep import worker

    interrupts: list[int] = []

    def interrupt(number: int, _: object) -> None:
        interrupts.append(number)
        if len(interrupts) > 1:
            raise KeyboardInterrupt
        print("\nstopping at the end of the epoch; once more to stop now", file=sys.stderr)

    signal.signal(signal.SIGINT, interrupt)
    with Followers(job.execution.tracker) as followers, RunBar(job) as bar:
        followers.follow([job.directory.parent])
        try:
            while worker.train_stack([[job]], folder, lambda: bool(interrupts), bar.update) and not interrupts:
                bar.wait()  # another process is training this very run
                time.sleep(POLL_SECONDS)
        except Exception as error:
            raise RunError(f"{job.name} failed: {reason(error)}; its directory has the traceback") from error
    loss = outcome(job)
    log.info("%s is done: validation loss %.4f; see %s", job.name, loss, job.directory)
    return loss
