"""Draw the parameters with which a perceptron starts.

With `m` inputs and `n` outputs of a layer, its weights are

- default: as `nn.Linear` draws them, uniform in +-1/sqrt(m).
- glorot_uniform, glorot_normal: of variance 2/(m + n). Glorot and Bengio, "Understanding the difficulty of training
  deep feedforward neural networks", 2010, equation 16.
- he_uniform, he_normal: of variance 2/m. He, Zhang, Ren and Sun, arXiv:1502.01852, equation 10.
- normal: of the deviation `init_std`.
- truncated_normal: normal of the deviation `init_std`, cut at two deviations.

The names are Keras's, and so are the definitions: its glorot_normal and he_normal are normal distributions cut at two
deviations, and widened so that they keep the variance (keras.io/api/layers/initializers). `nn.init.xavier_normal_` and
`kaiming_normal_` have the same variance and are not cut. Both libraries agree about the uniform ones.

Biases are uniform in +-1/sqrt(m), as `nn.Linear` draws them, or zeros, or drawn from the distribution of their layer's
weights. The last is what scikit-learn's perceptrons do, with `glorot_uniform` unless they are logistic.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from fmnist_sweep.config.schema import ModelConfig
from fmnist_sweep.data import CLASS_NAMES, PIXELS

# The deviation of a standard normal distribution that is cut at two deviations; Keras has the same number.
_CUT_DEVIATION = 0.87962566103423978


def initial_parameters(model: ModelConfig, generator: torch.Generator, inputs: int = PIXELS) -> list[Tensor]:
    """Draw one perceptron's parameters.

    Args:
        model: the widths and how to initialise.
        generator: a CPU generator. With the same seed, `default` gives the same numbers as `torch.manual_seed` followed
            by an `nn.Sequential` of `nn.Linear`.
        inputs: the number of inputs.

    Returns:
        Weight [out, in] and bias [out] of each layer in order; with batch normalisation, those of each hidden layer are
        followed by its weight [out], ones, and bias [out], zeros.
    """
    widths = [inputs, *model.hidden, len(CLASS_NAMES)]
    parameters = []
    for layer, (inward, outward) in enumerate(pairwise(widths)):
        parameters.append(_draw(torch.empty(outward, inward), model, inward, outward, generator))
        bias, bound = torch.zeros(outward), inward**-0.5
        if model.bias_init == "default":
            bias.uniform_(-bound, bound, generator=generator)
        elif model.bias_init == "weights":
            _draw(bias, model, inward, outward, generator)
        parameters.append(bias)
        if model.norm is not None and layer < len(model.hidden):
            parameters += [torch.ones(outward), torch.zeros(outward)]
    return parameters


def initial_statistics(model: ModelConfig) -> list[Tensor]:
    """Return the running mean, zeros [out], and variance, ones [out], of each batch normalisation."""
    return [make(width) for width in model.hidden if model.norm for make in (torch.zeros, torch.ones)]


def _draw(empty: Tensor, model: ModelConfig, inward: int, outward: int, generator: torch.Generator) -> Tensor:
    """Fill a tensor from the distribution of the weights of a layer with `inward` inputs and `outward` outputs."""
    variance = 2 / (inward + outward) if model.init.startswith("glorot") else 2 / inward
    match model.init:
        case "default":
            bound = inward**-0.5
            return empty.uniform_(-bound, bound, generator=generator)
        case "glorot_uniform" | "he_uniform":
            bound = math.sqrt(3 * variance)
            return empty.uniform_(-bound, bound, generator=generator)
        case "glorot_normal" | "he_normal":
            return _truncated(empty, math.sqrt(variance) / _CUT_DEVIATION, generator)
    assert model.init_std is not None
    if model.init == "normal":
        return empty.normal_(0, model.init_std, generator=generator)
    return _truncated(empty, model.init_std, generator)


def _truncated(empty: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    return nn.init.trunc_normal_(empty, 0, deviation, -2 * deviation, 2 * deviation, generator=generator)
