"""The schema refuses what makes no run; a run's name follows what can change its results, and nothing else."""

from __future__ import annotations

import re

import pytest
from composed import compose, configure
from omegaconf import OmegaConf

from fmnist_sweep import config
from fmnist_sweep.config import digest, identity, run_name
from fmnist_sweep.errors import ConfigError

BASE = configure()


def test_the_base_model_is_the_papers() -> None:
    assert identity(BASE) == {
        "optimizer": {"name": "Adam", "lr": 0.01},
        "training": {"batch_size": 100, "epochs": 30},
        "model": {"hidden": [128, 64], "dropout": 0.2},
        "data": {"validation": "test", "mean": 0.5, "std": 0.5},
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("option", "optimizer"),
    [
        ("adam", {"name": "Adam", "lr": 0.01}),
        ("sgd", {"name": "SGD", "lr": 0.01}),
        ("sgd_momentum", {"name": "SGD", "lr": 0.01, "momentum": 0.9}),
        ("adamw", {"name": "AdamW", "lr": 0.01, "weight_decay": 0.01}),
        ("rmsprop", {"name": "RMSprop", "lr": 0.001}),
    ],
)
def test_the_optimizers_shipped_are_complete(option: str, optimizer: dict[str, object]) -> None:
    assert configure(f"optimizer={option}").optimizer == optimizer


# A run's name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ([], "adam-bs100-do0.2-ep30-seed0-"),
        (["optimizer=sgd", "batch_size=64", "dropout=0.5", "epochs=5", "seed=7"], "sgd-bs64-do0.5-ep5-seed7-"),
        (["optimizer=sgd_momentum", "dropout=0"], "sgd-bs100-do0-ep30-seed0-"),
        (["optimizer=rmsprop", "batch_size=60000"], "rmsprop-bs60000-do0.2-ep30-seed0-"),
        (["seed=9223372036854775807"], "adam-bs100-do0.2-ep30-seed9223372036854775807-"),
    ],
)
def test_a_name_says_what_the_paper_varies(typed: list[str], name: str) -> None:
    assert re.fullmatch(re.escape(name) + "[0-9a-f]{8}", run_name(configure(*typed)))


CHANGES = [
    ["optimizer=sgd"],
    ["optimizer=sgd_momentum"],
    ["optimizer.lr=0.02"],
    ["optimizer.betas=[0.8,0.999]"],
    ["optimizer.weight_decay=0.1"],
    ["batch_size=500"],
    ["batch_size=64"],
    ["dropout=0.05"],
    ["dropout=0.2000000001"],
    ["model.hidden=[128]"],
    ["model.hidden=[64,128]"],
    ["model.hidden=[128,64,32]"],
    ["data.validation=holdout"],
    ["data.mean=0.286"],
    ["data.std=0.353"],
    ["seed=1"],
]


def test_whatever_can_change_the_results_changes_the_digits() -> None:
    digits = [digest(configure(*typed)) for typed in [[], *CHANGES]]
    assert len(set(digits)) == len(digits)


