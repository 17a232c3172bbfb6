"""The activation functions of hidden layers, each with its derivative and its module in torch.

The functions and derivatives are torch's own, with the defaults of torch's modules: the slope of `leaky_relu` is 0.01,
`elu` has alpha 1, and `gelu` is exact. Sources:

- leaky_relu: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
- elu: Clevert, Unterthiner and Hochreiter, arXiv:1511.07289, equation 15.
- gelu: Hendrycks and Gimpel, arXiv:1606.08415, section 2.
- silu: Elfwing, Uchibe and Doya, arXiv:1702.03118, section 2; x * sigmoid(x), also called swish.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

_aten = torch.ops.aten
_SLOPE = 0.01


class Activation(NamedTuple):
    """One activation function.

    Attributes:
        forward: writes the function of its first argument, the layer's linear output, into its second.
        backward: multiplies its first argument, the gradient of the function's output, by the derivative, in place. The
            others are what `forward` read and wrote.
        module: makes the same function as a module.
        elementwise_exact: whether it only compares and multiplies. On a CPU the other functions round differently in
            vectors and in the elements left over at the end, so they are computed one model at a time.
    """

    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor, Tensor], object]
    module: Callable[[], nn.Module]
    elementwise_exact: bool = False


ACTIVATIONS = {
    # `PerceptronStack` may pass dropped outputs for `a`: they are positive only if ReLU passed and dropout kept a unit.
    "relu": Activation(
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda g, z, a: _aten.threshold_backward.grad_input(g, a, 0, grad_input=g),
        nn.ReLU,
        elementwise_exact=True,
    ),
    "tanh": Activation(
        lambda z, out: torch.tanh(z, out=out),
        lambda g, z, a: _aten.tanh_backward.grad_input(g, a, grad_input=g),
        nn.Tanh,
    ),
    "sigmoid": Activation(
        lambda z, out: torch.sigmoid(z, out=out),
        lambda g, z, a: _aten.sigmoid_backward.grad_input(g, a, grad_input=g),
        nn.Sigmoid,
    ),
    "leaky_relu": Activation(
        lambda z, out: _aten.leaky_relu.out(z, _SLOPE, out=out),
        lambda g, z, a: _aten.leaky_relu_backward.grad_input(g, z, _SLOPE, False, grad_input=g),
        nn.LeakyReLU,
        elementwise_exact=True,
    ),
    "elu": Activation(
        lambda z, out: _aten.elu.out(z, out=out),
        lambda g, z, a: _aten.elu_backward.grad_input(g, 1, 1, 1, False, z, grad_input=g),
        nn.ELU,
    ),
    "gelu": Activation(
        lambda z, out: _aten.gelu.out(z, out=out),
        lambda g, z, a: _aten.gelu_backward.grad_input(g, z, grad_input=g),
        nn.GELU,
    ),
    "silu": Activation(
        lambda z, out: _aten.silu.out(z, out=out),
        lambda g, z, a: _aten.silu_backward.grad_input(g, z, grad_input=g),
        nn.SiLU,
    ),
    "identity": Activation(lambda z, out: out.copy_(z), lambda g, z, a: g, nn.Identity, elementwise_exact=True),
}
