"""The stacked launcher passes Hydra's own suites for launchers, with task functions that are not ours."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
    sweep_two_config_groups,
)
from omegaconf import DictConfig

from fmnist_sweep.cli import loader_for
from fmnist_sweep.config.schema import CONFIG_FOLDER, Config, Execution
from fmnist_sweep.errors import RunError

# The suites name no version_base, of which Hydra reminds.
pytestmark = [
    pytest.mark.usefixtures("hydras_version_base"),
    pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory:UserWarning"),
]


def test_hydra_finds_the_launcher() -> None:
    assert "StackedLauncher" in [cls.__name__ for cls in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("stacked", [])])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(("launcher_name", "overrides"), [("stacked", ["hydra.sweeper.max_batch_size=2"])])
class TestLauncherInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Hydra 1.3 alone does not start on Python 3.14")
@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=stacked"])])
class TestLauncherIntegration(IntegrationTestSuite):
    pass


@pytest.mark.parametrize("launcher", ["stacked_slurm", "stacked_ray"])
def test_on_a_cluster_jobs_that_are_not_ours_run_here(launcher: str, hydra_sweep_runner: Any, tmp_path: Path) -> None:
    """The launcher's class is the same; only its settings differ, which such jobs do not use."""
    sweep_two_config_groups(
        hydra_sweep_runner, overrides=[f"hydra/launcher={launcher}"], task_function=None, temp_dir=tmp_path
    )


class Notes(Callback):
    """A callback that notes what Hydra notifies it of."""

    told: ClassVar[list[str]] = []

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.told.append(
            f"start {config.seed} {sorted(path.name for path in Path(config.hydra.runtime.output_dir).iterdir())}"
        )

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        self.told.append(f"end {config.seed} {job_return.status.name}")


class Together:
    """The project's application with another way to train: a job's result is ten times its seed, and 2 is too much."""

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

    def place(self, composed: DictConfig) -> None:
        composed.device = "cpu"

    def make_job(self, config: Config, execution: Execution, directory: Path) -> tuple[int, str]:
        self.done.append(f"make {config.seed}")
        if config.seed == 7:
            raise ValueError("7 is out of the question")
        return config.seed, directory.name

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
    """Makes a sweep of runs with these seeds, for an application that carries them out together."""

    loader_for([])  # registers the schema

    def make(together: Together, values: str, *more: str) -> Any:
        runner = hydra_sweep_runner(
            calling_file=__file__,
            calling_module=None,
            task_function=None,
            config_path=str(CONFIG_FOLDER),
            config_name="config",
            overrides=["hydra/sweeper=basic", f"seed={values}", "hydra.sweep.subdir=${seed}", *more],
            temp_dir=tmp_path / "store",
        )
        runner.start_sweep = together
        return runner

    return make


def test_jobs_are_carried_out_together_and_closed_one_by_one(sweep: Callable[..., Any], tmp_path: Path) -> None:
    together = Together()
    with sweep(together, "1,3") as done:
        assert [result.return_value for result in done.returns[0]] == [10, 30]
        assert [result.status for result in done.returns[0]] == [JobStatus.COMPLETED] * 2
        assert [result.hydra_cfg.hydra.job.num for result in done.returns[0]] == [0, 1]
        assert [result.overrides for result in done.returns[0]] == [["seed=1"], ["seed=3"]]
        for number in (1, 3):
            assert (tmp_path / "store" / str(number) / ".hydra" / "overrides.yaml").exists()
    assert together.done == [
        "begin 2 on local",
        "make 1",
        "make 3",
        "check [1, 3]",
        "train [(1, '1'), (3, '3')]",
        "end",
    ]


def test_a_job_that_fails_is_told_after_all_are_closed(sweep: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="2 is too much"), sweep(Together(), "2,1"):
        pass
    assert {path.name for path in (tmp_path / "store").iterdir() if path.is_dir()} == {"1", "2"}


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


NOTES = "+hydra.callbacks.notes._target_=test_stacked_launcher.Notes"


def test_jobs_begin_before_they_are_carried_out_and_end_after(sweep: Callable[..., Any]) -> None:
    Notes.told.clear()
    together = Together()
    together.train = lambda jobs: Notes.told.append("train") or True  # type: ignore[method-assign]
    with contextlib.suppress(RuntimeError), sweep(together, "1,2", NOTES):
        pass
    made = "['.hydra', 'run.log']"
    assert Notes.told == [f"start 1 {made}", f"start 2 {made}", "train", "end 1 COMPLETED", "end 2 FAILED"]


def test_a_job_that_cannot_be_ended_does_not_keep_the_others_from_their_end(sweep: Callable[..., Any]) -> None:
    Notes.told.clear()
    together, held = Together(), []

    def train(jobs: Sequence[tuple[int, str]]) -> bool:
        store = held[0]
        shutil.rmtree(store / "1")
        (store / "1").write_text("in the way")
        return True

    together.train = train  # type: ignore[method-assign]
    together.place = lambda composed: held.append(Path(composed.hydra.sweep.dir))  # type: ignore[method-assign]
    with pytest.raises(RunError, match="1: "), sweep(together, "1,3", NOTES):
        pass
    assert Notes.told[2:] == ["end 3 COMPLETED"]


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.job.name=a/b", "a/b.log: this log file's folder is not there; make it, or change hydra.job.name"),
        ("hydra.job_logging.root.level=LOUD", "root logger"),
        ("+hydra.job.env_set.A=${oc.env:NOPE}", "NOPE"),
        ("hydra.output_subdir=${oc.env:NOPE}", "NOPE"),
    ],
)
def test_what_hydra_would_refuse_is_refused_before_anything_trains(
    override: str, message: str, dry: bool, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    together = Together(dry=dry)
    with pytest.raises(Exception, match=message), sweep(together, "1,3", override):
        pass
    assert together.done == ["begin 2 on local", "make 1", "make 3", "end"]
    assert not any(path.is_dir() for path in (tmp_path / "store").iterdir())
