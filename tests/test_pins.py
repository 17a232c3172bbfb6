"""Check that everything installed was reviewed: constraints.txt names one version of each package.

`make pins` writes it, one resolution for every Python of the classifiers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LINES = [line for line in Path("constraints.txt").read_text().splitlines() if not line.startswith("#")]
ALL = [Requirement(line) for line in LINES]
PINS = {canonicalize_name(pin.name): pin for pin in ALL if not pin.marker or pin.marker.evaluate()}
PYTHON = "Programming Language :: Python :: "
PYTHONS = [
    line.removeprefix(PYTHON)
    for line in metadata("fmnist-sweep").get_all("Classifier") or []
    if line.startswith(f"{PYTHON}3.")
]


def installed(*roots: str) -> dict[str, bool]:
    """Each distribution that these need here, and whether one that needs it names its exact version."""
    found: dict[str, bool] = {}
    seen, left = set(), [Requirement(root) for root in roots]
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        exact = any(part.operator == "==" and "*" not in part.version for part in one.specifier)
        try:
            version(name)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
        found[name] = found.get(name, False) or exact
        if (name, *sorted(one.extras)) not in seen:
            seen.add((name, *sorted(one.extras)))
            left += needed(name, one.extras)
    return found


def needed(name: str, extras: set[str]) -> Iterator[Requirement]:
    for one in map(Requirement, requires(name) or []):
        if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield one


def test_everything_that_is_installed_is_pinned_at_its_version() -> None:
    found = installed("fmnist-sweep[dev,docs,slurm,ray,tensorboard,mlflow,wandb]")
    found.pop("fmnist-sweep")
    lacking = [f"{name}=={version(name)}" for name, exact in found.items() if name not in PINS and not exact]
    assert sorted(lacking) == []
    differing = [str(pin) for name, pin in PINS.items() if name in found and version(name) not in pin.specifier]
    assert differing == []


def test_a_pin_is_one_version_and_names_no_place() -> None:
    assert [str(pin) for pin in ALL if pin.url or [part.operator for part in pin.specifier] != ["=="]] == []
    assert [line for line in LINES if line.startswith("-")] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_every_supported_python_has_one_version_of_all_that_is_required(python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.99"}
    there = Counter(canonicalize_name(pin.name) for pin in ALL if not pin.marker or pin.marker.evaluate(environment))
    assert [name for name, count in there.items() if count > 1] == []
    lines = map(Requirement, requires("fmnist-sweep") or [])
    extras = metadata("fmnist-sweep").get_all("Provides-Extra") or []
    roots = {
        canonicalize_name(one.name)
        for one in lines
        if not one.marker or any(one.marker.evaluate({**environment, "extra": extra}) for extra in extras)
    }
    assert len(roots) > 30
    assert roots - there.keys() == set()


def test_the_supported_pythons_begin_with_the_oldest_that_is_required() -> None:
    assert metadata("fmnist-sweep")["Requires-Python"] == f">={PYTHONS[0]}"
    assert f"OLDEST := {PYTHONS[0]}\n" in Path("Makefile").read_text()
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in Path("README.md").read_text()
