"""Build the problem of a search from the sweeper's settings and the overrides, and check it."""

from __future__ import annotations

import functools
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from fmnist_sweep.adaptive.objectives import USUAL, Direction, Objective, objective
from fmnist_sweep.adaptive.space import Space, Takes
from fmnist_sweep.config import hydra_private, optimizers
from fmnist_sweep.config.compose import Composer
from fmnist_sweep.config.grids import choices
from fmnist_sweep.config.hydra_private import directory_of
from fmnist_sweep.config.messages import reason
from fmnist_sweep.config.overrides import rewrite, target, without_overridden
from fmnist_sweep.config.schema import decides
from fmnist_sweep.errors import ConfigError, one_line
from fmnist_sweep.sweeps.jobs import check_jobs

DIRECTIONS: tuple[Direction, ...] = ("minimize", "maximize")


@dataclass(frozen=True)
class Problem:
    """The problem of a search.

    Attributes:
        objectives: this project's objectives; empty if the values that jobs return are used.
        seeds: the number of seeds of each trial; None to use the configured seed.
        rungs: overrides for each rung of a trial: one empty rung, or the steps of successive halving.
        steps: the amount of the resource at each rung; empty without successive halving.
        decisive: the fixed overrides that can change a value.
    """

    space: Space
    objectives: tuple[Objective, ...]
    directions: tuple[Direction, ...]
    seeds: int | None
    rungs: tuple[list[str], ...]
    steps: tuple[int, ...]
    decisive: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Return the name of each value of a trial."""
        count = len(self.directions)
        return [one.name for one in self.objectives] or ["value", *(f"value {n}" for n in range(2, count + 1))][:count]

    def described(self) -> dict[str, Any]:
        """Return the problem as plain values, which are equal if trials of two problems can be compared."""
        return {
            "space": self.space.described(),
            "fixed": sorted(self.decisive),
            "objectives": self.names,
            "directions": list(self.directions),
            "seeds": self.seeds,
            "rungs": list(self.steps),
        }

    def jobs(self, params: Mapping[str, Any], rung: int) -> list[list[str]]:
        """Return the jobs of a trial on a rung, one for each seed."""
        job = [*self.space.overrides(params), *self.rungs[rung]]
        return [job] if self.seeds is None else [[*job, f"seed={seed}"] for seed in range(self.seeds)]

    def judge(self, results: Sequence[JobReturn]) -> tuple[list[float] | None, dict[str, Any]]:
        """Compute the values of a trial and notes on it from the results of its jobs.

        An error is not raised. It becomes a note, and the values are None.
        """
        folders = [folder for folder in map(directory_of, results) if folder is not None]
        notes: dict[str, Any] = {"runs": [folder.name for folder in folders]}
        try:
            returned = [result.return_value for result in results]
            if self.objectives:
                measured = [one.value(folders) for one in self.objectives]
                values = [value for value, _ in measured]
                for _, more in measured:
                    notes |= more
            else:
                numbers = [list(one) if isinstance(one, Sequence) else [one] for one in returned]
                values = [statistics.fmean(map(float, column)) for column in zip(*numbers, strict=True)]
            if len(values) != len(self.directions) or not all(map(math.isfinite, values)):
                raise ValueError(f"gave {returned}, where {len(self.directions)} finite numbers are needed")
        except Exception as error:  # a job failed, or a value is not a number
            return None, {**notes, "reason": one_line(reason(error))}
        return values, notes


def build_problem(settings: Any, arguments: list[str], loader: ConfigLoader, *, ours: bool) -> Problem:
    """Build the problem from settings, a `SearchSweeperConf`, and overrides. Raise `ConfigError` if they are invalid.

    `ours` is True if the runs are this project's. Only then do objectives have names and can numbers choose options.
    """
    _check_numbers(settings)
    parser = OverridesParser.create(loader)
    given = {target(override): override for override in parser.parse_overrides(arguments)}
    named = settings.objective or (USUAL if ours else None)
    names = [] if named is None else [named] if isinstance(named, str) else named
    if names and not ours:
        raise ConfigError(f"objective={names[0]}: this application names none; leave it out: what a job returns counts")
    objectives = tuple(objective(str(name), loader) for name in names)
    rungs = [[f"{settings.resource}={step}"] for step in settings.rungs or []] or [[]]
    defaults: dict[str, Any] = {}
    for more in (*(one.defaults for one in reversed(objectives)), settings.params or {}):
        defaults |= more
    lines = [choices(key, values) for key, values in defaults.items()]
    if ours:
        rungs = [rewrite(rung, loader) for rung in rungs]
        lines = rewrite(lines, loader)
    if settings.rungs:
        steps = parser.parse_overrides(rungs[0])
        _check_rungs(settings, given, objectives, steps)
        given |= {target(override): override for override in steps}
    overrides = parser.parse_overrides([*without_overridden(lines, [*arguments, *rungs[0]], loader), *arguments])
    space = Space.of(overrides, _takes(loader) if ours else None)
    for line in dict.fromkeys(line for one in objectives for key, line in one.cautions.items() if key in arguments):
        print(f"fmnist_sweep: {line}", file=sys.stderr)
    seeds = settings.seeds
    if "seed" in given and seeds is not None:
        raise ConfigError(f"{given['seed'].input_line}: seeds={seeds} sets it; leave one of them out")
    if "seed" not in given and seeds is None:
        seeds = max((one.seeds for one in objectives if one.seeds), default=None)
    fixed = [override for override in overrides if not override.is_sweep_override()]
    decisive = [str(override.input_line) for override in fixed if not ours or decides(target(override))]
    directions = _directions(settings.direction, objectives)
    if settings.rungs and len(directions) > 1:
        raise ConfigError("rungs: the best of a batch go on, and of several objectives there is no best; give one")
    return Problem(space, objectives, directions, seeds, tuple(rungs), tuple(settings.rungs or ()), tuple(decisive))


def _takes(loader: ConfigLoader) -> Takes:
    """Return a function that looks into an optimizer's option for its class, and into that for its arguments."""
    composer = Composer(loader, hydra_private.master(loader))

    @functools.cache
    def optimizer(chooser: str, value: str) -> Mapping[str, Any]:
        if chooser == "optimizer.name":
            return {"name": value}
        return composer.config([f"optimizer={value}"]).optimizer

    return lambda chooser, value, key: optimizers.takes(optimizer(chooser, value), key.split(".")[1])


