"""Check from first principles, in double precision: gradients, optimizers, dropout, orders, losses.

Statistical tests ask of many seeds whether what is standard normal, if all is right, looks so. With seeds drawn anew
each such question would raise one false alarm in `RATE`; as the seeds are fixed, its answer never changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from small_runs import ADAM, EVERY_OPTIMIZER, LOSSES, MOMENTUM, NEW_KEYS, ORDERS, config, piece, same_stack, whole
from torch import Tensor, nn

from fmnist_sweep import data
from fmnist_sweep.config.schema import ACTIVATIONS, Config, ModelConfig
from fmnist_sweep.data import Data
from fmnist_sweep.engine import training
from fmnist_sweep.engine.initialisation import initial_parameters, initial_statistics
from fmnist_sweep.engine.model import PerceptronStack
from fmnist_sweep.engine.training import Trainer, random_stream, start

RATE = 1e6
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)


# Gradients

DROPOUT = [0.0, 0.2, 0.5]


class Losses(torch.autograd.Function):
    """Each model's loss on its batch, [K], as the trainer computes it and its gradients."""

    @staticmethod
    def forward(ctx: Any, images: Data, indices: Tensor, configs: list[Config], *parameters: Tensor) -> Tensor:  # type: ignore[override]
        models = [[tensor[k] for tensor in parameters] for k in range(len(configs))]
        statistics = [initial_statistics(one.model) for one in configs]
        stack = PerceptronStack(models, [one.model for one in configs], CPU, statistics)
        batch = training._Batch(stack, configs[0].loss, len(indices) // stack.size, training=True)
        batch.take(images, indices)
        noise = [random_stream(one.seed, "dropout", 1) for one in configs]
        losses, _ = batch.measure(stack.forward(batch.images, batch.space, noise))
        stack.backward(batch.images, batch.space, batch.loss.gradient())
        ctx.save_for_backward(*stack.gradients)
        return losses

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:  # type: ignore[override]
        return (
            *[None] * 3,
            *(gradient * upstream.view(-1, *[1] * (gradient.dim() - 1)) for gradient in ctx.saved_tensors),
        )


def assert_gradients_are_finite_differences(configs: list[Config]) -> None:
    random = torch.Generator().manual_seed(1)
    inputs, stack = 6, len(configs)
    images = torch.randint(256, (20, inputs), generator=random, dtype=torch.uint8)
    labels = torch.randint(10, (20,), generator=random)
    shapes = [one.shape for one in initial_parameters(configs[0].model, random, inputs)]
    parameters = [torch.randn(stack, *shape, generator=random, requires_grad=True) for shape in shapes]
    indices = torch.randint(20, (stack * 9,), generator=random)
    small = Data(images, labels, images, labels, None, None, 0.5, 0.5)
    assert torch.autograd.gradcheck(Losses.apply, (small, indices, configs, *parameters), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("hidden", [[], [7], [7, 5], [4, 4, 4], [1], [3, 1, 4]])
def test_gradients_of_the_loss_are_finite_differences_of_it(hidden: list[int]) -> None:
    assert_gradients_are_finite_differences([config(hidden=hidden, dropout=p, seed=k) for k, p in enumerate(DROPOUT)])


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: "-".join(map(str, loss.values())))
def test_gradients_of_every_loss_are_finite_differences_of_it(loss: dict[str, Any]) -> None:
    assert_gradients_are_finite_differences([config(hidden=[5], loss=loss, seed=k) for k in range(2)])


@pytest.mark.parametrize("keys", [{}, ORDERS[3], *({"norm": "batch", **order} for order in ORDERS)], ids=str)
def test_gradients_through_every_activation_normalisation_and_dropout_are_finite_differences(
    keys: dict[str, str],
) -> None:
    pairs = list(zip(ACTIVATIONS, [*ACTIVATIONS[1:], ACTIVATIONS[0]], strict=True))
    assert_gradients_are_finite_differences(
        [
            config(hidden=[5, 4], activation=list(two), dropout=[0.0, p], input_dropout=q, seed=k, **keys)
            for k, (two, p, q) in enumerate(zip(pairs, [0.0, 0.5] * 4, [0.0, 0.3, 0.0, 0.0] * 2, strict=True))
        ]
    )


# Steps


class Replayed(nn.Module):
    """Dropout with factors drawn elsewhere."""

    factors: Tensor | float = 1.0

    def forward(self, values: Tensor) -> Tensor:
        return values * self.factors


MODULES = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "identity": nn.Identity,
}


