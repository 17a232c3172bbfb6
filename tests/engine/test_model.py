"""The stack computes what nn.Sequential computes: parameters, logits, gradients, and dropout as it should be."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from fmnist_sweep.config.schema import ModelConfig
from fmnist_sweep.engine.initialisation import initial_parameters, initial_statistics
from fmnist_sweep.engine.model import PerceptronStack
from fmnist_sweep.engine.model import sequential as ordinary

CPU = torch.device("cpu")
WIDTHS = [[12, 10], [30, 9, 10], [784, 17, 9, 10], [6, 1, 4, 1, 10]]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def sequential(widths):
    """The network as anybody would write it, without dropout."""
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def make(widths, dropout):
    configs = [ModelConfig(widths[1:-1], probability) for probability in dropout]
    models = [parameters(widths, k) for k in range(len(dropout))]
    return PerceptronStack(models, configs, CPU)


def parameters(widths, seed):
    """The first parameters of a network with any number of classes."""
    torch.manual_seed(seed)
    return [parameter.detach() for parameter in sequential(widths).parameters()]


def noise(stack, first=0):
    return [generator(first + k) for k in range(stack.size)]


def factors(dropout, width=64, batch=512, first=0):
    """The dropout factors [K, batch, width] of a hidden layer."""
    stack = make([3, width, 2], dropout)
    space = stack.workspace(batch, training=True)
    stack.forward(torch.ones(stack.size, batch, 3), space, noise(stack, first))
    return space.keep[0]


def with_factors(model, images, space, k):
    """Logits [B, classes] of one model, by autograd's operations, with the dropout factors that `space` holds."""
    signal = images
    for layer, (weight, bias) in enumerate(zip(model[0::2], model[1::2], strict=True)):
        if layer:
            signal = signal.relu() * (space.keep[layer - 1][k] if space.keep else 1)
        signal = signal @ weight.T + bias
    return signal


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("seed", [0, 1, 2**40 + 7])
def test_initial_parameters_are_those_of_linear_layers(widths, seed):
    torch.manual_seed(seed)
    expected = list(sequential(widths).parameters())
    config = ModelConfig(widths[1:-1], 0.2)
    for drawn, parameter in zip(initial_parameters(config, generator(seed), widths[0]), expected, strict=True):
        assert torch.equal(drawn, parameter)


