"""The losses, and their gradients with respect to the logits.

For a sample of class y with logits z, probabilities p = softmax(z) and C classes:

- cross_entropy: -log p_y. With label smoothing s, (1 - s) times that, plus s times the mean of -log p over the classes
  (Szegedy et al., arXiv:1512.00567, section 7; as `nn.CrossEntropyLoss` and Keras have it).
- mse_softmax: the mean over classes of the squared difference between p and the one-hot label.
- mse_logits: the same with z in place of p.

A batch's loss is the mean over its samples, as Keras's `mse` and `nn.MSELoss` have it. All recorded losses are of this
kind, label smoothing included: a PyTorch loop evaluates with the criterion that it trains with, and so does Keras.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fmnist_sweep.config.schema import LossConfig
from fmnist_sweep.data import CLASS_NAMES

_CLASSES = len(CLASS_NAMES)


class Loss:
    """The loss of K models on batches of one size B, and the buffers for it.

    Args:
        config: which loss; it is the same for all models of a stack.
        models, size: K and B.
    """

    def __init__(self, config: LossConfig, models: int, size: int, device: torch.device):
        self._config = config
        self._size = size
        # Classes come before samples. The softmax then runs along contiguous samples, which is many times faster.
        self._scores = torch.empty(models, _CLASSES, size, device=device)
        self._minus_one = torch.full((1, 1, 1), -1.0, device=device).expand(models, 1, size)
        if config.name == "mse_softmax":
            self._probabilities = torch.empty_like(self._scores)

    def __call__(self, logits: Tensor, labels: Tensor, *, by_sample: bool = False) -> Tensor:
        """Return each model's mean loss, [K], from logits [K, B, classes] and labels [K, 1, B].

        If `by_sample`, return the addends of the mean instead, [K, B].
        """
        self._labels = labels
        scores = self._scores.copy_(logits.transpose(1, 2))
        if self._config.name == "cross_entropy":
            torch.log_softmax(scores, 1, out=scores)
            addends, divisor = scores.gather(1, labels), -self._size
            if smoothing := self._config.label_smoothing:
                addends.mul_(1 - smoothing).add_(scores.sum(1, keepdim=True).mul_(smoothing / _CLASSES))
        else:
            if self._config.name == "mse_softmax":
                torch.log_softmax(scores, 1, out=scores)
                self._probabilities.copy_(scores.exp_())
            errors = scores.scatter_add_(1, labels, self._minus_one)
            addends, divisor = (errors * errors).sum(1, keepdim=True), _CLASSES * self._size
        return (addends if by_sample else addends.sum(2)).squeeze(1).div_(divisor)

    def gradient(self) -> Tensor:
        """Return the gradient of the mean loss with respect to the logits, [K, B, classes].

        Call the loss itself first; this overwrites its buffers.
        """
        if self._config.name == "cross_entropy":
            return self._cross_entropy_gradient().div_(self._size).transpose(1, 2)
        gradient = self._scores.mul_(2 / _CLASSES)
        if self._config.name == "mse_softmax":
            # The Jacobian of softmax is diag(p) - p p'.
            gradient.mul_(self._probabilities)
            total = gradient.sum(1, keepdim=True)
            gradient.sub_(self._probabilities.mul_(total))
        return gradient.div_(self._size).transpose(1, 2)

    def _cross_entropy_gradient(self) -> Tensor:
        """Return softmax - one-hot, or minus the smoothed labels, [K, classes, B]."""
        gradient, smoothing = self._scores.exp_(), self._config.label_smoothing
        if not smoothing:
            return gradient.scatter_add_(1, self._labels, self._minus_one)
        gradient.scatter_add_(1, self._labels, self._minus_one * (1 - smoothing))
        return gradient.sub_(smoothing / _CLASSES)
