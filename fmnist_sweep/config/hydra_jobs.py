"""Begin and end the jobs of a sweep as Hydra does: the job's directory, its log, `.hydra`, callbacks and results.

Hydra takes 20 ms for a job, most of them to copy its configuration and to write it as YAML. Jobs of one template differ
in a few values. So this module writes their files from text that it makes once. A job with callbacks or with unusual
settings of Hydra is left to Hydra.
"""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from fmnist_sweep.config import hydra_private
from fmnist_sweep.config.compose import ComposedJob

# These are strings in YAML without quotes: no number, word of YAML or comment has such a character in it.
_PLAIN = re.compile(r"[A-Za-z/][\w./,+-]*[/=][\w./=,+'-]*", re.ASCII)
_LOG = "${hydra.runtime.output_dir}/${hydra.job.name}.log"


class SweepJobs:
    """Begins and ends the jobs of one sweep.

    Args:
        task: the task function, of which the callbacks are notified.
        context: Hydra's context of the sweep, with the callbacks.
    """

    def __init__(self, task: TaskFunction, context: HydraContext):
        self._task = task
        self._context = context
        self._files: dict[tuple[int, tuple[str, ...]], _JobFiles | None] = {}

    def begin(self, job: ComposedJob) -> None:
        """Make the job's directory, log and `.hydra`, and notify the callbacks."""
        if (files := self._files_of(job)) is not None:
            files.write(job.directory, job.varying)
        else:
            hydra_private.begin_job(job.hydra, self._task, self._context)

    def end(self, job: ComposedJob, outcome: Callable[[], Any]) -> JobReturn:
        """Return the job's result, which is what `outcome` returns or raises, and notify the callbacks."""
        if self._files_of(job) is None:
            return hydra_private.end_job(job.hydra, lambda _: outcome(), self._context)
        task = job.varying["hydra.overrides.task"]
        result = hydra_private.QuickReturn(job.directory, task, lambda: job.hydra)
        try:
            result.return_value, result.status = outcome(), JobStatus.COMPLETED
        except Exception as error:  # the sweeper reads it from the result
            result.return_value, result.status = error, JobStatus.FAILED
        return result

    def _files_of(self, job: ComposedJob) -> _JobFiles | None:
        if job.template is None or self._context.callbacks.callbacks:
            return None
        key = id(job.template), tuple(job.varying)
        if key not in self._files:
            usual = _is_usual(job.template.hydra.hydra)
            self._files[key] = _JobFiles(job.template.hydra, job.varying) if usual else None
        return self._files[key]


class _JobFiles:
    """Writes the files of jobs that differ only in the values of some keys.

    Args:
        composed: Hydra's own configuration of one of the jobs.
        varying: the values of one job by dotted key.
    """

    def __init__(self, composed: DictConfig, varying: Mapping[str, Any]):
        whole = OmegaConf.to_container(composed, resolve=False)
        assert isinstance(whole, dict)
        self._marks = {key: f"fmnist_sweep_value_{number:03d}" for number, key in enumerate(varying)}
        for key, value in varying.items():
            *sections, last = key.split(".")
            section = functools.reduce(operator.getitem, sections, whole)
            section[last] = [self._marks[key]] if isinstance(value, list) else self._marks[key]
        hydra = whole.pop("hydra")
        files = {"config.yaml": whole, "hydra.yaml": {"hydra": hydra}, "overrides.yaml": hydra["overrides"]["task"]}
        self._texts = {name: OmegaConf.to_yaml(OmegaConf.create(content)) for name, content in files.items()}
        self._log = f"{hydra['job']['name']}.log" if _logs_of(hydra) == [_LOG] else None

    def write(self, directory: Path, values: Mapping[str, Any]) -> None:
        """Write the files of the job that has these values."""
        folder = directory / ".hydra"
        folder.mkdir(parents=True, exist_ok=True)
        if self._log is not None:
            (directory / self._log).touch()
        written = {self._marks[key]: _scalars(value) for key, value in values.items()}
        for name, text in self._texts.items():
            for mark, scalars in written.items():
                text = _filled(text, mark, scalars)
            (folder / name).write_text(text, encoding="utf-8")


def _scalars(value: Any) -> str | list[str]:
    return list(map(_scalar, value)) if isinstance(value, list) else _scalar(value)


def _filled(text: str, mark: str, scalars: str | list[str]) -> str:
    """Replace a mark by a scalar, or the item of a list that it is by the items of another list."""
    if isinstance(scalars, str):
        return text.replace(mark, scalars)
    before, item, after = text.partition(f"- {mark}\n")
    indent = before.rpartition("\n")[2]
    return before + indent.join(f"- {scalar}\n" for scalar in scalars) + after if item else text


def _scalar(value: Any) -> str:
    """Return a value as YAML in one line, as OmegaConf writes it if it writes one line."""
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else _written(value)


@functools.lru_cache(1000)  # the numbers and options of a sweep come back in many jobs
def _written(value: Any) -> str:
    written = OmegaConf.to_yaml(OmegaConf.create([value])).removeprefix("- ").removesuffix("\n")
    return json.dumps(value) if "\n" in written else written


def _is_usual(hydra: Any) -> bool:
    """Return whether Hydra would do nothing for a job but write the files that `_JobFiles` writes."""
    settings: Any = OmegaConf.to_container(hydra, resolve=False)
    job = settings["job"]
    return (
        settings["output_subdir"] == ".hydra"
        and _logs_of(settings) in ([], [_LOG])
        and not (job["chdir"] or job["env_set"] or settings["verbose"] or "${" in str(job["name"]))
    )


def _logs_of(settings: Mapping[str, Any]) -> list[Any]:
    """Return the file of each handler of a job's log that is not the console; None for an unknown handler."""
    logging = settings["job_logging"]
    handlers = (logging.get("handlers") or {}).values() if logging and logging.get("root") else []
    known = ("logging.StreamHandler", "logging.FileHandler")
    return [
        handler.get("filename") if handler.get("class") in known and not handler.get("delay") else None
        for handler in handlers
        if handler.get("class") != known[0]
    ]
