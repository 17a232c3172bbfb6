"""Every initialisation draws from the distribution that torch.nn.init and Keras document under its name."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from small_runs import config
from torch import nn

from fmnist_sweep.config.schema import INITS
from fmnist_sweep.engine.initialisation import initial_parameters, initial_statistics
from fmnist_sweep.engine.training import start

IN, OUT = 784, 300  # of the first layer, whose 235,200 weights tell distributions apart


def first_weights(init: str, std: float | None = None, seed: int = 0) -> torch.Tensor:
    one = config(hidden=[OUT], init=init, init_std=std).model
    return initial_parameters(one, torch.Generator().manual_seed(seed))[0].double().flatten()


def assert_drawn_from(values: torch.Tensor, distribution: Any) -> None:
    """A Kolmogorov-Smirnov test that would be wrong once in a million seeds; the seeds are fixed."""
    assert stats.kstest(values.numpy(), distribution.cdf).pvalue > 1e-6


def uniform(bound: float) -> Any:
    return stats.uniform(-bound, 2 * bound)


def cut_normal(deviation: float) -> Any:
    """Keras's truncated normal: drawn again beyond two deviations."""
    return stats.truncnorm(-2, 2, scale=deviation)


# Keras's documentation: limit = sqrt(6 / (fan_in + fan_out)), stddev = sqrt(2 / (fan_in + fan_out)), and the same with
# fan_in alone for He's. The deviation of a normal distribution that is cut at two deviations is 0.8796... of it.
KERAS = {
    "glorot_uniform": uniform(math.sqrt(6 / (IN + OUT))),
    "he_uniform": uniform(math.sqrt(6 / IN)),
    "glorot_normal": cut_normal(math.sqrt(2 / (IN + OUT)) / 0.87962566103423978),
    "he_normal": cut_normal(math.sqrt(2 / IN) / 0.87962566103423978),
}


@pytest.mark.parametrize("init", KERAS)
def test_glorots_and_hes_are_those_of_keras(init: str) -> None:
    assert_drawn_from(first_weights(init), KERAS[init])


@pytest.mark.parametrize(
    ("init", "theirs"),
    [
        ("default", lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5))),  # as nn.Linear calls it
        ("glorot_uniform", nn.init.xavier_uniform_),
        ("he_uniform", lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
    ],
)
def test_uniform_ones_are_those_of_torch(init: str, theirs: Any) -> None:
    torch.manual_seed(1)
    ours, drawn = first_weights(init), theirs(torch.empty(OUT, IN)).double().flatten()
    assert stats.ks_2samp(ours.numpy(), drawn.numpy()).pvalue > 1e-6
    assert ours.abs().max().item() == pytest.approx(drawn.abs().max().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("init", "theirs"),
    [
        ("glorot_normal", nn.init.xavier_normal_),
        ("he_normal", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
    ],
)
def test_normal_ones_have_the_deviation_of_torchs_and_are_cut(init: str, theirs: Any) -> None:
    torch.manual_seed(1)
    ours, drawn = first_weights(init), theirs(torch.empty(OUT, IN)).double()
    assert ours.std().item() == pytest.approx(drawn.std().item(), rel=0.01)
    assert ours.abs().max() < 2 * ours.std() / 0.879 < drawn.abs().max()


def test_the_deviation_is_that_of_the_normal_distribution_before_it_is_cut() -> None:
    assert_drawn_from(first_weights("normal", 0.03), stats.norm(scale=0.03))
    cut = first_weights("truncated_normal", 0.03)
    assert_drawn_from(cut, cut_normal(0.03))
    torch.manual_seed(1)
    theirs = nn.init.trunc_normal_(torch.empty(OUT, IN), std=0.03, a=-0.06, b=0.06).double().flatten()
    assert stats.ks_2samp(cut.numpy(), theirs.numpy()).pvalue > 1e-6


@pytest.mark.parametrize("init", INITS)
def test_biases_are_torchs_or_zeros_whatever_the_weights_are(init: str) -> None:
    std = 0.1 if init in ("normal", "truncated_normal") else None
    usual = initial_parameters(config(hidden=[OUT], init=init, init_std=std).model, torch.Generator().manual_seed(0))
    assert_drawn_from(usual[1].double(), uniform(IN**-0.5))
    one = config(hidden=[OUT], init=init, init_std=std, bias_init="zeros").model
    zeros = initial_parameters(one, torch.Generator().manual_seed(0))
    assert torch.equal(zeros[0], usual[0]) and not zeros[1].any() and not zeros[3].any()


@pytest.mark.parametrize("init", INITS)
def test_biases_can_have_their_weights_distribution(init: str) -> None:
    std = 0.1 if init in ("normal", "truncated_normal") else None
    one = config(hidden=[OUT], init=init, init_std=std, bias_init="weights").model
    drawn = [initial_parameters(one, torch.Generator().manual_seed(seed)) for seed in range(40)]
    weights, biases = (torch.cat([parameters[at].flatten() for parameters in drawn]).double() for at in (0, 1))
    assert stats.ks_2samp(biases.numpy(), weights.numpy()).pvalue > 1e-6
    last_weights, last_biases = (torch.cat([parameters[at].flatten() for parameters in drawn]) for at in (2, 3))
    assert last_biases.std().item() == pytest.approx(last_weights.std().item(), rel=0.15)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_glorots_weights_and_biases_are_those_of_scikit_learn(activation: str) -> None:
    # MLPClassifier._init_coef: both uniform in +-sqrt(6 / (fan_in + fan_out)) unless the activation is logistic.
    one = config(hidden=[OUT], activation=activation, init="glorot_uniform", bias_init="weights").model
    drawn = [initial_parameters(one, torch.Generator().manual_seed(seed)) for seed in range(20)]
    for layer, (inward, outward) in enumerate([(IN, OUT), (OUT, 10)]):
        biases = torch.cat([parameters[2 * layer + 1] for parameters in drawn]).double()
        assert_drawn_from(biases, uniform(math.sqrt(6 / (inward + outward))))
        assert biases.abs().max() <= math.sqrt(6 / (inward + outward))


def test_linears_biases_are_drawn_as_their_weights_already() -> None:
    drawn = [
        initial_parameters(config(hidden=[5], bias_init=bias_init).model, torch.Generator().manual_seed(0))
        for bias_init in ("default", "weights")
    ]
    assert all(map(torch.equal, *drawn))


def test_each_layer_has_its_own_limits() -> None:
    drawn = initial_parameters(config(hidden=[200, 50], init="he_uniform").model, torch.Generator().manual_seed(0))
    for weights in drawn[::2]:
        assert weights.abs().max().item() == pytest.approx(math.sqrt(6 / weights.shape[1]), rel=0.02)


def test_a_normalisation_begins_as_batchnorm1d_does() -> None:
    one = config(hidden=[5, 3], norm="batch")
    begun, fresh = start(one), [nn.BatchNorm1d(width) for width in (5, 3)]
    assert [list(tensor.shape) for tensor in begun.parameters] == [
        [5, 784], [5], [5], [5], [3, 5], [3], [3], [3], [10, 3], [10]
    ]  # fmt: skip
    for layer, norm in enumerate(fresh):
        assert torch.equal(begun.parameters[4 * layer + 2], norm.weight)
        assert torch.equal(begun.parameters[4 * layer + 3], norm.bias)
        assert torch.equal(begun.statistics[2 * layer], norm.running_mean)
        assert torch.equal(begun.statistics[2 * layer + 1], norm.running_var)
    assert initial_statistics(config(hidden=[5]).model) == []
