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

from fmnist_sweep.config.schema import Config, nested
from fmnist_sweep.config.settings import SHORT
from fmnist_sweep.engine.metrics import MEASURES, TEST_MEASURES
from fmnist_sweep.store.tables import Collection, factors, metrics_table, recipe, runs_table

_NEEDED = ["run", "status", "recipe", "optimizer", "seed", "epoch", *MEASURES, "seconds"]
_FULL = {short: key for key, short in SHORT.items()}
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
        text = pd.read_csv(path, dtype="str", keep_default_na=False).rename(columns=SHORT)
        if missing := [name for name in _NEEDED if name not in text]:
            raise ValueError(f"columns expected but not found: {missing}")
        tests = [name for name in TEST_MEASURES if name in text]
        numbers = dict.fromkeys([*MEASURES, *tests, "seconds"], "float64")
        measured = text[["run", "epoch", *numbers]].astype({"epoch": "int64", **numbers})
        if (twice := measured["run"][measured.duplicated(["run", "epoch"])]).size:  # someone joined two tables
            raise ValueError(f"{twice.iloc[0]} has an epoch twice")
        last = text.drop_duplicates("run", keep="last")
        configs = [_config(row, factors(text)) for row in last.to_dict("records")]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: not a report's results.csv: {str(error).splitlines()[0]}") from error
    covered = [covers(config) for config in configs]
    ends = measured.loc[last.index].rename(columns={"epoch": "epochs_done"})
    rows = last[["run", "status", "recipe"]].join(ends[["epochs_done", "seconds", *tests]])
    rows = rows.rename(columns={"run": "name"}).assign(path="", has_predictions=False)[np.array(covered, bool)]
    kept = [config for config, is_covered in zip(configs, covered, strict=True) if is_covered]
    runs = runs_table(kept, rows.to_dict("records"))
    problems = runs.loc[runs["status"] != "done", ["name", "status"]].set_axis(["name", "kind"], axis=1)
    progress = runs["epochs_done"].astype(str) + " of " + runs["epochs"].astype(str) + " epochs"
    problems = problems.assign(message=progress).astype("str").reset_index(drop=True)
    metrics = metrics_table(runs, measured[measured["run"].isin(runs["name"])])
    return Collection(runs, metrics, problems, len(configs) - len(runs))


def _config(row: dict[str, Any], keys: list[str]) -> Config:
    """Return the configuration of a row. An optimizer lacks the arguments that its class does not have."""
    told = {key: row[key] for key in (*keys, "seed") if key == "model.hidden" or row[key] not in ("nan", "")}
    values = {_FULL.get(key, key): _value(text) for key, text in told.items()}
    values["model.hidden"] = [int(units) for units in row["model.hidden"].split("-") if units]
    if "optimizer_args" in row:  # a table of version 0.1
        values["optimizer"] = {"name": row["optimizer"].partition(" ")[0], **json.loads(row["optimizer_args"])}
        del values["optimizer.name"]
    config = _CONFIG.validate_json(json.dumps(nested(values)))
    if recipe(config) != row["recipe"]:
        raise ValueError(f"{row['run']}: its recipe does not match its configuration")
    return config


def _value(text: str) -> Any:
    """Return the value of which `tables.cell` made a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text[1:-1].split(",") if text.startswith("[") else text  # words
