"""The Python interface: train, read, summarise and judge runs as the command line does, and load their models.

Runs are a table with a row per run and epoch, as returned by `read`. Filter it with pandas and pass it on. Keys
have the names of the command line, such as `batch_size` and `optimizer.lr`. Metrics are train_loss, train_accuracy,
val_loss, val_accuracy and, where it was measured, test_accuracy; losses are in nats and accuracies fractions.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from fmnist_sweep.config.grids import choices, written
from fmnist_sweep.config.messages import reason
from fmnist_sweep.config.overrides import as_typed
from fmnist_sweep.data import CLASS_NAMES, DataError
from fmnist_sweep.errors import ConfigError, RunError, nearest, one_line
from fmnist_sweep.store import layout
from fmnist_sweep.store import summary as by_configuration
from fmnist_sweep.store.frames import (
    Runs,
    collected,
    directories_of,
    last_epochs,
    read,
    table_of,
    tabled,
)
from fmnist_sweep.store.predictions import predicted
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.store.tables import CONFIGURATION, cell, differing, factors, gather, ordered

if TYPE_CHECKING:
    from torch import nn


__all__ = [
    "Best",
    "Runs",
    "best",
    "compare",
    "judge",
    "load_model",
    "predictions",
    "read",
    "summary",
    "sweep",
    "train",
    "write_report",
]


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
        With `until="settled"` only the runs that this call trained are requested, so `read` the store for all.

    Raises:
        ConfigError: the configuration cannot work; nothing was trained.
        DataError: the data set is unavailable.
        RunError: some runs failed; the others are finished, and `read` returns them.
    """
    return _trained([*overrides, *(choices(key, value) for key, value in values.items())], store, multirun=True)


def summary(runs: Runs) -> pd.DataFrame:
    """Summarise runs by configuration, the highest mean validation accuracy first.

    Args:
        runs: a table as returned by `read`, a folder, or a report's results.csv. A folder also counts runs that have no
            epoch yet.

    Returns:
        A row per configuration. Columns: the keys in which the runs differ; n (finished runs, one for each seed),
        unfinished, failed and diverged (runs); mean and sample standard deviation over seeds of each metric after the
        last epoch, as val_loss and val_loss_sd; best_epoch (the mean of the epochs with each run's best validation
        accuracy); seconds (the mean training time of a run). Configurations without a finished run come last.

    Raises:
        ConfigError: there are no such runs.
    """
    return by_configuration.summary(tabled(runs))


class Best(NamedTuple):
    """The best configuration: its row of `summary`, and the rows of its runs."""

    summary: pd.Series
    runs: pd.DataFrame


def best(runs: Runs, metric: str = "val_accuracy") -> Best:
    """Find the configuration with the best mean of a metric after the last epoch: the lowest loss or highest accuracy.

        configuration, its_runs = fs.best(runs)
        fs.draw.confusion(its_runs)

    Args:
        runs: as in `summary`.
        metric: a metric that `summary` has.

    Returns:
        summary, the configuration's row of `summary`, and runs, all rows of its runs in the format of `read`. Of equal
        configurations, the one that `summary` lists first.

    Raises:
        ConfigError: the metric is unknown, or no run is finished.
    """
    collection = tabled(runs)
    table = by_configuration.summary(collection)
    keys = by_configuration.summary(collection, CONFIGURATION)[CONFIGURATION]  # in the same order
    metrics = [name.removesuffix("_sd") for name in table if name.endswith("_sd")]
    _check("metric", metric, metrics)
    finished = table[metric].dropna()
    if finished.empty:
        raise ConfigError("none of these runs is finished, so there is no best one")
    place = finished.idxmin() if metric.endswith("loss") else finished.idxmax()
    rows = runs if isinstance(runs, pd.DataFrame) else table_of(collection)
    return Best(table.loc[place], rows[(rows[CONFIGURATION] == keys.loc[place]).all(axis=1)])


def compare(
    runs: Runs, a: Mapping[str, Any] | str, b: Mapping[str, Any] | str, metric: str = "val_accuracy"
) -> pd.Series:
    """Compare two configurations by a metric after the last epoch, paired by seed.

        fs.compare(runs, {"optimizer": "Adam", "batch_size": 100}, {"optimizer": "SGD", "batch_size": 100}, "val_loss")

    Runs with one seed begin with the same weights and see the images in the same order, so their difference varies less
    than that of two runs with different seeds.

    Args:
        runs: as in `summary`; only finished runs count.
        a, b: one configuration each: values by key, or an expression for `DataFrame.query`, in which keys with a dot
            are quoted as in "`optimizer.lr` == 0.1".
        metric: train_loss, train_accuracy, val_loss, val_accuracy or another column of a run's metrics.

    Returns:
        a and b (means over the shared seeds), difference (a - b), low and high (its 95 % t interval), n (shared seeds)
        and p (of the two-sided paired t test that there is no difference; not corrected for further comparisons).

    Raises:
        ConfigError: a side is not one configuration, both are the same one, or fewer than two seeds are shared.
    """
    from scipy import stats

    from fmnist_sweep.papers.statistics import has_spread, mean_interval

    collection = tabled(runs)
    rows = last_epochs(collection.metrics)
    known = list(rows.columns[rows.columns.get_loc("epoch") + 1 :].drop("seconds"))
    _check("metric", metric, known)
    sides = [_side(rows, name, wanted) for name, wanted in (("a", a), ("b", b))]
    if (sides[0][CONFIGURATION].iloc[0] == sides[1][CONFIGURATION].iloc[0]).all():
        raise ConfigError("a and b are the same configuration; give two that differ")
    first, second = (side.set_index("seed")[metric] for side in sides)
    shared = first.index.intersection(second.index)
    if len(shared) < 2:
        seeds = " and ".join(f"{sorted(side.index)}" for side in (first, second))
        raise ConfigError(f"seeds do not pair up: a and b have {seeds}; train both with the same seeds, two at least")
    values = (first[shared] - second[shared]).to_numpy()
    mean, low, high = mean_interval(values)
    p = stats.ttest_1samp(values, 0).pvalue if has_spread(values) else float(mean == 0)
    told = {"a": first[shared].mean(), "b": second[shared].mean(), "difference": mean, "low": low, "high": high}
    return pd.Series({**told, "n": len(shared), "p": p}, name=metric, dtype="object")


