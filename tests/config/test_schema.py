"""The schema refuses what makes no run; a run's name follows what can change its results, and nothing else."""

import csv
import dataclasses
import re
from pathlib import Path

import pytest
from composed import compose, configure, name
from omegaconf import OmegaConf

from fmnist_sweep.config import identity, schema
from fmnist_sweep.config.schema import Execution, agree
from fmnist_sweep.config.validation import parse
from fmnist_sweep.errors import ConfigError

BASE = configure()


def digest(one, device="cpu"):
    return identity.digest(one, device)


def test_the_base_model_is_the_papers():
    assert dataclasses.asdict(BASE) == {
        "optimizer": {"name": "Adam", "lr": 0.01},
        "training": {"batch_size": 100, "epochs": 30},
        "model": {
            "hidden": [128, 64],
            "dropout": 0.2,
            "activation": "relu",
            "init": "default",
            "init_std": None,
            "bias_init": "default",
            "norm": None,
            "norm_after": "linear",
            "dropout_after": "activation",
            "input_dropout": 0.0,
        },
        "data": {
            "validation": "test",
            "mean": 0.5,
            "std": 0.5,
            "split": {"size": 10_000, "take": "last", "seed": 0},
            "train_size": None,
            "shuffle": True,
        },
        "seed": 0,
        "loss": {"name": "cross_entropy", "label_smoothing": 0.0},
    }
    assert identity.identity(BASE) == identity.identity(
        configure("optimizer.betas=[0.9,0.999]", "optimizer.weight_decay=0")
    )
    assert (
        identity.identity(BASE).items() >= {"optimizer.lr": 0.01, "optimizer.eps": 1e-8, "training.epochs": 30}.items()
    )


# A run's name


@pytest.mark.parametrize(
    ("typed", "beginning"),
    [
        ([], "adam-bs100-do0.2-ep30-seed0-"),
        (["optimizer=sgd", "batch_size=64", "dropout=0.5", "epochs=5", "seed=7"], "sgd-bs64-do0.5-ep5-seed7-"),
        (["optimizer=sgd_momentum", "dropout=0"], "sgd-bs100-do0-ep30-seed0-"),
        (["optimizer=rmsprop", "batch_size=60000"], "rmsprop-bs60000-do0.2-ep30-seed0-"),
        (["seed=9223372036854775807"], "adam-bs100-do0.2-ep30-seed9223372036854775807-"),
    ],
)
def test_a_name_says_what_the_paper_varies(typed, beginning):
    assert re.fullmatch(re.escape(beginning) + "[0-9a-f]{8}", name(*typed))


CHANGES = """optimizer=sgd optimizer=sgd_momentum optimizer=adamw optimizer=rmsprop optimizer.lr=0.02
    optimizer.betas=[0.8,0.999] optimizer.amsgrad=true optimizer.weight_decay=0.1 batch_size=500 batch_size=64
    dropout=0.05 dropout=0.2000000001 model.hidden=[128] model.hidden=[64,128] model.hidden=[128,64,32]
    data.validation=holdout data.mean=0.286 data.std=0.353 seed=1 model.activation=tanh model.activation=[relu,tanh]
    model.activation=[tanh,relu] model.hidden=[] dropout=[0.2,0.1] dropout=[0.1,0.2] model.init=he_normal
    model.init=glorot_uniform model.bias_init=zeros model.norm=batch model.input_dropout=0.1 loss.name=mse_logits
    loss.name=mse_softmax loss.label_smoothing=0.1 data.validation=split data.train_size=1000 data.train_size=0.5
    data.shuffle=false data.mean=train data.std=train data.mean=pixel data.std=pixel optimizer.schedule=cosine
    optimizer.name=Adamax model.dropout_after=linear"""

