"""Jobs of one template leave the same files and results as if Hydra had begun and ended them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import composed
import pytest
import yaml
from hydra import version
from hydra.core.utils import JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from fmnist_sweep.config import hydra_private
from fmnist_sweep.config.compose import Composer
from fmnist_sweep.config.hydra_jobs import SweepJobs
from fmnist_sweep.config.hydra_private import Callbacks, directory_of

QUICK = [
    ["seed=3"],
    ["optimizer=sgd", "batch_size='500'", "seed=12345678901"],
    ["optimizer=sgd", "++optimizer.lr=1e-05", "++optimizer.momentum=1", "seed=0"],
    ["model.hidden=[8]", "model.dropout=1e-9", "epochs='100'", "hydra.job.name=mine"],
    ["data.mean=-0.25", "data.std=1", "figure@hydra.sweeper=fig1", "training.epochs=7"],
    ["hydra.job.config.override_dirname.exclude_keys=[seed]", "seed=2", "optimizer=sgd"],
    ["data.dir='/a folder/with: colons and #'", "seed=2"],
    ["hydra/job_logging=disabled", "seed=1"],
]
OTHERS = [
    ["seed=${training.epochs}"],
    ["model.dropout=0.3", "data.mean=${model.dropout}"],
    ["hydra.sweep.subdir=${hydra.job.override_dirname}", "seed=4"],
    ["hydra.sweep.dir=store-${seed}", "seed=4"],
    ["seed=3", "+hydra.job.env_set.A=b"],
    ["optimizer={name:SGD,lr:0.1}", "++optimizer.lr=0.2"],
]


@pytest.fixture(autouse=True)
def version_of_hydra(hydras_version_base: None) -> None:
    version.setbase("1.3")


def nothing(*_: Any) -> None:
    return None


def context() -> HydraContext:
    return HydraContext(composed.loader(), Callbacks())


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def composer() -> Composer:
    return Composer(composed.loader(), hydra_private.master(composed.loader()))


def begun_by_hydra(overrides: list[str]) -> DictConfig:
    """Let Hydra compose and begin a job."""
    made = composed.loader().load_sweep_config(hydra_private.master(composed.loader()), overrides)
    hydra_private.begin_job(hydra_private.numbered(made, 7), nothing, context())
    return made


@pytest.mark.parametrize("overrides", QUICK + OTHERS, ids=" ".join)
def test_a_job_is_made_and_begun_as_hydra_does(overrides: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    job = composer().job(overrides, 7)
    SweepJobs(nothing, context()).begin(job)
    quick = files(tmp_path)
    for file in quick:
        (tmp_path / file).unlink()
    expected = begun_by_hydra(overrides)
    assert files(tmp_path) == quick
    assert str(job.directory) == expected.hydra.runtime.output_dir
    assert OmegaConf.to_yaml(job.hydra) == OmegaConf.to_yaml(expected)


def test_a_long_value_is_written_as_hydra_means_it(tmp_path: Path, monkeypatch: Any) -> None:
    """Hydra folds it to two lines of YAML."""
    monkeypatch.chdir(tmp_path)
    overrides = [f"data.dir='{'/a folder: with # and spaces' * 5}'", "seed=2"]
    SweepJobs(nothing, context()).begin(composer().job(overrides, 7))
    quick = {name: yaml.safe_load(text) for name, text in files(tmp_path).items()}
    begun_by_hydra(overrides)
    assert {name: yaml.safe_load(text) for name, text in files(tmp_path).items()} == quick


@pytest.mark.parametrize("overrides", QUICK, ids=" ".join)
def test_jobs_that_differ_in_values_share_a_template(overrides: list[str]) -> None:
    """Otherwise the test above would compare Hydra with Hydra."""
    assert composer().job(overrides, 7).template is not None


def test_a_result_has_what_hydra_gives(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    job, jobs = composer().job(["optimizer=sgd", "seed=3"], 7), SweepJobs(nothing, context())
    jobs.begin(job)
    quick = jobs.end(job, lambda: 0.5)
    slow = hydra_private.end_job(job.hydra, lambda _: 0.5, context())
    assert type(quick) is not type(slow)
    assert (quick.return_value, quick.status, directory_of(quick)) == (0.5, JobStatus.COMPLETED, directory_of(slow))
    assert (quick.cfg, quick.hydra_cfg, quick.overrides) == (slow.cfg, slow.hydra_cfg, slow.overrides)
    assert quick.working_dir == slow.working_dir


def test_a_job_that_fails_has_its_error_as_result(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    job = composer().job(["seed=3"], 7)

    def fail() -> None:
        raise ValueError("no")

    result = SweepJobs(nothing, context()).end(job, fail)
    assert result.status == JobStatus.FAILED
    assert isinstance(hydra_private.error_of(result), ValueError)


def test_callbacks_are_notified(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[int] = []

    class Noted:
        def on_job_start(self, config: DictConfig, **_: Any) -> None:
            told.append(config.seed)

        def on_job_end(self, config: DictConfig, **_: Any) -> None:
            told.append(-config.seed)

    with_callbacks = context()
    with_callbacks.callbacks.callbacks.append(Noted())
    jobs, job = SweepJobs(nothing, with_callbacks), composer().job(["seed=3"], 7)
    jobs.begin(job)
    jobs.end(job, lambda: 0.5)
    assert told == [3, -3]
