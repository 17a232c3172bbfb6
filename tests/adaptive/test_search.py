"""The sweeper that searches, with functions that know nothing of Fashion-MNIST."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import filelock
import optuna
import pytest
import yaml
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState
from search_app import APP

from fmnist_sweep.errors import ConfigError, RunError

# Hydra's runner for tests names no version_base, of which Hydra reminds.
pytestmark = [
    pytest.mark.usefixtures("hydras_version_base"),
    pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory:UserWarning"),
]
Task = Callable[[DictConfig], Any]


def trials_of(storage: Path, name: str = "search") -> list[FrozenTrial]:
    """Return the trials of a study, in order."""
    database = optuna.storages.RDBStorage(f"sqlite:///{storage}")
    try:
        return database.get_all_trials(database.get_study_id_from_name(name))
    finally:
        database.engine.dispose()


def said(trials: Sequence[FrozenTrial]) -> list[tuple[Any, ...]]:
    """Return the state, parameters and values of each trial, except those whose process died while asking."""
    return [(t.state.name, t.params, t.values, t.intermediate_values) for t in trials if "batch" in t.user_attrs]


SETTINGS = ("n_trials", "batch", "sampler", "sampler_args", "sampler_seed", "seeds", "objective", "direction", "rungs")
SPACE = ["x=interval(-10,10)", "kind=a,b"]


class Search:
    """Searches with a task in one folder, as often as it is called."""

    def __init__(self, runner: Any, folder: Path):
        self._runner = runner
        self.folder = folder

    def __call__(
        self, task: Task, *overrides: str, launcher: str = "basic", study: str = "search"
    ) -> list[FrozenTrial]:
        """Search; the sweeper's settings may be typed alone. Returns the trials."""
        settings = [f"hydra.sweeper.{one}" if one.split("=")[0] in SETTINGS else one for one in overrides]
        chosen = ["hydra/sweeper=search", f"hydra/launcher={launcher}", f"hydra.sweeper.study_name={study}"]
        runner = self._runner(
            calling_file=None,
            calling_module="hydra.test_utils.a_module",
            task_function=task,
            config_path=None,
            config_name="searched",
            overrides=[*chosen, f"hydra.sweeper.storage={self.folder / 'search.db'}", *settings],
            temp_dir=self.folder / "sweep",  # which the runner removes
        )
        with runner:
            self.found = yaml.safe_load((self.folder / "sweep" / "optimization_results.yaml").read_text())
        return trials_of(self.folder / "search.db", study)


@pytest.fixture
def search(hydra_sweep_runner: Any, tmp_path: Path, hydra_restore_singletons: None) -> Search:
    return Search(hydra_sweep_runner, tmp_path)


def parabola(config: DictConfig) -> float:
    return float((config.x - 2) ** 2 + (config.kind == "b"))


def test_hydra_finds_the_sweeper() -> None:
    assert "SearchSweeper" in [cls.__name__ for cls in Plugins.instance().discover(Sweeper)]


@pytest.mark.parametrize("launcher", ["basic", "stacked"])
def test_the_least_value_of_a_function_is_found(search: Search, launcher: str) -> None:
    trials = search(parabola, *SPACE, "n_trials=24", launcher=launcher)
    assert len(trials) == 24
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    best = min(trials, key=lambda trial: trial.values[0])
    assert best.params["x"] == pytest.approx(2, abs=0.5) and best.params["kind"] == "a"
    assert search.found == {"name": "optuna", "best_params": best.params, "best_value": best.values[0]}


@pytest.mark.parametrize("sampler", ["random", "qmc", "NSGAIISampler", "bruteforce", "gp"])
def test_any_sampler_that_needs_no_argument_serves(search: Search, sampler: str) -> None:
    trials = search(parabola, "x=range(0,4)", "kind=a,b", "n_trials=8", f"sampler={sampler}")
    assert len(trials) == 8
    assert len({str(trial.params) for trial in trials}) > 3


