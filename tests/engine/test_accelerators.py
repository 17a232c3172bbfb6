"""The accelerator's way of training gives what separate models give on the CPU, up to rounding.

It is tried on CUDA where there is a GPU, else on the CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
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

from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import Data
from fmnist_sweep.engine import training
from fmnist_sweep.engine.accelerators import ELEMENTWISE, Replayed, WordsAhead, slices, step_key
from fmnist_sweep.engine.checkpoints import Checkpoint, decode, encode
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.training import Progress, Trainer, start

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DROPOUT = 0.2 if DEVICE.type == "cpu" else 0.0  # another device draws other random words
ADAFACTOR = {"name": "Adafactor", "lr": 0.01}
# Neighbours with equal optimizers, equal optimizers apart, and one that is not stepped element by element.
MIXED = [ADAM, ADAM, SGD, ADAFACTOR, ADAFACTOR, MOMENTUM, RMSPROP, RMSPROP, ADAM]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def configs(optimizers: Sequence[dict[str, Any]], **rest: Any) -> list[Config]:
    return [
        config(one, hidden=[12, 8], seed=seed, **{"dropout": DROPOUT} | rest) for seed, one in enumerate(optimizers)
    ]


def on_device(images: int) -> Data:
    """A portion of the data, on the device."""
    there = piece(images)
    moved = {name: value.to(DEVICE) for name, value in vars(there).items() if isinstance(value, torch.Tensor)}
    return replace(there, **moved)


def both(
    of: Sequence[Config], images: int = 500, progress: Sequence[Progress] | None = None
) -> tuple[Trainer, Trainer]:
    """The same models in a trainer for accelerators and in one for the CPU."""
    begun = progress or [start(one) for one in of]
    return Trainer(of, begun, on_device(images), accelerated=True), Trainer(of, begun, piece(images))


def assert_close(one: Trainer, other: Trainer, rows: Sequence[Metrics], expected: Sequence[Metrics]) -> None:
    """Rows, parameters and the state of the optimizer agree up to rounding."""
    for row, wanted in zip(rows, expected, strict=True):
        assert row.row() == pytest.approx(wanted.row(), rel=1e-4)
    for model, wanted_model in zip(one.models, other.models, strict=True):
        close(model.progress(), wanted_model.progress())


def close(one: Progress, other: Progress) -> None:
    torch.testing.assert_close(one.parameters, other.parameters, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(one.statistics, other.statistics, rtol=1e-3, atol=1e-4)
    assert one.optimizer is not None and other.optimizer is not None
    assert one.optimizer["param_groups"] == other.optimizer["param_groups"]
    states = one.optimizer["state"], other.optimizer["state"]
    torch.testing.assert_close(*states, rtol=1e-3, atol=1e-4, check_device=False)


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda one: "-".join(map(str, one.values())))
def test_a_slice_stepped_as_one_tensor_is_as_if_each_model_had_its_own_optimizer(optimizer: dict[str, Any]) -> None:
    # RMSprop and the like divide by small roots, which rounding changes much; few steps keep both ways together.
    accelerated, ordinary = both(configs([optimizer] * 3, batch_size=50), images=300)
    assert len(accelerated._steps) == (1 if optimizer["name"] in ELEMENTWISE else 3)
    assert_close(accelerated, ordinary, accelerated.train_epoch(), ordinary.train_epoch())


@pytest.mark.parametrize("keys", NEW_KEYS, ids=str)
def test_every_key_gives_on_an_accelerator_what_it_gives_on_the_cpu(keys: dict[str, Any]) -> None:
    base = {"optimizer": MOMENTUM, "hidden": [12, 8], "batch_size": 50, "dropout": DROPOUT}
    if DEVICE.type != "cpu":  # another device draws other random words
        keys = {key: value for key, value in keys.items() if "dropout" not in key}
    company = config(**{**base, **same_stack(keys)}, seed=2)
    accelerated, ordinary = both([*(config(**{**base, **keys}, seed=k) for k in range(2)), company], images=230)
    for _ in range(2):
        assert_close(accelerated, ordinary, accelerated.train_epoch(), ordinary.train_epoch())
    for stack in (accelerated, ordinary):
        stack.keep(stack.models[1:])
    assert_close(accelerated, ordinary, accelerated.train_epoch(), ordinary.train_epoch())


@pytest.mark.skipif(DEVICE.type == "cpu", reason="a CPU rounds a slice of a stack unlike one model; see `Activation`")
def test_company_changes_no_bit_on_an_accelerator_with_any_key() -> None:
    for keys in NEW_KEYS:
        base = {"hidden": [17, 9], "batch_size": 77}
        of = [config(**{**base, **keys}), config(**{**base, **same_stack(keys), "dropout": 0.5}, seed=1)]
        stack, alone = (
            Trainer(part, [start(one) for one in part], on_device(300), accelerated=True) for part in (of, of[:1])
        )
        assert stack.train_epoch()[0] == alone.train_epoch()[0]


def test_a_mixed_stack_and_what_is_kept_of_it() -> None:
    accelerated, ordinary = both(configs(MIXED, batch_size=50))
    assert_close(accelerated, ordinary, accelerated.train_epoch(), ordinary.train_epoch())
    for stack in (accelerated, ordinary):
        stack.keep([stack.models[k] for k in (0, 1, 3, 5, 8)])
    assert_close(accelerated, ordinary, accelerated.train_epoch(), ordinary.train_epoch())


def test_a_batch_that_is_not_full() -> None:
    accelerated, ordinary = both(configs(MIXED, batch_size=48, dropout=0.0), images=250)
    assert_close(accelerated, ordinary, accelerated.train_epoch(), ordinary.train_epoch())


@pytest.mark.parametrize("optimizer", EVERY_OPTIMIZER, ids=lambda one: "-".join(map(str, one.values())))
@pytest.mark.parametrize("first", ["accelerated", "ordinary"])
def test_a_checkpoint_of_either_way_is_resumed_in_the_other(optimizer: dict[str, Any], first: str) -> None:
    of = configs([optimizer] * 2, batch_size=50)
    accelerated, ordinary = both(of, images=200)
    source, straight = (accelerated, ordinary) if first == "accelerated" else (ordinary, accelerated)
    row = source.train_epoch()[1]
    content = encode(Checkpoint(source.models[1].progress(), [row], [1.0], "a CPU"), "1")
    assert len(content) < 6 * 4 * sum(p.numel() for p in source.models[1].parameters) + 20_000  # one model's state
    resumed = decode(content, "1", of[1], 1).progress
    straight.train_epoch()
    again = Trainer(
        [config(SGD, batch_size=50, hidden=[12, 8]), of[1]],
        [start(of[0]), resumed],
        straight.data,
        accelerated=straight.accelerated,
    )
    expected, rows = straight.train_epoch()[1], again.train_epoch()
    assert [row.epoch for row in rows] == [1, 2]
    assert rows[1].row() == pytest.approx(expected.row(), rel=1e-3)
    close(again.models[1].progress(), straight.models[1].progress())


def test_models_at_different_epochs_are_stepped_apart() -> None:
    of = configs([{"name": "NAdam", "lr": 0.002}] * 3, batch_size=50)
    accelerated, ordinary = both(of)
    accelerated.train_epoch()
    ordinary.train_epoch()
    begun = [start(of[0]), *(model.progress() for model in ordinary.models[1:])]
    again, expected = both(of, progress=begun)
    assert len(again._steps) == 2
    assert_close(again, expected, again.train_epoch(), expected.train_epoch())


def test_only_neighbours_with_equal_arguments_and_epochs_share_a_slice() -> None:
    keys = [step_key(one, 0, 9) for one in MIXED]
    assert [(part.start, part.stop) for part in slices(keys)] == [
        (0, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 6),
        (6, 8),
        (8, 9),
    ]
    assert len(slices([step_key(ADAM, 1, 9), step_key(ADAM, 2, 9)])) == 2
    assert len(slices([step_key({"name": "SGD", "lr": 0.1}, 1, 9), step_key({"lr": 0.1, "name": "SGD"}, 1, 9)])) == 1


def test_an_optimizer_that_fails_for_a_slice_is_tried_model_by_model(monkeypatch: pytest.MonkeyPatch) -> None:
    of = configs([ADAM, ADAM, ADAM, SGD], batch_size=50)
    accelerated, ordinary = both(of)
    accelerated.train_epoch()
    ordinary.train_epoch()
    failure, take_step, calls = RuntimeError("out of luck"), training.take_step, []

    def fails_for_a_slice(optimizer: torch.optim.Optimizer) -> None:
        take_step(optimizer)
        calls.append(optimizer)
        is_stacked = optimizer.param_groups[0]["params"][0].dim() == 3
        if len(calls) > 3 and isinstance(optimizer, torch.optim.Adam) and is_stacked:
            raise failure

    monkeypatch.setattr(training, "take_step", fails_for_a_slice)
    break_steps(monkeypatch, lambda: accelerated.models[1], failure)
    accelerated.train_epoch()
    monkeypatch.undo()
    ordinary.train_epoch()
    assert [model.error for model in accelerated.models] == [None, failure, None, None]
    for stack in (accelerated, ordinary):
        stack.keep([stack.models[k] for k in (0, 2, 3)])
    assert_close(accelerated, ordinary, accelerated.train_epoch(), ordinary.train_epoch())


def generators(*seeds: int | None) -> list[torch.Generator | None]:
    return [None if seed is None else torch.Generator().manual_seed(seed) for seed in seeds]


def test_words_drawn_ahead_are_the_generators_own_each_used_once_and_independent_of_company() -> None:
    words = 70_000  # three steps fit into what is drawn at a time
    stack, alone = WordsAhead(3, words, torch.device("cpu")), WordsAhead(1, words, torch.device("cpu"))
    assert stack.steps == alone.steps == 3
    noise, own = generators(5, None, 6), generators(6)
    taken = []
    for step in range(7):
        out, of_one = torch.ones(3, words, dtype=torch.int64), torch.ones(1, words, dtype=torch.int64)
        stack.take(step, noise, out)
        alone.take(step, own, of_one)
        assert torch.equal(out[2], of_one[0])
        assert not out[1].any()
        taken.append(out[2])
    drawn = torch.empty(9 * words, dtype=torch.int64)
    drawn.random_(torch.iinfo(torch.int64).min, None, generator=generators(6)[0])
    assert torch.equal(torch.cat(taken), drawn[: 7 * words])


def test_work_that_cannot_be_recorded_is_done_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("here it can be recorded")
    done: list[int] = []
    replayed = Replayed(may_record=True)
    with caplog.at_level(logging.WARNING):
        for number in range(6):
            before = len(done)
            replayed(lambda number=number: done.append(number))  # type: ignore[misc]
            assert len(done) > before
    assert done == list(range(6))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "a step could not be recorded as a CUDA graph, so training is slower"
    ]
