"""Write run.json and the tracebacks of failures."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Mapping
from types import MappingProxyType

from fmnist_sweep.config.schema import device_type
from fmnist_sweep.engine.machine import environment
from fmnist_sweep.store.layout import Digested, Record, Status, Test
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps.plan import Job

log = logging.getLogger(__name__)


def keep_failure(job: Job, error: BaseException) -> None:
    """Write the reason and traceback of a failure to the run's directory. Log an error if that cannot be written."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    try:
        write_ending(job, "failed", reason, "".join(traceback.format_exception(error)))
    except OSError as second:
        log.error("%s: %s; that cannot be kept there: %s", job.name, reason, second)


def write_ending(job: Job, status: Status, reason: str, trace: str | None = None) -> None:
    """Write the status, reason and epochs of a run that was not completed, unless the directory is another run's."""
    directory = RunDirectory(job.directory)
    if directory.occupant(job.name) is not None:
        return
    write_record(job, status, len(directory.seconds()), elapsed(directory), error=reason)
    if trace is not None:
        directory.write_traceback(trace)


def elapsed(directory: RunDirectory) -> float:
    """Return the seconds of training of a run's rows; see `layout.read_timing`."""
    seconds = directory.seconds()
    return float(seconds[-1]) if len(seconds) else 0.0


def write_record(
    job: Job,
    status: Status,
    epochs_done: int,
    seconds: float,
    error: str | None = None,
    test: Test | None = None,
    cut_from: str | None = None,
    cpu: str | None = None,
    files: Mapping[Digested, bytes] = MappingProxyType({}),
) -> None:
    """Write a run's run.json; see `layout.Record`.

    Args:
        cpu: the CPU that trained the run; by default this machine's.
        files: the content of the run's files, by name. run.json stores their SHA-256.
    """
    record = Record(
        status=status,
        name=job.name,
        error=error,
        epochs_done=epochs_done,
        seconds=round(seconds, 3),
        cut_from=cut_from,
        test=test,
        config=job.config,
        environment=environment(device_type(job.execution.device)) | ({"cpu": cpu} if cpu else {}),
        sha256={file: hashlib.sha256(content).hexdigest() for file, content in files.items()},
    )
    RunDirectory(job.directory).write_record(record)