def test_seed_and_arguments_reach_the_sampler(search: Search) -> None:
    def xs(study: str, *overrides: str) -> list[float]:
        trials = search(parabola, *SPACE, "n_trials=4", "sampler=random", *overrides, study=study)
        return [trial.params["x"] for trial in trials]

    first = xs("once")
    assert xs("again") == first
    assert not set(first) & set(xs("other", "sampler_seed=1"))
    assert len(set(xs("same", "sampler_args={seed:3}"))) == 1


def test_values_reach_jobs_as_they_were_typed(search: Search) -> None:
    seen = []

    def task(config: DictConfig) -> float:
        seen.append(config)
        return 1.0

    trials = search(
        task,
        "+lr=tag(log,interval(1e-4,1e-1))",
        "+layers=int(interval(1,3))",
        "+size=range(10,50,step=10)",
        "+word='100',x",
        "+widths=[128,64],[32]",
        "+flag=true,null",
        "+fixed=7",
        "n_trials=20",
    )
    for config, trial in zip(seen, trials, strict=True):
        assert config.fixed == 7 and "fixed" not in trial.params
        assert (config.lr, config.layers, config.size) == tuple(trial.params[key] for key in ("lr", "layers", "size"))
    assert {type(config.lr) for config in seen} == {float}
    assert {config.layers for config in seen} == {1, 2, 3}
    assert {config.size for config in seen} == {10, 20, 30, 40}
    assert {config.word for config in seen} == {"100", "x"} == {trial.params["word"] for trial in trials}
    assert {tuple(config.widths) for config in seen} == {(128, 64), (32,)}
    assert {config.flag for config in seen} == {True, None}
    assert sum(config.lr < 3e-3 for config in seen) > 5


def test_several_values_give_a_front(search: Search, capsys: Any) -> None:
    def task(config: DictConfig) -> tuple[float, float]:
        return float(config.x**2), float((config.x - 2) ** 2)

    search(task, "x=interval(-10,10)", "n_trials=20", "direction=[minimize,minimize]")
    front = search.found["solutions"]
    assert len(front) > 2
    for one in front:
        assert not any(all(a < b for a, b in zip(other["values"], one["values"], strict=True)) for other in front)
    assert "on the Pareto front" in capsys.readouterr().err


def test_more_is_better_where_it_is_to_be(search: Search) -> None:
    search(lambda config: -parabola(config), *SPACE, "n_trials=24", "direction=maximize")
    assert search.found["best_params"]["x"] == pytest.approx(2, abs=1)


def test_a_trial_with_seeds_is_worth_their_mean(search: Search) -> None:
    seen = []

    def task(config: DictConfig) -> float:
        seen.append((config.x, config.seed))
        return float(config.x + config.seed)

    trials = search(task, "x=interval(0,1)", "n_trials=4", "batch=2", "seeds=3")
    assert [seed for _, seed in seen] == [0, 1, 2] * 4
    for trial in trials:
        assert trial.values == pytest.approx([trial.params["x"] + 1])


def test_what_has_no_finite_value_failed_and_is_never_a_number(search: Search, capsys: Any) -> None:
    def task(config: DictConfig) -> Any:
        if config.kind == "raises":
            raise RuntimeError("out of sorts")
        return {"nothing": float("nan"), "endless": float("inf"), "none": None, "two": [1, 2]}.get(config.kind, 1.5)

    trials = search(
        task, "x=interval(0,1)", "kind=raises,nothing,endless,none,two,good", "n_trials=30", "sampler=random"
    )
    for trial in trials:
        good = trial.params["kind"] == "good"
        assert (trial.state, trial.values) == ((TrialState.COMPLETE, [1.5]) if good else (TrialState.FAIL, None))
        assert ("out of sorts" in trial.user_attrs.get("reason", "")) == (trial.params["kind"] == "raises")
    assert len({trial.params["kind"] for trial in trials}) == 6
    assert f"{sum(t.state == TrialState.FAIL for t in trials)} failed" in capsys.readouterr().err


