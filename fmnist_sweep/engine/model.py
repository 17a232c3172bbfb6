"""Train K multilayer perceptrons as one: a layer is one batched product over the stack, or K products by oneDNN.

The forward and backward passes are written out by hand. Their results go into buffers that are allocated once, and a
step costs little more than its products. `products.suits` says which layers oneDNN computes.

A model's numbers must not depend on the other models in its stack, to the last bit. Batched products compute each
model's slice independently, except for products with one column: see `products.batched`. Sums over a batch multiply by
a row of ones from the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from fmnist_sweep.config.schema import ModelConfig
from fmnist_sweep.engine import products
from fmnist_sweep.engine.activations import ACTIVATIONS, Activation
from fmnist_sweep.engine.normalisation import EPSILON, Normalisation

Noise: TypeAlias = "Sequence[torch.Generator] | Literal['drawn']"

DROPOUT_LEVELS = 2**16  # a unit is dropped if 16 random bits, read as a number, are below a threshold
_INPUT = -1  # the place of the input in lists of dropout, after the hidden layers


def sequential(model: ModelConfig, parameters: Sequence[Tensor], statistics: Sequence[Tensor] = ()) -> nn.Sequential:
    """Return a perceptron of ordinary layers in evaluation mode, which maps images [n, ...] to logits.

    Args:
        model: the activations, the normalisation, the probabilities of dropping units, and their order.
        parameters: in the order of `initialisation.initial_parameters`.
        statistics: in the order of `initialisation.initial_statistics`.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    remaining, running = list(parameters), list(statistics)
    if model.input_dropout:
        layers.append(nn.Dropout(model.input_dropout))
    for activation, dropout in zip([*model.activations, None], [*model.dropouts, None], strict=True):
        weight, bias = remaining.pop(0), remaining.pop(0)
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers.append(linear)
        if activation is not None and dropout is not None:
            steps = {"activation": ACTIVATIONS[activation].module(), "dropout": nn.Dropout(dropout)}
            if model.norm is not None:
                steps["norm"] = nn.BatchNorm1d(weight.shape[0], EPSILON)
                names = ("weight", "bias", "running_mean", "running_var")
                values = [remaining.pop(0), remaining.pop(0), running.pop(0), running.pop(0)]
                steps["norm"].load_state_dict(dict(zip(names, values, strict=True)), strict=False)
            layers += [steps[step] for step in model.order]
    return nn.Sequential(*layers).eval()


