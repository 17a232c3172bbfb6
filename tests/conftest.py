"""Fixtures for several test modules."""

from collections.abc import Iterator

import pytest
from hydra.version import VersionBase
from packaging.version import Version


@pytest.fixture
def hydras_version_base() -> Iterator[None]:
    """Restore what Hydra's own suites expect, whatever a command in this process has changed."""
    before = VersionBase.instance().version_base
    VersionBase.instance().version_base = Version("1.1")
    yield
    VersionBase.instance().version_base = before
