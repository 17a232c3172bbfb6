"""Properties of every plan, whatever jobs are asked for and whatever the store holds."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import ADAM, SGD, config

from fmnist_sweep.config.schema import Execution
from fmnist_sweep.store.run_directory import Found
from fmnist_sweep.sweeps import plan as planning
from fmnist_sweep.sweeps.plan import Job, Plan, Trajectory

THOROUGH = settings(deadline=None, derandomize=True)
STORES = [Path("/store"), Path("/other")]
STATUSES = ["running", "interrupted", "done", "failed", "diverged"]

# What makes a trajectory: optimizer, batch size, widths, validation, seed, store.
KEYS = st.tuples(
    st.sampled_from(["adam", "sgd"]),
    st.sampled_from([100, 1000]),
    st.sampled_from([(16,), (128, 64)]),
    st.sampled_from(["test", "test", "holdout"]),
    st.integers(0, 3),
    st.sampled_from(STORES),
)
Key = tuple[str, int, tuple[int, ...], str, int, Path]


def job(key: Key, epochs: int, retry: str | None = None) -> Job:
    """The job of a trajectory's run with so many epochs; its digits stand for what the name does not say."""
    optimizer, batch_size, hidden, validation, seed, store = key
    one = config(
        {"adam": ADAM, "sgd": SGD}[optimizer],
        batch_size=batch_size,
        epochs=epochs,
        hidden=hidden,
        validation=validation,
        seed=seed,
    )
    digits = f"{len(hidden)}{len(validation)}".zfill(8)
    name = f"{optimizer}-bs{batch_size}-do0.2-ep{epochs}-seed{seed}-{digits}"
    return Job(one, Execution(retry=retry), name, store / name)


@st.composite
def found_states(draw: st.DrawFn, epochs: int) -> Found:
    """Draw the contents of a run's directory."""
    status = draw(st.sampled_from([None, *STATUSES]))
    rows = epochs if status == "done" else draw(st.integers(0, epochs))
    checkpoints = draw(st.sets(st.integers(0, rows), max_size=2))
    return Found(status, None, rows, tuple(sorted(checkpoints, reverse=True)))


@st.composite
def worlds(draw: st.DrawFn, retry: str | None = None) -> tuple[list[Job], dict[Path, Found]]:
    """Jobs, in any order and with repetitions, and a store that may hold them and others."""
    jobs, found = [], {}
    for key in draw(st.lists(KEYS, min_size=1, max_size=8, unique=True)):
        lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
        jobs += [job(key, epochs, retry=retry) for epochs in lengths]
        for epochs in draw(st.sets(st.integers(1, 8), max_size=4)):
            found[job(key, epochs).directory] = draw(found_states(epochs))
    return draw(st.permutations(jobs)), found


def decide(jobs: list[Job], found: dict[Path, Found]) -> list[Trajectory]:
    """All trajectories of these jobs, each with its own part of the store."""
    trajectories = []
    for group in planning.group(jobs):
        keys = {group[0].trajectory_key}
        own = {path: state for path, state in found.items() if _trajectory_of(path) in keys}
        trajectories.append(planning.plan_trajectory(group, own))
    return trajectories


def _trajectory_of(path: Path) -> tuple[str, str]:
    return Job(config(), Execution(), path.name, path).trajectory_key


# Trajectories


@THOROUGH
@given(worlds())
def test_every_run_is_trained_or_cut_or_done_exactly_once(world: tuple[list[Job], dict[Path, Found]]) -> None:
    jobs, found = world
    trajectories = decide(jobs, found)
    fed = Counter(run.directory for t in trajectories for run in (*t.jobs, *t.done))
    assert fed == Counter({run.directory: 1 for run in jobs})
    for t in trajectories:
        assert len({run.trajectory_key for run in (*t.jobs, *t.done)}) == 1
        assert {run for run in jobs if found.get(run.directory, Found()).finished and run in t.done} == set(t.done)


@THOROUGH
@given(worlds())
def test_no_trajectory_is_trained_twice(world: tuple[list[Job], dict[Path, Found]]) -> None:
    keys = [t.train[0].trajectory_key for t in decide(*world) if t.train]
    assert len(keys) == len(set(keys))