def test_a_search_in_which_all_fail_says_why(search: Search) -> None:
    def task(config: DictConfig) -> float:
        raise RuntimeError("out of sorts")

    with pytest.raises(RunError, match="none of 3 trials ended well: out of sorts"):
        search(task, *SPACE, "n_trials=3")


# Interruptions


@pytest.mark.parametrize(
    "extra", [pytest.param([], id="plain", marks=pytest.mark.slow), pytest.param(["rungs=[1,3]"], id="rungs")]
)
def test_a_search_that_is_stopped_at_any_job_goes_on_as_if_it_had_not_been(search: Search, extra: list[str]) -> None:
    calls = 0

    def task(config: DictConfig) -> float:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return parabola(config) + 1 / config.epochs

    wanted = [*SPACE, "n_trials=5", "batch=3", *extra]
    stop = -1
    whole = said(search(task, *wanted))
    assert len(whole) == 5
    for first in (1, 2, 4, calls):  # the first job, within a batch, the first of the next rung or batch, and the last
        calls, stop = 0, first
        with pytest.raises(KeyboardInterrupt):
            search(task, *wanted, study=f"stopped {first}")
        assert said(search(task, *wanted, study=f"stopped {first}")) == whole


def test_a_finished_search_trains_nothing_more_and_goes_on_to_more_trials(search: Search) -> None:
    calls = []

    def task(config: DictConfig) -> float:
        calls.append(config.x)
        return parabola(config)

    first = search(task, *SPACE, "n_trials=6", "batch=4")
    assert said(search(task, *SPACE, "n_trials=6", "batch=4")) == said(first)
    assert len(calls) == 6
    more = search(task, *SPACE, "n_trials=9", "batch=4")
    assert said(more)[:6] == said(first)
    assert len(calls) == len(more) == 9


