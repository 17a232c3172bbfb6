"""Train K models as one stack, epoch by epoch, and evaluate them."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fmnist_sweep.config import optimizers
from fmnist_sweep.config.schema import Config, LossConfig
from fmnist_sweep.config.torch_private import take_step
from fmnist_sweep.data import Data
from fmnist_sweep.engine.accelerators import (
    ELEMENTWISE,
    Replayed,
    WordsAhead,
    can_be_recorded,
    copy_state,
    slices,
    stacked_optimizer,
    step_key,
)
from fmnist_sweep.engine.initialisation import initial_parameters, initial_statistics
from fmnist_sweep.engine.losses import Loss
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.model import Noise, PerceptronStack, Workspace

# Enough rows for products to run at full speed, and few enough for the results to stay in the cache.
EVALUATION_BATCH = 1000


@dataclass
class Progress:
    """The state of a model in training. Its next epoch depends only on this state and on its configuration.

    Attributes:
        epoch: epochs trained so far.
        parameters: in the order of `initialisation.initial_parameters`.
        optimizer: the optimizer's `state_dict`, or None before the first step. Its learning rate is not yet scheduled.
        statistics: the running statistics of batch normalisations, in the order of `initialisation.initial_statistics`.
    """

    epoch: int
    parameters: list[Tensor]
    optimizer: dict[str, Any] | None
    statistics: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """The mean loss and the accuracy of each model, [K], and its predicted classes, uint8 [K, n]."""

    loss: Tensor
    accuracy: Tensor
    predictions: Tensor


def random_stream(seed: int, purpose: str, epoch: int, device: str = "cpu") -> torch.Generator:
    """Return the generator of a run's random numbers for one purpose in one epoch.

    Each stream is seeded by a digest of seed, purpose and epoch. So nobody needs to save the state of a generator to
    resume a run or to train it in a stack.
    """
    number = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()[:8]
    return torch.Generator(device).manual_seed(int.from_bytes(number, "big") >> 1)


def start(config: Config) -> Progress:
    """Return the state of a model before its first epoch."""
    generator = random_stream(config.seed, "initialisation", 0)
    return Progress(0, initial_parameters(config.model, generator), None, initial_statistics(config.model))


@dataclass(eq=False)
class Model:
    """One model of a stack.

    Attributes:
        epoch: epochs trained so far.
        parameters, statistics: views of the stack, as in `Progress`.
        optimizer: the model's own optimizer. Others may take its steps, see `stacked`.
        error: the exception of its optimizer, if there was one. The model is not trained after that.
        stacked: on an accelerator, the optimizer that steps a slice of the stack, and the model's place in that slice.
    """

    config: Config
    epoch: int
    parameters: list[nn.Parameter]
    statistics: list[Tensor]
    optimizer: torch.optim.Optimizer
    error: Exception | None = None
    stacked: tuple[torch.optim.Optimizer, int] | None = None

    def progress(self) -> Progress:
        """Return the model's current state. Its parameters are copies on the CPU."""
        parameters = [parameter.detach().cpu().clone() for parameter in self.parameters]
        statistics = [one.cpu().clone() for one in self.statistics]
        self.update_own_optimizer()
        return Progress(self.epoch, parameters, optimizers.state_dict(self.optimizer), statistics)

    def update_own_optimizer(self) -> None:
        """Give the model's own optimizer the current state."""
        if self.stacked is not None:
            copy_state(*self.stacked, self.optimizer)

    def restore(self, progress: Progress) -> None:
        """Return to an earlier state of the same model."""
        self.epoch = progress.epoch
        for parameter, earlier in zip(self.parameters, progress.parameters, strict=True):
            parameter.data.copy_(earlier)
        for now, before in zip(self.statistics, progress.statistics, strict=True):
            now.copy_(before)
        assert progress.optimizer is not None
        optimizers.load_state_dict(self.optimizer, progress.optimizer)


