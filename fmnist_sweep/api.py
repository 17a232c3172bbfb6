"""The Python interface: train, read and judge runs as the command line does, and load their models.

Runs are a table with a row per run and epoch, as returned by `read`. Filter it with pandas and pass it on.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fmnist_sweep.config.grids import choices, written
from fmnist_sweep.config.messages import reason
from fmnist_sweep.config.overrides import as_typed
from fmnist_sweep.data import DataError
from fmnist_sweep.errors import ConfigError, RunError, one_line
from fmnist_sweep.store import layout
from fmnist_sweep.store.frames import Runs, collected, directories_of, read, table_of
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.store.tables import gather

if TYPE_CHECKING:
    from torch import nn


__all__ = ["Runs", "judge", "load_model", "read", "sweep", "train"]


def train(*overrides: str, store: str | Path = "multirun", **values: Any) -> pd.DataFrame:
    """Train one run as `python -m fmnist_sweep` does. A finished run is not trained again.

        fs.train("optimizer=sgd", epochs=5, seed=1)

    Args:
        overrides: overrides as typed on the command line.
        store: the folder that holds the runs.
        values: overrides by keyword. Write `**{"optimizer.lr": 0.1}` for a key with a dot. A list is one value.

    Returns:
        The run's rows, in the format of `read`. The table is empty after `dry_run=True`.

    Raises:
        ConfigError: the configuration cannot work; the message says in one line what is wrong and how to fix it.
        DataError: the data set is unavailable.
        RunError: the run failed; its directory has the traceback.
    """
    return _trained([*overrides, *(f"{key}={written(value)}" for key, value in values.items())], store, multirun=False)


def sweep(*overrides: str, store: str | Path = "multirun", **values: Any) -> pd.DataFrame:
    """Train the runs of a sweep as `python -m fmnist_sweep -m` does. Finished runs are not trained again.

        fs.sweep("optimizer=adam,sgd", epochs=5, seed=range(3))
        fs.sweep(paper="caprari2024", until="settled", budget="30min")

    Args:
        overrides: overrides as typed on the command line.
        store: the folder that holds the runs.
        values: overrides by keyword. Write `**{"optimizer.lr": [0.1, 0.01]}` for a key with a dot. A list, tuple or
            range holds the values to try, and each value may be a list.

    Returns:
        The rows of the requested runs, in the format of `read`. The table is empty after `dry_run=True`.

    Raises:
        ConfigError: the configuration cannot work; nothing was trained.
        DataError: the data set is unavailable.
        RunError: some runs failed; the others are finished, and `read` returns them.
    """
    return _trained([*overrides, *(choices(key, value) for key, value in values.items())], store, multirun=True)


def judge(runs: Runs, paper: str = "caprari2024") -> pd.DataFrame:
    """Judge each claim of a paper.

    Args:
        runs: a table as returned by `read`, or a folder. The table only selects runs: all epochs of a selected run
            count. Of several runs with the same configuration and seed, only one counts, a finished one if possible.
        paper: the paper's name, or the path of a file in the format of `conf/paper`.

    Returns:
        A row per claim, indexed by the claim's id. The columns are those of the report's `claims.csv`, among them
        statement, expected, measured (the mean over seeds), interval_low, interval_high, seeds, p_value, verdict
        ("reproduced", "not reproduced", "open" or "not run") and the reason for the verdict.

    Raises:
        ConfigError: there is no such paper or folder, or the paper has a mistake.
    """
    from fmnist_sweep import papers
    from fmnist_sweep.report.claims import judged, row

    of = papers.read(paper)
    results = judged(of, collected(runs, of.covers))
    return pd.DataFrame([row(of, verdict) for verdict in results.verdicts]).set_index("id")


def load_model(run: pd.DataFrame | str | Path) -> nn.Sequential:
    """Return the model of a finished run: its layers as PyTorch's modules, in evaluation mode, on the CPU.

    The model takes float32 images [n, 1, 28, 28], or any shape with 784 values per image, and returns logits [n, 10].
    Scale the pixels as in the run, by default `(x / 255 - 0.5) / 0.5`. The model uses only PyTorch's own modules: its
    `state_dict` loads into any `nn.Sequential` of the same layers, and `torch.export.export` can export it.

    Args:
        run: a run's directory, or a table with the rows of one run.

    Raises:
        ConfigError: there is no such run, or it has no model because it is unfinished or was cut from a longer run.
    """
    from fmnist_sweep.engine import checkpoints
    from fmnist_sweep.engine.model import sequential

    directories = directories_of(run)
    if len(directories) != 1:
        raise ConfigError(f"these are the rows of {len(directories)} runs; give those of one")
    (directory,) = directories
    try:
        record = layout.read_record(directory)
    except layout.RecordError as error:
        raise ConfigError(f"{directory}: {error}; give the directory of a run") from error
    config = record.config
    if record.cut_from is not None:
        raise ConfigError(f"{directory.name}: has no model: it was cut from {record.cut_from}; rerun=true trains it")
    if record.status != "done":
        raise ConfigError(f"{directory.name}: is {record.status}, so it has no final model; train it to its end")
    epochs = config.training.epochs
    try:
        content = RunDirectory(directory).read_checkpoint(epochs, checkpoints.most_bytes(config))
        parameters, statistics = checkpoints.decode_model(content, config)
    except Exception as error:  # the file may come from anyone, so decoding it may raise any error
        raise ConfigError(
            one_line(f"{directory}/checkpoint-{epochs}.pt: {error}; rerun=true trains the run again")
        ) from error
    return sequential(config.model, parameters, statistics)


def _trained(lines: Sequence[str], store: str | Path, *, multirun: bool) -> pd.DataFrame:
    from fmnist_sweep import cli

    typed = [*lines, f"hydra.sweep.dir={written(Path(store))}"]
    with _contained():
        loader = cli.loader_for(typed)
        try:
            directories = cli.carry_out(cli.rewrite(typed, loader), loader, multirun=multirun)
        except (DataError, RunError):
            raise
        except Exception as error:  # Hydra, OmegaConf and torch each reject a value with their own errors
            raise ConfigError(as_typed(reason(error), typed)) from error
    return table_of(gather(dict.fromkeys(directories)))


@contextmanager
def _contained() -> Iterator[None]:
    """Restore on exit what a command changes in its process: logging, Hydra's globals, environment, torch's threads."""
    import torch

    from fmnist_sweep.config import hydra_private

    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("train and sweep handle interrupts, which only the main thread can; call them there")
    log, environment, threads = logging.getLogger(), dict(os.environ), torch.get_num_threads()
    handlers, level = log.handlers[:], log.level
    # With this setting, Hydra raises errors instead of printing them over many lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with hydra_private.globals_kept():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        for handler in set(log.handlers) - set(handlers):
            handler.close()
        log.handlers[:] = handlers
        log.setLevel(level)
        torch.set_num_threads(threads)
