"""The wheel holds all that the command needs: it works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed, away from the checkout and from the environment's variables for Python."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel, and sees what it depends on in this one."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, wheel, cwd=home)
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).stdout.strip()
    # After its own packages; the files that make a checkout importable (*.pth) are not read from there.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import fmnist_sweep; print(fmnist_sweep.__file__)", cwd=home).stdout
    assert where.startswith(packages)
    return home / "bin"


def test_the_wheel_ships_the_configuration_and_the_papers(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    options = {f"fmnist_sweep/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(options) > 15
    assert options <= names
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "fmnist_sweep").rglob("*.*") if path.suffix != ".pyc"}
    assert {"fmnist_sweep/report/texts/en.yaml", "fmnist_sweep/report/page/page.html"} <= files <= names
    assert {"hydra_plugins/grid_sweeper.py", "hydra_plugins/stacked_launcher.py"} <= names
    # An __init__.py would hide the plugins of every other distribution.
    assert "hydra_plugins/__init__.py" not in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fmnist_sweep", "hydra_plugins"}


def test_help_and_configuration_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    shown = run(installed / "python", "-m", "fmnist_sweep", "--help", cwd=tmp_path).stdout
    assert "optimizer: adam, adamw, rmsprop, sgd, sgd_momentum" in shown.splitlines()
    shown = run(installed / "fmnist-sweep", "--cfg", "job", "optimizer=sgd", "batch_size=64", cwd=tmp_path).stdout
    assert shown.startswith("optimizer:\n  name: SGD\n  lr: 0.01\ntraining:\n  batch_size: 64\n")
    assert list(tmp_path.iterdir()) == []


def test_a_run_trains_and_is_reported(installed: Path, tmp_path: Path) -> None:
    run(installed / "fmnist-sweep", "optimizer=sgd", "epochs=1", "batch_size=1000", "model.hidden=[8]", cwd=tmp_path)
    (metrics,) = (tmp_path / "multirun").glob("*/metrics.csv")
    assert metrics.parent.name.startswith("sgd-bs1000-do0.2-ep1-seed0-")
    assert len(metrics.read_text().splitlines()) == 2
    said = run(installed / "python", "-m", "fmnist_sweep.report", "--paper", "bordone2025", cwd=tmp_path).stdout
    assert said.startswith("1 runs in multirun, 1 of them done")
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
