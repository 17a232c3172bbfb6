"""Batch normalisation of a layer's outputs for K models, with the settings of `nn.BatchNorm1d`.

Source: Ioffe and Szegedy, arXiv:1502.03167: algorithm 1 and the gradients of section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fmnist_sweep.engine import products

EPSILON = 1e-5
_MOMENTUM = 0.1  # the weight of a new batch in the running statistics


class Normalisation:
    """The batch normalisation of one layer of width `width`.

    Operations are chosen so that a model's numbers do not depend on its company: sums over a batch are products, and
    square roots and divisions are rounded correctly wherever an element lies.

    Args:
        parameters: weight and bias, [K, width].
        gradients: theirs, which `backward` fills.
        statistics: running mean and variance, [K, width], which `train` changes.
    """

    def __init__(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], statistics: Sequence[Tensor]):
        self._weight, self._bias = (one.unsqueeze(1) for one in parameters)
        self._weight_gradient, self._bias_gradient = (one.unsqueeze(1) for one in gradients)
        self._mean, self._variance = (one.unsqueeze(1) for one in statistics)

    def train(self, inputs: Tensor, out: Tensor, ones: Tensor, kept: tuple[Tensor, Tensor]) -> None:
        """Normalise a training batch [K, B, width], and update the running statistics.

        Args:
            inputs, out: [K, B, width]; they may be the same tensor.
            ones: [K, 1, B].
            kept: buffers [K, B, width] and [K, 1, width] for `backward`: the result before weight and bias, and the
                batch's deviations.
        """
        size = inputs.shape[1]
        normed, deviation = kept
        mean = _sums(ones, inputs).div_(size)
        normed.copy_(inputs).sub_(mean)
        variance = _sums(ones, normed * normed).div_(size)
        deviation.copy_(variance).add_(EPSILON).sqrt_()
        normed.div_(deviation)
        out.copy_(normed).mul_(self._weight).add_(self._bias)
        # As in torch, the running variance is the unbiased one.
        variance.mul_(size / (size - 1))
        for running, new in ((self._mean, mean), (self._variance, variance)):
            running.mul_(1 - _MOMENTUM).add_(new.mul_(_MOMENTUM))

    def evaluate(self, inputs: Tensor) -> None:
        """Normalise inputs [K, B, width] by the running statistics, in place."""
        deviation = (self._variance + EPSILON).sqrt_()
        inputs.sub_(self._mean).div_(deviation).mul_(self._weight).add_(self._bias)

    def backward(self, gradient: Tensor, ones: Tensor, kept: tuple[Tensor, Tensor]) -> None:
        """Turn the gradient of what `train` wrote into that of its inputs, in place; fill the parameters'."""
        size = gradient.shape[1]
        normed, deviation = kept
        products.batched(ones, gradient, self._bias_gradient)
        products.batched(ones, gradient * normed, self._weight_gradient)
        gradient.sub_(self._bias_gradient / size).sub_(normed * (self._weight_gradient / size))
        gradient.mul_(self._weight).div_(deviation)


def _sums(ones: Tensor, values: Tensor) -> Tensor:
    """Return the sums over samples, [K, 1, width]."""
    sums = values.new_empty(values.shape[0], 1, values.shape[2])
    products.batched(ones, values, sums)
    return sums
