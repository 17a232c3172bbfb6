"""Train K multilayer perceptrons as one: a layer is one batched product over the stack, or K products by oneDNN.

The forward and backward passes are written out by hand, fifteen lines each. Their results go into buffers that are
allocated once, and a step costs little more than its products. `products.suits` says which layers oneDNN computes.

A model's numbers must not depend on the other models in its stack, to the last bit. Batched products compute each
model's slice independently, with one exception: for a single model, [m, k] @ [k, 1] uses another routine. So no product
here has a right-hand side with one column, and sums over a batch multiply by a row of ones from the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from fmnist_sweep.engine import products

DROPOUT_LEVELS = 2**16  # a unit is dropped if 16 random bits, read as a number, are below a threshold


def initial_parameters(widths: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """Draw one perceptron's parameters as `torch.nn.Linear` does: uniform in +-1/sqrt(inputs).

    Args:
        widths: number of inputs, of units in each hidden layer, and of classes.
        generator: a CPU generator. With the same seed it gives the same numbers as `torch.manual_seed` followed by
            an `nn.Sequential` of `nn.Linear`.

    Returns:
        Weight [out, in] and bias [out] of each layer in order.
    """
    parameters = []
    for inputs, outputs in pairwise(widths):
        bound = inputs**-0.5
        parameters.append(torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator))
        parameters.append(torch.empty(outputs).uniform_(-bound, bound, generator=generator))
    return parameters


def sequential(parameters: Sequence[Tensor], dropout: float) -> nn.Sequential:
    """Return a perceptron of ordinary layers in evaluation mode, which maps images [n, ...] to logits.

    Args:
        parameters: weight [out, in] and bias [out] of each layer in order.
        dropout: the probability of dropping a hidden unit.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for weight, bias in zip(parameters[0::2], parameters[1::2], strict=True):
        if len(layers) > 1:
            layers += [nn.ReLU(), nn.Dropout(dropout)]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers.append(linear)
    return nn.Sequential(*layers).eval()