class PerceptronStack:
    """K perceptrons of the same widths, with normalisation, activation and dropout in their hidden layers.

    Args:
        models: the parameters of each model, in the order of `initialisation.initial_parameters`.
        configs: each model's settings. They agree in `hidden` and `order`.
        device: the device that holds the stack.
        statistics: the running statistics of each model, in the order of `initialisation.initial_statistics`.
    """

    def __init__(
        self,
        models: Sequence[Sequence[Tensor]],
        configs: Sequence[ModelConfig],
        device: torch.device,
        statistics: Sequence[Sequence[Tensor]] = (),
    ):
        self.device = device
        self.size = len(models)
        self.tensors = [torch.stack(list(layer)).to(device) for layer in zip(*models, strict=True)]
        self.gradients = [torch.zeros_like(tensor) for tensor in self.tensors]
        self.statistics = [torch.stack(list(layer)).to(device) for layer in zip(*statistics, strict=True)]
        self.order = configs[0].order
        normed = "norm" in self.order
        # Whether normalisation writes a hidden layer's outputs, and not only what the activation reads.
        self.norms_activated = normed and self.order.index("norm") > self.order.index("activation")
        every = range(0, len(self.tensors), 4 if normed else 2)
        self.weights = [self.tensors[at] for at in every]  # [K, out, in]
        self.biases = [self.tensors[at + 1] for at in every]  # [K, out]
        self._weight_gradients = [self.gradients[at] for at in every]
        self._bias_gradients = [self.gradients[at + 1] for at in every]
        self.widths = [weight.shape[1] for weight in self.weights]
        self.norms = [
            Normalisation(
                self.tensors[at + 2 : at + 4], self.gradients[at + 2 : at + 4], self.statistics[at // 2 :][:2]
            )
            for at in (every[:-1] if normed else ())
        ]
        self.parts = [
            _parts([config.activations[layer] for config in configs], device) for layer in range(len(every) - 1)
        ]
        self._choose_dropout([[*config.dropouts, config.input_dropout] for config in configs])

    def _choose_dropout(self, probabilities: Sequence[Sequence[float]]) -> None:
        """Set the dropout of each model: the probability of each hidden layer, then the input's."""
        self.drops: list[list[bool]] = []
        self._threshold: list[Tensor] = []
        self._scale: list[Tensor] = []
        for of_layer in zip(*probabilities, strict=True):
            dropped = [min(round(p * DROPOUT_LEVELS), DROPOUT_LEVELS - 1) for p in of_layer]
            self.drops.append([level > 0 for level in dropped])
            thresholds = [float(level - DROPOUT_LEVELS // 2) for level in dropped]
            # Scale by the effective probability, p rounded to a multiple of 1/65536, so that expectations are exact.
            scales = [1 / (1 - level / DROPOUT_LEVELS) for level in dropped]
            self._threshold.append(torch.tensor(thresholds, device=self.device).view(-1, 1, 1))
            self._scale.append(torch.tensor(scales, device=self.device).view(-1, 1, 1))
        # A model that drops anything draws words for all hidden layers, as on accelerators, where one call draws all.
        anywhere = [any(of_model) for of_model in zip(*self.drops, strict=True)]
        self.draws = [*([anywhere] * (len(self.drops) - 1)), self.drops[_INPUT]]

    def parameters(self, k: int) -> list[nn.Parameter]:
        """Return model k's parameters, shaped as in torch's modules: views of the stack with their gradients."""
        parameters = []
        for tensor, gradient in zip(self.tensors, self.gradients, strict=True):
            parameter = nn.Parameter(tensor[k])
            parameter.grad = gradient[k]
            parameters.append(parameter)
        return parameters

    def statistics_of(self, k: int) -> list[Tensor]:
        """Return model k's running statistics: views of the stack."""
        return [statistic[k] for statistic in self.statistics]

    def workspace(self, batch_size: int, *, training: bool) -> Workspace:
        """Allocate the buffers for passes over batches of this size."""
        return Workspace(self, batch_size, training)

    def forward(self, images: Tensor, space: Workspace, noise: Noise | None = None) -> Tensor:
        """Compute the logits.

        Args:
            images: [K, B, inputs]; an expanded view if all models see the same batch. Input dropout changes it.
            space: the workspace for B. It keeps the activations for `backward`.
            noise: each model's generator of dropout noise; "drawn" if `space.random` contains the words already; None
                for evaluation: dropout is off, and normalisations use their running statistics.

        Returns:
            Logits [K, B, classes], a buffer of `space`.
        """
        if noise is not None and space.drops_input:
            images.mul_(self._draw_dropout(_INPUT, space, noise))
        inputs = images
        last = len(self.weights) - 1
        for layer, outputs in enumerate(space.outputs):
            linear = space.linear[layer]
            if space.by_model[layer]:
                for k in range(self.size):
                    linear[k] = products.linear(inputs[k], self.weights[layer][k], self.biases[layer][k])
            elif linear.shape[2] == 1:
                products.batched(inputs, self.weights[layer].transpose(1, 2), linear)
                linear.add_(self.biases[layer].unsqueeze(1))
            else:
                bias, weight = self.biases[layer].unsqueeze(1), self.weights[layer].transpose(1, 2)
                torch.baddbmm(bias, inputs, weight, out=linear)
            if layer < last:
                self._activate(layer, space, noise)
            inputs = outputs
        return space.outputs[-1]

    def _activate(self, layer: int, space: Workspace, noise: Noise | None) -> None:
        """Compute a hidden layer's output from its linear one."""
        linear, outputs = space.linear[layer], space.outputs[layer]
        activated = outputs if noise is None else space.activated[layer]
        # `backward` needs what the activation reads and writes: steps before it work in place, the first after it not.
        values, out = linear, linear
        for step in self.order:
            if step == "activation":
                if space.in_place[layer]:
                    outputs.relu_()
                else:
                    for part, (_, activation) in self.parts[layer]:
                        activation.forward(linear[part], activated[part])
                values, out = activated, outputs
            elif step == "norm":
                if noise is None:
                    self.norms[layer].evaluate(values)
                else:
                    self.norms[layer].train(values, out, space.ones, space.normed[layer])
                    values = out
            elif noise is not None and space.keep:
                values = torch.mul(values, self._draw_dropout(layer, space, noise), out=out)

    def _draw_dropout(self, layer: int, space: Workspace, noise: Noise) -> Tensor:
        """Fill and return the layer's dropout factors [K, B, width]: 0 or 1/(1-p)."""
        for k, generator in enumerate(noise if noise != "drawn" else ()):
            if self.draws[layer][k]:
                space.words[layer][k].random_(torch.iinfo(torch.int64).min, None, generator=generator)
        keep = space.keep[layer].copy_(space.bits[layer])
        return keep.ge_(self._threshold[layer]).mul_(self._scale[layer])

    def backward(self, images: Tensor, space: Workspace, logits_gradient: Tensor) -> None:
        """Compute the gradients of all parameters from the gradient of the logits, [K, B, classes].

        `images` and `space` must be those of the forward pass. The units that it dropped stay dropped.
        """
        gradient = logits_gradient  # of the layer's linear outputs, [K, B, out]
        for layer in range(len(self.weights) - 1, -1, -1):
            inputs = space.outputs[layer - 1] if layer else images  # [K, B, in]
            if space.by_model[layer]:
                for k in range(self.size):
                    self._weight_gradients[layer][k] = products.linear(gradient[k].t(), inputs[k].t())
            else:
                products.batched(gradient.transpose(1, 2), inputs, self._weight_gradients[layer])
            products.batched(space.ones, gradient, self._bias_gradients[layer].unsqueeze(1))
            if layer:
                below = space.hidden_gradients[layer - 1]  # [K, B, in]
                products.batched(gradient, self.weights[layer], below)
                self._back_to_linear(layer - 1, space, below)
                gradient = below

    def _back_to_linear(self, layer: int, space: Workspace, gradient: Tensor) -> None:
        """Turn the gradient of a hidden layer's output, [K, B, width], into that of its linear output, in place."""
        for step in reversed(self.order):
            if step == "norm":
                self.norms[layer].backward(gradient, space.ones, space.normed[layer])
            elif step == "activation":
                for part, (name, activation) in self.parts[layer]:
                    # Where ReLU worked in place, dropout may have overwritten its result: positive if also kept.
                    is_output = name == "relu" and not self.norms_activated
                    activated = space.outputs[layer] if is_output else space.activated[layer]
                    activation.backward(gradient[part], space.linear[layer][part], activated[part])
            elif space.keep:
                gradient.mul_(space.keep[layer])


def _parts(names: Sequence[str], device: torch.device) -> list[tuple[slice, tuple[str, Activation]]]:
    """Divide the models of a stack into parts whose activation is computed at once; see `Activation`."""
    parts, first = [], 0
    for name, equal in groupby(names):
        activation, end = ACTIVATIONS[name], first + len(list(equal))
        step = end - first if activation.elementwise_exact or device.type != "cpu" else 1
        parts += [(slice(at, at + step), (name, activation)) for at in range(first, end, step)]
        first = end
    return parts


class Workspace:
    """Buffers for one batch size B, so that a step allocates nothing large.

    Attributes:
        linear, activated, outputs: of each layer, [K, B, width]: its linear output, after the steps before the
            activation; the activation of that; the same after the other steps. The last outputs are the logits. They
            are one buffer if possible.
        in_place: whether `outputs` is a layer's only buffer, because all models have ReLU and none normalises after it.
        hidden_gradients: the gradient of the loss with respect to each hidden layer's output, [K, B, width].
        random: the random words of a step, int64 [K, n].
        words, bits: each hidden layer's part of `random`, and the same memory as int16 [K, B, width].
        keep: dropout factors of each hidden layer, [K, B, width]; an empty list if no model uses dropout.
        drops_input: whether `words`, `bits` and `keep` end with those of the input.
        normed: what normalisations keep for the backward pass.
        ones: [K, 1, B].
        by_model: whether oneDNN computes the products of each layer, one model at a time; see `products.suits`.
    """

    def __init__(self, stack: PerceptronStack, batch_size: int, training: bool):
        def buffer(*shape: int, dtype: torch.dtype | None = None) -> Tensor:
            return torch.zeros(stack.size, *shape, dtype=dtype, device=stack.device)

        hidden = stack.widths[:-1]
        drops_hidden, self.drops_input = any(map(any, stack.drops[:_INPUT])), any(stack.drops[_INPUT])
        self.by_model = [products.suits(weights, batch_size) for weights in stack.weights]
        self.in_place = [
            not stack.norms_activated and all(name == "relu" for _, (name, _) in parts) for parts in stack.parts
        ] + [True]
        self.outputs = [buffer(batch_size, width) for width in stack.widths]
        self.linear = self._unless_in_place(self.outputs)
        self.activated = self.outputs
        self.keep: list[Tensor] = []
        if training:
            self.ones = buffer(1, batch_size).fill_(1)
            self.hidden_gradients = [buffer(batch_size, width) for width in hidden]
            self.normed = [(buffer(batch_size, width), buffer(1, width)) for width in hidden if stack.norms]
            drops = drops_hidden or self.drops_input
            if stack.norms_activated or (drops and stack.order[-1] == "dropout"):
                self.activated = self._unless_in_place(self.outputs)
            if drops:
                dropped = [*hidden, stack.weights[0].shape[2]] if self.drops_input else hidden
                self.keep = [buffer(batch_size, width) for width in dropped]
                # In the order in which the layers drop: the input first.
                lengths = [-(-batch_size * width // 4) for width in (*dropped[len(hidden) :], *hidden)]
                self.random = buffer(sum(lengths), dtype=torch.int64)
                words = torch.split(self.random, lengths, dim=1)
                self.words = [*words[1:], words[0]] if self.drops_input else list(words)
                self.bits = [
                    words.view(torch.int16)[:, : batch_size * width].view(stack.size, batch_size, width)
                    for words, width in zip(self.words, dropped, strict=True)
                ]

    def _unless_in_place(self, buffers: Sequence[Tensor]) -> list[Tensor]:
        return [one if here else torch.zeros_like(one) for one, here in zip(buffers, self.in_place, strict=True)]
