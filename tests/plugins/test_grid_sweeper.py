"""A sweep over several grids is their union: every run once, whatever else the command line asks for."""

import re
from dataclasses import dataclass, field

import pytest
from command import INLINE, call
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus

from fmnist_sweep.config.compose import Composer, name_of
from fmnist_sweep.config.grids import Grid, union
from fmnist_sweep.config.validation import parse
from fmnist_sweep.errors import RunError

FIGURES = [
    "adam-bs100-do0.2-ep30",
    "sgd-bs100-do0.2-ep30",
    "adam-bs500-do0.2-ep30",
    "sgd-bs500-do0.2-ep30",
    "adam-bs1000-do0.2-ep30",
    "adam-bs100-do0.2-ep100",
]
CLAIMED = ["sgd-bs1000-do0.2-ep30", "adam-bs100-do0.05-ep30", "sgd-bs100-do0.05-ep30"]  # and in no figure
PAPER = [*FIGURES, *CLAIMED]


@dataclass
class Launches:
    """Records the jobs that the sweeper handed to the launcher."""

    batches: list[list[str]] = field(default_factory=list)
    first_numbers: list[int] = field(default_factory=list)
    error: Exception | None = None

    @property
    def names(self):
        """The names of all runs, without their digits."""
        return [name.rsplit("-", 1)[0] for batch in self.batches for name in batch]

    @property
    def configurations(self):
        """The names of all runs, without seed and digits."""
        return [name.rsplit("-", 1)[0] for name in self.names]


@pytest.fixture
def launches(monkeypatch):
    """Records what would be trained instead of training it."""
    recorded = Launches()

    def launch(self, jobs, initial_job_idx):
        compose = Composer(self.hydra_context.config_loader, self.config).compose
        recorded.batches.append([name_of(*parse(compose(list(job)))) for job in jobs])
        recorded.first_numbers.append(initial_job_idx)
        status = JobStatus.FAILED if recorded.error else JobStatus.COMPLETED
        return [JobReturn(overrides=list(job), status=status, _return_value=recorded.error) for job in jobs]

    # Hydra imports its plugins by itself: its class is not the one that an import here would give.
    launcher = Plugins.instance().class_name_to_class["hydra_plugins.fmnist_sweep_stacked.StackedLauncher"]
    monkeypatch.setattr(launcher, "launch", launch)
    return recorded


def sweep(*arguments, cwd):
    called = call(*arguments, cwd=cwd)
    assert (called.code, called.err) == (0, "")
    return called


def own_figure(folder, text, name="mine"):
    """A figure of the user's own; returns its folder, for --config-dir."""
    (folder / "own" / "figure").mkdir(parents=True, exist_ok=True)
    (folder / "own" / "figure" / f"{name}.yaml").write_text(f"{text}\n")
    return str(folder / "own")


# The figures that the project ships


@pytest.mark.parametrize(
    ("figure", "runs"),
    [
        ("fig1", FIGURES[:2]),
        ("fig2", FIGURES[2:3]),
        ("fig3", FIGURES[3:4]),
        ("fig4", FIGURES[4:5]),
        ("fig5", FIGURES[5:]),
        ("fig1,paper,fig1", PAPER),
        ("glob(fig*)", FIGURES),
    ],
)
def test_a_figure_is_its_runs(figure, runs, launches, tmp_path):
    sweep(f"figure={figure}", cwd=tmp_path)
    assert sorted(launches.names) == sorted(f"{run}-seed0" for run in runs)
    assert len(launches.batches) == 1


def test_the_paper_over_seeds_is_each_configuration_once_a_seed(launches, tmp_path):
    sweep("-m", "figure=paper", "seed=0,1", cwd=tmp_path)
    assert sorted(launches.names) == sorted(f"{run}-seed{seed}" for run in PAPER for seed in range(2))


def test_the_grid_is_every_combination_of_what_the_paper_varies(launches, tmp_path):
    sweep("-m", "figure=grid", cwd=tmp_path)
    assert len(launches.names) == 24
    assert set(launches.configurations) == {
        f"{optimizer}-bs{batch_size}-do{dropout}-ep{epochs}"
        for optimizer in ("adam", "sgd")
        for batch_size in (100, 500, 1000)
        for dropout in (0.2, 0.05)
        for epochs in (30, 100)
    }
    assert set(PAPER) < set(launches.configurations)


