"""Try faults, print what became of them, write docs/explanation/faults.md; exit code 1 where one was not survived."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from faults.trying import FAULTS, Tally, sample, try_all
from fmnist_sweep.engine.machine import cpu

DOCUMENT = Path(__file__).parents[2] / "docs" / "explanation" / "faults.md"


def document(tallies: Mapping[str, Tally], seed: int, share: float, seconds: float) -> str:
    """docs/explanation/faults.md: how much was tried and survived, by kind, where, and what was found."""
    struck = sum(tally.struck for tally in tallies.values())
    failed = sum(len(tally.failures) for tally in tallies.values())
    kills = tallies["killed_workers"].struck + tallies["killed_searches"].struck
    machine = f"{os.cpu_count()} cores of {cpu()}, {platform.system()}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    lines = [
        "# What is survived",
        "",
        f"Of {struck:,} faults, {kills} of them `kill -9`, {struck - failed:,} were survived: the same command "
        "completed the runs, with the same bytes, and trained no epoch again that a checkpoint held.",
        "",
        f"`make faults` writes this file; here from {share:.0%} of the cases, in {seconds / 60:.0f} minutes "
        f"on {machine}, {versions}; seed {seed}. "
        "`PYTHONPATH=.:tests python -m faults --only KIND --case NAME` repeats a case. "
        "`make faults` first gives 12,500 inputs to all that reads what users type and what files hold "
        "(`tests/store/test_hostile_input.py`), which takes 20 minutes more.",
        "",
        "| kind | what | cases | faults | survived |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for kind, tally in tallies.items():
        what = (FAULTS[kind].__doc__ or "").rstrip(".")
        lines.append(f"| {kind} | {what} | {tally.cases} | {tally.struck} | {tally.struck - len(tally.failures)} |")
    for kind, tally in tallies.items():
        lines += [f"\nNot survived: `{kind}` `{name}`: {problem}" for name, problem in tally.failures.items()]
    return "\n".join(lines) + "\n\n" + (Path(__file__).parent / "mended.md").read_text()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="what chance draws from")
    parser.add_argument("--only", choices=list(FAULTS), help="one kind of fault; nothing is written")
    parser.add_argument("--case", help="the one case of this name")
    parser.add_argument("--share", type=float, default=1.0, help="of each kind's cases")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="where to write what became of all kinds")
    options = parser.parse_args()
    began, tallies = time.monotonic(), {}
    for kind in [options.only] if options.only else FAULTS:
        cases = [case for case in sample(kind, options.share, options.seed) if options.case in (None, case.name)]
        tally = tallies[kind] = try_all(kind, cases, options.seed, workers=2)
        print(f"{kind}: {tally.cases} cases, {tally.struck} faults, {len(tally.failures)} not survived", flush=True)
        if not tally.cases:
            print(f"  not tried: it needs what is not here; {FAULTS[kind].__doc__}", flush=True)
        for name, problem in tally.failures.items():
            print(f"  {name}: {problem}", flush=True)
    if options.only is None:
        text = document(tallies, options.seed, options.share, time.monotonic() - began)
        options.output.write_text(text)
    return int(any(tally.failures for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
