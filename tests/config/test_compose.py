"""The quick composer gives what Hydra itself gives, whatever is asked for."""

import copy

import composed
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import OmegaConf, open_dict

from fmnist_sweep.config import hydra_private
from fmnist_sweep.config.compose import Composer

SETS = [
    [],
    ["seed=3"],
    ["optimizer=sgd", "batch_size='500'"],
    ["optimizer=sgd", "++optimizer.momentum=0.9", "++optimizer.lr=0.1"],
    ["++optimizer.betas=[0.5,0.6]", "training.batch_size=64", "model.hidden=[8]", "data.dir=/some/where"],
    ["optimizer=sgd_momentum", "~optimizer.momentum", "seed=1"],
    ["data.dir=${oc.env:HOME}", "seed=${training.epochs}"],
    ["epochs='100'", "training.epochs=7"],
    ["training.epochs=7", "epochs='100'"],
    ["hydra.job.name=mine", "seed=2"],
    ["hydra.sweep.dir=elsewhere", "hydra.sweep.subdir=${hydra.job.override_dirname}", "dropout='0.05'"],
    ["hydra.job.config.override_dirname.exclude_keys=[seed]", "seed=2", "optimizer=sgd"],
    ["hydra/launcher=basic", "workers=null"],
    ["+optimizer.weight_decay=0", "rerun=true"],
    ["figure@hydra.sweeper=fig1", "seed=4"],
]


def master():
    return hydra_private.master(composed.loader())


def contents(config):
    """Everything in a composed configuration, with references to other keys followed."""
    setup_globals()
    config = copy.deepcopy(config)
    with open_dict(config):
        config.hydra.job.update({"id": "7", "num": 7})
        config.hydra.runtime.output_dir = "/some/where"
    HydraConfig.instance().set_config(config)
    try:
        return OmegaConf.to_container(config, resolve=True)
    finally:
        HydraConfig.instance().cfg = None


@pytest.mark.parametrize("overrides", SETS, ids=" ".join)
def test_a_job_is_composed_as_hydra_does(overrides):
    expected = composed.loader().load_sweep_config(master(), overrides)
    found = composed.composer().compose(overrides)
    assert contents(found) == contents(expected)
    assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)


def test_jobs_do_not_share_anything():
    composer = Composer(composed.loader(), master())
    first = composer.compose(["seed=1"])
    first.model.hidden.append(5)
    first.optimizer.lr = 7
    assert composer.compose(["seed=1"]).model.hidden == [128, 64]
    assert composer.compose(["seed=2"]).optimizer.lr == 0.01
    assert (composer.compose(["seed=2"]).seed, first.seed) == (2, 1)


def test_a_wrong_value_is_refused_as_hydra_does():
    with pytest.raises(Exception, match="seed=many") as found:
        composed.composer().compose(["seed=many"])
    with pytest.raises(type(found.value), match="seed=many"):
        composed.loader().load_sweep_config(master(), ["seed=many"])


def test_files_are_read_once_for_jobs_that_choose_the_same_options(monkeypatch):
    loader = composed.loader()
    loads = []

    def count(*arguments):
        loads.append(arguments)
        return type(loader).load_sweep_config(loader, *arguments)

    monkeypatch.setattr(loader, "load_sweep_config", count)
    composer = Composer(loader, master())
    for seed in range(5):
        for optimizer in ("adam", "sgd"):
            composer.compose([f"optimizer={optimizer}", f"seed={seed}"])
    assert len(loads) == 2
