"""The stacked launcher passes Hydra's own suites for launchers, with task functions that are not ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from omegaconf import DictConfig

# The suites name no version_base, of which Hydra reminds.
pytestmark = [
    pytest.mark.usefixtures("hydras_version_base"),
    pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory:UserWarning"),
]


LAUNCHERS = ("stacked", "stacked_slurm", "stacked_ray")


def test_hydra_finds_the_launcher() -> None:
    assert "StackedLauncher" in [cls.__name__ for cls in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [(name, []) for name in LAUNCHERS])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [(name, ["hydra.sweeper.max_batch_size=2"]) for name in LAUNCHERS]
)
class TestLauncherInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", f"hydra/launcher={name}"]) for name in LAUNCHERS]
)
class TestLauncherIntegration(IntegrationTestSuite):
    pass


class Together:
    """An application that carries out its jobs together: a job's result is ten times its `a`, and 2 is too much."""

    def __init__(self, dry: bool = False):
        self.dry = dry
        self.done: list[str] = []

    def __call__(self, jobs: int, executor: dict[str, Any]) -> Together:
        self.done.append(f"begin {jobs} on {executor['executor']}")
        return self

    def __enter__(self) -> Together:
        return self

    def __exit__(self, *_: object) -> None:
        self.done.append("end")

    def place(self, config: DictConfig) -> None:
        config.a += 0

    def make_job(self, config: DictConfig, directory: Path) -> tuple[int, str]:
        self.done.append(f"make {config.a}")
        if config.a == 7:
            raise ValueError("7 is out of the question")
        return config.a, directory.name

    def check(self, jobs: Sequence[tuple[int, str]]) -> bool:
        self.done.append(f"check {[number for number, _ in jobs]}")
        return not self.dry

    def train(self, jobs: Sequence[tuple[int, str]]) -> bool:
        self.done.append(f"train {list(jobs)}")
        return True

    def outcome(self, job: tuple[int, str]) -> int:
        if job[0] == 2:
            raise RuntimeError("2 is too much")
        return 10 * job[0]


@pytest.fixture
def sweep(hydra_sweep_runner: Any, tmp_path: Path, hydra_restore_singletons: None) -> Callable[..., Any]:
    """Makes a sweep of jobs with these values of `a`, for an application that carries them out together."""

    def make(together: Together, values: str) -> Any:
        runner = hydra_sweep_runner(
            calling_file=None,
            calling_module="hydra.test_utils.a_module",
            task_function=None,
            config_path="configs",
            config_name="compose.yaml",
            overrides=["hydra/launcher=stacked", f"+a={values}"],
            temp_dir=tmp_path / "store",
        )
        runner.together = together
        return runner

    return make


def test_jobs_are_carried_out_together_and_closed_one_by_one(sweep: Callable[..., Any], tmp_path: Path) -> None:
    together = Together()
    with sweep(together, "1,3") as done:
        assert [result.return_value for result in done.returns[0]] == [10, 30]
        assert [result.status for result in done.returns[0]] == [JobStatus.COMPLETED] * 2
        assert [result.hydra_cfg.hydra.job.num for result in done.returns[0]] == [0, 1]
        assert [result.overrides for result in done.returns[0]] == [["+a=1"], ["+a=3"]]
        for number in (0, 1):
            assert (tmp_path / "store" / str(number) / ".hydra" / "overrides.yaml").exists()
    assert together.done == [
        "begin 2 on local",
        "make 1",
        "make 3",
        "check [1, 3]",
        "train [(1, '0'), (3, '1')]",
        "end",
    ]


def test_a_job_that_fails_is_told_after_all_are_closed(sweep: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="2 is too much"), sweep(Together(), "2,1"):
        pass
    assert {path.name for path in (tmp_path / "store").iterdir() if path.is_dir()} == {"0", "1"}


def test_nothing_starts_unless_every_job_is_right(sweep: Callable[..., Any], tmp_path: Path) -> None:
    together = Together()
    with pytest.raises(ValueError, match="out of the question"), sweep(together, "1,7,3"):
        pass
    assert together.done == ["begin 3 on local", "make 1", "make 7", "end"]
    assert not any(path.is_dir() for path in (tmp_path / "store").iterdir())


def test_a_dry_run_makes_no_job_directories(sweep: Callable[..., Any], tmp_path: Path) -> None:
    with sweep(Together(dry=True), "1,2") as done:
        assert [result.status for result in done.returns[0]] == [JobStatus.COMPLETED] * 2
        assert not any(path.is_dir() for path in (tmp_path / "store").iterdir())
