"""Write and print the result of a search: its trials, the best first, or the Pareto front of several objectives."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from fmnist_sweep import files
from fmnist_sweep.config.settings import SHORT
from fmnist_sweep.console import console, print_table
from fmnist_sweep.engine.metrics import MEASURES
from fmnist_sweep.errors import ConfigError, RunError, count
from fmnist_sweep.store.run_directory import RunDirectory
from fmnist_sweep.sweeps.leaderboard import SHOWN, mean_and_sd

RESULTS = "optimization_results.yaml"
_BEGINNING = b"name: optuna\n"
_SHOWN = ("val_loss", "val_accuracy")


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


def conclude(
    trials: Sequence[FrozenTrial],
    best: Sequence[FrozenTrial],
    names: Sequence[str],
    directions: Sequence[str],
    folder: Path,
) -> None:
    """Write the best trial of a search, or the Pareto front of several objectives; print the trials, the best first.

    The results file in `folder` has the format of hydra-optuna-sweeper. Raise `RunError` if no trial is complete.

    Args:
        trials: all trials.
        best: the best one, or the Pareto front.
        names: the name of each objective.
        directions: minimize or maximize, for each objective.
        folder: the folder of the runs.
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
    _print_trials(_ranked(trials, best, directions), best, names, folder)
    counts = Counter(trial.state.name.lower() for trial in trials)
    said = ", ".join(f"{number} {state.replace('fail', 'failed')}" for state, number in counts.items())
    if len(names) == 1:
        params = " ".join(f"{SHORT.get(key, key)}={_short(value)}" for key, value in best[0].params.items())
        console.print(f"best {names[0]} {best[0].value:.6g}: {params} (trial {best[0].number} of {said})")
    else:
        console.print(f"{len(best)} on the Pareto front, of {said}")


def _ranked(trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial], directions: Sequence[str]) -> list[FrozenTrial]:
    """Sort trials: the best, complete ones by their first value, pruned ones from the highest rung, failed ones."""
    first = {trial.number for trial in best}
    sign = 1 if directions[0] == "minimize" else -1

    def key(trial: FrozenTrial) -> tuple[bool, bool, int, float]:
        is_complete = trial.state == TrialState.COMPLETE
        return trial.number not in first, not is_complete, -(trial.last_step or 0), sign * trial.values[0]

    valued = [trial for trial in trials if trial.values]
    return [*sorted(valued, key=key), *(trial for trial in trials if not trial.values)]


def _print_trials(
    ranked: Sequence[FrozenTrial], best: Sequence[FrozenTrial], names: Sequence[str], folder: Path
) -> None:
    """Print a row per trial: its values, mean ± sd of the usual measures over its seeds, and its place in the space."""
    keys = list(dict.fromkeys(key for one in ranked for key in one.params))  # not every trial has a conditional key
    measured = {trial.number: _measured(trial, folder) for trial in ranked[:SHOWN]}
    # Another application's runs have no such measures, and an objective may be one of them.
    measures = [one for one in _SHOWN if one not in names and any(measured.values())]
    marked = {trial.number for trial in best}
    rows = []
    for place, trial in enumerate(ranked[:SHOWN], 1):
        of_trial = measured[trial.number]
        given = [f"{value:.6g}" for value in trial.values or []] or [""] * len(names)
        values = [of_trial.get(name, value) for name, value in zip(names, given, strict=True)]
        values += [of_trial.get(one, "") for one in measures]
        params = [_short(trial.params.get(key, "")) for key in keys]
        rows.append([_mark(trial, place, marked), f"{trial.number}", *params, *values])
    print_table(console, ["", "trial", *(SHORT.get(key, key) for key in keys), *names, *measures], rows)
    if len(ranked) > SHOWN:
        console.print(f"and {count(len(ranked) - SHOWN, 'trial')} more, in the report")


def _mark(trial: FrozenTrial, place: int, best: Set[int]) -> str:
    if trial.number in best:
        return "best"
    return {TrialState.COMPLETE: f"{place}", TrialState.FAIL: "failed"}.get(trial.state, trial.state.name.lower())


def _measured(trial: FrozenTrial, folder: Path) -> Mapping[str, str]:
    """Return mean ± sd over a trial's runs of each measure after the last epoch; nothing for another application."""
    rows = [RunDirectory(folder / name).metrics() for name in trial.user_attrs.get("runs", [])]
    last = [metrics[-1] for metrics in rows if len(metrics)]
    if not last:
        return {}
    columns = {name: [row[MEASURES.index(name)] for row in last] for name in _SHOWN}
    spread = {name: statistics.stdev(values) if len(values) > 1 else math.nan for name, values in columns.items()}
    return {name: mean_and_sd(statistics.fmean(values), spread[name]) for name, values in columns.items()}


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
