"""Write a folder below `wandb/` for each run that has ended; the user sends it with `wandb sync`.

`wandb sync` replaces the server's copy of a run. So each folder has the whole run. It gets its final name only when it
is complete, and includes a file with the run's digest.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import wandb

from fmnist_sweep.config.schema import WandbConfig
from fmnist_sweep.store.layout import Status
from fmnist_sweep.track.figure import NAME, learning_curves
from fmnist_sweep.track.runs import TrackedRun

_DIGEST = "fmnist_sweep.sha256"
_EXIT_CODE: dict[Status, int] = {"done": 0, "interrupted": 130, "failed": 1, "diverged": 1}


class Tracker:
    """Writes a project's runs to local folders."""

    takes_running = False

    def __init__(self, settings: WandbConfig):
        self._folder = Path(settings.folder).absolute() / "wandb"
        self._project = settings.project

    def has(self, run: TrackedRun) -> bool:
        """Tell whether the run has exactly one folder, with its current digest."""
        return [(folder / _DIGEST).read_text() for folder in self._folders(run)] == [run.digest]

    def send(self, run: TrackedRun, after: int | None) -> None:
        """Write the whole run, and remove its earlier folder."""
        assert after is None
        unfinished = self._folder / f".{self._key(run)}"
        shutil.rmtree(unfinished, ignore_errors=True)  # a killed follower may have left it
        unfinished.mkdir(parents=True)
        self._write(run, unfinished)
        (written,) = unfinished.glob("wandb/offline-run-*")
        (written / _DIGEST).write_text(run.digest)
        for folder in self._folders(run):
            shutil.rmtree(folder)
        written.rename(self._folder / written.name)
        shutil.rmtree(unfinished)

    def _key(self, run: TrackedRun) -> str:
        return hashlib.sha256(f"{self._project}/{run.name}".encode()).hexdigest()[:16]

    def _folders(self, run: TrackedRun) -> list[Path]:
        return list(self._folder.glob(f"offline-run-*-{self._key(run)}"))

    def _write(self, run: TrackedRun, root: Path) -> None:
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
            id=self._key(run),
            name=run.name,
            notes=run.record.error,
            config=dict(run.hyperparameters),
            settings=settings,
        ) as writer:
            for epoch, values in run.steps():
                writer.log({**values, "_timestamp": run.when(epoch)}, step=epoch)
            if epochs := len(run.metrics):
                picture = root / f"{NAME}.png"
                picture.write_bytes(learning_curves(run))
                writer.log({NAME: wandb.Image(str(picture)), "_timestamp": run.when(epochs)}, step=epochs)
            writer.finish(_EXIT_CODE[run.record.status])