# Papers


OWN_PAPER = """title: Momentum
authors: [A. Nobody]
year: 2025
language: en
protocol: {optimizer: sgd, batch_size: 500, epochs: 2}
configurations:
  half: {optimizer.momentum: 0.5, dropout: 0.2}
  most: {optimizer.momentum: 0.9, dropout: 0}
figures: {one: {title: {en: Momentum}, rows: [half]}}
claims:
- {id: a, section: s, quote: q, statement: {en: x}, kind: value, of: most, metric: val_loss, reduce: last,
   expect: {above: 0}, why: {en: y}}
"""
HALF, MOST = "sgd-bs500-do0.2-ep2", "sgd-bs500-do0-ep2"


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["paper=own"], [HALF, MOST]),
        (["-m", "paper='own'", "epochs=3"], [HALF.replace("ep2", "ep3"), MOST.replace("ep2", "ep3")]),
        (["-m", "paper=own", "figure=one"], [HALF]),
        (["figure=one,paper", "paper=own"], [HALF, MOST]),
        (["paper=own", "figure=grid"], [HALF, HALF, MOST, MOST]),
        (["paper=own", "optimizer=adam"], [run.replace("sgd", "adam") for run in (HALF, MOST)]),
        (["paper=own", "figure=mine"], ["adam-bs100-do0.2-ep7"]),
        (["paper=caprari2024"], PAPER),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_paper_is_what_its_figures_and_claims_name(arguments, runs, launches, tmp_path):
    folder = own_figure(tmp_path, "grids: [{epochs: 7}]")
    (tmp_path / "own" / "paper").mkdir()
    (tmp_path / "own" / "paper" / "own.yaml").write_text(OWN_PAPER)
    sweep(*arguments, f"--config-dir={folder}", cwd=tmp_path)
    assert sorted(launches.configurations) == sorted(runs)
    assert len(set(launches.batches[0])) == len(runs)


# The command line beside a figure


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["epochs='30'"], {run.replace("ep100", "ep30") for run in PAPER}),
        (["optimizer=sgd"], {run.replace("adam", "sgd") for run in PAPER}),
        (
            ["batch_size=500", "dropout=0.2"],
            {"adam-bs500-do0.2-ep30", "sgd-bs500-do0.2-ep30", "adam-bs500-do0.2-ep100"},
        ),
        (
            ["batch_size=100,64", "optimizer=rmsprop", "dropout=0.2"],
            {f"rmsprop-bs{size}-do0.2-ep{epochs}" for size in (100, 64) for epochs in (30, 100)},
        ),
        (["model.hidden=[8]", "data.mean=0.286"], set(PAPER)),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_the_command_line_applies_to_every_grid(arguments, runs, launches, tmp_path):
    sweep("-m", "figure=paper", *arguments, cwd=tmp_path)
    assert sorted(launches.configurations) == sorted(runs)


@pytest.mark.parametrize(
    ("in_grid", "typed", "sizes"),
    [
        ("64", "100", [100]),
        ("100", "64", [64]),
        ("[64, 128]", "100,64", [100, 64]),
        ("'100,64'", "500,1000", [500, 1000]),
    ],
)
def test_the_command_line_wins_over_a_grid(in_grid, typed, sizes, launches, tmp_path):
    folder = own_figure(tmp_path, f"grids: [{{batch_size: {in_grid}}}]")
    sweep("--config-dir", folder, "figure=mine", f"batch_size={typed}", cwd=tmp_path)
    assert launches.names == [f"adam-bs{size}-do0.2-ep30-seed0" for size in sizes]


def test_a_figure_of_the_users_own_is_a_few_lines(launches, tmp_path):
    grids = """grids:
  - {optimizer: [sgd, rmsprop], batch_size: "range(1,3)", dropout: 0.20}
  - {optimizer: sgd, optimizer.momentum: [0.5, 0.9]}"""
    sweep("--config-dir", own_figure(tmp_path, grids), "figure=fig1,mine", cwd=tmp_path)
    assert launches.configurations == [
        "adam-bs100-do0.2-ep30",
        "sgd-bs100-do0.2-ep30",
        *(f"{optimizer}-bs{size}-do0.2-ep30" for optimizer in ("sgd", "rmsprop") for size in (1, 2)),
        *["sgd-bs100-do0.2-ep30"] * 2,
    ]
    assert len(set(launches.batches[0])) == len(launches.batches[0])


