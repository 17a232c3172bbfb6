"""Run an Optuna study in batches, and resume it at any point.

The trials depend on the search's space, its seed and the reported values, but not on interruptions. Each trial has its
own sampler, seeded by the trial's place. All trials of a batch are sampled before any of their values is reported.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from fmnist_sweep.adaptive.problem import Problem
from fmnist_sweep.adaptive.space import Space
from fmnist_sweep.adaptive.storage import REMAKE, SQLITE, database, in_file, lock
from fmnist_sweep.config.messages import reason
from fmnist_sweep.console import busy
from fmnist_sweep.errors import ConfigError, nearest
from fmnist_sweep.store.search_seals import BATCH, SEAL, check, digest, seal

PROBLEM = "problem"  # the attribute of a study that describes its problem

_STARTUP_TRIALS = 12  # after so many trials all samplers use the results
_ANOTHER = "choose another with hydra.sweeper.study_name=NAME or hydra.sweeper.storage=FILE"

optuna.logging.set_verbosity(optuna.logging.WARNING)

MakeSampler = Callable[[int], BaseSampler]


@contextmanager
def _experimental() -> Iterator[None]:
    """Suppress Optuna's warnings about experimental features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def sampler(name: str, arguments: Mapping[str, Any], seed: int, problem: Problem) -> MakeSampler:
    """Return a function that makes the sampler for the trial at a place; `seed` and the place give its seed.

    Args:
        name: a class of `optuna.samplers` that needs no argument, or its short form (`tpe` for `TPESampler`).
        arguments: keyword arguments for the class.

    Raises:
        ConfigError: there is no such sampler, or it does not accept the arguments or the problem.
    """
    classes = {n: c for n, c in vars(optuna.samplers).items() if n.endswith("Sampler") and _needs_nothing(c)}
    short = {n.removesuffix("Sampler").lower(): cls for n, cls in classes.items()}
    cls = classes.get(name) or short.get(name.lower())
    if cls is None:
        raise ConfigError(f"sampler={name}: must be one of {', '.join(sorted(short))}{nearest(name, short)}")
    seeded = "seed" in inspect.signature(cls).parameters

    def make(place: int) -> BaseSampler:
        # Derive the state from both numbers, so that searches with seeds 0 and 1 share no trial.
        state = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
        with _experimental():
            made: BaseSampler = cls(**{**({"seed": state} if seeded else {}), **arguments})
            return made

    # Only the sampler knows its needs, and some check them only when they have trials. So ask it after some.
    try:
        study = optuna.create_study(directions=problem.directions, sampler=RandomSampler(seed=0))
        for number in range(_STARTUP_TRIALS):
            study.tell(problem.space.ask(study), [float(number)] * len(problem.directions))
        study.sampler = make(_STARTUP_TRIALS)
        problem.space.ask(study)
    except Exception as error:
        raise ConfigError(f"sampler={name}: {reason(error)}; choose another, or other sampler_args") from error
    return make


def _needs_nothing(cls: Any) -> bool:
    required = (p for p in inspect.signature(cls).parameters.values() if p.default is p.empty)
    return not inspect.isabstract(cls) and not any(p.kind is not p.VAR_KEYWORD for p in required)


class Batch(NamedTuple):
    """The number of trials in a batch, and its trials that are not finished."""

    size: int
    trials: list[FrozenTrial]


class Study:
    """An Optuna study whose trials are addressed by number."""

    def __init__(self, study: optuna.Study, storage: BaseStorage, space: Space, make_sampler: MakeSampler):
        self._study = study
        self._storage = storage
        self._space = space
        self._make = make_sampler
        self._id = storage.get_study_id_from_name(study.study_name)

    def trials(self) -> list[FrozenTrial]:
        """Return the trials that were sampled completely: no process died while it sampled them."""
        return [trial for trial in self._study.get_trials() if BATCH in trial.user_attrs]

    def next_batch(self, size: int, most: int) -> Batch:
        """Return the next batch: the one that a process left unfinished, completed to its full `size`, or a new one.

        The study gets `most` trials in all. The batch is empty when all are finished.
        """
        for trial in self._study.get_trials(states=[TrialState.RUNNING]):
            if BATCH not in trial.user_attrs:
                self.fail(trial.number)
        known = self.trials()
        first = next((t.user_attrs[BATCH] for t in known if t.state == TrialState.RUNNING), len(known))
        for place in range(len(known), min(first + size, most)):
            self._study.sampler = self._make(place)
            self.note(self._space.ask(self._study).number, **{BATCH: first})
        # Some samplers stop Optuna's own loop once they have enough results, which fails here without that loop.
        self._study.sampler = RandomSampler()
        batch = self.trials()[first:]
        return Batch(len(batch), [trial for trial in batch if trial.state == TrialState.RUNNING])

    def note(self, number: int, **attributes: Any) -> None:
        """Store further attributes of a trial."""
        for key, value in attributes.items():
            self._seal(number, attributes={key: value})
            self._storage.set_trial_user_attr(self._trial_id(number), key, value)

    def report(self, number: int, step: int, value: float) -> None:
        """Store a trial's intermediate value after `step` steps."""
        self._seal(number, reports={step: value})
        self._storage.set_trial_intermediate_value(self._trial_id(number), step, value)

    def complete(self, number: int, values: Sequence[float]) -> None:
        """Store the values of a trial, which ends it."""
        self._seal(number, state=TrialState.COMPLETE.name, values=list(map(float, values)))
        self._study.tell(number, values)

    def prune(self, number: int) -> None:
        """Mark a trial as pruned. Its last reported value becomes its value."""
        trial = self._storage.get_trial(self._trial_id(number))
        assert trial.last_step is not None
        self._seal(number, state=TrialState.PRUNED.name, values=[trial.intermediate_values[trial.last_step]])
        self._study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int) -> None:
        """Mark a trial as failed, without a value."""
        self._seal(number, state=TrialState.FAIL.name)
        self._study.tell(number, state=TrialState.FAIL)

    def _seal(self, number: int, **changed: Any) -> None:
        seal(self._storage, self._trial_id(number), **changed)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def best(self) -> list[FrozenTrial]:
        """Return the best trial, or the Pareto front of several objectives; an empty list if no trial is complete."""
        if not self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
            return []
        return self._study.best_trials if len(self._study.directions) > 1 else [self._study.best_trial]


