"""Wheel and sdist hold all that the commands need: they work where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed, away from the checkout and from the environment's variables for Python."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout, and the wheel that is built from the sdist alone."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
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
    some = {"fmnist_sweep/report/texts/en.yaml", "fmnist_sweep/report/page/page.html", "fmnist_sweep/py.typed"}
    assert some <= files <= names
    assert {"hydra_plugins/fmnist_sweep_grids.py", "hydra_plugins/fmnist_sweep_stacked.py"} <= names
    # An __init__.py would hide the plugins of every other distribution.
    assert "hydra_plugins/__init__.py" not in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fmnist_sweep", "hydra_plugins"}


def test_an_index_would_take_sdist_and_wheel(built: Path) -> None:
    said = run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir(), cwd=built).stdout
    assert said.count("PASSED") == 2


def test_licence_changelog_and_citation_are_there_and_of_this_version(built: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    version = metadata["Version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (metadata["License-Expression"], metadata["License-File"]) == ("MIT", "LICENSE")
    assert (citation["license"], citation["version"]) == ("MIT", version)
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as files:
        names = {name.split("/", 1)[-1] for name in files.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "CITATION.cff", "README.md", "constraints.txt", "tests/test_wheel.py"} <= names


def test_help_and_configuration_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    shown = run(installed / "python", "-m", "fmnist_sweep", "--help", cwd=tmp_path).stdout
    assert "optimizer: adam, adamw, rmsprop, sgd, sgd_momentum" in shown.splitlines()
    shown = run(installed / "fmnist-sweep", "--cfg", "job", "optimizer=sgd", "batch_size=64", cwd=tmp_path).stdout
    assert shown.startswith("optimizer:\n  name: SGD\n  lr: 0.01\ntraining:\n  batch_size: 64\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_trains_and_is_reported(installed: Path, tmp_path: Path) -> None:
    run(installed / "fmnist-sweep", "optimizer=sgd", "epochs=1", "batch_size=1000", "model.hidden=[8]", cwd=tmp_path)
    (metrics,) = (tmp_path / "multirun").glob("*/metrics.csv")
    assert metrics.parent.name.startswith("sgd-bs1000-do0.2-ep1-seed0-")
    assert len(metrics.read_text().splitlines()) == 2
    said = run(installed / "fmnist-sweep-report", "--paper", "bordone2025", cwd=tmp_path).stdout
    assert said.startswith("1 run in multirun, 1 of them done")
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["fmnist-sweep-report", "fmnist-sweep-papers", "fmnist-sweep-data"])
def test_a_script_calls_itself_as_it_was_typed(name: str, installed: Path, tmp_path: Path) -> None:
    assert run(installed / name, "--help", cwd=tmp_path).stdout.startswith(f"usage: {name} ")