@pytest.mark.parametrize(
    ("least", "most"), [pytest.param(1, 1, id="once"), pytest.param(2, 1000, marks=pytest.mark.slow, id="again")]
)
def test_a_search_that_is_killed_again_and_again_loses_and_doubles_nothing(
    least: int, most: int, tmp_path: Path
) -> None:
    def start(folder: Path) -> subprocess.Popen[bytes]:
        settings = ["n_trials=12", "batch=4", "rungs=[1,3]", f"storage={folder}/search.db"]
        overrides = [*(f"hydra.sweeper.{one}" for one in settings), f"hydra.sweep.dir={folder}/sweep", "seconds=0.03"]
        overrides += ["x=interval(-10,10)", "kind=a,b,broken", f"calls={folder}/calls.txt", "hydra/sweeper=search"]
        folder.mkdir(exist_ok=True)
        with (folder / "out.txt").open("ab") as out:
            return subprocess.Popen([sys.executable, str(APP), "-m", *overrides], cwd=folder, stdout=out, stderr=out)

    whole_search = start(tmp_path / "whole")
    chance = random.Random(0)
    kills = 0
    deadline = time.monotonic() + 60  # then once without a kill: a busy machine may need many starts for little
    while True:
        # Sooner or later after the storage is there or a call is recorded, so that little of the start is tested twice.
        process = start(tmp_path / "killed")
        before = size_of(tmp_path / "killed" / "search.db"), size_of(tmp_path / "killed" / "calls.txt")
        while process.poll() is None and before == (
            size_of(tmp_path / "killed" / "search.db"),
            size_of(tmp_path / "killed" / "calls.txt"),
        ):
            time.sleep(0.002)
        try:
            may_kill = kills < most and time.monotonic() < deadline
            code = process.wait(chance.uniform(0, 0.6) if may_kill else 120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert code == 0, (tmp_path / "killed" / "out.txt").read_text()[-2000:]
            break
    assert kills >= least
    assert whole_search.wait(120) == 0
    whole, killed = (trials_of(tmp_path / name / "search.db") for name in ("whole", "killed"))
    assert said(killed) == said(whole)
    assert len(said(killed)) == 12
    assert not [trial for trial in killed if not trial.state.is_finished()]


def size_of(path: Path) -> int:
    return os.path.getsize(path) if path.exists() else -1


def test_a_second_process_is_kept_off_a_search(search: Search) -> None:
    search(parabola, *SPACE, "n_trials=2")
    (search.folder / ".locks").mkdir(exist_ok=True)
    with (
        filelock.FileLock(search.folder / ".locks" / "search.db.lock"),
        pytest.raises(ConfigError, match="another pro"),
    ):
        search(parabola, *SPACE, "n_trials=4")


# Successive halving


def test_the_best_of_each_batch_go_on(search: Search) -> None:
    calls: list[tuple[float, int]] = []

    def task(config: DictConfig) -> float:
        calls.append((config.x, config.epochs))
        return float((config.x - 2) ** 2 + 1 / config.epochs)

    trials = search(task, "x=interval(-10,10)", "n_trials=18", "batch=9", "rungs=[1,3,9]")
    assert [sum(epochs == step for _, epochs in calls) for step in (1, 3, 9)] == [18, 6, 2]
    for batch in (trials[:9], trials[9:]):
        by_merit = sorted(batch, key=lambda trial: abs(trial.params["x"] - 2))
        assert [len(trial.intermediate_values) for trial in by_merit] == [3, 2, 2, 1, 1, 1, 1, 1, 1]
        assert [trial.state.name for trial in by_merit] == ["COMPLETE", *["PRUNED"] * 8]
        for trial in batch:
            assert trial.values == [list(trial.intermediate_values.values())[-1]]


def test_trials_that_fail_take_no_place_on_the_next_rung(search: Search) -> None:
    def task(config: DictConfig) -> float:
        return float("nan") if config.x < 2.5 else parabola(config)

    trials = search(task, "x=interval(2,3)", "n_trials=6", "batch=6", "rungs=[1,2]", "sampler=random")
    failed = [trial for trial in trials if trial.params["x"] < 2.5]
    assert {trial.state for trial in failed} == {TrialState.FAIL} and 0 < len(failed) < 6
    assert sum(len(trial.intermediate_values) == 2 for trial in trials) == 3


# What cannot be searched


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["x=1"], "nothing to search"),
        (["x=interval(1,0)"], r"x=interval\(1,0\): an interval must begin below its end"),
        (["x=interval(0,inf)"], "must begin below its end"),
        (["x=tag(log,interval(0,1))"], "must begin above 0"),
        (["x=tag(lin,interval(1,2))"], "there is no tag lin; allowed: log"),
        (["x=tag(log,choice(1,2))"], "only an interval can be logarithmic"),
        (["seed=0,1"], "give one seed, or seeds=N"),
        ([*SPACE, "seed=3", "seeds=2"], "seed=3: seeds=2 sets it"),
        ([*SPACE, "n_trials=0"], "n_trials=0: must be 1 or more"),
        ([*SPACE, "batch=0"], "batch=0: must be 1 or more"),
        ([*SPACE, "seeds=0"], "seeds=0: must be 1 or more"),
        ([*SPACE, "sampler=tpee"], "sampler=tpee: must be one of .*did you mean tpe?"),
        ([*SPACE, "sampler=grid"], "sampler=grid: must be one of"),
        ([*SPACE, "sampler_args={seeed:1}"], "unexpected keyword argument 'seeed'"),
        ([*SPACE, "objective=loss"], "objective=loss: this application names none"),
        ([*SPACE, "direction=down"], "direction=down: must be one of minimize, maximize"),
        ([*SPACE, "rungs=[3,1]"], "must be numbers from 1 that grow"),
        ([*SPACE, "rungs=[0,1]"], "must be numbers from 1 that grow"),
        ([*SPACE, "rungs=[1,3]", "epochs=3"], "epochs=3: rungs=.* sets epochs"),
        ([*SPACE, "rungs=[1,3]", "direction=[minimize,minimize]"], "of several objectives there is no best"),
        ([*SPACE, "hydra.sweeper.grids=[{a:b}]"], "a search takes a space"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(search: Search, overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        search(parabola, *overrides)
    assert "\n" not in str(error.value)
    assert not (search.folder / "search.db").exists()


def test_a_storage_of_another_search_is_refused_and_kept(search: Search) -> None:
    before = said(search(parabola, *SPACE, "n_trials=2"))
    for number, changed in enumerate(
        [
            ["x=interval(-10,11)", "kind=a,b"],
            ["x=interval(-10,10)", "kind=a,b,c"],
            ["x=interval(-10,10)"],
            [*SPACE, "epochs=3"],
            [*SPACE, "seeds=2"],
            [*SPACE, "direction=maximize"],
            [*SPACE, "rungs=[1,3]"],
        ]
    ):
        with pytest.raises(ConfigError, match=r"the study search has other .*; choose another with hydra"):
            search(parabola, *changed, "n_trials=3")
        assert said(trials_of(search.folder / "search.db")) == before, changed
        assert len(search(parabola, *changed, "n_trials=1", study=f"another {number}")) == 1


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 9, b""])
def test_a_file_that_is_no_storage_is_refused_and_kept(search: Search, content: bytes) -> None:
    (search.folder / "search.db").write_bytes(content)
    with pytest.raises(ConfigError, match=r"search\.db: .*choose another file"):
        search(parabola, *SPACE, "n_trials=3")
    assert (search.folder / "search.db").read_bytes() == content


