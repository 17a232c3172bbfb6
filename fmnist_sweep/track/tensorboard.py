"""Write one TensorBoard event file for each run, into the run's own directory or below a folder.

The last record of a file has the digest of the content that was sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from fmnist_sweep.config.schema import TensorBoardConfig
from fmnist_sweep.store.layout import Status
from fmnist_sweep.track.figure import NAME, learning_curves
from fmnist_sweep.track.runs import TrackedRun

_SUFFIX = ".fmnist_sweep"  # event files of other programs stay as they are
_STATUS: dict[Status, int] = {
    "interrupted": api_pb2.STATUS_UNKNOWN,
    "done": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "diverged": api_pb2.STATUS_FAILURE,
}


class Tracker:
    """Writes event files."""

    takes_running = True

    def __init__(self, settings: TensorBoardConfig):
        self._folder = None if settings.folder is None else Path(settings.folder)

    def has(self, run: TrackedRun) -> bool:
        """Tell whether there is exactly one event file, and it has this run's current content."""
        # The last record ends with the digest and the record's 4-byte checksum.
        ends = [path.read_bytes()[-68:-4] for path in self._files(run)]
        return list(filter(None, ends)) == [run.digest.encode()]

    def send(self, run: TrackedRun, after: int | None) -> None:
        """Append the epochs after `after` to the run's event file. None writes a new file."""
        folder = self._place(run)
        if after is None:
            for path in self._files(run):
                # If its file disappears, a running TensorBoard stops reading the folder. An empty file does no harm.
                if path.stat().st_size:
                    path.write_bytes(b"")
                else:
                    path.unlink()
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"events.out.tfevents.{time.time_ns()}{_SUFFIX}").touch()
        with self._files(run)[-1].open("ab") as file:
            writer = RecordWriter(file)
            for event in _events(run, after):
                writer.write(event.SerializeToString())

    def _place(self, run: TrackedRun) -> Path:
        # Use the run's name, since directories in several stores may have the same name.
        return self._folder / run.name.replace("/", "_") if self._folder else run.directory

    def _files(self, run: TrackedRun) -> list[Path]:
        return sorted(self._place(run).glob(f"events.out.tfevents.*{_SUFFIX}"))


def _events(run: TrackedRun, after: int | None) -> Iterator[Event]:
    if after is None:
        yield Event(wall_time=run.started, file_version="brain.Event:2")
        # This makes a running TensorBoard forget the content of the replaced file.
        yield Event(wall_time=run.started, session_log=SessionLog(status=SessionLog.START))
        yield Event(wall_time=run.started, summary=hparams_pb(run.hyperparameters, run.name, run.started))
    for epoch, values in run.steps(after or 0):
        scalars = [Summary.Value(tag=_tag(key), simple_value=value) for key, value in values.items()]
        yield Event(wall_time=run.when(epoch), step=epoch, summary=Summary(value=scalars))
    epochs = len(run.metrics)
    if run.ended:
        yield Event(wall_time=run.when(epochs), step=epochs, summary=Summary(value=_end(run)))
    yield Event(wall_time=run.when(epochs), source_metadata=SourceMetadata(writer=run.digest))


def _tag(key: str) -> str:
    """Turn `val_loss` into `loss/val`: TensorBoard groups tags by their first word."""
    curve, _, what = key.partition("_")
    return f"{what}/{curve}" if what else key


def _end(run: TrackedRun) -> Iterator[Summary.Value]:
    if len(run.metrics):
        image = Summary.Image(encoded_image_string=learning_curves(run), colorspace=4)
        yield Summary.Value(tag=NAME, image=image)
    info = plugin_data_pb2.SessionEndInfo(status=_STATUS[run.record.status], end_time_secs=run.when(len(run.metrics)))
    described = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=info))
    yield Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=described, tensor=metadata.NULL_TENSOR)