@pytest.mark.parametrize(
    "typed",
    [
        ["workers=3"],
        ["data.dir=/some/where"],
        ["rerun=true"],
        ["retry=failed"],
        ["dry_run=true"],
        ["device=cpu"],
        ["hydra.sweep.dir=/some/where"],
        ["hydra.job.name=other"],
        ["optimizer=adam", "batch_size='100'", "dropout=0.20", "epochs=3e1"],
        ["training.batch_size=100"],
        ["optimizer.lr=1e-2"],
        ["optimizer.betas=[0.9,0.999]"],
        ["optimizer.weight_decay=0"],
        ["optimizer.weight_decay=0.0", "optimizer.amsgrad=false"],
        ["data.mean=5e-1"],
    ],
)
def test_nothing_else_changes_the_name(typed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert run_name(configure(*typed)) == run_name(configure())


def test_a_default_of_torch_spelled_out_changes_nothing() -> None:
    assert run_name(configure("optimizer=sgd", "optimizer.momentum=0")) == run_name(configure("optimizer=sgd"))
    assert run_name(configure("optimizer=sgd", "optimizer.momentum=0.9")) == run_name(
        configure("optimizer=sgd_momentum")
    )


def test_runs_that_differ_in_epochs_share_their_digits() -> None:
    longer = configure("epochs=100")
    assert digest(longer) == digest(BASE)
    assert run_name(longer) == run_name(BASE).replace("ep30", "ep100")


def test_the_digits_follow_what_the_configuration_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    before, on_cpu = digest(BASE), configure("device=cpu")
    monkeypatch.setattr(config, "TRAINING_VERSION", config.TRAINING_VERSION + 1)
    assert digest(BASE) != before
    monkeypatch.undo()
    monkeypatch.setattr(config, "CHECKSUMS", {**config.CHECKSUMS, "t10k-labels-idx1-ubyte": "0"})
    assert digest(BASE) != before
    monkeypatch.undo()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert digest(BASE) != before
    assert digest(on_cpu) == before


def test_hydra_knows_the_name_as_a_resolver() -> None:
    (composed,) = compose("epochs=5")
    assert composed.hydra.sweep.subdir == run_name(configure("epochs=5"))


# Devices


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda"), (True, True, "cuda")],
)
def test_auto_takes_the_first_of_cuda_mps_and_cpu(
    cuda: bool, mps: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert config.resolve_device("auto") == device
    assert config.resolve_device("cpu") == "cpu"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    with pytest.raises(ConfigError, match=r"^device=cuda: this machine has none .*one of: mps, cpu$"):
        config.resolve_device("cuda")
    with pytest.raises(ConfigError, match=r"^device=gpu: must be one of auto, cpu, cuda, mps"):
        config.resolve_device("gpu")


# Values and how they go together


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["batch_size=60001"], "batch_size=60001: must be from 1 to 60000, .*data.validation=test"),
        (["batch_size=50001", "data.validation=holdout"], "batch_size=50001: must be from 1 to 50000, .*holdout"),
        (["data.std=-0.5"], "data.std=-0.5: must be a finite number above 0"),
        (["data.std=inf"], "data.std=inf: must be a finite number above 0"),
        (["seed=9223372036854775808"], r"seed=9223372036854775808: must be 0 or more, below 2\*\*63"),
        (["model.hidden=[128,0]"], "model.hidden=.128, 0.: must be a list of one or more widths"),
        (["++model.depth=3"], "model.depth: there is no such key; did you mean model.dropout"),
        (["+model.dropuot=0.1"], "model.dropuot: there is no such key; did you mean model.dropout"),
        (["+sed=3"], "sed: there is no such key; did you mean seed"),
        (["data.dir=${nowhere}"], "data.dir: .*'nowhere'"),
        (["~optimizer"], "optimizer: "),
    ],
)
def test_values_that_make_no_run_are_refused_in_one_line(typed: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}") as error:
        configure(*typed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "typed",
    [
        ["batch_size=60000"],
        ["batch_size=50000", "data.validation=holdout"],
        ["batch_size=1", "epochs=1", "dropout=0", "model.hidden=[2]"],
        ["dropout=0.999"],
        ["data.mean=-3", "data.std=1e-3"],
        ["~optimizer.lr"],
        ["workers=1"],
    ],
)
def test_values_at_the_edge_of_what_is_allowed_are_taken(typed: list[str]) -> None:
    configure(*typed)


def test_a_configuration_survives_being_written_and_read_again() -> None:
    (composed,) = compose("optimizer=sgd_momentum", "model.hidden=[8,4]", "seed=3")
    ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    again = OmegaConf.create(OmegaConf.to_yaml(ours))
    assert run_name(config.parse(again)) == run_name(config.parse(composed))
