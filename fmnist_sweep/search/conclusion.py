"""What a search comes to: the best trial, or the front of several objectives, in a file and on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial
from rich.table import Table

from fmnist_sweep.display import console
from fmnist_sweep.errors import RunError

RESULTS = "optimization_results.yaml"


def progress(trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial], names: Sequence[str], most: int) -> None:
    """Print where a search of `most` trials stands before its next batch, if any of them has ended."""
    ended = sum(trial.state.is_finished() for trial in trials)
    if not ended:
        return
    found = f"; best {names[0]} {best[0].value:.6g}" if len(names) == 1 and best else ""
    console.print(f"{ended} of {most} trials ended{found}")


def conclude(trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial], names: Sequence[str], folder: Path) -> None:
    """Write and print what was found.

    Args:
        trials: all of them.
        best: the best one, or the front.
        names: of the objectives.
        folder: where the file is written, in the form of hydra-optuna-sweeper.

    Raises:
        RunError: no trial ended well.
    """
    counts = Counter(trial.state.name.lower() for trial in trials)
    if not best:
        why = next((trial.user_attrs["reason"] for trial in trials if "reason" in trial.user_attrs), "none is done")
        raise RunError(f"none of {len(trials)} trials ended well: {why}")
    found: dict[str, object]
    if len(names) == 1:
        found = {"name": "optuna", "best_params": best[0].params, "best_value": best[0].value}
    else:
        found = {"name": "optuna", "solutions": [{"params": one.params, "values": one.values} for one in best]}
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(found), folder / RESULTS)
    said = ", ".join(f"{count} {state.replace('fail', 'failed')}" for state, count in counts.items())
    if len(names) == 1:
        params = " ".join(f"{name}={_short(value)}" for name, value in best[0].params.items())
        line = f"best {names[0]} {best[0].value:.6g}: {params} (trial {best[0].number} of {said})"
        return console.print(line, markup=False, highlight=False, soft_wrap=True)
    table = Table("trial", *names, *best[0].params)
    for one in best:
        table.add_row(f"{one.number}", *(f"{v:.6g}" for v in one.values), *map(_short, one.params.values()))
    console.print(table)
    console.print(f"{len(best)} on the front: no other beats them in every objective, of {said}", highlight=False)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
