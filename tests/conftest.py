"""What several modules of tests need."""

from collections.abc import Iterator

import pytest
from hydra.version import VersionBase
from packaging.version import Version


@pytest.fixture
def hydras_version_base() -> Iterator[None]:
    """What Hydra's own suites and runner expect, whatever a command that ran in this process has chosen."""
    before = VersionBase.instance().version_base
    VersionBase.instance().version_base = Version("1.1")
    yield
    VersionBase.instance().version_base = before