@pytest.mark.parametrize("widths", WIDTHS)
def test_logits_are_those_of_separate_networks(widths):
    stack = make(widths, [0.0, 0.5, 0.2])
    images = torch.randn(3, 11, widths[0], generator=generator(9))
    logits = stack.forward(images, stack.workspace(11, training=False))
    for k in range(3):
        network = sequential(widths)
        network.load_state_dict(dict(zip(network.state_dict(), stack.parameters(k), strict=True)))
        torch.testing.assert_close(logits[k], network(images[k]).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("dropout", [[0.0, 0.0], [0.0, 0.05, 0.2, 0.5]])
def test_gradients_are_those_of_autograd_with_the_same_dropout(widths, dropout):
    stack = make(widths, dropout)
    images = torch.randn(stack.size, 13, widths[0], generator=generator(1))
    upstream = torch.randn(stack.size, 13, widths[-1], generator=generator(2))
    space = stack.workspace(13, training=True)
    logits = stack.forward(images, space, noise(stack)).clone()
    stack.backward(images, space, upstream)
    for k in range(stack.size):
        model = [parameter.detach().clone().requires_grad_() for parameter in stack.parameters(k)]
        expected = with_factors(model, images[k], space, k)
        torch.testing.assert_close(logits[k], expected.detach(), rtol=1e-5, atol=1e-6)
        gradients = torch.autograd.grad(expected, model, upstream[k])
        for parameter, gradient in zip(stack.parameters(k), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def test_parameters_are_views_of_the_stack():
    stack = make([6, 4, 3], [0.0, 0.0])
    for parameter in stack.parameters(1):
        parameter.detach().zero_()
        parameter.grad.fill_(7)
    assert all((tensor[1] == 0).all() and (tensor[0] != 0).any() for tensor in stack.tensors)
    assert all((gradient[1] == 7).all() and (gradient[0] == 0).all() for gradient in stack.gradients)


def test_a_step_with_another_batch_size_needs_its_own_workspace_only():
    stack = make([6, 4, 3], [0.5])
    images = torch.randn(1, 8, 6, generator=generator(5))
    whole = stack.forward(images, stack.workspace(8, training=False)).clone()
    part = stack.forward(images[:, :3], stack.workspace(3, training=False))
    torch.testing.assert_close(part, whole[:, :3])


def test_dropped_share_and_scale():
    dropout = [0.05, 0.2, 0.5, 0.9]
    kept = factors(dropout)
    for probability, of_model in zip(dropout, kept, strict=True):
        in_force = round(probability * 2**16) / 2**16
        values = of_model.unique()
        torch.testing.assert_close(values, torch.tensor([0, 1 / (1 - in_force)]), rtol=1e-6, atol=0)
        spread = math.sqrt(probability * (1 - probability) / of_model.numel())
        assert (of_model == 0).float().mean().item() == pytest.approx(probability, abs=5 * spread)


def test_the_smallest_probability_is_one_level():
    kept = factors([2.0**-16], width=1024, batch=4096)
    expected = kept.numel() * 2.0**-16
    assert (kept == 0).sum().item() == pytest.approx(expected, abs=5 * math.sqrt(expected))


def test_units_are_dropped_independently():
    dropped = (factors([0.5])[0] == 0).double() - 0.5  # [samples, units]
    for shift in [1, 2, 3, 4]:  # four numbers are cut from one random word
        covariance = (dropped[:, shift:] * dropped[:, :-shift]).mean().item()
        assert abs(covariance) < 5 * 0.25 / math.sqrt(dropped.numel())
    across_samples = (dropped[1:] * dropped[:-1]).mean().item()
    assert abs(across_samples) < 5 * 0.25 / math.sqrt(dropped.numel())


def test_a_model_without_dropout_among_others_drops_nothing():
    assert (factors([0.5, 0.0, 0.2])[1] == 1).all()
    assert not make([4, 3, 2], [0.0, 0.0]).workspace(5, training=True).keep


@pytest.mark.parametrize(("probability", "lowest", "highest"), [(1e-9, 1.0, 1.0), (1 - 1e-9, 0.0, 2.0**16)])
def test_extreme_probabilities_stay_finite(probability, lowest, highest):
    kept = factors([probability, 0.5])[0]
    assert kept.min() == lowest
    assert kept.max() in (lowest, highest)


def test_dropout_depends_on_the_models_own_stream_alone():
    company = factors([0.05, 0.2, 0.5])
    assert torch.equal(company[2], factors([0.5], first=2)[0])
    assert not torch.equal(company[2], factors([0.5], first=3)[0])


def test_layers_and_steps_have_different_dropout():
    stack = make([3, 16, 16, 2], [0.5])
    space = stack.workspace(32, training=True)
    streams, images = noise(stack), torch.ones(1, 32, 3)
    stack.forward(images, space, streams)
    first = [keep.clone() for keep in space.keep]
    stack.forward(images, space, streams)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], space.keep[0])


def test_evaluation_drops_nothing_and_the_logits_are_never_dropped():
    stack = make([3, 16, 400], [0.9])
    images = torch.ones(1, 4, 3)
    space = stack.workspace(4, training=True)
    trained = stack.forward(images, space, noise(stack)).clone()
    assert (trained != 0).all()
    evaluated = stack.forward(images, space).clone()
    assert torch.equal(evaluated, stack.forward(images, stack.workspace(4, training=False)))
    assert not torch.equal(evaluated, trained)


@pytest.mark.parametrize(
    ("norm_after", "dropout_after", "modules"),
    [
        ("linear", "activation", "Linear BatchNorm1d Tanh Dropout"),
        ("activation", "activation", "Linear Tanh BatchNorm1d Dropout"),
        ("dropout", "activation", "Linear Tanh Dropout BatchNorm1d"),
        ("linear", "linear", "Linear BatchNorm1d Dropout Tanh"),
        ("dropout", "linear", "Linear Dropout BatchNorm1d Tanh"),
        ("activation", "linear", "Linear Dropout Tanh BatchNorm1d"),
    ],
)
def test_the_ordinary_network_has_its_modules_in_the_order_of_the_keys(norm_after, dropout_after, modules):
    config = ModelConfig([9], 0.2, "tanh", norm="batch", norm_after=norm_after, dropout_after=dropout_after)
    network = ordinary(config, initial_parameters(config, generator(0), 12), initial_statistics(config))
    assert [type(module).__name__ for module in network] == ["Flatten", *modules.split(), "Linear"]