SMALL = "{params: {optimizer: sgd}, grids: [{batch_size: [100, 500]}]}"
LARGE = "{params: {dropout: 0.1}, grids: [{batch_size: 1000, epochs: [2]}, {seed: 7}]}"
UNION = [
    "sgd-bs100-do0.2-ep30-seed0",
    "sgd-bs500-do0.2-ep30-seed0",
    "adam-bs1000-do0.1-ep2-seed0",
    "adam-bs100-do0.1-ep30-seed7",
]


@pytest.mark.parametrize(
    ("figures", "runs"),
    [
        ("small,large", UNION),
        ("[large,small]", UNION),
        ("glob(*l*)", UNION),
        ("fig1,small", [*UNION[:2], "adam-bs100-do0.2-ep30-seed0"]),
        ("small,10", [*UNION[:2], "adam-bs100-do0.2-ep10-seed0"]),
    ],
)
def test_several_figures_are_the_union_of_what_each_is_alone(figures, runs, launches, tmp_path):
    """Though each has parameters of its own."""
    own_figure(tmp_path, SMALL, "small")
    own_figure(tmp_path, "grids: [{epochs: 10}]", "10")
    sweep("--config-dir", own_figure(tmp_path, LARGE, "large"), f"figure={figures}", cwd=tmp_path)
    assert set(launches.names) == set(runs)


def test_the_options_that_a_figure_chooses_are_its_own(launches, tmp_path):
    own_figure(tmp_path, SMALL, "small")
    text = "defaults: [override /optimizer@_global_.optimizer: rmsprop]\ngrids: [{batch_size: [100]}]"
    folder = own_figure(tmp_path, text, "other")
    sweep("-m", "--config-dir", folder, "figure=small,other", cwd=tmp_path)
    assert sorted(launches.configurations) == [
        "rmsprop-bs100-do0.2-ep30",
        "sgd-bs100-do0.2-ep30",
        "sgd-bs500-do0.2-ep30",
    ]


def test_a_file_of_the_users_comes_before_a_papers_figure_of_that_name(launches, tmp_path):
    folder = own_figure(tmp_path, SMALL, "fig1")
    sweep("--config-dir", folder, "figure=fig1", cwd=tmp_path)
    assert sorted(launches.names) == sorted(UNION[:2])
    called = call("--config-dir", folder, "figure=fig1", "paper=caprari2024", cwd=tmp_path)
    message = "figure=fig1: both caprari2024 and your file figure/fig1.yaml have it; rename the file\n"
    assert (called.code, called.err) == (2, f"fmnist_sweep: {message}")


# Values that are paired

PAIRED = ["batch_size=64,500", "seed=1,2"]


def runs_of(launches):
    """Batch size and seed of each run; the optimizer stands for what its digits hide."""
    return sorted(re.sub(r"-do.*-seed", "-seed", name) for name in launches.names)


@pytest.mark.parametrize(
    ("text", "arguments", "runs"),
    [
        ("grids: [{zip: {batch_size: [64, 500], seed: [1, 2]}}]", [], ["adam-bs500-seed2", "adam-bs64-seed1"]),
        (
            "grids: [{zip: {batch_size: [64, 500], seed: [1, 2]}, optimizer: [adam, sgd]}]",
            [],
            ["adam-bs500-seed2", "adam-bs64-seed1", "sgd-bs500-seed2", "sgd-bs64-seed1"],
        ),
        (
            "grids: [{zip: {optimizer: [adam, adam, sgd], seed: 'range(3)'}}]",
            [],
            ["adam-bs100-seed0", "adam-bs100-seed1", "sgd-bs100-seed2"],
        ),
        (
            "grids: [{zip: [{batch_size: [100, 500], optimizer: [adam, sgd]}, {seed: [1, 2], epochs: [3, 4]}]}]",
            [],
            ["adam-bs100-seed1", "adam-bs100-seed2", "sgd-bs500-seed1", "sgd-bs500-seed2"],
        ),
        (  # a key of the command line leaves the zip, the others stay paired
            "grids: [{zip: {batch_size: [64, 500], seed: [1, 2], optimizer: [sgd, adam]}}]",
            ["batch_size=7,8"],
            ["adam-bs7-seed2", "adam-bs8-seed2", "sgd-bs7-seed1", "sgd-bs8-seed1"],
        ),
        ("params: {seed: [8, 9]}\ngrids: [{zip: {batch_size: [64], seed: [1]}}]", [], ["adam-bs64-seed1"]),
        (
            "grids: [{optimizer: sgd}]",
            ["zip=[batch_size,seed]", *PAIRED],
            ["sgd-bs500-seed2", "sgd-bs64-seed1"],
        ),
        (
            "grids: [{}]",
            ["zip=[[batch_size,seed],[epochs,optimizer]]", *PAIRED, "epochs=1,2", "optimizer=adam,sgd"],
            ["adam-bs500-seed2", "adam-bs64-seed1", "sgd-bs500-seed2", "sgd-bs64-seed1"],
        ),
    ],
)  # fmt: skip
def test_zip_pairs_up_values_and_combines_with_the_rest(text, arguments, runs, launches, tmp_path):
    sweep("--config-dir", own_figure(tmp_path, text), "figure=mine", *arguments, cwd=tmp_path)
    assert runs_of(launches) == runs


