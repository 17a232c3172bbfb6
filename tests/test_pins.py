"""What is installed was reviewed: constraints.txt names one version of everything that this project pulls in."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LINES = Path("constraints.txt").read_text().splitlines()
PINS = {
    canonicalize_name(pin.name): pin
    for pin in (Requirement(line) for line in LINES if line.strip() and not line.startswith("#"))
    if not pin.marker or pin.marker.evaluate()
}


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
    found = installed("fmnist-sweep[dev,slurm,ray]")
    found.pop("fmnist-sweep")
    lacking = [f"{name}=={version(name)}" for name, exact in found.items() if name not in PINS and not exact]
    assert sorted(lacking) == []
    differing = [str(pin) for name, pin in PINS.items() if name in found and version(name) not in pin.specifier]
    assert differing == []


def test_a_pin_is_one_version() -> None:
    assert [str(pin) for pin in PINS.values() if [part.operator for part in pin.specifier] != ["=="]] == []
