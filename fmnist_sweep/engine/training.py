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
from fmnist_sweep.data import Data
from fmnist_sweep.engine.initialisation import initial_parameters, initial_statistics
from fmnist_sweep.engine.losses import Loss
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.model import PerceptronStack, Workspace

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
        error: the exception of its optimizer, if there was one. The model is not trained after that.
    """

    config: Config
    epoch: int
    parameters: list[nn.Parameter]
    statistics: list[Tensor]
    optimizer: torch.optim.Optimizer
    error: Exception | None = None

    def progress(self) -> Progress:
        """Return the model's current state. Its parameters are copies on the CPU."""
        parameters = [parameter.detach().cpu().clone() for parameter in self.parameters]
        statistics = [one.cpu().clone() for one in self.statistics]
        optimizer = self.optimizer.state_dict()
        optimizer["state"] = {key: state for key, state in optimizer["state"].items() if state}
        for group in optimizer["param_groups"]:
            group["lr"] = self.optimizer.defaults["lr"]  # not this epoch's, which follows from the configuration
        return Progress(self.epoch, parameters, optimizer, statistics)

    def restore(self, progress: Progress) -> None:
        """Return to an earlier state of the same model."""
        self.epoch = progress.epoch
        for parameter, earlier in zip(self.parameters, progress.parameters, strict=True):
            parameter.data.copy_(earlier)
        for now, before in zip(self.statistics, progress.statistics, strict=True):
            now.copy_(before)
        assert progress.optimizer is not None
        self.optimizer.load_state_dict(progress.optimizer)


class _JointStepError(Exception):
    """The step of several models raised an error, after it may have changed some of them."""


class _Step:
    """The step of one optimizer, which may be shared by several models with equal arguments.

    torch's optimizers change each tensor by itself, so a model's numbers do not depend on the others'.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, models: Sequence[Model]):
        self._optimizer = optimizer
        self._models = models

    def set_rate(self) -> None:
        """Set the learning rate of the models' current epoch."""
        model = self._models[0]
        optimizers.set_rate(self._optimizer, model.config.optimizer, model.epoch, model.config.training.epochs)

    def take(self) -> None:
        """Take the step. Store an error in the model if there is one model; else raise `_JointStepError`."""
        if self._models[0].error is not None:
            return
        try:
            self._optimizer.step()
        except Exception as error:  # one model's failure must not stop the others
            if len(self._models) > 1:
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


def _order(model: Model, samples: int) -> Tensor:
    """Return the order of the training images in a model's current epoch."""
    if not model.config.data.shuffle:
        return torch.arange(samples)
    return torch.randperm(samples, generator=random_stream(model.config.seed, "order", model.epoch))