def _side(rows: pd.DataFrame, name: str, wanted: Mapping[str, Any] | str) -> pd.DataFrame:
    """Return the rows of one side of a comparison, which is one configuration."""
    if isinstance(wanted, str):
        try:
            found = rows.query(wanted)
        except Exception as error:  # pandas evaluates any expression
            raise ConfigError(one_line(f"{name}={wanted!r}: cannot be evaluated: {error}")) from error
    else:
        found = rows
        for key, value in wanted.items():
            _check(name, key, factors(rows))
            level = "-".join(map(str, value)) if key == "model.hidden" and not isinstance(value, str) else value
            level = cell(list(level) if isinstance(level, tuple) else level)
            if (matching := found[found[key] == level]).empty:
                levels = [str(level) for level in ordered(found[key].dropna())]
                there = f"there are {', '.join(levels)}{nearest(str(value), levels)}"
                raise ConfigError(f"{name}: no finished run has {key}={value}; {there}")
            found = matching
    if found.empty:
        raise ConfigError(f"{name}={wanted!r}: no finished run is so")
    if len(found.drop_duplicates(CONFIGURATION)) > 1:
        raise ConfigError(
            f"{name}={wanted!r}: is several configurations, which differ in {', '.join(differing(found))}; add these"
        )
    return found


def predictions(run: pd.DataFrame | str | Path) -> pd.DataFrame:
    """Return what a finished run predicts for each of its validation images.

        table = fs.predictions(fs.best(runs).runs.query("seed == 0"))
        pd.crosstab(table["true"], table["predicted"])

    Args:
        run: a run's directory, or a table with the rows of one run.

    Returns:
        A row per image, in the order of the data set, with the columns true and predicted: names of classes, as
        categories whose codes are the labels 0 to 9.

    Raises:
        ConfigError: there is no such run, or it kept no predictions.
        DataError: Fashion-MNIST is not on this machine.
    """
    true, classes = predicted(_directory(run))
    columns = {"true": true, "predicted": classes}
    return pd.DataFrame(
        {name: pd.Categorical.from_codes(codes.astype(int), CLASS_NAMES) for name, codes in columns.items()}
    ).rename_axis("image")


def write_report(
    runs: Runs,
    paper: str | None = None,
    output: str | Path = "report",
    lang: str = "en",
    data: str | Path | None = None,
) -> Path:
    """Write the report of runs, on a paper or on the sweep itself, as `python -m fmnist_sweep.report` does.

    Args:
        runs: a table as returned by `read`, a folder, or a report's results.csv.
        paper: the paper's name, the path of a file in the format of `conf/paper`, or `none` for a report on the sweep
            itself; by default caprari2024, or `none` if it has no configuration of these runs.
        output: the folder to write to. It is made if needed.
        lang: `en` or `es`.
        data: the folder of Fashion-MNIST, for the images of mistakes; by default where sweeps keep it.

    Returns:
        The path of the page, index.html; figures and tables lie beside it.

    Raises:
        ConfigError: there are no runs, or none fits the paper; the paper has a mistake or lacks the language; or the
            folder holds other files of these names.
    """
    from fmnist_sweep.report.__main__ import write
    from fmnist_sweep.report.choice import choose
    from fmnist_sweep.report.claims import judged
    from fmnist_sweep.report.page.confusion_section import examples
    from fmnist_sweep.report.search_history import read_searches
    from fmnist_sweep.report.texts import LANGUAGES, Texts

    _check("lang", lang, LANGUAGES)
    of, collection = choose(paper, lang, partial(collected, runs))
    if collection.runs.empty and of:
        raise ConfigError(
            f"no run follows the protocol of {of.name}; {collection.others} of others; choose another paper, or none"
        )
    if collection.runs.empty:
        raise ConfigError("there are no such runs; train some, or filter less")
    searches = [] if isinstance(runs, pd.DataFrame) else read_searches(Path(runs))[0]
    shown = examples(collection, Path(data) if data else None)
    try:
        write(collection, judged(of, collection) if of else None, searches, shown, Path(output), Texts(lang))
    except OSError as error:
        raise ConfigError(
            f"cannot write {error.filename or output}: {error.strerror}; choose another output"
        ) from error
    return Path(output) / "index.html"


def judge(runs: Runs, paper: str = "caprari2024") -> pd.DataFrame:
    """Judge each claim of a paper.

    Args:
        runs: a table as returned by `read`, a folder, or a report's results.csv. A table only selects runs: all epochs
            of a selected run count. Of several runs with the same configuration and seed, only one counts, a finished
            one if possible.
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

    directory = _directory(run)
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


def _directory(run: pd.DataFrame | str | Path) -> Path:
    directories = directories_of(run)
    if len(directories) != 1:
        raise ConfigError(f"these are the rows of {len(directories)} runs; give those of one")
    return directories[0]


def _check(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{what}={value}: must be one of {', '.join(allowed)}{nearest(str(value), allowed)}")


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
