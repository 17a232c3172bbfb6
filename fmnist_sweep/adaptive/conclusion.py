"""Write and print the result of a search: the best trial, or the Pareto front of several objectives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial
from rich.table import Table

from fmnist_sweep import files
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.sweeps.progress import console

RESULTS = "optimization_results.yaml"
_BEGINNING = b"name: optuna\n"


def check_free(folder: Path) -> None:
    """Raise `ConfigError` if a folder holds another program's file under the name of the results file."""
    path = folder / RESULTS
    if path.exists() and not (path.is_file() and path.read_bytes().startswith(_BEGINNING)):
        raise ConfigError(f"{path}: no search wrote it; move it away, or choose another folder with hydra.sweep.dir")


def progress(trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial], names: Sequence[str], most: int) -> None:
    """Print how many of `most` trials have ended and the best value so far; nothing if none has ended."""
    ended = sum(trial.state.is_finished() for trial in trials)
    if not ended:
        return
    found = f"; best {names[0]} {best[0].value:.6g}" if len(names) == 1 and best else ""
    console.print(f"{ended} of {most} trials ended{found}")


def conclude(trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial], names: Sequence[str], folder: Path) -> None:
    """Write and print the best trial of a search, or the Pareto front of several objectives.

    The results file in `folder` has the format of hydra-optuna-sweeper. Raise `RunError` if no trial is complete.
    """
    if not best:
        why = next((trial.user_attrs["reason"] for trial in trials if "reason" in trial.user_attrs), "none is done")
        raise RunError(f"none of {len(trials)} trials ended well: {why}")
    found: dict[str, object]
    if len(names) == 1:
        found = {"name": "optuna", "best_params": best[0].params, "best_value": best[0].value}
    else:
        found = {"name": "optuna", "solutions": [{"params": one.params, "values": one.values} for one in best]}
    folder.mkdir(parents=True, exist_ok=True)
    files.replace(folder / RESULTS, OmegaConf.to_yaml(OmegaConf.create(found)).encode())
    counts = Counter(trial.state.name.lower() for trial in trials)
    said = ", ".join(f"{count} {state.replace('fail', 'failed')}" for state, count in counts.items())
    if len(names) == 1:
        params = " ".join(f"{name}={_short(value)}" for name, value in best[0].params.items())
        line = f"best {names[0]} {best[0].value:.6g}: {params} (trial {best[0].number} of {said})"
        return console.print(line, markup=False, highlight=False, soft_wrap=True)
    keys = list(dict.fromkeys(key for one in best for key in one.params))  # not every trial has a conditional key
    table = Table("trial", *names, *keys)
    for one in best:
        values = (_short(one.params.get(key, "")) for key in keys)
        table.add_row(f"{one.number}", *(f"{v:.6g}" for v in one.values), *values)
    console.print(table)
    console.print(f"{len(best)} on the Pareto front, of {said}", highlight=False)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
