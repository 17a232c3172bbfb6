"""Weights & Biases without its server: a folder in `wandb/` for each run that has ended, for `wandb sync` to send.

`wandb sync` puts what it finds in the place of what the server has of a run. So a folder has all of its run, is
written in one go and appears under its name when it is complete; it keeps the digest of what was written.
"""

from __future__ import annotations

import hashlib
import shutil
from itertools import groupby
from pathlib import Path

import wandb

from fmnist_sweep.config import WandbConfig
from fmnist_sweep.records import Status
from fmnist_sweep.track.figure import NAME, learning_curves
from fmnist_sweep.track.runs import TrackedRun

_DIGEST = "fmnist_sweep.sha256"
_EXIT_CODE: dict[Status, int] = {"done": 0, "interrupted": 130, "failed": 1, "diverged": 1}


def connect(settings: WandbConfig) -> Wandb:
    """The tracker with these settings."""
    return Wandb(Path(settings.folder), settings.project)


class Wandb:
    """Writes runs of a project below the folder `wandb` of a folder."""

    def __init__(self, folder: Path, project: str):
        self._runs = folder.absolute() / "wandb"
        self._project = project

    def send(self, run: TrackedRun) -> bool:
        """Write a run, in the place of what was written of it earlier; one that is in training has to wait."""
        if run.record.status == "running":
            return False
        key = hashlib.sha256(f"{self._project}/{run.name}".encode()).hexdigest()[:16]
        before = list(self._runs.glob(f"offline-run-*-{key}"))
        if len(before) != 1 or not _holds(before[0], run.digest):
            unfinished = self._runs / f".{key}"
            shutil.rmtree(unfinished, ignore_errors=True)  # of one that was killed
            unfinished.mkdir(parents=True)
            self._write(run, key, unfinished)
            (written,) = unfinished.glob("wandb/offline-run-*")
            (written / _DIGEST).write_text(run.digest)
            for folder in before:
                shutil.rmtree(folder)
            written.rename(self._runs / written.name)
            shutil.rmtree(unfinished)
        return True

    def _write(self, run: TrackedRun, key: str, root: Path) -> None:
        settings = wandb.Settings(
            mode="offline",
            root_dir=str(root),
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        with wandb.init(
            project=self._project,
            id=key,
            name=run.name,
            notes=run.record.error,
            config=dict(run.hyperparameters),
            settings=settings,
        ) as writer:
            points = run.points
            for epoch, keys in groupby(sorted(points, key=lambda point: point[1]), key=lambda point: point[1]):
                values: dict[str, object] = {measure: points[measure, epoch] for measure, _ in keys}
                if epoch == len(run.metrics) > 0:
                    picture = root / f"{NAME}.png"
                    picture.write_bytes(learning_curves(run))
                    values[NAME] = wandb.Image(str(picture))
                writer.log({**values, "_timestamp": run.when(epoch)}, step=epoch)
            writer.finish(_EXIT_CODE[run.record.status])


def _holds(folder: Path, digest: str) -> bool:
    try:
        return (folder / _DIGEST).read_text() == digest
    except (OSError, ValueError):
        return False