class PerceptronStack:
    """K perceptrons of the same widths, with ReLU and dropout after each hidden layer.

    Args:
        models: the parameters of each model, weight [out, in] and bias [out] of each layer in order.
        dropout: each model's probability of dropping a hidden unit, in [0, 1).
        device: the device that holds the stack.
    """

    def __init__(self, models: Sequence[Sequence[Tensor]], dropout: Sequence[float], device: torch.device):
        self.device = device
        self.size = len(models)
        self.tensors = [torch.stack(list(layer)).to(device) for layer in zip(*models, strict=True)]
        self.gradients = [torch.zeros_like(tensor) for tensor in self.tensors]
        self.weights = self.tensors[0::2]  # [K, out, in]
        self.biases = self.tensors[1::2]  # [K, out]
        self.widths = [weight.shape[1] for weight in self.weights]
        dropped = [min(round(p * DROPOUT_LEVELS), DROPOUT_LEVELS - 1) for p in dropout]
        self.drops = [level > 0 for level in dropped]
        thresholds = [float(level - DROPOUT_LEVELS // 2) for level in dropped]
        # Scale by the effective probability, p rounded to a multiple of 1/65536, so that expectations are exact.
        scales = [1 / (1 - level / DROPOUT_LEVELS) for level in dropped]
        self._threshold = torch.tensor(thresholds, device=device).view(-1, 1, 1)
        self._scale = torch.tensor(scales, device=device).view(-1, 1, 1)

    def parameters(self, k: int) -> list[nn.Parameter]:
        """Return model k's parameters, shaped as in `nn.Linear`: views of the stack with their gradients attached."""
        parameters = []
        for tensor, gradient in zip(self.tensors, self.gradients, strict=True):
            parameter = nn.Parameter(tensor[k])
            parameter.grad = gradient[k]
            parameters.append(parameter)
        return parameters

    def workspace(self, batch_size: int, *, training: bool) -> Workspace:
        """Allocate the buffers for passes over batches of this size."""
        return Workspace(self, batch_size, training)

    def forward(
        self,
        images: Tensor,
        space: Workspace,
        noise: Sequence[torch.Generator] | Literal["drawn"] | None = None,
    ) -> Tensor:
        """Compute the logits.

        Args:
            images: [K, B, inputs]; an expanded view if all models see the same batch.
            space: the workspace for B. It keeps the activations for `backward`.
            noise: each model's generator of dropout noise; "drawn" if `space.random` contains the words already;
                None switches dropout off.

        Returns:
            Logits [K, B, classes], a buffer of `space`.
        """
        inputs = images
        last = len(self.weights) - 1
        for layer, outputs in enumerate(space.outputs):
            if space.by_model[layer]:
                for k in range(self.size):
                    outputs[k] = products.linear(inputs[k], self.weights[layer][k], self.biases[layer][k])
            else:
                bias, weight = self.biases[layer].unsqueeze(1), self.weights[layer].transpose(1, 2)
                torch.baddbmm(bias, inputs, weight, out=outputs)
            if layer < last:
                outputs.relu_()
                if noise is not None and space.keep:
                    outputs.mul_(self._draw_dropout(layer, space, noise))
            inputs = outputs
        return space.outputs[-1]

    def _draw_dropout(
        self, layer: int, space: Workspace, noise: Sequence[torch.Generator] | Literal["drawn"]
    ) -> Tensor:
        """Fill and return the layer's dropout factors [K, B, width]: 0 or 1/(1-p)."""
        for k, generator in enumerate(noise if noise != "drawn" else ()):
            if self.drops[k]:
                space.words[layer][k].random_(torch.iinfo(torch.int64).min, None, generator=generator)
        keep = space.keep[layer].copy_(space.bits[layer])
        return keep.ge_(self._threshold).mul_(self._scale)

    def backward(self, images: Tensor, space: Workspace, logits_gradient: Tensor) -> None:
        """Compute the gradients of all parameters from the gradient of the logits, [K, B, classes].

        `images` and `space` must be those of the forward pass. The units that it dropped stay dropped.
        """
        gradient = logits_gradient  # of the layer's outputs, [K, B, out]
        for layer in range(len(self.weights) - 1, -1, -1):
            inputs = space.outputs[layer - 1] if layer else images  # [K, B, in]
            if space.by_model[layer]:
                for k in range(self.size):
                    self.gradients[2 * layer][k] = products.linear(gradient[k].t(), inputs[k].t())
            else:
                torch.bmm(gradient.transpose(1, 2), inputs, out=self.gradients[2 * layer])
            torch.bmm(space.ones, gradient, out=self.gradients[2 * layer + 1].unsqueeze(1))
            if layer:
                below = space.hidden_gradients[layer - 1]  # [K, B, in]
                torch.bmm(gradient, self.weights[layer], out=below)
                # A unit's output is positive only if ReLU passed it and dropout kept it.
                torch.ops.aten.threshold_backward.grad_input(below, inputs, 0, grad_input=below)
                if space.keep:
                    below.mul_(self._scale)
                gradient = below


class Workspace:
    """Buffers for one batch size B, so that a step allocates nothing large.

    Attributes:
        outputs: each layer's output, [K, B, width]; the last is the logits.
        hidden_gradients: the gradient of the loss with respect to each hidden layer's output, [K, B, width].
        random: the random words of a step, int64 [K, n].
        words, bits: each hidden layer's part of `random`, and the same memory as int16 [K, B, width].
        keep: dropout factors of each hidden layer, [K, B, width]; an empty list if no model uses dropout.
        ones: [K, 1, B].
        by_model: whether oneDNN computes the products of each layer, one model at a time; see `products.suits`.
    """

    def __init__(self, stack: PerceptronStack, batch_size: int, training: bool):
        def buffer(*shape: int, dtype: torch.dtype | None = None) -> Tensor:
            return torch.zeros(stack.size, *shape, dtype=dtype, device=stack.device)

        hidden = stack.widths[:-1]
        self.by_model = [products.suits(weights, batch_size) for weights in stack.weights]
        self.outputs = [buffer(batch_size, width) for width in stack.widths]
        self.keep: list[Tensor] = []
        if training:
            self.ones = buffer(1, batch_size).fill_(1)
            self.hidden_gradients = [buffer(batch_size, width) for width in hidden]
            if any(stack.drops):
                self.keep = [buffer(batch_size, width) for width in hidden]
                lengths = [-(-batch_size * width // 4) for width in hidden]
                self.random = buffer(sum(lengths), dtype=torch.int64)
                self.words = torch.split(self.random, lengths, dim=1)
                self.bits = [
                    words.view(torch.int16)[:, : batch_size * width].view(stack.size, batch_size, width)
                    for words, width in zip(self.words, hidden, strict=True)
                ]