CHANGES_TOGETHER = [
    ["model.init=he_normal", "model.bias_init=weights"],
    ["model.norm=batch", "model.norm_after=activation"],
    ["model.norm=batch", "model.norm_after=dropout"],
    ["model.norm=batch", "model.norm_after=dropout", "model.dropout_after=linear"],
    ["model.init=normal", "model.init_std=0.01"],
    ["model.init=normal", "model.init_std=0.02"],
    ["model.init=truncated_normal", "model.init_std=0.01"],
    ["data.validation=split", "data.split.size=5000"],
    ["data.validation=split", "data.split.take=first"],
    ["data.validation=split", "data.split.take=random"],
    ["data.validation=split", "data.split.take=random", "data.split.seed=1"],
    ["optimizer.schedule.name=step", "optimizer.schedule.every=7", "optimizer.schedule.factor=0.5"],
    ["optimizer.schedule.name=step", "optimizer.schedule.every=7", "optimizer.schedule.factor=0.2"],
    ["optimizer.schedule.name=exponential", "optimizer.schedule.factor=0.5"],
    ["optimizer.schedule.name=multistep", "optimizer.schedule.at=[3,5]", "optimizer.schedule.factor=0.5"],
    ["optimizer.schedule.name=cosine", "optimizer.schedule.warmup=3"],
    ["optimizer.schedule.warmup=3"],
    ["optimizer.weight_decay=0.2"],
    ["optimizer.weight_decay=0.2", "optimizer.decay=weights"],
]


def test_whatever_can_change_the_results_changes_the_digits():
    changes = [*([change] for change in CHANGES.split()), *CHANGES_TOGETHER]
    digits = [digest(BASE), *(digest(configure(*change)) for change in changes)]
    assert len(set(digits)) == len(digits)


SAME = """workers=3 data.dir=/some/where rerun=true retry=failed dry_run=true show=runs device=cpu
    hydra.sweep.dir=/some/where
    hydra.job.name=other optimizer=adam batch_size='100' dropout=0.20 epochs=3e1 training.batch_size=100
    optimizer.lr=1e-2 optimizer.betas=[0.9,0.999] optimizer.weight_decay=0 optimizer.weight_decay=0.0
    optimizer.amsgrad=false data.mean=5e-1 model.activation=relu model.activation=[relu,relu] dropout=[0.2,0.2]
    data.split.size=5000 data.split.take=first data.split.seed=1 optimizer.schedule=constant optimizer.schedule.warmup=0
    optimizer.decay=weights data.shuffle=true loss.label_smoothing=0 optimizer.schedule={name:constant}
    model.bias_init=weights"""


