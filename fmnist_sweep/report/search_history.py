"""The searches of a store, read from Optuna's file but never written. Only a store with such a file loads Optuna."""

from __future__ import annotations

import sqlite3
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_sweep.errors import one_line

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

FILE = "search.db"


@dataclass(frozen=True)
class Trial:
    """A trial: state in lower case, parameters, values (empty if it has none), its runs' names, last reported step."""

    number: int
    state: str
    params: Mapping[str, Any]
    values: tuple[float, ...]
    runs: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class Search:
    """One study.

    Attributes:
        name: the study's name.
        objectives: the names of the objectives.
        maximized: for each objective, whether more is better.
        trials: in order.
        best: numbers of the best trials, or of the Pareto front if there are several objectives.
        importances: for each parameter, the share of the first objective that it explains, by PED-ANOVA (Watanabe,
            Bansal and Hutter, IJCAI 2023), whose conditional form also takes parameters that only some trials have;
            empty if there are too few trials.
        spent: model-epochs that the trials took with rungs; 0 without rungs.
        whole: model-epochs if all trials had gone to the last rung; 0 without rungs.
    """

    name: str
    objectives: tuple[str, ...]
    maximized: tuple[bool, ...]
    trials: tuple[Trial, ...]
    best: frozenset[int]
    importances: Mapping[str, float]
    spent: int
    whole: int

    @property
    def counts(self) -> Counter[str]:
        """Count the trials in each state."""
        return Counter(trial.state for trial in self.trials)

    def ranked(self) -> list[Trial]:
        """Return the complete trials: the front first, then by the first objective."""
        sign = -1 if self.maximized[0] else 1
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(complete, key=lambda trial: (trial.number not in self.best, sign * trial.values[0]))


def read_searches(store: Path) -> tuple[tuple[Search, ...], str | None]:
    """Read the searches of a store. Nothing in the file is executed.

    Returns:
        The searches, and a message if something is wrong with the file.
    """
    path = store / FILE
    if not path.exists() or path.is_dir():  # `collect` reports a folder of this name
        return (), None
    try:
        return tuple(_studies(path)), None
    except Exception as error:  # Optuna, SQLAlchemy or SQLite: the file may hold anything
        return (), one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)


def _studies(path: Path) -> list[Search]:
    import optuna

    if not path.is_file():
        raise ValueError("is no plain file")
    # Close it here, because Optuna leaves the connection open when it rejects a file.
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        storage = optuna.storages.RDBStorage(
            "sqlite://", engine_kwargs={"creator": lambda: connection}, skip_table_creation=True
        )
        names = [study.study_name for study in storage.get_all_studies()]
        return [_search(optuna.load_study(study_name=name, storage=storage)) for name in names]


def _search(study: optuna.Study) -> Search:
    import optuna

    from fmnist_sweep.store.search_seals import check

    found = study.get_trials()
    check(found)
    trials = tuple(
        Trial(
            trial.number,
            trial.state.name.lower(),
            {one_line(key): value for key, value in trial.params.items()},
            tuple(trial.values or ()),
            tuple(one_line(str(name)) for name in trial.user_attrs.get("runs", [])),
            trial.last_step or 0,
        )
        for trial in found
        if "batch" in trial.user_attrs
    )
    best: list[FrozenTrial] = []
    importances: dict[str, float] = {}
    if any(trial.state == "complete" for trial in trials):
        best = study.best_trials
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            # With a target, Optuna takes less for better, which need not be so for a single objective.
            target = (lambda trial: trial.values[0]) if len(study.directions) > 1 else None
            importances = optuna.importance.get_param_importances(study, target=target)
    problem = study.user_attrs.get("problem", {})
    names = tuple(one_line(str(name)) for name in problem.get("objectives", []))
    count = len(study.directions)
    rungs, seeds = problem.get("rungs"), problem.get("seeds", 1)
    ended = [trial for trial in trials if trial.state != "running"]
    return Search(
        one_line(study.study_name),
        names if len(names) == count else ("value",) * count,
        tuple(direction == optuna.study.StudyDirection.MAXIMIZE for direction in study.directions),
        trials,
        frozenset(trial.number for trial in best),
        {one_line(key): value for key, value in importances.items()},
        sum(max(trial.steps, rungs[0]) * seeds for trial in ended) if rungs else 0,
        len(ended) * rungs[-1] * seeds if rungs else 0,
    )
