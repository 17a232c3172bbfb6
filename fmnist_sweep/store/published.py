"""Read a report's results.csv as a `Collection`, so that anyone can judge and draw a published table again.

The table has no predictions, no searches, no environment and no runs without an epoch.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from fmnist_sweep.config.identity import DEFAULTS
from fmnist_sweep.config.schema import Config, nested
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES
from fmnist_sweep.store.tables import COLUMNS, FACTORS, Collection, cell, recipe, typed

_MEASURES = [*MEASURES, *TEST_MEASURES]
_METRICS = ["run", "status", "recipe", *FACTORS, "optimizer_args", "seed", "epoch", *_MEASURES, "seconds"]
# A table may be older than these columns.
_LATER = {key: str(cell(DEFAULTS[key])) for key in FACTORS if key in DEFAULTS} | dict.fromkeys(TEST_MEASURES, "nan")
_CONFIG = TypeAdapter(Config)


def read_results(path: Path, covers: Callable[[Config], bool] = lambda _: True) -> Collection:
    """Read the runs in a results.csv whose configuration `covers` accepts.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not such a table, or a row's recipe does not match its configuration. The message is one
            line.
    """
    try:
        # Read text first, then convert: before version 3, pandas reads the last digit of some numbers wrong.
        metrics = pd.read_csv(path, usecols=_METRICS.__contains__, dtype="str", keep_default_na=False)
        metrics = metrics.assign(**{key: text for key, text in _LATER.items() if key not in metrics})
        if lacking := [name for name in _METRICS if name not in metrics]:
            raise ValueError(f"columns expected but not found: {lacking}")
        metrics = metrics[_METRICS].replace({key: {"": "nan"} for key in TEST_MEASURES})
        metrics = typed(metrics.astype({"run": "str", "epoch": "int64", **dict.fromkeys(_MEASURES, "float64")}))
        runs = metrics.drop_duplicates("run", keep="last")
        configs = [_config(row) for row in runs.to_dict("records")]
        if (twice := metrics["run"][metrics.duplicated(["run", "epoch"])]).size:  # someone joined two tables
            raise ValueError(f"{twice.iloc[0]} has an epoch twice")
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: not a report's results.csv: {str(error).splitlines()[0]}") from error
    covered = np.array([covers(config) for config in configs], bool)
    kept = runs[covered].rename(columns={"run": "name", "epoch": "epochs_done"})
    kept = typed(kept.assign(path="", has_predictions=False)[list(COLUMNS)])
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
    values = {key: _value(row[key]) for key in (*FACTORS, "seed")}
    values["model.hidden"] = [int(units) for units in row["model.hidden"].split("-") if units]
    values["optimizer"] = {"name": row["optimizer"].partition(" ")[0], **json.loads(row["optimizer_args"])}
    config = _CONFIG.validate_json(json.dumps(nested(values)))
    if recipe(config) != row["recipe"]:
        raise ValueError(f"{row['run']}: its recipe does not match its configuration")
    return config


def _value(text: Any) -> Any:
    """Return the value of which `tables.cell` made a text."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text[1:-1].split(",") if text.startswith("[") else text  # words
