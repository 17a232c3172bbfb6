"""For tests of trackers: the command, an MLflow server, and what each tracker has of a run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import requests

from fmnist_sweep.store.layout import METRICS, RECORD, TIMING, csv_lines, read_metrics, read_record
from fmnist_sweep.track.__main__ import main
from fmnist_sweep.track.runs import TrackedRun

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds, on a busy machine

Points = list[tuple[tuple[str, int], float]]  # measure, epoch and value, as often as a tracker has them


def environment() -> dict[str, str]:
    """This process's environment, with the checkout to import from, and without W&B's service of this process."""
    outer = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    return {**outer, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def start_follower(store: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a follower, which goes on until its standard input is closed."""
    command = [sys.executable, "-m", "fmnist_sweep.track", str(store), *arguments, "--until-eof"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment(), cwd=store, text=True, **pipes)


def send(store: Path, *arguments: str) -> tuple[int, str]:
    """Run the command once, in this process and the folder `store`. Returns its exit code and what it printed."""
    said, folder = io.StringIO(), Path.cwd()
    os.chdir(store)
    try:
        with contextlib.redirect_stdout(said):
            return main([str(store), *arguments]), said.getvalue()
    finally:
        os.chdir(folder)


def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


class MlflowServer:
    """A server on this machine with a database of its own, and a client of it."""

    def __init__(self, folder: Path):
        from mlflow import MlflowClient

        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self._port = int(one.getsockname()[1])
        self.uri = f"http://127.0.0.1:{self._port}"
        self.client = MlflowClient(self.uri)
        self._folder = folder

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)),
            *("--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"),
            *("--artifacts-destination", str(self._folder / "artifacts")),
        ]
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env={**environment(), "MLFLOW_DISABLE_TELEMETRY": "true"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "server.log").read_text()
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """End the server and its workers, which are in a session of their own."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Stop the server for a while."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def run(self, name: str, experiment: str) -> Any:
        """Return the one run of a name, as MLflow's client gives it."""
        found = self.client.search_experiments(filter_string=f"name = '{experiment}'")
        runs = self.client.search_runs([one.experiment_id for one in found])
        (run,) = [run for run in runs if run.info.run_name == name]
        return run

    def points(self, name: str, experiment: str) -> Points:
        """Return every point of a run."""
        run = self.run(name, experiment)
        histories = {key: self.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        return [((key, one.step), one.value) for key, history in histories.items() for one in history]


def event_files(folder: Path) -> Any:
    """Read with TensorBoard's own reader every point in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def event_file_names(run: Path) -> str:
    """Return the names of a run's event files."""
    return str(sorted(run.glob("*tfevents*")))


def tensorboard_points(folder: Path) -> Points:
    """Return every point of a run, with the names of `MEASURES`."""
    found = event_files(folder)
    names = {tag: "_".join(reversed(tag.split("/"))) for tag in found.Tags()["scalars"]}
    return [((name, one.step), one.value) for tag, name in names.items() for one in found.Scalars(tag)]


def tensorboard_status(folder: Path) -> str:
    """Return how the page of hyperparameters says that a run ended."""
    from tensorboard.plugins.hparams import api_pb2, metadata

    content = event_files(folder).summary_metadata[metadata.SESSION_END_INFO_TAG].plugin_data.content
    status = metadata.parse_session_end_info_plugin_data(content).status
    return {api_pb2.STATUS_SUCCESS: "FINISHED", api_pb2.STATUS_FAILURE: "FAILED"}[status]


def wandb_run(name: str, folder: Path) -> WandbRun:
    """Return the one run of a name below `wandb` in a folder, from the file that `wandb sync` sends."""
    runs = [WandbRun(path) for path in folder.glob("wandb/offline-run-*/run-*.wandb")]
    (found,) = [run for run in runs if run.name == name]
    return found


class WandbRun:
    """A file of records as W&B's own library writes it: a log of LevelDB's format, of its protocol buffers.

    The format: https://github.com/google/leveldb/blob/main/doc/log_format.md, after 7 bytes of W&B's own.
    """

    def __init__(self, path: Path):
        from wandb.proto.wandb_internal_pb2 import Record

        self.folder = path.parent
        self.name, self.project, self.config, self.exit_code = "", "", {}, None
        self.points: Points = []
        self.pictures: list[Path] = []
        self.times: dict[int, float] = {}
        content, at, part = path.read_bytes(), 7, b""
        assert content.startswith(b":W&B")
        while at + 7 <= len(content):
            room = 32_768 - at % 32_768
            if room < 7:
                at += room
                continue
            length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
            part += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last part
                self._take(Record.FromString(part))
                part = b""

    def _take(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.name, self.project = record.run.display_name, record.run.project
            self.config = {one.key: json.loads(one.value_json) for one in record.run.config.update}
        elif kind == "exit":
            self.exit_code = record.exit.exit_code
        elif kind == "history":
            values = {tuple(one.nested_key): json.loads(one.value_json) for one in record.history.item}
            epoch = record.history.step.num
            assert values.pop(("_step",)) == epoch
            self.times[epoch] = values.pop(("_timestamp",))
            del values[("_runtime",)]
            for key, value in values.items():
                if len(key) == 1:
                    self.points.append(((key[0], epoch), float(value)))
                elif key[1] == "path":
                    self.pictures.append(self.folder / "files" / value)


def same(found: Points, run: TrackedRun) -> bool:
    """Tell whether there is each point of a run once and no other, to the precision of float32."""
    points = {(measure, epoch): value for epoch, values in run.steps() for measure, value in values.items()}
    values = dict(found)
    return (
        len(found) == len(values)
        and values.keys() == points.keys()
        and all(np.isclose(values[key], np.float32(points[key]), rtol=1e-6, equal_nan=True) for key in points)
    )


def grow(run: Path, rows: np.ndarray[Any, Any], seconds: float = 0.7) -> None:
    """Append rows of the six measures to a run's files, as a worker does."""
    start = len(read_metrics(run, done=False)[0]) + 1
    for epoch, row in enumerate(rows.tolist(), start):
        for file, values in ((TIMING, (epoch, seconds * epoch)), (METRICS, (epoch, *row))):
            with (run / file).open("ab") as stream:
                stream.write(csv_lines([values]))


def set_record(run: Path, **values: object) -> None:
    """Write run.json with other values."""
    record = read_record(run)
    (run / RECORD).write_bytes(record.model_copy(update=values).encode())