@THOROUGH
@given(worlds())
def test_a_run_is_cut_wherever_a_longer_one_has_its_rows_and_only_there(
    world: tuple[list[Job], dict[Path, Found]],
) -> None:
    jobs, found = world
    for t in decide(jobs, found):
        for run, longer in t.cut:
            assert _trajectory_of(longer) == run.trajectory_key
            assert found[longer].rows > run.epochs
            assert run.config.data.validation == "test"
        for run in (*t.train, *t.later):
            longest = max(
                (state.rows for path, state in found.items() if _trajectory_of(path) == run.trajectory_key), default=0
            )
            assert longest <= run.epochs or run.config.data.validation == "holdout"


@THOROUGH
@given(worlds())
def test_training_starts_from_the_furthest_checkpoint_that_serves_every_run(
    world: tuple[list[Job], dict[Path, Found]],
) -> None:
    jobs, found = world
    for t in decide(jobs, found):
        if not t.train:
            assert not t.sources
            assert t.epochs_left == 0
            continue
        own = {path: state for path, state in found.items() if _trajectory_of(path) == t.train[0].trajectory_key}
        usable = {(e, path) for path, state in own.items() for e in state.checkpoints if e <= t.train[-1].epochs}
        assert t.start == max((e for e, _ in usable), default=0)
        assert set(t.sources) == {(e, path) for e, path in usable if e <= t.train[0].epochs}
        assert [e for e, _ in t.sources] == sorted((e for e, _ in t.sources), reverse=True)
        assert all(run.epochs < t.start <= t.train[0].epochs for run in t.later)
        assert t.epochs_left == t.train[-1].epochs - t.start + max((run.epochs for run in t.later), default=0)
        assert [run.epochs for run in t.train] == sorted(run.epochs for run in t.train)


@THOROUGH
@given(worlds(retry="failed"))
def test_retry_leaves_all_but_failed_runs_as_they_are(world: tuple[list[Job], dict[Path, Found]]) -> None:
    jobs, found = world
    for t in decide(jobs, found):
        assert all(found[run.directory].status == "failed" for run in t.jobs)
        assert all(found.get(run.directory, Found()).status != "failed" for run in t.done)


def test_a_finished_run_stays_and_the_longer_one_goes_on_from_it() -> None:
    key = ("adam", 100, (16,), "test", 0, STORES[0])
    short, long = job(key, 30), job(key, 100)
    found = {short.directory: Found("done", None, 30, (30, 28))}
    t = planning.plan_trajectory([short, long], found)
    assert (t.done, t.train, t.start, t.epochs_left) == ((short,), (long,), 30, 70)


def test_a_shorter_run_is_cut_from_a_longer_one_that_is_done() -> None:
    key = ("adam", 100, (16,), "test", 0, STORES[0])
    short, long = job(key, 30), job(key, 100)
    t = planning.plan_trajectory([short], {long.directory: Found("done", None, 100, (100,))})
    assert (t.cut, t.train, t.done) == (((short, long.directory),), (), ())


def test_a_held_out_test_set_wants_the_model_itself() -> None:
    key = ("adam", 100, (16,), "holdout", 0, STORES[0])
    short, long = job(key, 30), job(key, 100)
    t = planning.plan_trajectory([short], {long.directory: Found("done", None, 100, (100,))})
    assert (t.cut, t.train, t.sources) == ((), (short,), ())


def test_a_run_that_cannot_be_cut_does_not_throw_a_longer_one_back() -> None:
    key = ("adam", 100, (16,), "holdout", 0, STORES[0])
    short, long = job(key, 2), job(key, 100)
    t = planning.plan_trajectory([short, long], {long.directory: Found("interrupted", None, 50, (50, 48))})
    assert (t.train, t.later, t.start, t.epochs_left) == ((long,), (short,), 50, 52)


def test_the_finite_rows_of_a_diverged_run_serve_shorter_ones() -> None:
    key = ("adam", 100, (16,), "test", 0, STORES[0])
    short, as_long, diverged = job(key, 3), job(key, 4), job(key, 9)
    t = planning.plan_trajectory([short, as_long], {diverged.directory: Found("diverged", "", 4, (4,))})
    assert (t.cut, t.train) == (((short, diverged.directory),), (as_long,))


def test_a_diverged_run_is_finished() -> None:
    key = ("adam", 100, (16,), "test", 0, STORES[0])
    run = job(key, 30)
    assert planning.plan_trajectory([run], {run.directory: Found("diverged", "", 4, ())}).done == (run,)


# Stacks