class _JointStepError(Exception):
    """The step of several models raised an error, after it may have changed some of them."""


class _Step:
    """The step of one optimizer, which may be shared by several models with equal arguments.

    torch's optimizers change each tensor by itself, so a model's numbers do not depend on the others'.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, models: Sequence[Model]):
        self.optimizer = optimizer
        self._models = models

    def set_rate(self) -> bool:
        """Set the learning rate of the models' current epoch. Return whether it changes."""
        model = self._models[0]
        return optimizers.set_rate(self.optimizer, model.config.optimizer, model.epoch, model.config.training.epochs)

    def take(self) -> None:
        """Take the step. Store an error in the model if there is one model; else raise `_JointStepError`.

        An error while a graph is being recorded is not the model's.
        """
        if self._models[0].error is not None:
            return
        try:
            take_step(self.optimizer)
        except Exception as error:  # one model's failure must not stop the others
            recording = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
            if len(self._models) > 1 or recording:
                raise _JointStepError from error
            self._models[0].error = error


def _joint_steps(models: Sequence[Model]) -> list[_Step]:
    """Make one step for all models whose optimizers are equal: calling an optimizer costs more than its arithmetic."""
    alike: dict[tuple[object, ...], list[Model]] = {}
    for model in models:
        optimizer = model.config.optimizer
        # With a schedule, the learning rate depends on these too.
        place = () if optimizers.is_constant(optimizer) else (model.epoch, model.config.training.epochs)
        alike.setdefault((json.dumps(optimizer, sort_keys=True), *place), []).append(model)
    steps = []
    for group in alike.values():
        joint = optimizers.build(group[0].config.optimizer, [p for model in group for p in model.parameters])
        for model in group:
            # Each parameter's state is one dictionary, which both optimizers have. So each model can be saved alone.
            for parameter in model.parameters:
                joint.state[parameter] = model.optimizer.state[parameter]
        steps.append(_Step(joint, group))
    return steps


def _stacked_steps(stack: PerceptronStack, models: Sequence[Model]) -> list[_Step]:
    """Make one step for each slice of the stack whose models have equal optimizers and have taken equally many steps.

    Models whose optimizer does not treat each element by itself keep their own.
    """
    steps = []
    for part in slices([step_key(one.config.optimizer, one.epoch, one.config.training.epochs) for one in models]):
        alike = models[part]
        optimizer = alike[0].optimizer
        if alike[0].config.optimizer["name"] in ELEMENTWISE:
            own = [model.optimizer for model in alike]
            optimizer = stacked_optimizer(alike[0].config.optimizer, stack, part, own)
            for k, model in enumerate(alike):
                model.stacked = optimizer, k
        steps.append(_Step(optimizer, alike))
    return steps


