"""One digest per configuration, however, wherever and in whatever company it is trained: a matrix of real sweeps.

The rows of the matrix are a Latin hypercube: each value of each circumstance occurs equally often, in mixed company.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from command import run_command

pytestmark = pytest.mark.slow

ROWS = 12
CIRCUMSTANCES: Mapping[str, Sequence[str]] = {
    "launcher": ["stacked", "basic", "alone"],
    "workers": ["1", "2", "3"],
    "company": ["seed=0,3,4", "optimizer=adam,sgd,rmsprop", "dropout=0,0.05,0.2,0.5,0.9", "batch_size=500,1000"],
    "taken": ["as asked", "cut from a longer run", "continued from a shorter one", "interrupted"],
    "folder": ["work", "an other ñ folder"],
    "umask": ["022", "077"],
    "LC_ALL": ["C", "C.UTF-8", "POSIX"],
    "PYTHONHASHSEED": ["0", "1", "random"],
    "OMP_NUM_THREADS": ["1", "2", "7"],
    "MKL_NUM_THREADS": ["1", "4"],
    "TZ": ["UTC", "Asia/Kolkata", "America/Argentina/Cordoba"],
}
BASE = ["batch_size=500", "model.hidden=[24,12]"]
EPOCHS = 3


def hypercube(seed: int) -> list[dict[str, str]]:
    """Rows with a value of each circumstance."""
    draw = random.Random(seed)
    columns = {name: list(itertools.islice(itertools.cycle(values), ROWS)) for name, values in CIRCUMSTANCES.items()}
    for column in columns.values():
        draw.shuffle(column)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def train(row: Mapping[str, str], epochs: int, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in row.items() if name.isupper()}
    return run_command(*command(row, epochs), cwd=folder, **environment)


def command(row: Mapping[str, str], epochs: int) -> list[str]:
    own = [*BASE, f"epochs={epochs}", f"workers={row['workers']}"]
    if row["launcher"] == "alone":
        return own
    key = row["company"].partition("=")[0]
    rest = [value for value in own if not value.startswith(f"{key}=")]
    return ["-m", f"hydra/launcher={row['launcher']}", row["company"], *rest]


def interrupt(row: Mapping[str, str], folder: Path) -> None:
    """Begin the sweep, and ask it to stop once the run has its first row."""
    environment = os.environ | {name: value for name, value in row.items() if name.isupper()}
    words = [sys.executable, "-m", "fmnist_sweep", *command(row, EPOCHS)]
    with subprocess.Popen(
        words, cwd=folder, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as sweep:
        while sweep.poll() is None and not any(b"\n1," in m for m in map(Path.read_bytes, metrics_files(folder))):
            time.sleep(0.05)
        sweep.send_signal(signal.SIGINT)


def metrics_files(folder: Path) -> list[Path]:
    return list(folder.glob(f"multirun/adam-bs500-do0.2-ep{EPOCHS}-seed0-*/metrics.csv"))


@pytest.fixture
def as_before() -> Iterator[None]:
    mask = os.umask(0o022)
    yield
    os.umask(mask)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The metrics of the run on its own."""
    folder = tmp_path_factory.mktemp("alone")
    assert run_command(*BASE, f"epochs={EPOCHS}", cwd=folder).returncode == 0
    return metrics_files(folder)[0].read_bytes()


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("row", hypercube(seed=0), ids=lambda row: "-".join(map(str, row.values())))
def test_a_run_has_the_same_bytes_in_all_circumstances(row: dict[str, str], expected: bytes, tmp_path: Path) -> None:
    folder = tmp_path / row["folder"]
    folder.mkdir()
    os.umask(int(row["umask"], 8))
    if row["taken"] == "interrupted":
        interrupt(row, folder)
    elif row["taken"] != "as asked":
        assert train(row, EPOCHS + (1 if "cut" in row["taken"] else -1), folder).returncode == 0
    done = train(row, EPOCHS, folder)
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in metrics_files(folder)] == [expected]
