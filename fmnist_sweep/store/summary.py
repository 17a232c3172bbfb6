"""Summarise runs by configuration: means and standard deviations over seeds, the best configuration first."""

from collections.abc import Sequence

import pandas as pd

from fmnist_sweep.store.tables import CONFIGURATION, Collection, differing, factors, sorted_by

MEASURES = ["val_loss", "val_accuracy", "train_loss", "train_accuracy"]
_COUNTS = ["n", "unfinished", "failed", "diverged"]


def summary(collection: Collection, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a row per configuration, the highest mean validation accuracy first, equal ones by validation loss.

    Configurations without a finished run come last.

    Args:
        collection: the runs.
        columns: the columns that describe a configuration; by default the keys in which the runs differ, or the
            optimizer alone.

    Returns:
        Columns, after those that describe: n (finished runs, one for each seed; all means are over these), unfinished,
        failed and diverged (runs); mean and sample standard deviation (nan for one run) of each measure after the last
        epoch, as val_loss and val_loss_sd, then of val_accuracy, train_loss, train_accuracy, and test_accuracy if one
        was measured; best_epoch (the mean of the epochs in which the runs had their best validation accuracy); and
        seconds (mean training time of a run).
    """
    runs = sorted_by(collection.runs, factors(collection.runs))
    columns = list(columns or differing(runs) or ["optimizer"])
    status = runs["status"]
    known = {"n": status == "done", "failed": status == "failed", "diverged": status == "diverged"}
    counts = runs[CONFIGURATION].assign(**known, unfinished=~pd.DataFrame(known).any(axis=1))
    counts = counts.groupby(CONFIGURATION)[_COUNTS].sum()

    metrics = collection.metrics[collection.metrics["status"] == "done"]
    best = metrics.sort_values("val_accuracy", ascending=False, kind="stable").drop_duplicates("run").set_index("run")
    last = metrics[metrics["epoch"] == metrics["epochs"]].set_index("run")
    done = last[[*CONFIGURATION, *MEASURES]].assign(best_epoch=best["epoch"])
    done = done.join(runs.set_index("name")[["test_accuracy", "seconds"]])
    measures = [*MEASURES, *(["test_accuracy"] if done["test_accuracy"].notna().any() else [])]
    groups = done.groupby(CONFIGURATION)
    spread = groups[measures].mean().join(groups[measures].std().add_suffix("_sd"))
    spread = spread[[name for measure in measures for name in (measure, f"{measure}_sd")]]
    spread = spread.join(groups[["best_epoch", "seconds"]].mean().astype("float64"))

    table = runs.drop_duplicates(CONFIGURATION).join(counts, on=CONFIGURATION)[
        list(dict.fromkeys([*columns, *CONFIGURATION, *_COUNTS]))
    ]
    table = table.join(spread, on=CONFIGURATION)
    table = table.sort_values(["val_accuracy", "val_loss"], ascending=[False, True], kind="stable")
    return table[[*columns, *_COUNTS, *spread]].reset_index(drop=True)