@pytest.mark.parametrize("typed", SAME.split())
def test_nothing_else_changes_the_name(typed, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert name(typed) == name()


def test_runs_that_differ_in_epochs_share_their_digits():
    assert name("epochs=100") == name().replace("ep30", "ep100")


def test_the_digits_follow_what_the_configuration_does_not_say(monkeypatch):
    before, on_cpu = digest(BASE), name("device=cpu")
    assert digest(BASE, "cuda") != before
    for key, value in (("TRAINING_VERSION", identity.TRAINING_VERSION + 1), ("CHECKSUMS", {"t10k-labels": "0"})):
        with monkeypatch.context() as patch:
            patch.setattr(identity, key, value)
            assert digest(BASE) != before
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert name() == on_cpu.replace(before, digest(BASE, "cuda"))
    assert name("device=cpu") == on_cpu


def test_the_runs_that_there_are_keep_their_names():
    with (Path(__file__).parents[2] / "docs" / "caprari2024" / "results.csv").open() as file:
        runs = {row["run"] for row in csv.DictReader(file)}
    assert len(runs) >= 120  # the grid's, and what open claims asked for
    two_of_each = [run for run in runs if run.split("-")[4] in ("seed0", "seed4")]
    assert len(two_of_each) >= 48
    for run in two_of_each:
        optimizer, batch_size, dropout, epochs, seed, _ = run.split("-")
        values = f"batch_size={batch_size[2:]}", f"dropout={dropout[2:]}", f"epochs={epochs[2:]}", f"seed={seed[4:]}"
        assert name(f"optimizer={optimizer}", *values, "device=cpu") == run


def test_a_schedule_that_depends_on_the_length_makes_other_digits_for_other_lengths():
    short, long = (name("optimizer.schedule=cosine", f"epochs={epochs}") for epochs in (30, 100))
    assert short.replace("ep30", "ep100") != long
    stepped = ["optimizer.schedule.name=exponential", "optimizer.schedule.factor=0.9", "optimizer.schedule.warmup=2"]
    assert name(*stepped, "epochs=100") == name(*stepped).replace("ep30", "ep100")


def test_hydra_knows_the_name_as_a_resolver():
    (composed,) = compose("epochs=5")
    assert composed.hydra.sweep.subdir == name("epochs=5")


# Devices


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda"), (True, True, "cuda")],
)
def test_auto_takes_the_first_of_cuda_mps_and_cpu(cuda, mps, device, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert schema.resolve_device("auto") == device
    assert schema.resolve_device("cpu") == "cpu"


# Values and how they go together


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["batch_size=60001"], "batch_size=60001: must be from 1 to 60000, .*data.validation=test"),
        (["batch_size=50001", "data.validation=holdout"], "batch_size=50001: must be from 1 to 50000, .*holdout"),
        (["data.std=-0.5"], "data.std=-0.5: must be a finite number above 0, train or pixel"),
        (["data.std=inf"], "data.std=.*inf.*: must be a finite number"),
        (["seed=9223372036854775808"], "seed=9223372036854775808: must be less than 9223372036854775808"),
        (["model.hidden=[128,0]"], "model.hidden.1=0: must be greater than or equal to 1"),
        (["+model.dropuot=0.1"], "model.dropuot: there is no such key; did you mean model.dropout"),
        (["+sed=3"], ".sed=3: there is no sed; did you mean seed"),
        (["data.dir=${nowhere}"], "data.dir: .*'nowhere'"),
        (["~optimizer"], "optimizer: "),
        (
            ["model.activation=rleu"],
            "model.activation=rleu: must be one of relu, tanh, .*, identity; did you mean relu",
        ),
        (["model.activation=[relu]"], r"model.activation=\[relu\]: must be one value, or a list of 2 values"),
        (["dropout=[0.1,0.2,0.3]"], r"dropout=\[0.1, 0.2, 0.3\]: .* a list of 2 values, one for each of model.hidden="),
        (["dropout=[0.1,1]"], r"dropout=\[0.1, 1\]: must be a number from 0 to less than 1, or a list of them"),
        (["dropout=much"], "dropout=much: must be one of 0.05, 0.2, or any number"),
        (["model.init=xavier"], "model.init=xavier: must be one of default, glorot_uniform, .*, truncated_normal"),
        (["model.init=normal"], "model.init_std=null: model.init=normal needs one, such as 0.01"),
        (["model.init_std=0.1"], "model.init_std=0.1: model.init=default takes none; leave it out"),
        (["model.init=normal", "model.init_std=0"], "model.init_std=0.0: must be greater than 0"),
        (["model.bias_init=ones"], "model.bias_init=ones: must be one of default, zeros, weights"),
        (["model.norm=layer"], "model.norm=layer: must be one of null, batch"),
        (
            ["model.norm_after=activation"],
            "model.norm_after=activation: model.norm=null normalises nothing; leave it out, or take model.norm=batch$",
        ),
        (
            ["model.norm=batch", "model.norm_after=relu"],
            "model.norm_after=relu: must be one of linear, activation, dropout",
        ),
        (["model.dropout_after=norm"], "model.dropout_after=norm: must be one of activation, linear"),
        (["model.norm=batch", "batch_size=59999"], "batch_size=59999: leaves a batch of one of 60000 images"),
        (["model.norm=batch", "batch_size=1"], "batch_size=1: leaves a batch of one"),
        (["model.input_dropout=1"], "model.input_dropout=1.0: must be less than 1"),
        (["loss.name=mse"], "loss.name=mse: must be one of cross_entropy, mse_softmax, mse_logits"),
        (["loss.label_smoothing=1"], "loss.label_smoothing=1.0: must be less than 1"),
        (
            ["loss.name=mse_logits", "loss.label_smoothing=0.1"],
            "loss.label_smoothing=0.1: must be 0 with loss.name=mse",
        ),
        (["data.validation=train"], "data.validation=train: must be one of test, holdout, split"),
        (["data.split.size=60000"], "data.split.size=60000: must be a whole number of images from 1 to 59999, or a fr"),
        (["data.split.size=1.5"], "data.split.size=1.5: must be a whole number of images"),
        (["data.validation=split", "data.split.size=1e-6"], "data.split.size=1e-06: leaves no image for validation"),
        (["data.split.take=middle"], "data.split.take=middle: must be one of last, first, random"),
        (["data.train_size=0"], "data.train_size=0: must be null, a whole number of images from 1 to 59999"),
        (
            ["data.validation=holdout", "data.train_size=50001"],
            "data.train_size=50001: must be from 1 to 50000, the im",
        ),
        (
            ["data.train_size=99"],
            "batch_size=100: must be from 1 to 99, .* data.validation=test and data.train_size=99",
        ),
        (["data.mean=mean"], "data.mean=mean: must be a finite number, train or pixel"),
        (
            ["optimizer.schedule=cosin"],
            "optimizer.schedule.name=cosin: must be one of constant, .*; did you mean cosine",
        ),
        (["optimizer.schedule=step"], "optimizer.schedule.every: is missing; step needs it: a whole number of epochs"),
        (["optimizer.schedule.every=3"], "optimizer.schedule.every=3: constant does not take it; it takes warmup"),
        (["optimizer.schedule.warmup=-1"], "optimizer.schedule.warmup=-1: must be a whole number of epochs, such as 5"),
        (
            ["optimizer.schedule.name=cosine", "optimizer.schedule.warmup=30"],
            "optimizer.schedule.warmup=30: leaves none of epochs=30 for cosine; it must be less",
        ),
        (["optimizer.decay=biases"], "optimizer.decay=biases: must be one of all, weights"),
        (["optimizer.name=Rprop", "optimizer.decay=weights"], "optimizer.decay=weights: Rprop has no weight decay"),
    ],
)
def test_values_that_make_no_run_are_refused_in_one_line(typed, message):
    with pytest.raises(ConfigError, match=f"^{message}") as error:
        configure(*typed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "typed",
    [
        "batch_size=60000 data.std=1e-3 dropout=0.999 workers=1 ~optimizer.lr",
        "batch_size=50000 data.validation=holdout data.mean=-3",
        "batch_size=1 epochs=1 dropout=0 model.hidden=[1]",
        "model.hidden=[] model.norm=batch batch_size=1 model.activation=[] dropout=[]",
        "data.validation=split data.split.size=59999 batch_size=1 data.train_size=1",
        "optimizer.schedule.name=cosine optimizer.schedule.warmup=29 optimizer.schedule.floor=0.001",
    ],
)
def test_values_at_the_edge_of_what_is_allowed_are_taken(typed):
    configure(*typed.split())


def test_a_configuration_survives_being_written_and_read_again():
    (composed,) = compose("optimizer=sgd_momentum", "model.hidden=[8,4]", "seed=3")
    ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    assert parse(OmegaConf.create(OmegaConf.to_yaml(ours))) == parse(composed)


@pytest.mark.parametrize(
    ("key", "value"), [("workers", 2), ("rerun", True), ("retry", "failed"), ("dry_run", True), ("show", "plan")]
)
def test_what_holds_for_a_sweep_must_agree(key, value):
    one, other = Execution(), Execution(**{key: value})
    agree([one, one])
    with pytest.raises(ConfigError, match=f"^{key}=.*: must be the same for all runs of a sweep; give one value$"):
        agree([one, one, other])


def test_device_and_data_may_differ_within_a_sweep():
    agree([Execution(device="cpu"), Execution(device="auto", data_dir="/some/where")])
