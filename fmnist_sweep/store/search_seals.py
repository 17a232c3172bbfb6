"""Seal the trials of a search, so that a trial which a disk has changed is not believed.

SQLite finds what contradicts itself, not a number that became another one. So each trial has a seal: the digests of
what it holds and of what it will hold after the next change, written before that change. A process may be killed at
any moment, and what is there has one of the two; what the seal does not name, the search did not write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

BATCH = "batch"  # attribute of a trial: how many trials came before its batch; set last, it marks a whole one


SEAL = "fmnist_sweep:seal"


def check(trials: Sequence[FrozenTrial]) -> None:
    """Raise `ValueError` where a trial is not as the search wrote it."""
    for place, trial in enumerate(trials):
        if trial.number != place:
            raise ValueError(f"trial {place} is lost")
        if BATCH not in trial.user_attrs and trial.state == TrialState.RUNNING and place + 1 < len(trials):
            raise ValueError(f"trial {place} was not asked for whole, but there are later ones")
        seal = trial.system_attrs.get(SEAL)
        if seal is not None and digest(_facts(trial)) not in seal:  # those of earlier versions have none
            raise ValueError(f"trial {place} is not what the search wrote")


def seal(storage: BaseStorage, trial_id: int, **changed: Any) -> None:
    """Write what a trial may hold from now on: what it holds, or that with a change that comes next.

    Args:
        storage: the trial's.
        trial_id: the trial's in the storage.
        changed: new `state` and `values`; further `attributes` and `reports`, by name and step.
    """
    now = _facts(storage.get_trial(trial_id))
    then = now | {key: now[key] | new if isinstance(new, dict) else new for key, new in changed.items()}
    storage.set_trial_system_attr(trial_id, SEAL, [digest(now), digest(then)])


def _facts(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "distributions": {name: distribution_to_json(one) for name, one in trial.distributions.items()},
        "reports": trial.intermediate_values,
        "attributes": trial.user_attrs,
        "of_sampler": {key: value for key, value in trial.system_attrs.items() if key != SEAL},
    }


def digest(facts: Any) -> str:
    """Return the SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
