"""The stacked launcher passes Hydra's own suites for launchers, with task functions that are not ours."""

from __future__ import annotations

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from pytest import mark

from hydra_plugins.stacked_launcher import StackedLauncher


def test_hydra_finds_the_launcher() -> None:
    assert StackedLauncher.__name__ in [cls.__name__ for cls in Plugins.instance().discover(Launcher)]


@mark.parametrize(("launcher_name", "overrides"), [("stacked", [])])
class TestLauncher(LauncherTestSuite):
    pass


@mark.parametrize(
    ("launcher_name", "overrides"), [("stacked", ["hydra/sweeper=grids", "hydra.sweeper.max_batch_size=2"])]
)
class TestLauncherInBatches(BatchedSweeperTestSuite):
    pass


@mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=stacked"])])
class TestLauncherIntegration(IntegrationTestSuite):
    pass
