"""Seal the trials of a search, so that changes by a faulty disk are detected.

SQLite detects contradictions in a database, but not a number that has become another number. So before each change the
search seals the trial: it writes the digests of the trial's content before and after the change. Whenever the process
is killed, the content matches one of the two. If it matches neither, the search did not write it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

BATCH = "batch"  # trial attribute: how many trials came before its batch; it is set last, so it marks a complete trial


SEAL = "fmnist_sweep:seal"


def check(trials: Sequence[FrozenTrial]) -> None:
    """Raise `ValueError` if a trial is not as the search wrote it."""
    for place, trial in enumerate(trials):
        if trial.number != place:
            raise ValueError(f"trial {place} is lost")
        if BATCH not in trial.user_attrs and trial.state == TrialState.RUNNING and place + 1 < len(trials):
            raise ValueError(f"trial {place} is incomplete, but later trials exist")
        seal = trial.system_attrs.get(SEAL)
        if seal is not None and digest(_facts(trial)) not in seal:  # trials of earlier versions have none
            raise ValueError(f"trial {place} is not what the search wrote")


def seal(storage: BaseStorage, trial_id: int, **changed: Any) -> None:
    """Seal a trial before a change, so that the seal matches its content before and after.

    The change is a new `state` with `values`, additional `attributes` by name, or `reports` by step.
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
    """Return the SHA-256 of JSON values, in hexadecimal."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