class Trainer:
    """Trains K models that may be stacked, each with its own optimizer, activations, dropout and random streams.

    Args:
        configs: each model's configuration; see `plan.stack_key` for what must be equal in them.
        progress: the state in which each model starts. The models may be at different epochs.
        data: the images, on the device that trains.
        accelerated: train as on an accelerator, see `accelerators`. None: if the device is one.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        progress: Sequence[Progress],
        data: Data,
        *,
        accelerated: bool | None = None,
    ):
        self.data = data
        self.device = data.train_images.device
        self.accelerated = self.device.type != "cpu" if accelerated is None else accelerated
        self.batch_size = configs[0].training.batch_size
        self._loss = configs[0].loss
        self._stack(configs, [one.parameters for one in progress], [one.statistics for one in progress])
        self.models = []
        for k, (config, begun) in enumerate(zip(configs, progress, strict=True)):
            parameters = self.stack.parameters(k)
            optimizer = optimizers.build(config.optimizer, parameters)
            if begun.optimizer is not None:
                optimizers.load_state_dict(optimizer, begun.optimizer)
            self.models.append(Model(config, begun.epoch, parameters, self.stack.statistics_of(k), optimizer))
        self._steps = self._joint_steps()

    def _stack(
        self,
        configs: Sequence[Config],
        parameters: Sequence[Sequence[Tensor]],
        statistics: Sequence[Sequence[Tensor]],
    ) -> None:
        """Build a new stack from the models, and discard the buffers, whose sizes depend on the number of models."""
        self.stack = PerceptronStack(parameters, [config.model for config in configs], self.device, statistics)
        self._batches: dict[int, _Batch] = {}
        self._running = self._new_sums(self.batch_size)
        self._replayed: dict[int, Replayed] = {}
        self._words: WordsAhead | None = None
        self._orders: tuple[list[tuple[int, int]], Tensor] | None = None

    def _joint_steps(self) -> list[_Step]:
        return _stacked_steps(self.stack, self.models) if self.accelerated else _joint_steps(self.models)

    def _new_sums(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return the sums of losses and of correct predictions, all zero.

        On an accelerator losses are summed for each place in a batch, [K, B], else for each model, [K]. A device may
        sum the rows of [K, B] in an order that depends on K; the CPU does not.
        """
        shape = (self.stack.size, batch_size) if self.accelerated else (self.stack.size,)
        loss = torch.zeros(shape, dtype=_accumulator(self.device), device=self.device)
        return loss, torch.zeros(self.stack.size, dtype=torch.int64, device=self.device)

    @torch.no_grad()
    def train_epoch(self) -> list[Metrics]:
        """Train every model for one epoch, then evaluate it on the training and the validation images."""
        if self.accelerated:
            return self._train_epoch_or_step_apart()
        before = [copy.deepcopy(model.progress()) for model in self.models]
        try:
            return self._train_epoch()
        except _JointStepError:  # start the epoch again, with steps that fail one at a time
            for model, progress in zip(self.models, before, strict=True):
                model.restore(progress)
            self._steps = [_Step(model.optimizer, [model]) for model in self.models]
            return self._train_epoch()

    def _train_epoch_or_step_apart(self) -> list[Metrics]:
        """Do the same for stacked steps. The state before the epoch is copied on the device, not model by model."""
        epochs, now = [model.epoch for model in self.models], [*self.stack.tensors, *self.stack.statistics]
        before = [tensor.clone() for tensor in now]
        states = [copy.deepcopy(step.optimizer.state_dict()) for step in self._steps]
        try:
            return self._train_epoch()
        except _JointStepError:
            for tensor, earlier in zip(now, before, strict=True):
                tensor.copy_(earlier)
            for step, state in zip(self._steps, states, strict=True):
                step.optimizer.load_state_dict(state)
            for model, epoch in zip(self.models, epochs, strict=True):
                model.update_own_optimizer()
                model.epoch, model.stacked = epoch, None
            self._steps = [_Step(model.optimizer, [model]) for model in self.models]
            self._replayed = {}
            return self._train_epoch()

    def _train_epoch(self) -> list[Metrics]:
        data, samples = self.data, len(self.data.train_images)
        for model in self.models:
            model.epoch += 1
        changes = [step.set_rate() for step in self._steps]
        if any(changes):
            self._replayed = {}  # recorded steps contain the old rates
        streams = [(model.config.seed, model.epoch) for model in self.models]
        order = self._draw_orders(streams).to(self.device, non_blocking=True)  # [K, n]
        noise = [random_stream(seed, "dropout", epoch, self.device.type) for seed, epoch in streams]
        for total in self._running:
            total.zero_()
        for step, first in enumerate(range(0, samples, self.batch_size)):
            batch = self._batch(min(self.batch_size, samples - first), training=True)
            indices = order[:, first : first + batch.size].reshape(-1)
            if self.accelerated:
                self._launch_step(batch, indices, step, noise)
            else:
                batch.take(data, indices)
                self._add(self._running, *self._step(batch, noise))
        train = self._evaluate(data.train_images, data.train_labels)
        validation = self._evaluate(data.val_images, data.val_labels)
        test = None
        if data.tests_every_epoch and data.test_images is not None and data.test_labels is not None:
            test = self._evaluate(data.test_images, data.test_labels)
        if self.accelerated:  # prepare the next epoch while the device still computes this one
            self._draw_orders([(seed, epoch + 1) for seed, epoch in streams])

        loss, correct = self._running
        columns = [
            *(_of_each_model(total) / samples for total in train[:2]),
            _of_each_model(loss) / math.ceil(samples / self.batch_size),
            _of_each_model(correct) / samples,
            *(_of_each_model(total) / len(data.val_images) for total in validation[:2]),
        ]
        if test is not None:
            columns += [_of_each_model(total) / test[2].shape[1] for total in test[:2]]
        values = torch.stack(columns, dim=1).tolist()
        return [Metrics(model.epoch, *row) for model, row in zip(self.models, values, strict=True)]

    def _draw_orders(self, streams: list[tuple[int, int]]) -> Tensor:
        """Draw the order of the training images for each model, [K, n] on the CPU, from its seed and epoch."""
        if self._orders is None or self._orders[0] != streams:
            samples = len(self.data.train_images)
            pinned = self.device.type == "cuda"  # from such memory a copy to the device waits for nothing
            orders = torch.empty(len(streams), samples, dtype=torch.int64, pin_memory=pinned)
            for row, (seed, epoch), model in zip(orders, streams, self.models, strict=True):
                if model.config.data.shuffle:
                    torch.randperm(samples, generator=random_stream(seed, "order", epoch), out=row)
                else:
                    torch.arange(samples, out=row)
            self._orders = streams, orders
        return self._orders[1]

    def _launch_step(self, batch: _Batch, indices: Tensor, step: int, noise: Sequence[torch.Generator]) -> None:
        """Launch an epoch's step on an accelerator, as one graph if it has been recorded."""

        def work() -> None:
            batch.take(self.data, batch.indices)
            self._add(self._running, *self._step(batch, "drawn"))

        batch.indices.copy_(indices)
        if batch.space.keep:
            if self._words is None:
                self._words = WordsAhead(self.stack.size, batch.space.random.shape[1], self.device)
            drawing = map(any, zip(*self.stack.draws, strict=True))
            own = [generator if draws else None for generator, draws in zip(noise, drawing, strict=True)]
            self._words.take(step, own, batch.space.random)
        if batch.size not in self._replayed:
            recordable = all(can_be_recorded(step.optimizer) for step in self._steps)
            self._replayed[batch.size] = Replayed(self.device.type == "cuda" and recordable)
        self._replayed[batch.size](work)

    def _add(self, sums: tuple[Tensor, Tensor], losses: Tensor, hits: Tensor) -> None:
        """Add a batch's results to the sums."""
        loss, correct = sums
        (loss[:, : losses.shape[1]] if self.accelerated else loss).add_(losses)
        correct.add_(hits)

    def _step(self, batch: _Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        """Take one step with every model.

        Returns:
            The mean loss and the number of correct predictions of each model's batch, [K], or the addends of that
            mean, [K, B]; see `_Batch.measure`. The device may still be computing them.
        """
        logits = self.stack.forward(batch.images, batch.space, noise)
        losses, hits = batch.measure(logits)
        self.stack.backward(batch.images, batch.space, batch.loss.gradient())
        for step in self._steps:
            step.take()
        return losses, hits

    @torch.no_grad()
    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        """Evaluate every model on the same images, uint8 [n, inputs], with dropout off. The results are on the CPU."""
        loss, correct, predictions = self._evaluate(images, labels)
        samples = len(images)
        return Evaluation(_of_each_model(loss) / samples, _of_each_model(correct) / samples, predictions.cpu())

    def _evaluate(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums of losses and of correct predictions, as `_new_sums` does, and the predicted classes.

        The device may still be computing them.
        """
        loss, correct = self._new_sums(EVALUATION_BATCH)
        predictions = torch.empty(self.stack.size, len(images), dtype=torch.uint8, device=self.device)
        for first in range(0, len(images), EVALUATION_BATCH):
            batch = self._batch(min(EVALUATION_BATCH, len(images) - first), training=False)
            rows = slice(first, first + batch.size)
            batch.share(images[rows], labels[rows], self.data)
            losses, hits = batch.measure(self.stack.forward(batch.images, batch.space))
            self._add((loss, correct), losses * batch.size, hits)
            predictions[:, rows] = batch.predictions
        return loss, correct, predictions

    def keep(self, models: Sequence[Model]) -> None:
        """Keep only these models for further training."""
        self.models = list(models)
        for model in models:
            model.update_own_optimizer()
        parameters = [[parameter.detach() for parameter in model.parameters] for model in models]
        self._stack([model.config for model in models], parameters, [model.statistics for model in models])
        # An optimizer finds its state by parameter object. So keep these objects, and make them views of the new stack.
        for k, model in enumerate(models):
            for parameter, view in zip(model.parameters, self.stack.parameters(k), strict=True):
                parameter.data, parameter.grad = view.data, view.grad
            model.statistics = self.stack.statistics_of(k)
        self._steps = self._joint_steps()

    def _batch(self, size: int, *, training: bool) -> _Batch:
        key = size if training else -size
        if key not in self._batches:
            self._batches[key] = _Batch(self.stack, self._loss, size, training=training, by_sample=self.accelerated)
        return self._batches[key]


class _Batch:
    """One batch of B samples for each of K models, and the buffers for a pass over it.

    Args:
        stack: the models.
        loss: the loss of all of them.
        size: B.
        training: whether the batch is for training, where each model has its own samples.
        by_sample: whether `measure` returns each sample's share of the mean loss.
    """

    def __init__(self, stack: PerceptronStack, loss: LossConfig, size: int, *, training: bool, by_sample: bool = False):
        self.size = size
        self.indices = torch.zeros(stack.size * size if training else 0, dtype=torch.int64, device=stack.device)
        self._by_sample = by_sample
        self.space: Workspace = stack.workspace(size, training=training)
        models, inputs = stack.size, stack.weights[0].shape[2]
        copies = models if training else 1
        self._pixels = torch.empty(copies * size, inputs, dtype=torch.uint8, device=stack.device)
        self._scaled = torch.empty(copies * size, inputs, device=stack.device)
        self.images = self._scaled.view(copies, size, inputs).expand(models, size, inputs)
        self.loss = Loss(loss, models, size, stack.device)

    def take(self, data: Data, indices: Tensor) -> None:
        """Fill the batch with the training samples at these indices, [K * B]."""
        torch.index_select(data.train_images, 0, indices, out=self._pixels)
        data.batch(self._pixels, self._scaled)
        self.labels = data.train_labels.index_select(0, indices).view(-1, 1, self.size)

    def share(self, pixels: Tensor, labels: Tensor, data: Data) -> None:
        """Give all models the same samples, uint8 [B, inputs]."""
        data.batch(pixels, self._scaled)
        self.labels = labels.expand(self.images.shape[0], 1, self.size)

    def measure(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return each model's mean loss and number of correct predictions, [K], from logits [K, B, classes].

        If `by_sample`, return the addends of the mean loss instead, [K, B].
        """
        losses = self.loss(logits, self.labels, by_sample=self._by_sample)
        self.predictions = logits.argmax(2)
        return losses, (self.predictions == self.labels.squeeze(1)).sum(1)


def _of_each_model(total: Tensor) -> Tensor:
    """Return the sum of each row of `total`, [K, B] or [K], in double precision on the CPU."""
    total = total.cpu().double()
    return torch.stack([row.sum() for row in total]) if total.dim() == 2 else total


def _accumulator(device: torch.device) -> torch.dtype:
    """Return the dtype in which losses are summed: double precision if the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