# By `norm_after` and `dropout_after`, what follows a hidden linear layer.
FOLLOWING = {
    ("linear", "activation"): ("norm", "activation", "dropout"),
    ("activation", "activation"): ("activation", "norm", "dropout"),
    ("dropout", "activation"): ("activation", "dropout", "norm"),
    ("linear", "linear"): ("norm", "dropout", "activation"),
    ("dropout", "linear"): ("dropout", "norm", "activation"),
    ("activation", "linear"): ("dropout", "activation", "norm"),
}


def criterion(one: Config, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss as anybody would write it."""
    if one.loss.name == "cross_entropy":
        return nn.CrossEntropyLoss(label_smoothing=one.loss.label_smoothing)(logits, labels)
    outputs = logits.softmax(1) if one.loss.name == "mse_softmax" else logits
    return nn.MSELoss()(outputs, nn.functional.one_hot(labels, 10).to(outputs.dtype))


class Network:
    """A model of a stack as anybody would write it, with its own optimizer."""

    def __init__(self, one: training.Model):
        self.config, model = one.config, one.config.model
        widths, activations = [784, *model.hidden, 10], model.activation
        self.dropout = [Replayed() for _ in model.hidden]
        self.input_dropout = Replayed()
        layers: list[nn.Module] = [self.input_dropout]
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            layers.append(nn.Linear(inputs, outputs))
            if layer < len(model.hidden):
                name = activations if isinstance(activations, str) else activations[layer]
                norm = nn.BatchNorm1d(outputs) if model.norm else nn.Identity()
                steps = {"norm": norm, "activation": MODULES[name](), "dropout": self.dropout[layer]}
                layers += [steps[step] for step in FOLLOWING[model.norm_after, model.dropout_after]]
        self.layers = nn.Sequential(*layers)
        with torch.no_grad():
            for mine, theirs in zip(self.layers.parameters(), one.parameters, strict=True):
                mine.copy_(theirs)
        ours = {"name", "schedule", "decay"}
        given = one.config.optimizer
        arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k not in ours}
        parameters: Any = list(self.layers.parameters())
        if given.get("decay") == "weights":
            weights = [module.weight for module in self.layers if isinstance(module, nn.Linear)]
            others = [one for one in parameters if not any(one is weight for weight in weights)]
            parameters = [{"params": weights}, {"params": others, "weight_decay": 0}]
        self.optimizer = getattr(torch.optim, given["name"])(parameters, **arguments)

    @torch.enable_grad()
    def step(self, images: Tensor, labels: Tensor, factors: Sequence[Tensor]) -> float:
        """One step under these dropout factors. Returns the batch's loss."""
        if factors:
            for layer, drawn in zip([*self.dropout, self.input_dropout], factors, strict=False):
                layer.factors = drawn
        loss = criterion(self.config, self.layers(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def assert_every_step_is_torchs(configs: Sequence[Config], patch: pytest.MonkeyPatch, images: Data) -> Trainer:
    """Compare one epoch of a stack, step by step, with separate ordinary networks."""
    stack = Trainer(configs, [start(one) for one in configs], images)
    networks = [Network(model) for model in stack.models]
    in_stack, steps = Trainer._step, []

    def in_step(trainer: Trainer, batch: training._Batch, noise: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        images, labels = batch.images.clone(), batch.labels.clone()
        losses, hits = in_stack(trainer, batch, noise)
        for k, (model, network) in enumerate(zip(trainer.models, networks, strict=True)):
            loss = network.step(images[k], labels[k, 0], [keep[k] for keep in batch.space.keep])
            assert losses[k].item() == pytest.approx(loss, rel=1e-9)
            for ours, theirs in zip(model.parameters, network.layers.parameters(), strict=True):
                torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-8, atol=1e-10)
        steps.append(batch.size)
        return losses, hits

    patch.setattr(Trainer, "_step", in_step)
    stack.train_epoch()
    assert steps == [50] * 10 + [30]
    statistics = [[one for one in network.layers.buffers() if one.dim()] for network in networks]
    for model, theirs in zip(stack.models, statistics, strict=True):
        for one, other in zip(model.statistics, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    for k, network in enumerate(networks):
        for replayed in (*network.dropout, network.input_dropout):
            replayed.factors = 1.0
        network.layers.eval()
        logits = network.layers((images.val_images / 255 - 0.5) / 0.5)
        evaluated = stack.evaluate(images.val_images, images.val_labels)
        loss = criterion(network.config, logits, images.val_labels).item()
        assert evaluated.loss[k].item() == pytest.approx(loss, rel=1e-8)
    return stack


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda one: "-".join(map(str, one.values())))
def test_every_step_of_an_epoch_is_that_of_torch_on_an_ordinary_network(
    optimizer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [config(optimizer, batch_size=50, hidden=[12, 8], dropout=p, seed=k) for k, p in enumerate(DROPOUT)]
    assert_every_step_is_torchs(configs, monkeypatch, piece(530))


@pytest.mark.parametrize("keys", NEW_KEYS, ids=str)
def test_every_step_with_every_key_is_that_of_torch(keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # With Adam, the bias before a normalisation moves by rounding errors of its gradient, which is zero.
    optimizer = MOMENTUM | {"weight_decay": 0.01}
    base = {"optimizer": optimizer, "hidden": [12, 8], "batch_size": 50}
    configs = [config(**{**base, **keys}, seed=k) for k in range(2)]
    assert_every_step_is_torchs([*configs, config(**{**base, **same_stack(keys)})], monkeypatch, piece(530))


# Random numbers


def assert_standard_normal(values: Sequence[float] | np.ndarray[Any, Any]) -> None:
    """Mean and mean square of independent values are those of a standard normal variable."""
    z = np.asarray(values)
    assert 2 * stats.norm.sf(abs(z.sum()) / math.sqrt(z.size)) > 0.5 / RATE
    squares = stats.chi2(z.size)
    assert 2 * min(squares.cdf((z**2).sum()), squares.sf((z**2).sum())) > 0.5 / RATE


SEEDS = range(300)
WIDTH, BATCH = 24, 32


def dropped(seed: int, epoch: int, probability: float = 0.5) -> np.ndarray[Any, Any]:
    """Return 1 where a unit is dropped, less the probability: [step, layer, sample, unit], two steps of an epoch."""
    parameters = [torch.zeros(shape) for shape in ((WIDTH, WIDTH), (WIDTH,)) * 3]
    stack = PerceptronStack([parameters], [ModelConfig([WIDTH] * 2, probability)], CPU)
    space, noise = stack.workspace(BATCH, training=True), [random_stream(seed, "dropout", epoch)]
    steps = []
    for _ in range(2):
        stack.forward(torch.zeros(1, BATCH, WIDTH), space, noise)
        steps.append(torch.stack([keep[0] == 0 for keep in space.keep]))
    return torch.stack(steps).double().sub(probability).numpy()


def correlation(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Standard normal where the two are independent: of masks at probability 1/2, values are +-1/2."""
    return float(4 * (one * other).sum() / math.sqrt(one.size))


@pytest.mark.parametrize("probability", [0.001, 0.05, 0.2, 0.5, 0.9])
def test_the_dropped_share_is_the_probability(probability: float) -> None:
    in_force = round(probability * 2**16) / 2**16
    masks = [dropped(seed, 1, probability) + probability - in_force for seed in SEEDS]
    spread = math.sqrt(in_force * (1 - in_force) * masks[0].size)
    assert_standard_normal([mask.sum() / spread for mask in masks])


def test_dropout_is_independent_between_units_samples_layers_steps_epochs_and_seeds() -> None:
    first, second = ([dropped(seed, epoch) for seed in SEEDS] for epoch in (1, 2))
    for shift in (1, 2, 3, 4):  # four units take their bits from one random word
        assert_standard_normal([correlation(mask[..., shift:], mask[..., :-shift]) for mask in first])
    assert_standard_normal([correlation(mask[:, :, 1:], mask[:, :, :-1]) for mask in first])
    assert_standard_normal([correlation(mask[:, 0], mask[:, 1]) for mask in first])
    assert_standard_normal([correlation(mask[0], mask[1]) for mask in first])
    assert_standard_normal([correlation(one, other) for one, other in zip(first, second, strict=True)])
    assert_standard_normal([correlation(one, other) for one, other in pairwise(first)])


def order(seed: int, epoch: int, images: int) -> np.ndarray[Any, Any]:
    return torch.randperm(images, generator=random_stream(seed, "order", epoch)).numpy()


def test_every_image_is_as_likely_at_every_place() -> None:
    images, seeds = 40, 4000
    places = np.zeros((images, images))
    for seed in range(seeds):
        places[order(seed, 1, images), np.arange(images)] += 1
    expected = seeds / images
    table = stats.chi2((images - 1) ** 2)
    deviation = ((places - expected) ** 2).sum() / expected * (images - 1) / images
    assert 2 * min(table.cdf(deviation), table.sf(deviation)) > 1 / RATE


def test_orders_are_uncorrelated_between_epochs_and_seeds_and_with_the_data_set() -> None:
    images = 1000
    orders = {(seed, epoch): order(seed, epoch, images) for seed in SEEDS for epoch in (1, 2)}

    def rank_correlation(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
        return float(np.corrcoef(one, other)[0, 1] * math.sqrt(images - 1))

    assert_standard_normal([rank_correlation(orders[seed, 1], orders[seed, 2]) for seed in SEEDS])
    assert_standard_normal([rank_correlation(orders[seed, 1], orders[seed + 1, 1]) for seed in SEEDS[:-1]])
    assert_standard_normal([rank_correlation(orders[seed, 1], np.arange(images)) for seed in SEEDS])


def test_initial_parameters_are_uncorrelated_between_seeds_and_layers() -> None:
    drawn = [start(config(hidden=[10, 9], seed=seed)).parameters for seed in SEEDS]
    units = [
        [p.numpy().ravel() * math.sqrt(3 * inputs) for p, inputs in zip(one[::2], (784, 10, 9), strict=True)]
        for one in drawn
    ]

    def correlated(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
        shared = min(one.size, other.size)
        return float(one[:shared] @ other[:shared] / math.sqrt(shared))

    for layer in range(3):
        assert_standard_normal([correlated(one[layer], other[layer]) for one, other in pairwise(units)])
        assert_standard_normal([one[layer].sum() / math.sqrt(one[layer].size) for one in units])
    assert_standard_normal([correlated(one[0], one[1]) for one in units])
    assert_standard_normal([correlated(one[1], one[2]) for one in units])


# Losses and accuracies


def test_a_row_is_equations_1_and_2_of_the_paper_recomputed_from_the_files() -> None:
    """Loss: sum of the batches' mean losses over the number of batches. Accuracy: correct predictions over samples."""
    torch.set_default_dtype(torch.float32)
    stack = Trainer([config(ADAM, hidden=[32, 16])], [start(config(hidden=[32, 16]))], piece(3000, 10_000))
    row = stack.train_epoch()[0]
    parameters = [parameter.detach().double().numpy() for parameter in stack.models[0].parameters]
    folder = data.prepare(None)
    for part, samples, loss, accuracy in (
        ("train", 3000, row.train_loss, row.train_accuracy),
        ("t10k", 10_000, row.val_loss, row.val_accuracy),
    ):
        pixels = (folder / f"{part}-images-idx3-ubyte").read_bytes()[16:]  # magic number and three dimensions
        labels = np.frombuffer((folder / f"{part}-labels-idx1-ubyte").read_bytes()[8:], np.uint8)[:samples]
        signal = (np.frombuffer(pixels, np.uint8).reshape(-1, 784)[:samples] / 255 - 0.5) / 0.5
        for weight, bias in zip(parameters[0:4:2], parameters[1:4:2], strict=True):
            signal = np.maximum(signal @ weight.T + bias, 0)
        logits = signal @ parameters[4].T + parameters[5]
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(samples), labels]
        batches = losses.reshape(-1, 100)
        assert loss == pytest.approx(batches.mean(axis=1).sum() / len(batches), rel=1e-6)
        assert accuracy == pytest.approx((logits.argmax(axis=1) == labels).sum() / samples, abs=1 / samples)


def test_batches_of_evaluation_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [config(seed=seed) for seed in (0, 1)]
    full = whole()
    images, labels = full.val_images[:3210], full.val_labels[:3210]
    results = []
    for size in (3210, 1000, 77):
        monkeypatch.setattr(training, "EVALUATION_BATCH", size)
        results.append(Trainer(configs, [start(one) for one in configs], full).evaluate(images, labels))
    for other in results[1:]:
        torch.testing.assert_close(other.loss, results[0].loss, rtol=1e-13, atol=0)
        assert torch.equal(other.accuracy, results[0].accuracy)
        assert torch.equal(other.predictions, results[0].predictions)