CHANGES = [
    "update trial_values set value = value + 1e-9 where trial_id = 2",
    "update trial_params set param_value = param_value + 1e-9 where trial_id = 2",
    "update trial_intermediate_values set intermediate_value = 0 where trial_id = 2",
    "update trial_user_attributes set value_json = '1' where trial_id = 2 and key = 'batch'",
    "update trial_user_attributes set key = 'barch' where trial_id = 2 and key = 'batch'",
    "update trial_user_attributes set value_json = '[\"' where trial_id = 2",
    "update study_user_attributes set value_json = replace(value_json, 'minimize', 'maximize') where key = 'problem'",
    "update study_user_attributes set key = 'qroblem' where key = 'problem'",
    "update trials set state = 'RUNNING' where trial_id = 2",
    "update trials set state = 'CNMPLETE' where trial_id = 2",
    "update trials set number = 9 where trial_id = 2",
    "delete from trials where trial_id = 2",
    "delete from trial_values where trial_id = 2",
    "delete from trial_params where trial_id = 2",
]


def test_a_storage_in_which_anything_has_changed_is_refused_and_can_be_made_anew(search: Search) -> None:
    wanted = [*SPACE, "n_trials=4", "batch=2", "rungs=[1,3]"]
    trials, storage = said(search(parabola, *wanted)), search.folder / "search.db"
    whole = storage.read_bytes()
    for change in CHANGES:
        storage.write_bytes(whole)
        with closing(sqlite3.connect(storage)) as connection, connection:
            assert connection.execute(change).rowcount > 0
        changed = storage.read_bytes()
        with pytest.raises(ConfigError) as refused:
            search(parabola, *wanted)
        told = str(refused.value)
        assert "is damaged: " in told and "; remove the file, and the same command" in told, change
        assert "\n" not in told and storage.read_bytes() == changed, change
    storage.unlink()
    assert said(search(parabola, *wanted)) == trials


def test_a_study_of_another_program_is_refused(search: Search) -> None:
    database = optuna.storages.RDBStorage(f"sqlite:///{search.folder / 'search.db'}")
    study = optuna.create_study(storage=database, study_name="search")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    database.engine.dispose()
    with pytest.raises(ConfigError, match="was made by another program"):
        search(parabola, *SPACE, "n_trials=3")
