"""For tests of trackers: the command, a server of MLflow's, and what each tracker has of a run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests

from fmnist_sweep.records import METRICS, TIMING, csv_lines, read_metrics
from fmnist_sweep.track.runs import Points

ROOT = Path(__file__).parent.parent
EXPERIMENT = "fmnist_sweep"
PATIENCE = 120.0  # seconds, on a busy machine


def environment() -> dict[str, str]:
    """This process's, with the checkout to import from."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def start_follower(store: Path, *arguments: str) -> subprocess.Popen[str]:
    """A follower that goes on until its standard input is closed."""
    command = [sys.executable, "-m", "fmnist_sweep.track", str(store), *arguments, "--until-eof"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment(), cwd=store, text=True, **pipes)


def send(store: Path, *arguments: str) -> tuple[int, str]:
    """Run the command once. Returns its exit code and what it printed."""
    command = [sys.executable, "-m", "fmnist_sweep.track", str(store), *arguments]
    done = subprocess.run(
        command, env=environment(), cwd=store, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout + done.stderr


def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class MlflowServer:
    """A server on this machine with a database of its own, asked through its REST interface."""

    def __init__(self, folder: Path, port: int):
        self.uri = f"http://127.0.0.1:{port}"
        folder.mkdir(exist_ok=True)
        self._log = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
                *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
                *("--artifacts-destination", str(folder / "artifacts")),
            ],
            cwd=folder,
            env={**environment(), "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text()
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """End the server and its workers, which are in a session of their own."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def ask(self, way: str, **values: Any) -> Any:
        """The answer to a request: a GET with parameters, or a POST where there is a body."""
        url, body = f"{self.uri}/api/2.0/mlflow/{way}", values.pop("body", None)
        got = requests.get(url, values, timeout=60) if body is None else requests.post(url, json=body, timeout=60)
        assert got.ok, got.text
        return got.json()

    def runs(self, experiment: str = EXPERIMENT) -> dict[str, list[dict[str, Any]]]:
        """Every run of an experiment, by name; no name should have two."""
        found = self.ask("experiments/get-by-name", experiment_name=experiment)
        body = {"experiment_ids": [found["experiment"]["experiment_id"]]}
        runs: dict[str, list[dict[str, Any]]] = {}
        for one in self.ask("runs/search", body=body).get("runs", []):
            runs.setdefault(one["info"]["run_name"], []).append(one)
        return runs

    def points(self, name: str, experiment: str = EXPERIMENT) -> list[tuple[tuple[str, int], float]]:
        """Every point of the one run of a name, as often as it is there."""
        (run,) = self.runs(experiment)[name]
        key = run["info"]["run_id"]
        return [
            ((measure["key"], one["step"]), float(one["value"]))
            for measure in run["data"].get("metrics", [])
            for one in self.ask("metrics/get-history", run_id=key, metric_key=measure["key"])["metrics"]
        ]

    def files(self, name: str) -> set[str]:
        """The names of a run's artefacts."""
        (run,) = self.runs()[name]
        return {one["path"] for one in self.ask("artifacts/list", run_id=run["info"]["run_id"]).get("files", [])}


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[MlflowServer]:
    """A server for a while."""
    server = MlflowServer(folder, port)
    try:
        yield server
    finally:
        server.stop()


def event_files(folder: Path) -> Any:
    """What TensorBoard itself reads in a folder, with every point that there is."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def tensorboard_points(folder: Path) -> list[tuple[tuple[str, int], float]]:
    """Every point of a run, as often as it is there, under the names of `records.MEASURES`."""
    found = event_files(folder)
    names = {tag: "_".join(reversed(tag.split("/"))) for tag in found.Tags()["scalars"]}
    return [((name, one.step), one.value) for tag, name in names.items() for one in found.Scalars(tag)]


def wandb_run(name: str, folder: Path) -> WandbRun:
    """The one run of a name below `wandb` in a folder, from the file that `wandb sync` sends."""
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
        self.points: list[tuple[tuple[str, int], float]] = []
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


def same(found: Sequence[tuple[tuple[str, int], float]], points: Points) -> bool:
    """Whether there is each point once and no other, to the precision of float32."""
    keys = [key for key, _ in found]
    values = dict(found)
    return (
        len(keys) == len(set(keys))
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
