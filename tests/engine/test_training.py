"""The trainer does what a plain loop does, bit for bit the same whatever a model is stacked with."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from small_runs import (
    ADAM,
    EVERY_OPTIMIZER,
    MOMENTUM,
    NEW_KEYS,
    RMSPROP,
    SGD,
    break_steps,
    config,
    piece,
    same_stack,
)
from torch import Tensor, nn

from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import Data
from fmnist_sweep.engine import products, training
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.training import Progress, Trainer, random_stream, start

OPTIMIZERS = [ADAM, SGD, MOMENTUM, RMSPROP]
MIXED = [
    {"optimizer": optimizer, "dropout": dropout, "seed": seed}
    for optimizer, dropout, seed in zip(
        OPTIMIZERS * 2, [0.2, 0.0, 0.5, 0.05, 0.0, 0.2, 0.05, 0.5], [3, 0, 0, 1, 2**50, 7, 3, 0], strict=True
    )
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer(configs: Sequence[Config], data: Data) -> Trainer:
    return Trainer(configs, [start(one) for one in configs], data)


def scaled(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.5) / 0.5


@dataclass
class PlainLoop:
    """One model in a loop as anybody would write it, without dropout."""

    config: Config
    data: Data

    def __post_init__(self) -> None:
        widths = [784, *self.config.model.hidden, 10]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.model.load_state_dict(dict(zip(self.model.state_dict(), start(self.config).parameters, strict=True)))
        arguments = {key: value for key, value in self.config.optimizer.items() if key != "name"}
        self.optimizer = getattr(torch.optim, self.config.optimizer["name"])(self.model.parameters(), **arguments)
        self.steps = 0

    def epoch(self, number: int) -> list[float]:
        """Train one epoch; the numbers of `Metrics` but the first."""
        data, losses, correct = self.data, [], 0
        order = torch.randperm(len(data.train_images), generator=random_stream(self.config.seed, "order", number))
        for indices in order.split(self.config.training.batch_size):
            logits = self.model(scaled(data.train_images[indices]))
            labels = data.train_labels[indices]
            loss = nn.functional.cross_entropy(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
            correct += int((logits.argmax(1) == labels).sum())
            self.steps += 1
        running = [math.fsum(losses) / len(losses), correct / len(order)]
        return [
            *self.evaluate(data.train_images, data.train_labels),
            *running,
            *self.evaluate(data.val_images, data.val_labels),
        ]

    @torch.no_grad()
    def evaluate(self, images: Tensor, labels: Tensor) -> list[float]:
        logits = self.model(scaled(images)).double()
        loss = nn.functional.cross_entropy(logits, labels).item()
        return [loss, (logits.argmax(1) == labels).double().mean().item()]


# Against a plain loop


# ReLU makes training chaotic: where rounding tips a unit over its edge, two right answers part. Small batches of a
# narrow network keep that improbable over this many steps.
@pytest.mark.parametrize("optimizer", [ADAM, SGD, MOMENTUM], ids=["adam", "sgd", "momentum"])
def test_a_stack_equals_separate_networks_in_a_plain_loop(optimizer: dict[str, object]) -> None:
    data = piece(2010)  # 100 full batches and one of 10
    configs = [config(optimizer, batch_size=20, hidden=[12, 8], dropout=0, seed=seed) for seed in (0, 1, 7)]
    stack, loops = trainer(configs, data), [PlainLoop(one, data) for one in configs]
    for epoch in (1, 2):
        rows = stack.train_epoch()
        for k, (loop, row) in enumerate(zip(loops, rows, strict=True)):
            expected = loop.epoch(epoch)
            assert row.epoch == epoch
            assert row.row()[1:] == pytest.approx(expected, rel=1e-5)
            for parameter, plain in zip(stack.models[k].parameters, loop.model.parameters(), strict=True):
                torch.testing.assert_close(parameter.detach(), plain.detach(), rtol=1e-4, atol=1e-4)
    assert loops[0].steps == 2 * 101


def test_running_loss_is_the_mean_over_batches_and_running_accuracy_that_over_samples() -> None:
    data = piece(130, 70)
    one = config(SGD | {"lr": 0.5}, batch_size=100, dropout=0)
    row = trainer([one], data).train_epoch()[0]
    assert row.row()[1:] == pytest.approx(PlainLoop(one, data).epoch(1), rel=1e-5)
    order = torch.randperm(130, generator=random_stream(0, "order", 1))
    model = PlainLoop(one, data)
    losses, hits = [], []
    for indices in order.split(100):
        logits = model.model(scaled(data.train_images[indices]))
        loss = nn.functional.cross_entropy(logits, data.train_labels[indices])
        model.optimizer.zero_grad()
        loss.backward()
        model.optimizer.step()
        losses.append(loss.item())
        hits.append(int((logits.argmax(1) == data.train_labels[indices]).sum()))
    assert row.running_loss == pytest.approx(sum(losses) / 2, rel=1e-6)
    assert row.running_loss != pytest.approx((100 * losses[0] + 30 * losses[1]) / 130, rel=1e-3)
    assert row.running_accuracy == sum(hits) / 130


def test_the_gradient_in_training_is_that_of_the_mean_cross_entropy_under_dropout() -> None:
    data, configs = piece(37), [config(SGD, dropout=dropout, hidden=[20, 9]) for dropout in (0.0, 0.2, 0.5)]
    stack = trainer(configs, data)
    before = [[parameter.detach().clone().requires_grad_() for parameter in model.parameters] for model in stack.models]
    stack.train_epoch()
    batch = stack._batches[37]
    order = torch.randperm(37, generator=random_stream(0, "order", 1))
    images, labels = scaled(data.train_images[order]), data.train_labels[order]
    for k, model in enumerate(before):
        signal = images
        for layer in range(3):
            signal = signal @ model[2 * layer].T + model[2 * layer + 1]
            if layer < 2:
                signal = signal.relu() * batch.space.keep[layer][k]
        gradients = torch.autograd.grad(nn.functional.cross_entropy(signal, labels), model)
        for parameter, gradient in zip(stack.models[k].parameters, gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_evaluation_is_the_mean_over_all_samples_with_dropout_off() -> None:
    data = piece(100, 2345)  # two full batches of evaluation and a partial one
    configs = [config(dropout=0.5, seed=seed) for seed in (0, 1)]
    stack = trainer(configs, data)
    stack.train_epoch()
    result = stack.evaluate(data.val_images, data.val_labels)
    assert result.predictions.dtype == torch.uint8
    for k in range(2):
        loop = PlainLoop(configs[k], data)
        loop.model.load_state_dict(dict(zip(loop.model.state_dict(), stack.models[k].parameters, strict=True)))
        loss, accuracy = loop.evaluate(data.val_images, data.val_labels)
        assert result.loss[k].item() == pytest.approx(loss, rel=1e-6)
        assert result.accuracy[k].item() == accuracy
        predictions = loop.model(scaled(data.val_images)).argmax(1)
        assert (result.predictions[k] == predictions).float().mean() > 0.999
        assert (result.predictions[k] == data.val_labels).double().mean() == accuracy


def test_running_numbers_have_dropout_and_the_others_have_none() -> None:
    data = piece(1000, 1000)
    data = replace(data, val_images=data.train_images, val_labels=data.train_labels)
    row = trainer([config(SGD | {"lr": 1e-30}, dropout=0.5)], data).train_epoch()[0]
    assert (row.train_loss, row.train_accuracy) == (row.val_loss, row.val_accuracy)
    assert abs(row.running_loss - row.train_loss) > 1e-3  # the parameters have not moved: dropout makes the difference


def test_learning_happens() -> None:
    stack = trainer([config(optimizer, dropout=0.2) for optimizer in OPTIMIZERS], piece(5000))
    first, last = stack.train_epoch(), [stack.train_epoch() for _ in range(2)][-1]
    assert all(after.train_loss < before.train_loss for before, after in zip(first, last, strict=True))
    assert all(row.val_accuracy > 0.4 for row in last)


# Company


@pytest.mark.parametrize(
    ("batch_size", "hidden", "images"),
    [
        (1, [17, 9], 60),
        (7, [30], 500),
        (77, [100, 50, 25], 2000),
        (100, [128, 64], 1030),
        (1000, [17, 9], 2500),
        (1000, [2], 2500),
        (256, [2, 2], 600),
    ],
)
@pytest.mark.parametrize("library", ["oneDNN", "MKL"])
def test_company_changes_no_bit(
    batch_size: int, hidden: list[int], images: int, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "suits", lambda *_: library == "oneDNN")
    data = piece(images, 1234)
    configs = [config(batch_size=batch_size, hidden=hidden, **own) for own in MIXED]
    assert_same_alone(configs, data)


@pytest.mark.parametrize("keys", NEW_KEYS, ids=str)
@pytest.mark.parametrize(("batch_size", "images"), [(1, 40), (7, 300), (77, 700), (256, 600)])
@pytest.mark.parametrize("library", ["oneDNN", "MKL"])
def test_company_changes_no_bit_with_any_key(
    keys: dict[str, Any], batch_size: int, images: int, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if keys.get("norm") and batch_size == 1:
        pytest.skip("refused: a batch of one has no variance")
    monkeypatch.setattr(products, "suits", lambda *_: library == "oneDNN")
    base = {"batch_size": batch_size, "hidden": [17, 9]}
    shared = {**base, **same_stack(keys)}
    mixed = [
        {**base, **keys},
        {**shared, "optimizer": MOMENTUM, "dropout": 0.5, "seed": 1},
        {**base, **keys, "seed": 2},
    ]
    layers = len(shared["hidden"])
    if layers:
        mixed.append({**shared, "activation": ["tanh"] * layers, "dropout": [0.3] * layers, "input_dropout": 0.1})
    assert_same_alone([config(**one) for one in mixed], piece(images, 1234))


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda one: "-".join(map(str, one.values())))
def test_models_that_share_an_optimizer_are_as_if_each_had_its_own(optimizer: dict[str, object]) -> None:
    data = piece(300)
    configs = [config(optimizer, batch_size=77, hidden=[17, 9], seed=seed) for seed in range(3)]
    assert_same_alone(configs, data)


@pytest.mark.parametrize("size", [2, 3, 5, 13])
def test_neither_size_nor_place_in_the_stack_changes_a_bit(size: int) -> None:
    data, one = piece(700), config(MOMENTUM, batch_size=77, hidden=[31, 9], seed=4)
    alone = trainer([one], data)
    alone.train_epoch()
    for place in {0, size // 2, size - 1}:
        configs = [config(SGD, batch_size=77, hidden=[31, 9], seed=k + 10) for k in range(size)]
        configs[place] = one
        stack = trainer(configs, data)
        stack.train_epoch()
        assert_same(alone.models[0].progress(), stack.models[place].progress())


def test_models_that_leave_change_nothing_for_those_that_stay() -> None:
    data, configs = piece(700), [config(batch_size=77, hidden=[17, 9], **own) for own in MIXED]
    stack = trainer(configs, data)
    rows = [stack.train_epoch()]
    for kept in ([1, 2, 4, 5, 6], [0, 1, 4], [1]):
        stack.keep([stack.models[k] for k in kept])
        rows.append(stack.train_epoch())
    # The last one left is the model at 2 of [1, 2, 4, 5, 6].
    alone = trainer([configs[2]], data)
    assert [alone.train_epoch()[0] for _ in range(4)] == [rows[0][2], rows[1][1], rows[2][1], rows[3][0]]
    assert_same(alone.models[0].progress(), stack.models[0].progress())


def assert_same_alone(configs: Sequence[Config], data: Data) -> None:
    """Two epochs of a stack give each model the rows, state and predictions that it has when it is trained alone."""
    stack = trainer(configs, data)
    rows = [stack.train_epoch() for _ in range(2)]
    for k, one in enumerate(configs):
        alone = trainer([one], data)
        assert [alone.train_epoch()[0] for _ in range(2)] == [row[k] for row in rows]
        assert_same(alone.models[0].progress(), stack.models[k].progress())
        assert torch.equal(
            alone.evaluate(data.val_images, data.val_labels).predictions[0],
            stack.evaluate(data.val_images, data.val_labels).predictions[k],
        )


def assert_same(one: Progress, other: Progress) -> None:
    """Two models are the same to the last bit, optimizer included."""
    assert one.epoch == other.epoch
    assert all(torch.equal(a, b) for a, b in zip(one.parameters, other.parameters, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one.statistics, other.statistics, strict=True))
    assert flat(one.optimizer) == flat(other.optimizer)


def flat(value: object) -> object:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: flat(item) for key, item in value.items()}
    return [flat(item) for item in value] if isinstance(value, list | tuple) else value


# Going on


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["adam", "sgd", "momentum", "rmsprop"])
def test_going_on_from_where_a_model_was_changes_no_bit(optimizer: dict[str, object]) -> None:
    data, one = piece(530), config(optimizer, batch_size=100, dropout=0.5)
    straight = trainer([one], data)
    rows = [straight.train_epoch()[0] for _ in range(3)]
    first = trainer([one], data)
    first.train_epoch()
    middle = copy.deepcopy(first.models[0].progress())
    # In company that starts elsewhere.
    others = [start(config(seed=8, batch_size=100)), middle]
    resumed = Trainer([config(seed=8, batch_size=100), one], others, data)
    again = [resumed.train_epoch() for _ in range(2)]
    assert [row[1] for row in again] == rows[1:]
    assert [row[0].epoch for row in again] == [1, 2]
    assert_same(straight.models[0].progress(), resumed.models[1].progress())


@pytest.mark.parametrize("keys", NEW_KEYS, ids=str)
def test_going_on_and_staying_alone_change_no_bit_with_any_key(keys: dict[str, Any]) -> None:
    data, one = piece(530), config(**{"hidden": [17, 9], "batch_size": 100, "epochs": 4, **keys})
    straight = trainer([one], data)
    rows = [straight.train_epoch()[0] for _ in range(4)]
    other = config(**{"hidden": [17, 9], "batch_size": 100, "seed": 8, **same_stack(keys)})
    first = trainer([one, other], data)
    first.train_epoch()
    middle = copy.deepcopy(first.models[0].progress())
    resumed = Trainer([other, one, one], [start(other), middle, start(one)], data)
    again = [row[1] for row in (resumed.train_epoch(), resumed.train_epoch())]
    resumed.keep(resumed.models[1:2])
    again += resumed.train_epoch()
    assert again == rows[1:]
    assert_same(straight.models[0].progress(), resumed.models[0].progress())


def test_progress_is_a_copy() -> None:
    stack = trainer([config(norm="batch")], piece(100))
    before = stack.models[0].progress()
    kept = [tensor.clone() for tensor in (*before.parameters, *before.statistics)]
    stack.train_epoch()
    assert all(torch.equal(a, b) for a, b in zip((*before.parameters, *before.statistics), kept, strict=True))
    after = stack.models[0].progress()
    assert not torch.equal(before.parameters[0], after.parameters[0])
    assert not torch.equal(before.statistics[0], after.statistics[0])


def test_streams_are_told_apart_by_seed_purpose_and_epoch() -> None:
    def draw(*key: Any) -> list[int]:
        return torch.randint(2**62, (4,), generator=random_stream(*key)).tolist()

    keys = [(seed, purpose, epoch) for seed in (0, 1, 11) for purpose in ("order", "dropout") for epoch in (1, 2, 11)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)
    assert draw(0, "order", 1) == draw(0, "order", 1)


def test_every_image_is_seen_once_an_epoch_in_a_new_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    take = training._Batch.take

    def listen(batch: training._Batch, data: Data, indices: Tensor) -> None:
        seen.append(indices.clone())
        take(batch, data, indices)

    monkeypatch.setattr(training._Batch, "take", listen)
    stack = trainer([config(batch_size=40)], piece(100))
    stack.train_epoch()
    stack.train_epoch()
    assert [len(indices) for indices in seen] == [40, 40, 20] * 2
    orders = torch.cat(seen).view(2, 100)
    assert torch.equal(orders.sort(1).values, torch.arange(100).expand(2, 100))
    assert not torch.equal(orders[0], orders[1])


# Trouble


def test_a_model_that_diverges_leaves_the_others_alone() -> None:
    data, sane = piece(500), config(seed=1)
    stack = trainer([config(MOMENTUM | {"lr": 1e30}), sane], data)
    rows = stack.train_epoch()
    assert not rows[0].finite
    assert rows[1].finite
    assert rows[1] == trainer([sane], data).train_epoch()[0]


def test_an_optimizer_that_raises_stops_its_own_model() -> None:
    data, sane = piece(500), [config(seed=1), config(seed=2), config(SGD)]
    stack = trainer([config(), *sane], data)
    rows = [stack.train_epoch()]
    failure = RuntimeError("out of luck")
    with pytest.MonkeyPatch.context() as patch:
        break_steps(patch, lambda: stack.models[0], failure)
        rows.append(stack.train_epoch())
        assert [model.error for model in stack.models] == [failure, None, None, None]
    stack.keep(stack.models[1:])
    rows.append([rows[1][0], *stack.train_epoch()])
    for k, one in enumerate(sane, 1):
        alone = trainer([one], data)
        assert [alone.train_epoch()[0] for _ in range(3)] == [row[k] for row in rows]
        assert_same(alone.models[0].progress(), stack.models[k - 1].progress())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_noticed(value: float) -> None:
    row = Metrics(1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    assert row.finite
    assert not replace(row, running_loss=value).finite
    assert not replace(row, val_loss=value).finite