@contextmanager
def open_study(url: str, name: str, problem: Problem, make_sampler: MakeSampler, *, copied: bool) -> Iterator[Study]:
    """Open a study in a storage, or create it. An SQLite file is locked against other processes meanwhile.

    Args:
        url: the storage's URL, as Optuna takes it, or the path of an SQLite file.
        copied: True to work on a copy in memory, so that the storage is not changed.

    Raises:
        ConfigError: the storage holds another search under this name, it is damaged or is not a storage, or another
            process has locked it.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    path = None if "://" in url and not url.startswith(SQLITE) else Path(url.removeprefix(SQLITE))
    where, remedy = f"{path or url}: the study {name}", REMAKE if path else _ANOTHER
    with ExitStack() as held:
        with busy("opening the trials"):
            backend = None
            if not copied or path is None or path.exists():
                if path is not None:
                    held.enter_context(lock(path))
                backend = database(url) if path is None else in_file(path)
                held.callback(backend.engine.dispose)
            try:
                storage: BaseStorage = InMemoryStorage() if copied or backend is None else backend
                if copied and backend and name in [one.study_name for one in backend.get_all_studies()]:
                    optuna.copy_study(from_study_name=name, from_storage=backend, to_storage=storage)
                study = optuna.create_study(
                    storage=storage, study_name=name, directions=problem.directions, load_if_exists=True
                )
                check(study.get_trials(deepcopy=False))
                _agree(study, storage, problem, where)
            except ConfigError:
                raise
            except Exception as error:  # errors of Optuna and SQLAlchemy; the file may hold anything
                raise ConfigError(f"{where} is damaged: {reason(error)}; {remedy}") from error
        yield Study(study, storage, problem.space, make_sampler)


def _agree(study: optuna.Study, storage: BaseStorage, problem: Problem, where: str) -> None:
    """Raise `ConfigError` if a study has another problem; store the problem in a new study.

    Like a trial, the problem is sealed before it is written. Raise `ValueError` if it does not fit its seal.
    """
    known, described = study.user_attrs.get(PROBLEM), problem.described()
    study_id, trials = storage.get_study_id_from_name(study.study_name), study.get_trials(deepcopy=False)
    sealed = storage.get_study_system_attrs(study_id).get(SEAL)
    if sealed not in (None, digest(known)) and (known is not None or trials):
        raise ValueError("its description of the search was changed after it was written")
    if known is None:
        if trials or tuple(d.name.lower() for d in study.directions) != problem.directions:
            raise ConfigError(f"{where} was made by another program; {_ANOTHER}")
        with _experimental():
            study.set_metric_names(problem.names)  # for Optuna's own dashboard
        storage.set_study_system_attr(study_id, SEAL, digest(described))
        return study.set_user_attr(PROBLEM, described)
    for key, value in described.items():
        if known.get(key) != value:
            raise ConfigError(f"{where} has other {key}: {_difference(known.get(key), value)}; {_ANOTHER}")


def _difference(known: Any, asked: Any) -> str:
    """Describe what the study has that was not requested, and what was requested instead."""
    if not isinstance(known, list | dict) or type(known) is not type(asked):
        return f"{known}, not {asked}"
    ours, theirs = (set(map(str, one.items() if isinstance(one, dict) else one)) for one in (asked, known))
    return f"{', '.join(sorted(theirs - ours)) or 'none'}, not {', '.join(sorted(ours - theirs)) or 'none'}"
