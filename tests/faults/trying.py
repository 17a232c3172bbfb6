"""All kinds of faults, and how their cases are tried."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from random import Random

from faults import disks, nodes, processes, searches, work
from faults.cases import Case

Cases = Callable[[], list[Case]]
FAULTS: Mapping[str, Cases] = {
    made.__name__: made
    for made in (
        processes.killed_workers,
        processes.broken_commands,
        searches.killed_searches,
        nodes.killed_nodes,
        processes.racing_workers,
        processes.racing_commands,
        disks.failing_calls,
        disks.full_disk,
        disks.lost_power,
        disks.damaged_files,
        searches.damaged_studies,
        disks.vanishing_folders,
        processes.jumping_clock,
        processes.many_runs,
    )
}
ALONE = ("many_runs", "racing_commands", "killed_nodes")  # whose memory or cores are not to be shared with another case


@dataclass
class Tally:
    """Result of one kind of fault: how many cases, how often it struck, and the cases not survived, with why."""

    cases: int = 0
    struck: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def sample(kind: str, share: float, seed: int) -> list[Case]:
    """A share of a kind's cases, at least two, drawn with the seed."""
    cases = FAULTS[kind]()
    count = min(len(cases), max(2, round(share * len(cases))))
    chosen = set(Random(seed).sample(range(len(cases)), count))
    return [case for number, case in enumerate(cases) if number in chosen]


def try_all(kind: str, cases: list[Case], seed: int, workers: int = 1) -> Tally:
    """Try cases of a kind, some at a time."""
    tally = Tally()
    attempt = functools.partial(_attempt, kind, seed)
    names = [case.name for case in cases]
    if workers == 1 or kind in ALONE:
        outcomes = [_outcome(case, seed) for case in cases]
    else:
        with ProcessPoolExecutor(workers, get_context("forkserver")) as pool:
            outcomes = list(pool.map(attempt, names))
    for name, (struck, problem) in zip(names, outcomes, strict=True):
        tally.cases += 1
        tally.struck += struck
        if problem:
            tally.failures[name] = problem
    return tally


@functools.cache
def _by_name(kind: str) -> Mapping[str, Case]:
    return {case.name: case for case in FAULTS[kind]()}


def _attempt(kind: str, seed: int, name: str) -> tuple[int, str]:
    return _outcome(_by_name(kind)[name], seed)


def _outcome(case: Case, seed: int) -> tuple[int, str]:
    log = logging.getLogger("fmnist_sweep")
    log.propagate, before = False, log.propagate
    log.addHandler(logging.NullHandler())
    try:
        with work.small():
            return case.outcome(seed)
    finally:
        log.propagate = before