def check(problem: Problem, loader: ConfigLoader, sweep: DictConfig) -> None:
    """Check the ends of every dimension, and all jobs of one trial, before anything is written."""
    first, *corners = problem.space.corners()
    seeds = [[]] if problem.seeds is None else [[f"seed={seed}"] for seed in range(problem.seeds)]
    jobs = [[*first, *rung, *seed] for rung in problem.rungs for seed in seeds]
    check_jobs([*jobs, *([*corner, *problem.rungs[0], *seeds[0]] for corner in corners)], loader, sweep)


def _check_numbers(settings: Any) -> None:
    for key in ("n_trials", "batch", "seeds"):
        value = getattr(settings, key)
        if value is not None and value < 1:
            raise ConfigError(f"{key}={value}: must be 1 or more")
    if settings.grids:
        raise ConfigError(
            "figure: a search takes a space, not a figure's runs; leave it out, or name an objective by it"
        )


def _check_rungs(
    settings: Any, given: Mapping[str, Override], objectives: Iterable[Objective], steps: Iterable[Override]
) -> None:
    rungs = settings.rungs
    if any(low >= high for low, high in zip([0, *rungs], rungs, strict=False)):
        raise ConfigError(f"rungs={rungs}: must be numbers from 1 that grow, such as [1,3,9,27]")
    for override in steps:
        if target(override) in given:
            line = given[target(override)].input_line
            raise ConfigError(f"{line}: rungs={rungs} sets {settings.resource}; leave one of them out")
    for one in objectives:
        if not one.comparable:
            raise ConfigError(f"objective={one.name}: needs whole runs, but rungs cut runs short; leave rungs out")


def _directions(direction: Any, objectives: tuple[Objective, ...]) -> tuple[Direction, ...]:
    if objectives:
        if direction is not None:
            raise ConfigError(f"direction={direction}: {objectives[0].name} has its own; leave it out")
        return tuple(one.direction for one in objectives)
    words = direction if isinstance(direction, list) else [direction or DIRECTIONS[0]]
    if not words or not set(words) <= set(DIRECTIONS):
        raise ConfigError(f"direction={direction}: must be one of {', '.join(DIRECTIONS)}, or a list of them")
    return tuple(words)
