"""Fixtures for several test modules."""

import gc
from collections.abc import Iterator

import pytest
from hydra.version import VersionBase
from packaging.version import Version


def pytest_collection_finish() -> None:
    """Let garbage collection skip what imports have made: looking at all of it takes a tenth of the tests' time."""
    gc.freeze()


@pytest.fixture
def hydras_version_base() -> Iterator[None]:
    """Restore what Hydra's own suites expect, whatever a command in this process has changed."""
    before = VersionBase.instance().version_base
    VersionBase.instance().version_base = Version("1.1")
    yield
    VersionBase.instance().version_base = before
