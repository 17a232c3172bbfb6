"""Train a wide stack on an accelerator with few launches and without waiting for the device.

A launch costs an accelerator microseconds, whatever it computes. So models with equal optimizer arguments are stepped
as slices of the stack, random words are drawn for many steps at once, and a step is recorded as a CUDA graph.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from fmnist_sweep.config import optimizers
from fmnist_sweep.config.messages import reason
from fmnist_sweep.engine.model import PerceptronStack

log = logging.getLogger(__name__)

# Their formulas treat each element of a tensor by itself, so that a slice of the stack can be stepped as one tensor.
# Their scalar states depend on the number of steps only.
ELEMENTWISE = frozenset(
    ("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
)
WARM_UP = 3  # steps until all states exist and the libraries are initialised, so that a graph can record a step
AHEAD_BYTES = 2 << 20  # random words that one model draws at a time


def step_key(optimizer: Mapping[str, Any], epoch: int, epochs: int) -> tuple[str, int]:
    """Return what must be equal for neighbouring models of a stack to be stepped as one slice.

    It contains the epoch because some optimizers' states depend on the number of steps, and learning rates on the
    epoch; and the length of the run if they depend on that.
    """
    length = {"epochs": epochs} if optimizers.depends_on_length(optimizer) else {}
    return json.dumps({**optimizer, **length}, sort_keys=True), epoch


def slices(keys: Sequence[tuple[str, int]]) -> list[slice]:
    """Return the slices of neighbouring models that can be stepped together."""
    found, first = [], 0
    for (encoded, _), alike in groupby(keys):
        length = len(list(alike))
        if json.loads(encoded)["name"] in ELEMENTWISE:
            found.append(slice(first, first + length))
        else:
            found += [slice(k, k + 1) for k in range(first, first + length)]
        first += length
    return found


def stacked_optimizer(
    arguments: Mapping[str, Any], stack: PerceptronStack, models: slice, own: Sequence[torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """Build one optimizer for neighbouring models, which continues their own optimizers.

    Args:
        arguments: the name and the arguments of the optimizer.
        stack: the stack that holds the models.
        models: the place of the models in the stack.
        own: the optimizer of each model. Each has the same parameters in the same order.
    """
    parameters = []
    for tensor, gradient in zip(stack.tensors, stack.gradients, strict=True):
        parameters.append(nn.Parameter(tensor[models]))
        parameters[-1].grad = gradient[models]
    optimizer = optimizers.build(arguments, parameters, weight_dim=3)
    for parameter, *of_models in zip(*map(optimizers.parameters_of, (optimizer, *own)), strict=True):
        states = [one.state[of_model] for one, of_model in zip(own, of_models, strict=True)]
        optimizer.state[parameter] = {name: _join([state[name] for state in states]) for name in states[0]}
    return optimizer


def _join(values: Sequence[Any]) -> Any:
    """Stack tensors. A value that is not one per element is equal in all models."""
    if isinstance(values[0], Tensor):
        return torch.stack(list(values)) if values[0].dim() else values[0].clone()
    return values[0]


def copy_state(stacked: torch.optim.Optimizer, k: int, own: torch.optim.Optimizer) -> None:
    """Copy the state of the k-th model of a stacked optimizer to the model's own optimizer."""
    for parameter, of_model in zip(*map(optimizers.parameters_of, (stacked, own)), strict=True):
        own.state[of_model] = {
            name: (value[k] if value.dim() else value).clone() if isinstance(value, Tensor) else value
            for name, value in stacked.state[parameter].items()
        }


class WordsAhead:
    """The random words of a stack's dropout, drawn for many steps in one call a model.

    Each model draws from its own generator, and the number of steps does not depend on the size of the stack. So a
    model's words do not depend on the other models.

    Args:
        size: the number of models K.
        words: the number of words [n] of one step, int64.
        device: where to draw.
    """

    def __init__(self, size: int, words: int, device: torch.device):
        self.steps = max(1, AHEAD_BYTES // (8 * words))
        self._words = torch.zeros(size, self.steps, words, dtype=torch.int64, device=device)

    def take(self, step: int, noise: Sequence[torch.Generator | None], out: Tensor) -> None:
        """Write the words of an epoch's step into `out`, [K, up to n]. Call it for each step of an epoch in order.

        Args:
            step: the step's number in the epoch, from 0.
            noise: each model's generator; None for a model without dropout.
            out: where to write.
        """
        if step % self.steps == 0:
            for words, generator in zip(self._words, noise, strict=True):
                if generator is not None:
                    words.random_(torch.iinfo(torch.int64).min, None, generator=generator)
        out.copy_(self._words[:, step % self.steps, : out.shape[1]])


class Replayed:
    """Work that is recorded as a CUDA graph after some calls, and replayed from then on.

    Its tensors must stay where they are, and its numbers in Python must stay what they are: a graph contains both.

    Args:
        may_record: whether to record it at all.
    """

    def __init__(self, may_record: bool):
        self._before_recording = WARM_UP if may_record else -1
        self._replay: Callable[[], None] | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        """Do the work, which is the same in each call and never waits for the device."""
        if self._before_recording == 0:
            self._replay = _recorded(work)
        self._before_recording -= 1
        (self._replay or work)()


def _recorded(work: Callable[[], None]) -> Callable[[], None] | None:
    """Record a CUDA graph of the work and return its replay. If that fails, warn and return None."""
    try:
        graph = torch.cuda.CUDAGraph()
        # Another thread may be writing checkpoints, so only calls of this one must be fit for recording.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            work()
    except Exception as error:  # whatever is wrong with the work itself is raised again when it is done
        log.warning("a step could not be recorded as a CUDA graph, so training is slower: %s", reason(error))
        return None
    replay: Callable[[], None] = graph.replay
    return replay


def can_be_recorded(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether a CUDA graph may contain the optimizer's step: it must keep no number on the CPU between steps."""
    return type(optimizer) is torch.optim.SGD or all(group.get("capturable", False) for group in optimizer.param_groups)
