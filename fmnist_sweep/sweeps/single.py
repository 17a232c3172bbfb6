"""Train one run in this process."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from fmnist_sweep import data
from fmnist_sweep.config.messages import reason
from fmnist_sweep.errors import RunError
from fmnist_sweep.stopping import stoppable
from fmnist_sweep.sweeps.followers import Followers
from fmnist_sweep.sweeps.jobs import make_folder_of, make_job, mark_interrupted, outcome, show_plan
from fmnist_sweep.sweeps.plan import Job
from fmnist_sweep.sweeps.progress import RunBar

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


def prepare(composed: DictConfig, directory: Path) -> Callable[[], float | None] | None:
    """Check one run and find its data.

    Returns:
        A function that trains the run, or None for a dry run, which prints the plan instead.

    Raises:
        ConfigError: the run cannot work, or its directory holds another run.
        DataError: the data cannot be found or fetched.
    """
    job = make_job(composed, directory)
    if job.execution.dry_run:
        show_plan([job])
        return None
    make_folder_of(job)
    named = job.execution.data_dir
    return functools.partial(_train, job, data.prepare(Path(named) if named else None))


def _train(job: Job, folder: Path) -> float | None:
    """Train a run unless it is done already, and return its `outcome`.

    Raises:
        RunError: the run failed or diverged.
        Stopped: the user stopped it.
    """
    from fmnist_sweep.sweeps import worker

    with (
        Followers(job.execution.tracker) as followers,
        RunBar(job) as bar,
        stoppable(functools.partial(mark_interrupted, [job])) as stop,
    ):
        followers.follow([job.directory.parent])
        try:
            while worker.train_stack([[job]], folder, lambda: stop.asked, bar.update) and not stop.asked:
                bar.wait()  # another process is training the same run
                time.sleep(POLL_SECONDS)
        except Exception as error:
            raise RunError(f"{job.name} failed: {reason(error)}; its directory has the traceback") from error
    loss = outcome(job)
    if loss is None:
        log.info("%s is skipped: retry=failed trains only failed runs", job.name)
        return None
    log.info("%s is done: validation loss %.4f; see %s", job.name, loss, job.directory)
    return loss
