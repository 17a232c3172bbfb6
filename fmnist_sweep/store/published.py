"""Read a report's results.csv as a `Collection`, so that anyone can judge and draw a published table again.

The table has no predictions, no searches, no environment and no runs without an epoch.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnist_sweep.config.schema import Config, DataConfig, ModelConfig, TrainingConfig
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES
from fmnist_sweep.store.tables import COLUMNS, FACTORS, Collection, recipe

_METRICS = ["run", "status", "recipe", *FACTORS, "optimizer_args", "seed", "epoch", *MEASURES, "seconds"]
_TYPES = {"run": "str", "epoch": "int64", **dict.fromkeys([*MEASURES, *TEST_MEASURES], "float64")} | COLUMNS


def read_results(path: Path, covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    """Read the runs in a results.csv whose configuration `covers` accepts.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not such a table, or a row's recipe does not match its configuration. The message is one
            line.
    """
    try:
        # Read text first, then convert: before version 3, pandas reads the last digit of some numbers wrong.
        metrics = pd.read_csv(path, dtype="str", keep_default_na=False)
        tests = [name for name in TEST_MEASURES if name in metrics]
        columns = [*_METRICS[:-1], *tests, _METRICS[-1]]
        if missing := [name for name in columns if name not in metrics]:
            raise ValueError(f"columns expected but not found: {missing}")
        metrics = metrics[columns].astype({name: _TYPES[name] for name in columns})
        runs = metrics.drop_duplicates("run", keep="last")
        configs = [_config(row) for row in runs.to_dict("records")]
        if (twice := metrics["run"][metrics.duplicated(["run", "epoch"])]).size:  # someone joined two tables
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
    """Return the configuration of a row. The first word of the optimizer's label is its class."""
    config = Config(
        optimizer={"name": row["optimizer"].partition(" ")[0], **json.loads(row["optimizer_args"])},
        training=TrainingConfig(row["training.batch_size"], row["training.epochs"]),
        model=ModelConfig([int(units) for units in row["model.hidden"].split("-")], row["model.dropout"]),
        data=DataConfig(row["data.validation"], row["data.mean"], row["data.std"]),
        seed=row["seed"],
    )
    if recipe(config) != row["recipe"]:
        raise ValueError(f"{row['run']}: its recipe does not match its configuration")
    return config
