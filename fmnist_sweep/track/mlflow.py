"""Send runs to an MLflow experiment, on a server or in a database.

The tags of a run in MLflow include the run's name, by which this module finds it again, and the digest of the content
that was sent. MLflow cannot remove single values, so a run is replaced by a new run.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from fmnist_sweep.config.schema import MlflowConfig
from fmnist_sweep.errors import one_line
from fmnist_sweep.store.layout import METRICS, RECORD, TIMING, Status
from fmnist_sweep.track.figure import NAME, learning_curves
from fmnist_sweep.track.runs import TrackedRun

_RUN = "fmnist_sweep.run"
_DIGEST = "fmnist_sweep.complete"
_BATCH = 900  # metrics in a request; MLflow accepts at most 1,000
_STATUS: dict[Status, str] = {"interrupted": "KILLED", "done": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}


class Tracker:
    """Sends runs to an experiment, and creates it if needed.

    Raises:
        ConnectionError: MLflow does not answer, or it refuses. The message has the address and the original cause.
    """

    takes_running = True

    def __init__(self, settings: MlflowConfig):
        self._client = MlflowClient(tracking_uri=settings.uri)
        self._runs: dict[str, dict[str, str | None]] = defaultdict(dict)  # by name: MLflow's run ID -> digest
        try:
            found = self._client.get_experiment_by_name(settings.experiment)
            self._experiment = found.experiment_id if found else self._client.create_experiment(settings.experiment)
            self._find_runs()
        except MlflowException as error:
            cause: BaseException = error
            while (deeper := cause.__cause__ or cause.__context__) is not None:
                cause = deeper
            raise ConnectionError(f"{self._client.tracking_uri}: {cause}") from error

    def _find_runs(self) -> None:
        pages = [self._client.search_runs([self._experiment])]
        while token := pages[-1].token:
            pages.append(self._client.search_runs([self._experiment], page_token=token))
        for one in (one for page in pages for one in page if _RUN in one.data.tags):
            self._runs[one.data.tags[_RUN]][one.info.run_id] = one.data.tags.get(_DIGEST)

    def has(self, run: TrackedRun) -> bool:
        """Tell whether MLflow has exactly this run, once."""
        return [*self._runs[run.name].values()] == [run.digest]

    def send(self, run: TrackedRun, after: int | None) -> None:
        """Send the epochs after `after`. None replaces MLflow's run, unless only its files are missing."""
        without_files = f"{run.digest} without files"
        if [*self._runs[run.name].values()] != [without_files]:
            self._send_values(run, after, without_files if run.ended else run.digest)
        if run.ended:
            (key,) = self._runs[run.name]
            self._send_files(run, key)
            self._client.set_tag(key, _DIGEST, run.digest)
            self._runs[run.name] = {key: run.digest}

    def _send_values(self, run: TrackedRun, after: int | None, digest: str) -> None:
        if after is None:
            self._begin(run)
        (key,) = self._runs[run.name]
        metrics = [
            Metric(measure, value, int(1000 * run.when(epoch)), epoch)
            for epoch, values in run.steps(after or 0)
            for measure, value in values.items()
        ]
        if run.ended:
            self._client.set_terminated(key, _STATUS[run.record.status], int(1000 * run.when(len(run.metrics))))
        *full, last = [metrics[start : start + _BATCH] for start in range(0, len(metrics), _BATCH)] or [[]]
        for batch in full:
            self._client.log_batch(key, batch)
        self._client.log_batch(key, last, tags=_tags(run, digest))  # MLflow stores tags after metrics
        self._runs[run.name] = {key: digest}

    def _begin(self, run: TrackedRun) -> None:
        """Replace MLflow's runs of this name with a new run, or reuse one of them that has no metrics.

        Without the reuse, a run that MLflow rejects would leave another deleted run after each attempt.
        """
        unused: str | None = None
        for key, digest in self._runs.pop(run.name, {}).items():
            if unused is None and digest is None and not self._client.get_run(key).data.metrics:
                unused = key
                self._client.update_run(key, "RUNNING")
            else:
                self._client.delete_run(key)
        if unused is None:
            made = self._client.create_run(self._experiment, int(1000 * run.started), {_RUN: run.name}, run.name)
            unused = made.info.run_id
        self._runs[run.name] = {unused: None}
        self._client.log_batch(unused, params=[Param(*item) for item in run.hyperparameters.items()])

    def _send_files(self, run: TrackedRun, key: str) -> None:
        for path in (run.directory / name for name in (RECORD, METRICS, TIMING)):
            if path.is_file():  # skip a pipe: reading it would wait for a writer
                self._client.log_artifact(key, str(path))
        if len(run.metrics):
            with tempfile.TemporaryDirectory() as folder:
                picture = Path(folder, f"{NAME}.png")
                picture.write_bytes(learning_curves(run))
                self._client.log_artifact(key, str(picture))


def _tags(run: TrackedRun, digest: str) -> list[RunTag]:
    record = run.record
    tags = {"error": record.error, "cut_from": record.cut_from, _DIGEST: digest}
    tags |= {f"environment.{key}": value for key, value in record.environment.items() if isinstance(value, str)}
    return [RunTag(key, one_line(value, 1000)) for key, value in tags.items() if value is not None]