def test_the_command_line_pairs_up_values_without_a_file(launches, tmp_path):
    sweep("-m", "zip=[batch_size,seed]", *PAIRED, cwd=tmp_path)
    assert runs_of(launches) == ["adam-bs500-seed2", "adam-bs64-seed1"]


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        (
            "grids: [{zip: {batch_size: [64, 500, 100], optimizer.lr: [0.1, 0.2]}}]",
            [],
            "zip: keys must have equally many values to be paired, but batch_size has 3, optimizer.lr has 2",
        ),
        ("grids: [{zip: [batch_size, seed]}]", [], "grids[0]: zip: must be a mapping of keys to lists"),
        ("grids: [{}, {seed: 1, zip: {seed: [1]}}]", [], "grids[1]: seed: is given twice, in zip and beside it"),
        ("grids: {mine: {seed: [1]}}", [], "grids: must be a list of mappings, such as [{optimizer: [adam, sgd]"),
        ("grids: [[1]]", [], "grids: must be a list of mappings"),
        ("grids: [{batch_size: []}]", [], "batch_size: has no values; give one at least"),
        ("grid: [{seed: 1}]", [], "In 'figure/mine': grid: there is no such key; a figure's file has no # @package"),
        (
            "# @package hydra\nmode: MULTIRUN\nsweeper: {grids: {a: {seed: '1'}}}",
            [],
            "In 'figure/mine': mode: there is no such key; a figure's file has no # @package line, and keys such as",
        ),
        (
            "defaults: [override /hydra/launcher: basic]",
            [],
            "In 'figure/mine': Could not override hydra/launcher from there; write - override "
            "/hydra/launcher@_global_.hydra.launcher: NAME",
        ),
        ("grids: [{}]", ["zip=[batch_size]"], "zip=[batch_size]: must list keys to pair up"),
        ("grids: [{}]", ["zip=[seed,epochs]", "seed=1,2"], "zip: epochs has no values on the command line"),
        ("grids: [{}]", ["zip=seed,epochs"], "zip=seed,epochs: is a setting of the sweeper, not swept"),
        ("{}", ["hydra/sweeper=search", "zip=[seed,epochs]"], "zip=[seed,epochs]: there is no zip here; only a grid"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_or_a_zip_is_refused_in_one_line(text, arguments, says, launches, tmp_path):
    called = call("--config-dir", own_figure(tmp_path, text), "figure=mine", *arguments, cwd=tmp_path)
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert called.err.startswith(f"fmnist_sweep: {says}"), called.err
    assert launches.batches == []


def test_runs_that_two_grids_write_differently_count_once(tmp_path):
    folder = own_figure(tmp_path, "grids: [{batch_size: 1000}, {optimizer: [adam], training.batch_size: [1000]}]")
    own_figure(tmp_path, "grids: [{dropout: 0.2, zip: {batch_size: [1000], seed: [0]}}]", "other")
    small = ("epochs=1", "model.hidden=[8]", INLINE, f"hydra.sweep.dir={tmp_path / 'store'}")
    called = call("--config-dir", folder, "figure=mine,other", *small, cwd=tmp_path)
    assert called.code == 0 and called.err.startswith("1 run, adam-bs1000-"), called.err
    assert len(list((tmp_path / "store").glob("*/run.json"))) == 1
    called = call("--config-dir", folder, "figure=mine,other", *small, "optimizer.lr=1e30", cwd=tmp_path)
    assert called.code == 1 and "1 of 1 run did not end well" in called.err


def test_a_mistake_in_a_grid_is_refused_in_one_line(launches, tmp_path):
    folder = own_figure(tmp_path, "grids: [{batch_sizes: 64}]")
    called = call("--config-dir", folder, "figure=mine", cwd=tmp_path)
    assert called.code == 2
    assert called.err.startswith("fmnist_sweep: batch_sizes=64: there is no batch_sizes")
    assert "did you mean batch_size?" in called.err and called.err.count("\n") == 1


# Without grids: Hydra's basic sweeper


def test_values_given_twice_are_one_run(launches, tmp_path):
    sweep("-m", "seed=0,1,0", "dropout=0.2,0.20", cwd=tmp_path)
    assert launches.names == [f"{FIGURES[0]}-seed{seed}" for seed in (0, 1)]


def test_the_sweepers_parameters_are_values_as_on_the_command_line(launches, tmp_path):
    folder = own_figure(tmp_path, "params: {batch_size: [100, 500], seed: range(2)}")
    sweep("--config-dir", folder, "figure=mine", cwd=tmp_path)
    assert launches.names == [f"adam-bs{size}-do0.2-ep30-seed{seed}" for size in (100, 500) for seed in (0, 1)]


def test_batches_are_launched_one_after_another(launches, tmp_path):
    sweep("-m", "hydra.sweeper.max_batch_size=2", "seed=range(5)", cwd=tmp_path)
    assert [len(batch) for batch in launches.batches] == [2, 2, 1]
    assert launches.first_numbers == [0, 2, 4]


def test_every_job_is_checked_before_the_first_batch(launches, tmp_path):
    called = call("-m", "hydra.sweeper.max_batch_size=1", "batch_size=100,70000", cwd=tmp_path)
    assert called.code == 2
    assert called.err.startswith("fmnist_sweep: batch_size=70000: ")
    assert launches.batches == []


def test_runs_that_did_not_end_well_are_counted_and_the_first_ones_named(launches, tmp_path):
    launches.error = RunError("a-run diverged: the loss is not finite")
    called = call("-m", "seed=0,1,2,3,4", cwd=tmp_path)
    reasons = "; ".join(["a-run diverged: the loss is not finite"] * 3)
    line = f"fmnist_sweep: 5 of 5 runs did not end well: {reasons}; and 2 more\n"
    assert (called.code, called.err) == (1, line)
    launches.error = OSError(28, "No space left on device", "/store/a-run")
    called = call("-m", "seed=7", cwd=tmp_path)
    line = "fmnist_sweep: 1 of 1 run did not end well: seed=7: /store/a-run: No space left on device\n"
    assert (called.code, called.err) == (1, line)


def test_a_launcher_of_hydra_s_names_the_run_and_the_reason(tmp_path):
    store = f"hydra.sweep.dir={tmp_path / 'store'}"
    wild = ("hydra/launcher=basic", "optimizer=sgd", "optimizer.lr=1e9", "epochs=1", "batch_size=1000")
    called = call("-m", *wild, "model.hidden=[8]", store, cwd=tmp_path)
    assert called.code == 1
    last = called.err.splitlines()[-1]
    assert last.startswith("fmnist_sweep: 1 of 1 run did not end well: sgd-bs1000-do0.2-ep1-seed0-")
    assert "diverged: the loss is not finite after epoch 1" in last


def test_the_union_keeps_the_first_of_equal_jobs_in_order():
    grids = [["a=1,2", "b=x"], ["b=x,y", "a=2"], ["a=3", "b=x"]]
    jobs = union(map(Grid, grids), OverridesParser.create())
    assert jobs == [["a=1", "b=x"], ["a=2", "b=x"], ["b=y", "a=2"], ["a=3", "b=x"]]
    (product,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(["a=1,2", "b=x,y"]), None)
    assert union([Grid(["a=1,2", "b=x,y"])], OverridesParser.create()) == product
