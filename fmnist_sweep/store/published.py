"""A report's results.csv -> what its store held, so that anyone can judge and draw a published table again.

It has no predictions, no searches, no environment and no runs without an epoch.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnist_sweep.config.schema import Config, DataConfig, ModelConfig, TrainingConfig
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.store.tables import COLUMNS, FACTORS, Collection, recipe

_METRICS = ["run", "status", "recipe", *FACTORS, "optimizer_args", "seed", "epoch", *MEASURES, "seconds"]
_TYPES = {"run": "str", "epoch": "int64", **dict.fromkeys(MEASURES, "float64")} | COLUMNS


def read_results(path: Path, covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    """Read the rows of a results.csv whose configuration is of the protocol that `covers` tells.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no such table, or a row's recipe is not that of its configuration; one line.
    """
    types = {name: _TYPES[name] for name in _METRICS}
    try:
        # As text first: pandas itself reads some numbers a digit off before its version 3.
        metrics = pd.read_csv(path, usecols=_METRICS, dtype="str", keep_default_na=False)[_METRICS].astype(types)
        runs = metrics.drop_duplicates("run", keep="last")
        configs = [_config(row) for row in runs.to_dict("records")]
        if (twice := metrics["run"][metrics.duplicated(["run", "epoch"])]).size:  # of two tables in one
            raise ValueError(f"{twice.iloc[0]} has an epoch twice")
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: not a report's results.csv: {str(error).splitlines()[0]}") from error
    covered = np.array([covers(config) for config in configs], bool)
    kept = runs[covered].rename(columns={"run": "name", "epoch": "epochs_done"})
    kept = kept.assign(test_accuracy=math.nan, path="", has_predictions=False)[list(COLUMNS)].astype(COLUMNS)
    metrics = metrics[metrics["run"].isin(kept["name"])]
    problems = kept.loc[kept["status"] != "done", ["name", "status"]].set_axis(["name", "kind"], axis=1)
    progress = kept["epochs_done"].astype(str) + " of " + kept["training.epochs"].astype(str) + " epochs"
    problems = problems.assign(message=progress).astype("str")
    others = len(runs) - len(kept)
    return Collection(
        kept.reset_index(drop=True), metrics.reset_index(drop=True), problems.reset_index(drop=True), others
    )


def _config(row: dict[str, Any]) -> Config:
    """The configuration of a row; its optimizer's class is the first word of the label."""
    config = Config(
        optimizer={"name": row["optimizer"].partition(" ")[0], **json.loads(row["optimizer_args"])},
        training=TrainingConfig(row["training.batch_size"], row["training.epochs"]),
        model=ModelConfig([int(units) for units in row["model.hidden"].split("-")], row["model.dropout"]),
        data=DataConfig(row["data.validation"], row["data.mean"], row["data.std"]),
        seed=row["seed"],
    )
    if recipe(config) != row["recipe"]:
        raise ValueError(f"{row['run']}: its recipe is not that of its configuration")
    return config