def plan(jobs: list[Job], found: dict[Path, Found], workers: int, largest: int) -> Plan:
    return planning.plan(decide(jobs, found), workers, largest)


def must_agree(member: Trajectory) -> dict[str, object]:
    """Return the values that models must share to train on the same batches of the same images."""
    one = member.train[0].config
    return {
        "batch_size": one.training.batch_size,
        "widths": tuple(one.model.hidden),
        "validation": one.data.validation,
        "mean": one.data.mean,
        "std": one.data.std,
        "device": member.train[0].execution.device,
    }


WORKERS, LARGEST = st.integers(1, 5), st.integers(1, 6)


@THOROUGH
@given(worlds(), WORKERS, LARGEST)
def test_stacks_hold_every_model_once_and_only_what_goes_together(
    world: tuple[list[Job], dict[Path, Found]], workers: int, largest: int
) -> None:
    made, trajectories = plan(*world, workers, largest), decide(*world)
    members = [t for stack in made.stacks for t in stack]
    assert Counter(members) == Counter(t for t in trajectories if t.train)
    assert Counter(made.idle) == Counter(t for t in trajectories if not t.train)
    assert made.workers == workers
    assert made.epochs_left == sum(t.epochs_left for t in trajectories)
    for stack in made.stacks:
        assert 1 <= len(stack) <= largest
        for agrees in ("batch_size", "widths", "validation", "mean", "std", "device"):
            assert len({must_agree(t)[agrees] for t in stack}) == 1


@THOROUGH
@given(worlds(), WORKERS, LARGEST, st.randoms(use_true_random=False))
def test_the_order_of_the_jobs_changes_nothing(
    world: tuple[list[Job], dict[Path, Found]], workers: int, largest: int, shuffler: random.Random
) -> None:
    jobs, found = world
    mixed, states = list(jobs), list(found.items())
    shuffler.shuffle(mixed)
    shuffler.shuffle(states)
    assert planning.group(mixed) == planning.group(jobs)
    assert plan(mixed, dict(states), workers, largest) == plan(jobs, found, workers, largest)


@THOROUGH
@given(worlds(), WORKERS, LARGEST)
def test_the_longest_work_comes_first(world: tuple[list[Job], dict[Path, Found]], workers: int, largest: int) -> None:
    costs = [planning.stack_cost(stack) for stack in plan(*world, workers, largest).stacks]
    assert costs == sorted(costs, reverse=True)
    loads = [0.0] * workers
    for cost in costs:  # whoever is free takes the next
        loads[loads.index(min(loads))] += cost
    assert max(loads) - min(loads) <= max(costs, default=0)


@THOROUGH
@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=40),
    st.lists(st.integers(1, 100), max_size=10),
    WORKERS,
    st.integers(1, 9),
)
def test_what_goes_together_is_dealt_out_evenly(many: list[int], few: list[int], workers: int, largest: int) -> None:
    jobs = [job(("adam", 100, (16,), "test", seed, STORES[0]), epochs) for seed, epochs in enumerate(many)]
    jobs += [job(("adam", 1000, (16,), "test", seed, STORES[0]), epochs) for seed, epochs in enumerate(few)]
    made = plan(jobs, {}, workers, largest)
    for batch_size, lengths in ((100, many), (1000, few)):
        stacks = [stack for stack in made.stacks if must_agree(stack[0])["batch_size"] == batch_size]
        if not lengths:
            assert not stacks
            continue
        sizes, epochs = [len(stack) for stack in stacks], [sum(t.epochs_left for t in stack) for stack in stacks]
        assert max(sizes) - min(sizes) <= 1
        assert max(epochs) - min(epochs) <= max(lengths)
        assert len(stacks) % workers == 0 or len(stacks) == len(lengths)  # every worker gets its share
        assert len(stacks) < len(lengths) / largest + workers  # and stacks are no narrower than that asks for


def test_cost_is_that_of_the_products_of_training_and_evaluation() -> None:
    # As measured in the design: 27.3 GFLOP of training, 13.1 and 2.2 to evaluate.
    cost = planning.epoch_cost(config(hidden=[128, 64]))
    assert cost == pytest.approx(42.6e9, rel=2e-3)
    assert planning.epoch_cost(config(hidden=[128, 64], validation="holdout")) == pytest.approx(
        (27.3e9 + 13.1e9) * 5 / 6 + 2.2e9, rel=2e-3
    )
