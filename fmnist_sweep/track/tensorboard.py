"""TensorBoard: event files in a run's own directory, or in one named for the run below a folder.

An epoch is one record of an event file, which readers take whole or not at all. Who takes up a run begins a new file,
as a record that was torn hides all after it in its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import groupby
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from fmnist_sweep.config import TensorBoardConfig
from fmnist_sweep.records import Status
from fmnist_sweep.track.figure import NAME, learning_curves
from fmnist_sweep.track.runs import Points, TrackedRun, agree

_SUFFIX = ".fmnist_sweep"  # the event files of others are left alone
_STATUS: dict[Status, int] = {
    "done": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "diverged": api_pb2.STATUS_FAILURE,
}


def connect(settings: TensorBoardConfig) -> TensorBoard:
    """The tracker with these settings."""
    return TensorBoard(None if settings.folder is None else Path(settings.folder))


class TensorBoard:
    """Writes event files; `folder` has a folder for each run, None stands for their own directories."""

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._growing: dict[Path, _Events] = {}

    def send(self, run: TrackedRun) -> bool:
        """Append what the event files of a run lack; they are written anew where the run was trained anew."""
        # By the run's name, since directories of several stores may be called alike.
        folder = run.directory if self._folder is None else self._folder / run.name.replace("/", "_")
        events = self._growing.pop(folder, None) or _Events(folder)
        points = {(_tag(key), epoch): float(np.float32(value)) for (key, epoch), value in run.points.items()}
        status = _STATUS[run.record.status] if run.ended else None
        ended = status is not None and events.status == status
        if not agree(events.points, points) or (status and events.status not in (None, status)):
            events.remove()
            ended = False
        summaries = [] if events.begun else [(0, hparams_pb(run.hyperparameters, run.name, run.started))]
        missing = sorted((epoch, tag) for tag, epoch in points.keys() - events.points.keys())
        for epoch, group in groupby(missing, key=lambda point: point[0]):
            values = [Summary.Value(tag=tag, simple_value=points[tag, epoch]) for _, tag in group]
            summaries.append((epoch, Summary(value=values)))
        if status is not None and not ended:
            summaries.append((len(run.metrics), Summary(value=list(_end(run, status)))))
        if self._folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        events.append([Event(wall_time=run.when(step), step=step, summary=summary) for step, summary in summaries])
        events.begun = True
        events.points |= points
        if not run.ended:
            self._growing[folder] = events
        return True


class _Events:
    """The event files of one run.

    Attributes:
        begun: whether they have the hyperparameters, which come first.
        points: that they hold, as float32.
        status: how the run ended; None where they do not tell.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._forget()
        for path in self._paths():
            for content in RawEventFileLoader(str(path)).Load():
                self._take(Event.FromString(content))

    def _forget(self) -> None:
        self.begun = False
        self.points: Points = {}
        self.status: int | None = None
        self._path = self._folder / f"events.out.tfevents.{time.time_ns()}{_SUFFIX}"

    def _take(self, event: Event) -> None:
        for value in event.summary.value:
            if value.tag == metadata.SESSION_START_INFO_TAG:
                self.begun = True
            elif value.tag == metadata.SESSION_END_INFO_TAG:
                content = value.metadata.plugin_data.content
                self.status = metadata.parse_session_end_info_plugin_data(content).status
            elif value.HasField("simple_value"):
                self.points[value.tag, event.step] = value.simple_value

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"events.out.tfevents.*{_SUFFIX}"))

    def remove(self) -> None:
        """Remove the files."""
        for path in self._paths():
            path.unlink()
        self._forget()

    def append(self, events: Sequence[Event]) -> None:
        """Append events to the file that is this process's own."""
        if not events:
            return
        stream = BytesIO()
        writer = RecordWriter(stream)
        with self._path.open("ab") as file:
            if not file.tell():
                writer.write(Event(wall_time=events[0].wall_time, file_version="brain.Event:2").SerializeToString())
            for event in events:
                writer.write(event.SerializeToString())
            file.write(stream.getvalue())


def _tag(key: str) -> str:
    """`loss/val` for `val_loss`: TensorBoard shows what has the first word in common together."""
    curve, _, what = key.partition("_")
    return f"{what}/{curve}" if what else key


def _end(run: TrackedRun, status: int) -> Iterator[Summary.Value]:
    """How a run ended, and a picture of its curves."""
    if len(run.metrics):
        png = learning_curves(run)
        yield Summary.Value(tag=NAME, image=Summary.Image(encoded_image_string=png, colorspace=4))
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=run.when(len(run.metrics)))
    described = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=info))
    yield Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=described, tensor=metadata.NULL_TENSOR)
