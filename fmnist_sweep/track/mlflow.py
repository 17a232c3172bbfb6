"""MLflow: a run of an experiment for each run, on a server or in a database.

Runs are found again by a tag with their name, and what they have by the history of their metrics. One that is
complete has a tag with the digest of what was sent, and is not asked for more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from fmnist_sweep import plain_files
from fmnist_sweep.config import MlflowConfig
from fmnist_sweep.records import METRICS, RECORD, TIMING, Status, one_line
from fmnist_sweep.track import TrackerDownError
from fmnist_sweep.track.figure import NAME, learning_curves
from fmnist_sweep.track.runs import Points, TrackedRun, agree

_RUN = "fmnist_sweep.run"
_COMPLETE = "fmnist_sweep.complete"
_LARGEST = float(np.finfo(np.float64).max)  # which MLflow keeps for infinity
_BATCH = 900  # metrics in a request; MLflow takes 1,000 with all else
_MOST_BYTES = 8 << 20
_STATUS: dict[Status, str] = {
    "running": "RUNNING",
    "interrupted": "KILLED",
    "done": "FINISHED",
    "failed": "FAILED",
    "diverged": "FAILED",
}


def connect(settings: MlflowConfig) -> Mlflow:
    """The tracker with these settings."""
    return Mlflow(settings.uri, settings.experiment)


@dataclass
class _Shown:
    """A run as MLflow has it; `points` are None until they are asked for."""

    id: str
    started: float
    status: str
    tags: dict[str, str]
    parameters: dict[str, str] = field(default_factory=dict)
    points: Points | None = None


class Mlflow:
    """Sends runs to an experiment, which is made if needed."""

    def __init__(self, uri: str | None, experiment: str):
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment = experiment
        self._id: str | None = None
        self._shown: dict[str, _Shown] = {}

    def send(self, run: TrackedRun) -> bool:
        """Send what MLflow lacks of a run. Where it was trained anew another run takes its run's place."""
        with self._asked():
            if self._id is None:
                self._look()
            self._send(run)
        return True

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Tell a server that is down from a run that it does not take; after either nothing is taken for known."""
        try:
            yield
        except Exception as error:
            self._id = None
            if isinstance(error, MlflowException):
                code = error.get_http_status_code()
                if code >= 500 or code in (401, 403, 429):
                    raise TrackerDownError(f"{self._client.tracking_uri}: {_cause(error)}") from error
            raise

    def _look(self) -> None:
        """Find the experiment and the runs that it has."""
        self._shown = {}
        found = self._client.get_experiment_by_name(self._experiment)
        key = found.experiment_id if found else self._client.create_experiment(self._experiment)
        token = None
        while token != "":
            page = self._client.search_runs([key], page_token=token)
            for one in page:
                if _RUN in one.data.tags:
                    info, tags = one.info, one.data.tags
                    self._shown[tags[_RUN]] = _Shown(
                        info.run_id, info.start_time / 1000, info.status, tags, one.data.params
                    )
            token = page.token or ""
        self._id = key

    def _send(self, run: TrackedRun) -> None:
        shown = self._shown.get(run.name)
        if shown is not None and shown.tags.get(_COMPLETE) == run.digest:
            return
        points = {key: float(np.clip(value, -_LARGEST, _LARGEST)) for key, value in run.points.items()}
        parameters = {key: str(value) for key, value in run.hyperparameters.items()}
        if shown is not None and shown.points is None:
            shown.points = self._history(shown.id, points)
        if shown is None or not (agree(shown.points or {}, points) and shown.parameters.items() <= parameters.items()):
            shown = self._begin(run, shown)
        sent = shown.points or {}
        metrics = [
            Metric(key, points[key, epoch], int(1000 * (shown.started + run.when(epoch) - run.started)), epoch)
            for key, epoch in sorted(points.keys() - sent.keys(), key=lambda point: point[1])
        ]
        missing = [Param(key, value) for key, value in parameters.items() if key not in shown.parameters]
        for start in range(0, max(len(metrics), len(missing)), _BATCH):
            self._client.log_batch(shown.id, metrics[start : start + _BATCH], missing if start == 0 else [])
        shown.points, shown.parameters = sent | points, parameters
        self._tag(shown, _tags(run))
        if run.ended:
            self._keep_files(run, shown.id)
        self._set_status(run, shown)
        if run.ended:
            self._tag(shown, {**shown.tags, _COMPLETE: run.digest})
            shown.points = None  # not needed any more, and many

    def _history(self, key: str, points: Points) -> Points:
        """What MLflow has of the measures that a run has."""
        return {
            (measure, metric.step): metric.value
            for measure in sorted({measure for measure, _ in points})
            for metric in self._client.get_metric_history(key, measure)
        }

    def _begin(self, run: TrackedRun, before: _Shown | None) -> _Shown:
        assert self._id is not None
        if before is not None:
            self._client.delete_run(before.id)
        start, tags = int(1000 * run.started), _tags(run)
        made = self._client.create_run(self._id, start, tags, run.name)
        shown = self._shown[run.name] = _Shown(made.info.run_id, start / 1000, made.info.status, tags)
        return shown

    def _tag(self, shown: _Shown, tags: dict[str, str]) -> None:
        """Set tags, and remove those of ours that do not hold any more."""
        for key in {"error", _COMPLETE} & (shown.tags.keys() - tags.keys()):
            self._client.delete_tag(shown.id, key)
        new = [RunTag(key, value) for key, value in tags.items() if shown.tags.get(key) != value]
        if new:
            self._client.log_batch(shown.id, tags=new)
        shown.tags = tags

    def _set_status(self, run: TrackedRun, shown: _Shown) -> None:
        status = _STATUS[run.record.status]
        if status != shown.status and status == "RUNNING":
            self._client.update_run(shown.id, status)
        elif status != shown.status:
            end = shown.started + run.when(len(run.metrics)) - run.started
            self._client.set_terminated(shown.id, status, int(1000 * end))
        shown.status = status

    def _keep_files(self, run: TrackedRun, key: str) -> None:
        """Keep the run's files and a picture of its curves as artefacts."""
        with tempfile.TemporaryDirectory() as folder:
            for name in (RECORD, METRICS, TIMING):
                with suppress(FileNotFoundError):
                    Path(folder, name).write_bytes(plain_files.read(run.directory / name, _MOST_BYTES))
            if len(run.metrics):
                Path(folder, f"{NAME}.png").write_bytes(learning_curves(run))
            self._client.log_artifacts(key, folder)


def _tags(run: TrackedRun) -> dict[str, str]:
    """What is to be told of a run besides its numbers."""
    record = run.record
    told = {_RUN: run.name, "error": record.error, "cut_from": record.cut_from}
    told |= {f"environment.{key}": value for key, value in record.environment.items() if isinstance(value, str)}
    return {key: one_line(value, 1000) for key, value in told.items() if value is not None}


def _cause(error: BaseException) -> str:
    """What the first error of a chain said: MLflow's own message goes over many lines."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return one_line(str(error))
