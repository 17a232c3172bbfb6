"""Choose more seeds for the configurations that a paper's open claims need, until all claims are settled.

All state is in the store: its runs are judged as the report judges them. So an interrupted sweep continues, and a
finished one has nothing to do. `papers.looks` explains why verdicts are valid although seeds are added until there is
one.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser

from fmnist_sweep import papers
from fmnist_sweep.config import overrides
from fmnist_sweep.config.schema import Config, leaves
from fmnist_sweep.console import busy, console, print_table
from fmnist_sweep.engine.metrics import TEST_MEASURES
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.papers import looks
from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.papers.verdicts import ENDED, Verdict, judge
from fmnist_sweep.report.claims import reason
from fmnist_sweep.report.texts import Texts
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect, gather, recipe
from fmnist_sweep.sweeps.progress import minutes

_UNITS = {"s": 1, "min": 60, "h": 3600}


class Settling:
    """The looks at a store during one command. A look judges all claims at a given number of seeds.

    Args:
        name: the paper's name.
        arguments: overrides for every job; they may not change the configuration to train.
        max_seeds: the largest number of seeds of a configuration.
        budget: how long the command may train, such as 90s, 30min or 2h; None for no limit.
    """

    def __init__(self, name: str, loader: ConfigLoader, arguments: Sequence[str], max_seeds: int, budget: str | None):
        self.paper = papers.read(name, loader)
        if not self.paper.claims:
            raise ConfigError(f"until=settled: {name} makes no claims; add some to its file, or leave out until=")
        if max_seeds < 1:
            raise ConfigError(f"max_seeds={max_seeds}: must be at least 1")
        decisive = {*overrides.GROUPS, *leaves(Config)} - {"tracker"}
        for override in OverridesParser.create().parse_overrides(list(arguments)):
            key = overrides.target(override)
            if key in decisive or key.startswith("optimizer."):
                raise ConfigError(
                    f"{override.input_line}: the paper says what is trained; leave it out or until=settled"
                )
        self._grids = self.paper.sweeps()[papers.ALL]
        later = itertools.takewhile(lambda size: size <= max_seeds, map(looks.look_size, itertools.count(2)))
        self._sizes = [min(looks.look_size(1), max_seeds), *later]
        self._seconds = _seconds(budget) if budget is not None else None
        self._budget = budget
        self._began = time.monotonic()
        self._asked: set[tuple[str, int]] = set()

    @property
    def most(self) -> int:
        """Return the largest number of jobs in a batch."""
        return len(self._grids) * self._sizes[-1]

    def look(self, store: Path) -> list[dict[str, str]]:
        """Judge the runs in a store. Return the grids to train next; an empty list if nothing is left to train."""
        with busy("judging the runs"):
            curves = self._curves(store)
            verdicts = judge(self.paper, curves)
        for look, size in enumerate(self._sizes, start=1):
            grids = {}
            for name in wanted(self.paper, verdicts, look):
                ended = _ended(self.paper.configs[name], curves)
                missing = [n for n in range(size) if n not in ended and (name, n) not in self._asked]
                self._asked |= {(name, seed) for seed in missing}
                if missing:
                    grids[name] = {**self._grids[name], "seed": ",".join(map(str, missing))}
            if grids:
                self._say(curves, verdicts)
                console.print(f"look {look}, at {size} seeds: to be trained are {', '.join(grids)}")
                return list(grids.values())
        return []

    @contextmanager
    def within_budget(self) -> Iterator[None]:
        """Interrupt the training when the budget is spent, as Ctrl-C would."""
        spent = threading.Event()

        def interrupt() -> None:
            spent.set()
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(self._seconds, interrupt) if self._seconds is not None else None
        if timer:
            timer.start()
        try:
            yield
        except KeyboardInterrupt:
            if not spent.is_set():
                raise
            console.print(f"the budget of {self._budget} is spent; the same command goes on from here")
        finally:
            if timer:
                timer.cancel()

    def close(self, store: Path) -> None:
        """Print the open claims, the reasons, and how many seeds would settle each."""
        with busy("judging the runs"):
            curves = self._curves(store)
            verdicts = judge(self.paper, curves)
        self._say(curves, verdicts)
        left = [verdict for verdict in verdicts if is_open(verdict) and verdict.seeds]
        if not left:
            return
        rows = []
        for verdict in left:
            needed = "" if verdict.seeds_needed is None else f"{verdict.seeds_needed} seeds"
            rows.append([verdict.claim.id, str(len(verdict.seeds)), needed, reason(verdict, Texts("en"))])
        print_table(console, ["open claim", "seeds", "would settle it", "why"], rows)

    def _curves(self, store: Path) -> Curves:
        return Curves(collect(store, self.paper.covers) if store.is_dir() else gather([]))

    def _say(self, curves: Curves, verdicts: Sequence[Verdict]) -> None:
        still = sum(map(is_open, verdicts))
        epochs = sum(len(curve.metrics) for by_seed in curves.longest().values() for curve in by_seed.values())
        console.print(
            f"{self.paper.name}: {len(verdicts) - still} of {len(verdicts)} claims settled, {still} open; "
            f"{epochs:,} epochs in the store, {minutes(time.monotonic() - self._began)}"
        )


def wanted(paper: Paper, verdicts: Sequence[Verdict], look: int) -> list[str]:
    """Return the configurations that need all seeds of a look.

    The first look needs all configurations; later looks need those of open claims. So an interrupted look is completed
    before the next begins. This is necessary because claims are judged together.
    """
    names = paper.sweeps()[papers.ALL]
    if look == 1:
        return list(names)
    sides = {side for verdict in verdicts if _next_look(verdict) == look for side in verdict.claim.sides}
    return [name for name in names if name in sides]


def _next_look(verdict: Verdict) -> int | None:
    """Return the number of the next look at a claim; None if it is settled or no seeds would settle it.

    Claims on the test images ask for no seeds, so that these images choose nothing.
    """
    if not set(TEST_MEASURES).isdisjoint(verdict.claim.metrics):
        return None
    if not is_open(verdict) or (verdict.seeds_needed is None and not verdict.claim.is_tested):
        return None
    ended = len(verdict.seeds) + sum(cause in ENDED for cause in verdict.left_out.values())
    if ended and not verdict.seeds:
        return None
    return next(look for look in itertools.count(1) if looks.look_size(look) > ended)


def is_open(verdict: Verdict) -> bool:
    """Return True if a claim has no verdict yet."""
    return verdict.verdict in ("open", "not run")


def _ended(config: Config, curves: Curves) -> set[int]:
    """Return the seeds of a configuration whose runs have all epochs or have diverged."""
    serving = curves.serving(recipe(config), config.training.epochs)
    return {seed for seed, c in serving.items() if c.diverged or len(c.metrics) == config.training.epochs}


def _seconds(budget: str) -> float:
    match = re.fullmatch(r"(\d+\.?\d*)(s|min|h)", budget)
    if match is None or not float(match[1]):
        raise ConfigError(f"budget={budget}: must be a time above zero, such as 90s, 30min or 2h")
    return float(match[1]) * _UNITS[match[2]]