class Trainer:
    """Trains K models that may be stacked, each with its own optimizer, activations, dropout and random streams.

    Args:
        configs: each model's configuration; see `plan.stack_key` for what must be equal in them.
        progress: the state in which each model starts. The models may be at different epochs.
        data: the images, on the device that trains.
    """

    def __init__(self, configs: Sequence[Config], progress: Sequence[Progress], data: Data):
        self.data = data
        self.device = data.train_images.device
        self.batch_size = configs[0].training.batch_size
        self._loss = configs[0].loss
        self._stack(configs, [one.parameters for one in progress], [one.statistics for one in progress])
        self.models = []
        for k, (config, begun) in enumerate(zip(configs, progress, strict=True)):
            parameters = self.stack.parameters(k)
            optimizer = optimizers.build(config.optimizer, parameters)
            if begun.optimizer is not None:
                optimizer.load_state_dict(begun.optimizer)
            self.models.append(Model(config, begun.epoch, parameters, self.stack.statistics_of(k), optimizer))
        self._steps = _joint_steps(self.models)

    def _stack(
        self,
        configs: Sequence[Config],
        parameters: Sequence[Sequence[Tensor]],
        statistics: Sequence[Sequence[Tensor]],
    ) -> None:
        """Build a new stack from the models, and discard the buffers, whose sizes depend on the number of models."""
        self.stack = PerceptronStack(parameters, [config.model for config in configs], self.device, statistics)
        self._batches: dict[int, _Batch] = {}

    @torch.no_grad()
    def train_epoch(self) -> list[Metrics]:
        """Train every model for one epoch, then evaluate it on the training and the validation images."""
        before = [copy.deepcopy(model.progress()) for model in self.models]
        try:
            return self._train_epoch()
        except _JointStepError:  # start the epoch again, with steps that fail one at a time
            for model, progress in zip(self.models, before, strict=True):
                model.restore(progress)
            self._steps = [_Step(model.optimizer, [model]) for model in self.models]
            return self._train_epoch()

    def _train_epoch(self) -> list[Metrics]:
        data, size, samples = self.data, self.stack.size, len(self.data.train_images)
        for model in self.models:
            model.epoch += 1
        for step in self._steps:
            step.set_rate()
        streams = [(model.config.seed, model.epoch) for model in self.models]
        order = torch.stack([_order(model, samples) for model in self.models]).to(self.device)  # [K, n]
        noise = [random_stream(seed, "dropout", epoch, self.device.type) for seed, epoch in streams]

        loss = torch.zeros(size, dtype=_accumulator(self.device), device=self.device)
        correct = torch.zeros(size, dtype=torch.int64, device=self.device)
        for first in range(0, samples, self.batch_size):
            batch = self._batch(min(self.batch_size, samples - first), training=True)
            indices = order[:, first : first + batch.size].reshape(-1)
            batch.take(data, indices)
            losses, hits = self._step(batch, noise)
            loss += losses
            correct += hits

        batches = math.ceil(samples / self.batch_size)
        train = self.evaluate(data.train_images, data.train_labels)
        validation = self.evaluate(data.val_images, data.val_labels)
        columns = [
            train.loss,
            train.accuracy,
            loss.cpu().double() / batches,
            correct.cpu().double() / samples,
            validation.loss,
            validation.accuracy,
        ]
        if data.tests_every_epoch and data.test_images is not None and data.test_labels is not None:
            test = self.evaluate(data.test_images, data.test_labels)
            columns += [test.loss, test.accuracy]
        values = torch.stack(columns, dim=1).tolist()
        return [Metrics(model.epoch, *row) for model, row in zip(self.models, values, strict=True)]

    def _step(self, batch: _Batch, noise: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Take one step with every model.

        Returns:
            The mean loss and the number of correct predictions of each model's batch, [K]. The device may still be
            computing them.
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
        size, samples = self.stack.size, len(images)
        loss = torch.zeros(size, dtype=_accumulator(self.device), device=self.device)
        correct = torch.zeros(size, dtype=torch.int64, device=self.device)
        predictions = torch.empty(size, samples, dtype=torch.uint8, device=self.device)
        for first in range(0, samples, EVALUATION_BATCH):
            batch = self._batch(min(EVALUATION_BATCH, samples - first), training=False)
            rows = slice(first, first + batch.size)
            batch.share(images[rows], labels[rows], self.data)
            losses, hits = batch.measure(self.stack.forward(batch.images, batch.space))
            loss += losses * batch.size
            correct += hits
            predictions[:, rows] = batch.predictions
        return Evaluation(loss.cpu().double() / samples, correct.cpu().double() / samples, predictions.cpu())

    def keep(self, models: Sequence[Model]) -> None:
        """Keep only these models for further training."""
        self.models = list(models)
        parameters = [[parameter.detach() for parameter in model.parameters] for model in models]
        self._stack([model.config for model in models], parameters, [model.statistics for model in models])
        # An optimizer finds its state by parameter object. So keep these objects, and make them views of the new stack.
        for k, model in enumerate(models):
            for parameter, view in zip(model.parameters, self.stack.parameters(k), strict=True):
                parameter.data, parameter.grad = view.data, view.grad
            model.statistics = self.stack.statistics_of(k)
        self._steps = _joint_steps(self.models)

    def _batch(self, size: int, *, training: bool) -> _Batch:
        key = size if training else -size
        if key not in self._batches:
            self._batches[key] = _Batch(self.stack, self._loss, size, training=training)
        return self._batches[key]


class _Batch:
    """One batch of B samples for each of K models, and the buffers for a pass over it."""

    def __init__(self, stack: PerceptronStack, loss: LossConfig, size: int, *, training: bool):
        self.size = size
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
        """Return each model's mean loss and number of correct predictions, [K], from logits [K, B, classes]."""
        losses = self.loss(logits, self.labels)
        self.predictions = logits.argmax(2)
        return losses, (self.predictions == self.labels.squeeze(1)).sum(1)


def _accumulator(device: torch.device) -> torch.dtype:
    """Return the dtype in which losses are summed: double precision if the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
