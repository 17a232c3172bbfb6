"""A sample of the faults that `make faults` tries: the same command makes whole what each has broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults.trying import ALONE, FAULTS, Tally, sample, try_all

# Whole commands and searches, hundreds of runs, and clusters.
SLOW = (*ALONE, "broken_commands", "damaged_studies", "killed_searches")
MARKS = dict.fromkeys(SLOW, pytest.mark.slow) | {"killed_nodes": pytest.mark.cluster}
SHARES = {
    "damaged_files": 0.01,
    "failing_calls": 0.01,
    "lost_power": 0.01,
    "full_disk": 0.05,
    "killed_workers": 0.02,
    "damaged_studies": 0.02,
}
KINDS = [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in FAULTS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_survived(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "full_disk" and os.geteuid() != 0:
        pytest.skip("only root may mount")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # for processes of its own
    tally = try_all(kind, sample(kind, SHARES.get(kind, 0.1), seed=0), seed=0)
    assert (tally.cases > 0, tally.failures) == (True, {})


def test_what_is_not_survived_is_told(tmp_path: Path) -> None:
    from faults.__main__ import document

    tallies = {kind: Tally(cases=2, struck=3) for kind in FAULTS}
    tallies["lost_power"].failures["fresh/call-1-draw-0"] = "it was lost"
    text = document(tallies, seed=0, share=1, seconds=60)
    assert f"Of {3 * len(FAULTS)} faults, 6 of them `kill -9`, {3 * len(FAULTS) - 1} were survived" in text
    assert "Not survived: `lost_power` `fresh/call-1-draw-0`: it was lost" in text


@pytest.mark.slow
def test_a_case_is_repeated_by_its_name() -> None:
    command = [sys.executable, "-m", "faults", "--only", "lost_power", "--case", "fresh/call-9-draw-1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "lost_power: 1 cases, 1 faults, 0 not survived\n"), done.stderr
