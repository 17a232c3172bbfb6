"""Type commands as users do: the paper's sweep, Hydra's own features, and every kind of bad input."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from importlib import metadata

import pytest
from command import INLINE, Called, call, run_command

from fmnist_sweep import data
from fmnist_sweep.commands import COMMANDS
from fmnist_sweep.config.schema import KEYS
from hydra_plugins.fmnist_sweep_search import SearchSweeperConf
from hydra_plugins.fmnist_sweep_settle import SettlingSweeperConf

SWEEP = ("-m", "optimizer=adam,sgd", "batch_size=100,500,1000")
QUICK = ("epochs=1", "batch_size=1000", "model.hidden=[8]")
RESULTS = ("metrics.csv", "timing.csv", "run.json", "predictions.npy", "checkpoint-1.pt")
COLUMNS = "epoch,train_loss,train_accuracy,running_loss,running_accuracy,val_loss,val_accuracy"


def runs(store):
    """The run directories in a store."""
    return sorted(path.parent for path in store.glob("*/run.json"))


def status(run):
    return json.loads((run / "run.json").read_text())["status"]


def snapshot(run):
    """Contents and times of change of a run's results."""
    return {name: ((run / name).read_bytes(), (run / name).stat().st_mtime_ns) for name in RESULTS}


def planned(called):
    """The runs that a dry run with show=plan would train, without their digits."""
    assert called.code == 0, called.err
    lines = [line.partition("  train: ")[2] for line in called.out.splitlines()]
    names = [name for line in lines for name in line.removesuffix(" (one trajectory)").split(", ") if name]
    return sorted(name.rsplit("-", 1)[0] for name in names)


# The command of the README, on real data


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder in which the command was typed once."""
    folder = tmp_path_factory.mktemp("swept")
    done = run_command(*SWEEP, "epochs=1", "hydra.sweep.dir=out", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_the_command_trains_the_grid_of_figures_1_to_4(swept):
    found = runs(swept / "out")
    assert [run.name.rsplit("-", 1)[0] for run in found] == sorted(
        f"{optimizer}-bs{size}-do0.2-ep1-seed0" for optimizer in ("adam", "sgd") for size in (100, 500, 1000)
    )
    for run in found:
        assert status(run) == "done"
        header, row = (run / "metrics.csv").read_text().splitlines()
        assert header == COLUMNS
        assert 0.3 < float(row.split(",")[-1]) < 0.95
        assert "model.dropout: 0.2" not in (run / ".hydra" / "overrides.yaml").read_text()
        assert "epochs: 1\n" in (run / ".hydra" / "config.yaml").read_text()
        assert (run / "predictions.npy").stat().st_size > 10_000
    assert sorted(path.name for path in swept.iterdir()) == ["out", "stderr"]
    assert "6 done" in (swept / "stderr").read_text()


def test_typed_again_it_says_that_all_is_done_and_trains_nothing(swept):
    before = {run.name: snapshot(run) for run in runs(swept / "out")}
    done = call(*SWEEP, INLINE, "epochs=1", "hydra.sweep.dir=out", cwd=swept)
    assert done.code == 0, done.err
    assert "6 done" in done.err
    assert {run.name: snapshot(run) for run in runs(swept / "out")} == before


# One run


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder in which one run was trained into a folder of the user's choice."""
    folder = tmp_path_factory.mktemp("alone")
    done = run_command(*QUICK, "hydra.run.dir=chosen", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_hydra_run_dir_moves_a_single_run(alone):
    assert sorted(path.name for path in alone.iterdir()) == ["chosen", "stderr", "stdout"]
    assert status(alone / "chosen") == "done"
    assert len((alone / "chosen" / "metrics.csv").read_text().splitlines()) == 2


def test_without_a_terminal_there_is_no_progress_bar(alone):
    shown = (alone / "stderr").read_text()
    lines = shown.splitlines()
    assert re.fullmatch(r"1 run, (adam-bs1000-do0.2-ep1-seed0-\w{8}); 1 epoch to train", lines[0])
    assert re.fullmatch(
        r"adam-\S+: done in \d+ s; validation loss 0\.\d{4}, accuracy 0\.\d{4}; see \S+/chosen", lines[1]
    )
    assert len(lines) == 2 and "\x1b" not in shown
    assert (alone / "stdout").read_text() == ""


def test_a_run_that_is_found_done_says_so_with_its_accuracy(alone):
    called = call(*QUICK, "hydra.run.dir=chosen", cwd=alone)
    assert called.code == 0 and called.out == ""
    assert re.fullmatch(
        r"adam-\S+: found done; validation loss 0\.\d{4}, accuracy 0\.\d{4}; see \S+/chosen\n", called.err
    )


@pytest.mark.parametrize("another", [("epochs=1", "seed=1"), ("epochs=3",), ("epochs=1", "seed=1", "rerun=true")])
def test_another_run_in_the_same_folder_is_refused_and_changes_nothing(alone, another):
    before = snapshot(alone / "chosen")
    hydra = (alone / "chosen" / ".hydra" / "overrides.yaml").read_text()
    called = call(*QUICK[1:], *another, "hydra.run.dir=chosen", cwd=alone)
    name = json.loads((alone / "chosen" / "run.json").read_text())["name"]
    refused(called, f"{alone / 'chosen'}: holds the run {name}; choose another folder with hydra.run.dir")
    assert snapshot(alone / "chosen") == before
    assert (alone / "chosen" / ".hydra" / "overrides.yaml").read_text() == hydra


def test_a_folder_of_the_users_own_keeps_its_files(tmp_path):
    own = ("requirements.txt", "results.csv", "package.json", "thesis.npy", "weights.pt", "notes.tmp", ".lock")
    for name in own:
        (tmp_path / name).write_text("the user's")
    done = call(*QUICK, "hydra.run.dir=.", "rerun=true", cwd=tmp_path)
    assert (done.code, status(tmp_path)) == (0, "done"), done.err
    assert {(tmp_path / name).read_text() for name in own} == {"the user's"}


@pytest.mark.parametrize("file", ["metrics.csv", "run.json", "checkpoint-10.pt"])
def test_files_of_another_program_under_our_names_are_left_alone(file, tmp_path):
    (tmp_path / file).write_text('{"loss": 1}\n')
    for arguments in [("hydra.run.dir=.", "rerun=true"), ("-m", "hydra.sweep.dir=.", "hydra.sweep.subdir=.")]:
        called = call(*arguments, *QUICK, cwd=tmp_path)
        refused(called, f"{tmp_path}: holds {file}, not known to be a run's; choose another folder with hydra.run.dir")
    assert (tmp_path / file).read_text() == '{"loss": 1}\n'
    assert left_behind(tmp_path) == [tmp_path / file]


def test_a_folder_with_the_name_of_another_run_is_refused_before_it_is_there(tmp_path):
    name = "adam-bs1000-do0.2-ep1-seed7-0123abcd"
    for arguments in [(f"hydra.run.dir=store/{name}",), ("-m", "hydra.sweep.dir=store", f"hydra.sweep.subdir={name}")]:
        called = call(*QUICK, *arguments, cwd=tmp_path)
        refused(
            called,
            f"{tmp_path / 'store' / name}: has the name of another run; choose another folder with hydra.run.dir",
        )
    assert not (tmp_path / "store" / name).exists()


@pytest.mark.parametrize(
    "how",
    [
        ("hydra.sweep.subdir=x",),
        ("hydra.sweep.subdir=.",),
        ("hydra.sweep.subdir=x", "dry_run=true"),
        ("hydra.sweep.subdir=x", "rerun=true"),
        ("hydra.sweep.subdir=x", "hydra/launcher=basic"),
        ("hydra.sweep.subdir=x", "hydra.sweeper.max_batch_size=1"),
        ("hydra.sweep.subdir='x/../${training.batch_size}'",),
    ],
)
def test_jobs_that_would_share_a_folder_are_refused_before_any_trains(how, tmp_path):
    called = call("-m", *QUICK, "seed=0,1", *how, cwd=tmp_path)
    refused(called, f"{tmp_path / 'multirun'}")
    assert ": would hold both adam-bs1000-do0.2-ep1-seed0-" in called.err and " and adam-" in called.err
    assert called.err.endswith("; add ${seed} to hydra.sweep.subdir, or leave that out\n")
    assert left_behind(tmp_path) == []


def test_jobs_with_folders_of_their_own_are_no_such_jobs(tmp_path):
    for subdir in ("'${hydra.job.num}'", "'s${seed}'"):
        for more in ((), ("hydra/launcher=basic",)):
            called = call("-m", *QUICK, "seed=0,1", f"hydra.sweep.subdir={subdir}", *more, "dry_run=true", cwd=tmp_path)
            assert called.code == 0, called.err
    # The same run asked for twice is one.
    called = call("-m", *QUICK, "optimizer.lr=0.01,1e-2", "hydra.sweep.subdir=x", "dry_run=true", cwd=tmp_path)
    assert called.code == 0, called.err


@pytest.mark.parametrize(
    ("how", "key"),
    [
        (("hydra.sweep.subdir=x", "seeds=1"), "model.dropout"),
        (("hydra.sweep.subdir='${model.dropout}'", "seeds=1", "rungs=[1,2]"), "training.epochs"),
        (("hydra.sweep.subdir='${model.dropout}'", "seeds=2"), "seed"),
    ],
)
def test_trials_that_would_share_a_folder_are_refused_before_any_trains(how, key, tmp_path):
    command = ("-m", "hydra/sweeper=search", "batch_size=1000", "dropout=0.1,0.2", "n_trials=2", "batch=1")
    called = call(*command, *how, cwd=tmp_path)
    refused(called, f"{tmp_path / 'multirun'}")
    assert ": would hold both adam-bs1000-do0.1-ep" in called.err and f"; add ${{{key}}} to" in called.err
    assert left_behind(tmp_path) == []


def test_results_of_another_program_are_not_overwritten_by_a_search(tmp_path):
    (tmp_path / "optimization_results.yaml").write_text("mine: 1\n")
    called = call("-m", "hydra/sweeper=search", "dropout=0.1,0.2", "hydra.sweep.dir=.", "n_trials=1", cwd=tmp_path)
    refused(called, "optimization_results.yaml: no search wrote it; move it away, or choose another folder with hydra.")
    assert left_behind(tmp_path) == [tmp_path / "optimization_results.yaml"]


# Hydra's own features


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder of the user's with an optimizer of a few lines."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "optimizer").mkdir()
    (folder / "optimizer" / "mine.yaml").write_text("name: Adagrad\nlr: 0.05\n")
    return folder


def test_another_launcher_trains_an_optimizer_of_the_users_own(own, tmp_path):
    done = call("-m", "--config-dir", str(own), "hydra/launcher=basic", "optimizer=mine,sgd", *QUICK, cwd=tmp_path)
    assert done.code == 0, done.err
    found = runs(tmp_path / "multirun")
    assert [run.name.rsplit("-", 1)[0] for run in found] == [
        "adagrad-bs1000-do0.2-ep1-seed0",
        "sgd-bs1000-do0.2-ep1-seed0",
    ]
    assert {status(run) for run in found} == {"done"}


@pytest.mark.parametrize("form", ["--config-dir={}", "hydra.searchpath=[file://{}]"])
def test_options_of_the_users_own_are_found(form, own, tmp_path):
    called = call(form.format(own), "optimizer=mine", "dry_run=true", "show=plan", cwd=tmp_path)
    assert planned(called) == ["adagrad-bs100-do0.2-ep30-seed0"]


def test_a_misspelt_option_of_the_users_own_is_found_too(own, tmp_path):
    called = call(f"--config-dir={own}", "optimizer=mien", cwd=tmp_path)
    refused(called, "optimizer=mien: must be one of adam, adamw, mine, rmsprop, sgd, sgd_momentum; did you mean mine?")


def test_arguments_of_an_optimizer_can_be_swept(tmp_path):
    called = call("-m", "optimizer.lr=0.1,0.01", "dry_run=true", "show=plan", cwd=tmp_path)
    assert planned(called) == ["adam-bs100-do0.2-ep30-seed0"] * 2
    called = call(
        "-m",
        "optimizer=sgd",
        "optimizer.momentum=0.5,0.9",
        "optimizer.lr=0.1",
        "dry_run=true",
        "show=plan",
        cwd=tmp_path,
    )
    assert planned(called) == ["sgd-bs100-do0.2-ep30-seed0"] * 2


@pytest.mark.parametrize("form", [("-m",), ("--multirun",), ("hydra.mode=MULTIRUN",)])
def test_a_sweep_can_be_asked_for_in_each_of_hydras_ways(form, tmp_path):
    called = call(*form, "batch_size=64,100", "seed=range(2)", "dry_run=true", "show=plan", cwd=tmp_path)
    assert planned(called) == sorted(f"adam-bs{size}-do0.2-ep30-seed{seed}" for size in (64, 100) for seed in (0, 1))


@pytest.mark.parametrize("form", [(), ("-m",)])
def test_a_dry_run_leaves_nothing_behind(form, tmp_path):
    called = call(*form, "batch_size=64", "epochs=5", "dry_run=true", "show=plan", cwd=tmp_path)
    assert planned(called) == ["adam-bs64-do0.2-ep5-seed0"]
    assert "5 epochs to train" in called.out and called.err == ""
    assert left_behind(tmp_path) == []


def test_a_file_may_choose_launcher_and_sweeper(tmp_path):
    (tmp_path / "experiment").mkdir()
    defaults = "defaults: [override /hydra/launcher: basic, override /hydra/sweeper: basic]"
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{defaults}\n")
    for part in ("launcher", "sweeper"):
        usual = call("--cfg=hydra", f"--package=hydra.{part}", cwd=tmp_path).out
        chosen = call("--cfg=hydra", f"--package=hydra.{part}", "--config-dir=.", "+experiment=mine", cwd=tmp_path).out
        typed = ["hydra/launcher=stacked", "hydra/sweeper=grids"]
        wins = call(
            "--cfg=hydra", f"--package=hydra.{part}", "--config-dir=.", "+experiment=mine", *typed, cwd=tmp_path
        )
        assert f"_target_: hydra._internal.core_plugins.basic_{part}.Basic{part.title()}" in chosen
        assert wins.out == usual != chosen


RESOLVED = [
    ("data.dir=${hydra:runtime.cwd}/d", ()),
    ("data.dir=${hydra:runtime.cwd}/d", ("-m", "seed=0,1")),
    ("data.dir=${hydra:runtime.cwd}/d", ("-m", "seed=0,1", "hydra/launcher=basic")),
    ("hydra.sweep.dir=${hydra:runtime.cwd}/d", ("-m", "seed=0,1")),
    ("hydra.sweep.subdir=d_${hydra:job.num}", ("-m", "seed=0,1")),
    ("seed=${hydra:job.num}", ("-m", "dropout=0,0.1", "hydra/launcher=basic")),
]


@pytest.mark.parametrize(("argument", "others"), RESOLVED)
def test_hydras_resolver_is_known_in_every_setting(argument, others, tmp_path):
    called = call(argument, *others, "dry_run=true", "show=plan", cwd=tmp_path)
    assert len(planned(called)) == (2 if others else 1)


def test_a_sweeps_folder_may_be_what_hydra_resolves(tmp_path):
    done = call("-m", INLINE, "hydra.sweep.dir=${hydra:runtime.cwd}/x", *QUICK, "seed=0,1", cwd=tmp_path)
    assert done.code == 0, done.err
    assert len(runs(tmp_path / "x")) == 2
    assert (tmp_path / "x" / "multirun.yaml").exists()


def test_overrides_may_follow_options(tmp_path):
    called = call("dry_run=true", "show=plan", "-m", "epochs=5", "--config-dir=.", "seed=0,1", cwd=tmp_path)
    assert planned(called) == [f"adam-bs100-do0.2-ep5-seed{seed}" for seed in (0, 1)]


def test_the_version_is_the_projects(tmp_path):
    called = call("--version", cwd=tmp_path)
    assert called.code == 0
    assert called.out.startswith(f"fmnist_sweep {metadata.version('fmnist-sweep')} (Hydra 1.3.")


@pytest.mark.parametrize(
    "launcher",
    [
        ("basic",),
        ("joblib", "hydra.launcher.n_jobs=1"),  # in this process
        pytest.param(("joblib",), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_failed_run_is_named_with_its_reason_by_any_launcher(launcher, tmp_path):
    name, *settings = launcher
    typed = ["-m", f"hydra/launcher={name}", *settings, "optimizer=sgd", "optimizer.lr=0.1,1e9", *QUICK]
    if launcher == ("joblib",):  # its processes stay up and keep the folder of the command that started them
        process = run_command(*typed, cwd=tmp_path)
        done = Called(process.returncode, process.stdout, process.stderr)
    else:
        done = call(*typed, cwd=tmp_path)
    (bad,) = [run for run in runs(tmp_path / "multirun") if status(run) == "diverged"]
    said = f"1 of 2 runs did not end well: {bad.name} diverged: the loss is not finite after epoch 1"
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(f"fmnist_sweep: {said}")


def test_cfg_prints_the_configuration(tmp_path):
    called = call("--cfg", "job", "optimizer=sgd", "batch_size=500", "epochs=5", "dropout=0.5", cwd=tmp_path)
    assert (called.code, called.err) == (0, "")
    assert "optimizer:\n  name: SGD\n  lr: 0.01\ntraining:\n  batch_size: 500\n  epochs: 5\n" in called.out
    assert "  dropout: 0.5\n" in called.out
    assert left_behind(tmp_path) == []


def test_cfg_of_one_package_prints_it(tmp_path):
    called = call("--cfg", "job", "--package", "optimizer", "optimizer=rmsprop", cwd=tmp_path)
    assert called.out == "# @package optimizer\nname: RMSprop\nlr: 0.001\n"


def test_info_says_where_the_configuration_comes_from(tmp_path):
    called = call("--info", "config", "batch_size=500", cwd=tmp_path)
    assert (called.code, called.err) == (0, "")
    assert "batch_size/500" in called.out and "hydra/launcher/stacked" in called.out
    assert "batch_size: 500" in call("--info", "defaults-tree", "batch_size=500", cwd=tmp_path).out


def test_help_explains_groups_options_and_examples(tmp_path):
    done = call("--help", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    for line in (
        "optimizer: adam, adamw, rmsprop, sgd, sgd_momentum",
        "batch_size: 100, 1000, 500",
        "dropout: 0.05, 0.2",
        "epochs: 100, 30",
        "figure: fig1, fig2, fig3, fig4, fig5, grid, paper",
        "paper: bordone2025, caprari2024, chaudhary2021, oren2026",
        "  python -m fmnist_sweep -m optimizer=adam,sgd batch_size=100,500,1000",
        "  python -m fmnist_sweep batch_size=64 dropout=0.5 epochs=5    any number will do",
        "  batch_size=100                      images in a batch",
        "  model.hidden=[128,64]               units of each hidden layer; []: softmax regression",
        "  data.split.take=last                which ones: last | first | random",
        "  tracker.wandb.project=fmnist_sweep  which the runs go to",
        '  eval "$(fmnist-sweep -sc install=bash)"',
    ):
        assert line in done.out.splitlines()
    assert max(map(len, done.out.splitlines())) <= 120
    assert left_behind(tmp_path) == []


def test_help_explains_every_key_setting_and_command(tmp_path):
    shown = call("--help", cwd=tmp_path).out
    short = {"training.batch_size": "batch_size", "training.epochs": "epochs", "model.dropout": "dropout"}
    for key in {*KEYS, "optimizer.schedule.name", "optimizer.decay"} - {"optimizer"}:
        assert re.search(rf"^  {re.escape(short.get(key, key))}=\S+\s+\S", shown, re.MULTILINE), key
    for settings in (SearchSweeperConf, SettlingSweeperConf):
        for setting in fields(settings):
            hidden = setting.name.startswith("_") or setting.name in ("grids", "paper")
            assert hidden or re.search(rf"^  {setting.name}=\S+ +\S", shown, re.MULTILINE), setting.name
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", shown, re.MULTILINE), name


@pytest.mark.slow
def test_every_example_in_the_help_works(tmp_path):
    text = call("--help", cwd=tmp_path).out
    lines = [line.split("python -m fmnist_sweep")[1] for line in text.splitlines() if line.startswith("  python -m")]
    assert len(lines) >= 6
    for line in lines:
        words = line.split("   ")[0].split()
        assert planned(
            call(*words, "show=plan", *(["dry_run=true"] if "dry_run=true" not in words else []), cwd=tmp_path)
        )


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("fmnist-sweep optimizer=", "optimizer=adam optimizer=adamw optimizer=rmsprop optimizer=sgd optimizer=sgd_mom"),
        ("fmnist-sweep -m optimizer=r", "optimizer=rmsprop"),
        ("fmnist-sweep batch_size=1", "batch_size=100 batch_size=1000"),
        ("fmnist-sweep figure=p", "figure=paper"),
        ("fmnist-sweep paper=c", "paper=caprari2024 paper=chaudhary2021"),
        ("fmnist-sweep paper=bordone2025 figure=exp", "figure=exp1 figure=exp2"),
        ("fmnist-sweep data.val", "data.validation="),
        ("fmnist-sweep optimizer=sgd_momentum optimizer.", "optimizer.lr= optimizer.momentum= optimizer.name="),
        ("fmnist-sweep hydra/launcher=st", "hydra/launcher=stacked"),
        ("fmnist-sweep batch_size=100 dropo", "dropout="),
        ("fmnist-sweep -m batch_size=64,100 epochs=5 figure=g", "figure=grid"),
    ],
)
def test_tab_completes_groups_options_and_keys(line, choices, tmp_path, monkeypatch):
    monkeypatch.setenv("COMP_LINE", line)
    called = call("-sc", "query=bash", cwd=tmp_path)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith(choices)


def test_a_python_without_the_packages_names_the_environment():
    bare = [sys.executable, "-S", "-m", "fmnist_sweep", "-m"]  # -S: nothing that is installed is found
    done = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "run `. .venv/bin/activate` first, or make setup" in done.stderr


def test_a_traceback_is_there_for_those_who_want_it(tmp_path):
    done = run_command("dropout=1.5", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "dropout=1.5" in done.stderr


# Bad input: one line that names the value, what is allowed and what to do; nothing is left behind


def left_behind(folder):
    """List a folder, apart from an empty store."""
    return [path for path in folder.rglob("*") if path != folder / "multirun"]


def refused(called, message):
    """Assert that a call ended with one line on stderr that starts like this."""
    assert called.code == 2
    assert called.err.startswith(f"fmnist_sweep: {message}"), called.err
    assert called.err.count("\n") == 1 and called.err.endswith("\n")
    assert called.out == ""


BAD = [
    ("optmizer=adam", "optmizer=adam: there is no optmizer; --help lists all keys; did you mean optimizer?"),
    ("+model.depth=3", "model.depth: there is no such key; did you mean model.dropout?"),
    ("+widths=[3]", "+widths=[3]: there is no widths"),
    ("dropout=1.5", "dropout=1.5: must be a number from 0 to less than 1, or a list"),
    ("dropout=1", "dropout=1: must be a number from 0 to less than 1"),
    ("dropout=-0.1", "dropout=-0.1: must be a number from 0 to less than 1"),
    ("dropout=nan", "dropout=nan: must be a number from 0 to less than 1"),
    ("epochs=0", "epochs=0: must be greater than or equal to 1"),
    ("epochs=1.5", "epochs=1.5: must be a whole number"),
    ("batch_size=0", "batch_size=0: must be greater than or equal to 1"),
    ("batch_size=70000", "batch_size=70000: must be from 1 to 60000"),
    ("optimizer=adm", "optimizer=adm: must be one of adam, adamw, rmsprop, sgd, sgd_momentum; did you mean adam?"),
    ("optimizer.lr=-1", "optimizer.lr=-1: must be a number above 0, such as 0.01"),
    ("optimizer.momentum=0.9", "optimizer.momentum=0.9: Adam does not take it; it takes lr, betas, eps, weight_decay"),
    ("optimizer.name=LBFGS", "optimizer.name=LBFGS: its step needs a closure, which this training does not give"),
    ("model.hidden=[0]", "model.hidden.0=0: must be greater than or equal to 1"),
    ("model.activation=swish", "model.activation=swish: must be one of relu, tanh, sigmoid, leaky_relu"),
    ("data.shuffle=sometimes", "data.shuffle=sometimes: must be true or false"),
    ("data.split.size=half", "data.split.size=half: must be a whole number of images from 1 to 59999, or a fraction"),
    ("optimizer.schedule=cosin", "optimizer.schedule.name=cosin: must be one of constant, step, multistep"),
    ("model.hidden=128", "model.hidden=128: must be a list, such as [128,64]"),
    ("model.hidden=[1.5]", "model.hidden=[1.5]: must be a whole number"),
    ("seed=-1", "seed=-1: must be greater than or equal to 0"),
    ("seed=x", "seed=x: must be a whole number"),
    ("device=gpu", "device=gpu: must be one of auto, cpu, cuda, mps; did you mean cpu?"),
    ("data.validation=hold", "data.validation=hold: must be one of test, holdout, split; did you mean holdout?"),
    ("data.std=0", "data.std=0: must be a finite number above 0"),
    ("data.mean=grey", "data.mean=grey: must be a finite number, train or pixel"),
    ("workers=0", "workers=0: must be greater than or equal to 1"),
    ("rerun=maybe", "rerun=maybe: must be true or false"),
    ("retry=all", "retry=all: must be one of null, failed"),
    ("show=run", "show=run: must be one of null, runs, plan; did you mean runs?"),
    ("paper=capari2024", "paper=capari2024: must be one of bordone2025, caprari2024, "),
    ("paper=caprari2024,bordone2025", "paper=caprari2024,bordone2025: one paper at a time; choose one of bordone2025,"),
    ("+paper=caprari2024", "+paper=caprari2024: a paper is chosen on the command line alone"),
    ("hydra/launcher=slurm", "In 'hydra/config': Could not find 'hydra/launcher/slurm'; must be one of basic, "),
    ("hydra.sweep.dri=x", "Could not override 'hydra.sweep.dri'"),
    (
        "optimizer.lr=0,001",
        "optimizer.lr=0,001: several values make a sweep: add -m; a decimal number is written with a point",
    ),
    ("batch_size=64,128", "batch_size=64,128: several values make a sweep: add -m"),
    ("optimizer=adam,sgd", "optimizer=adam,sgd: several values make a sweep: add -m"),
    ("batch_size", "batch_size: overrides are written key=value"),
    ("hydra.searchpath=null", "hydra.searchpath=null: must be a list of folders that are there, as in [file:///"),
    ("hydra.searchpath=[nowhere]", "hydra.searchpath=[nowhere]: must be a list of folders that are there"),
    ("data.dir=${oc.env:NOPE}", "data.dir: the environment variable NOPE is not set"),
    ("hydra.run.dir=${oc.env:NOPE}", "hydra.run.dir: the environment variable NOPE is not set\n"),
    (
        "hydra.run.dir=x_${hydra.job.num}",
        "hydra.run.dir: refers to hydra.job.num, which has no value there; a job of a",
    ),
    ("hydra.job.name=a/b", ""),
    ("--config-dir=/no/where", "Additional config directory '/no/where' not found"),
]


@pytest.mark.parametrize(("argument", "message"), BAD, ids=[argument for argument, _ in BAD])
def test_bad_input_is_refused_in_one_line(argument, message, tmp_path):
    refused(call(argument, cwd=tmp_path), message)
    assert left_behind(tmp_path) == []


def test_a_job_that_hydra_could_not_prepare_is_refused_in_a_dry_run_too(tmp_path):
    for arguments in ([], ["-m"], ["-m", "hydra/launcher=basic"]):
        called = call(*arguments, "hydra.job.name=a/b", "dry_run=true", cwd=tmp_path)
        refused(called, str(tmp_path / "multirun" / "adam-bs100-do0.2-ep30-seed0-"))
        assert "a/b.log: this log file's folder is not there; make it, or change hydra.job.name" in called.err
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# @package _global_\nseed: 1\n  a: [", "{file}, line 3: not YAML: mapping values are not allowed here"),
        (
            "# @package _global_\nepochs: 3",
            "In 'experiment/mine': epochs: there is no such key; did you mean training.ep",
        ),
        ("# @package _global_\nseed: many", "In 'experiment/mine': seed: must be a whole number\n"),
        (
            "seed: 3",
            "In 'experiment/mine': experiment: there is no such key; a file that sets keys of the first level ",
        ),
        (
            "# @package _global_\ndefaults:\n  - override /batch_size: 500",
            "a number among the defaults of a file: quote it, as in - override /batch_size: '500'\n",
        ),
        (
            "# @package _global_\ndefaults:\n  - override /batch_size: '64'",
            "In 'config': Could not find 'batch_size/64'; must be one of 100, 1000, 500\n",
        ),
    ],
)
def test_a_mistake_in_a_file_of_the_users_is_refused_in_one_line(text, message, tmp_path):
    file = tmp_path / "own" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    refused(call(f"--config-dir={tmp_path / 'own'}", "+experiment=mine", cwd=tmp_path), message.format(file=file))


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    message = f"device={kind}: this machine has none that torch can use; take device=auto or one of: cpu"
    refused(call(f"device={kind}", cwd=tmp_path), message)
    refused(call("-m", f"device={kind}", "seed=0,1", cwd=tmp_path), message)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("batch_size=100,70000", "batch_size=70000: must be from 1 to 60000"),
        ("dropout=0.2,1", "dropout=1: must be a number from 0 to less than 1"),
        ("seed=0,-1", "seed=-1: must be greater than or equal to 0"),
        ("optimizer.momentum=0.9,0.5", "optimizer.momentum=0.9: Adam does not take it"),
        ("model.hidden=[128],[0]", "model.hidden.0=0: must be greater than or equal to 1"),
        ("device=gpu", "device=gpu: must be one of auto, cpu, cuda, mps"),
        ("workers=0", "workers=0: must be greater than or equal to 1"),
        (
            "hydra.sweep.dir=x_${hydra.job.num}",
            "hydra.sweep.dir: refers to hydra.job.num, which has no value there; a job",
        ),
        ("hydra.sweeper.max_batch_size=-2", "hydra.sweeper.max_batch_size=-2: must be at least 1"),
        ("dropout=interval(0,1)", "dropout=interval(0,1): an interval has no single values"),
    ],
)
def test_a_sweep_with_one_bad_value_is_refused_before_anything_trains(argument, message, tmp_path):
    refused(call("-m", "epochs=1", argument, cwd=tmp_path), message)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("launcher", "place", "values"),
    [
        *(("stacked", "typed", values) for values in ("workers=1,2", "rerun=true,false", "retry=null,failed")),
        ("stacked", "grids: [{%s}]", "dry_run=true,false"),
        ("stacked", "params: {%s}", "workers=1,2"),
        ("basic", "typed", "dry_run=true,false"),
        ("basic", "grids: [{%s}]", "workers=1,2"),
        ("basic", "params: {%s}", "retry=null,failed"),
    ],
)
def test_what_holds_for_a_whole_sweep_cannot_be_swept(launcher, values, place, tmp_path):
    key, _, several = values.partition("=")
    (tmp_path / "own" / "figure").mkdir(parents=True)
    sweeper = place % f"{key}: '{several}'" if place != "typed" else ""
    (tmp_path / "own" / "figure" / "mine.yaml").write_text(f"{{{sweeper}}}\n")
    typed = [values] if place == "typed" else ["figure=mine"]
    called = call("-m", f"hydra/launcher={launcher}", *typed, f"--config-dir={tmp_path / 'own'}", cwd=tmp_path)
    refused(called, f"{values}: must be the same for all runs of a sweep; give one value")
    assert not (tmp_path / "multirun").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["max_failures=0"], "max_failures=0: must be "),
        (["max_failures=1,2"], "max_failures=1,2: must be the same for all runs of a sweep; give one value"),
        (["max_failures=1", "hydra/launcher=basic"], "max_failures=1: only the launchers stacked* count failures"),
    ],
)
def test_a_number_of_failures_that_cannot_be_counted_is_refused(arguments, message, tmp_path):
    refused(call("-m", "seed=0,1", *arguments, cwd=tmp_path), message)
    assert left_behind(tmp_path) == []


def test_a_sweep_with_another_launcher_is_checked_as_well(tmp_path):
    called = call("-m", "hydra/launcher=basic", "epochs=1", "batch_size=100,70000", cwd=tmp_path)
    refused(called, "batch_size=70000: must be from 1 to 60000")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("argument", ["dropout=1.5", "device=gpu", "optimizer.lr=nan"])
def test_a_folder_of_the_users_choice_is_not_made_for_bad_input(argument, tmp_path):
    refused(call("hydra.run.dir=chosen", argument, cwd=tmp_path), argument)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("arguments", [("dropout=1.5",), ("-m", "dropout=1.5,0.2")])
def test_bad_input_is_refused_in_a_process_of_its_own(arguments, tmp_path):
    done = run_command(*arguments, cwd=tmp_path)
    message = arguments[-1].partition(",")[0]
    refused(Called(done.returncode, done.stdout, done.stderr), f"{message}: must be ")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("place", ["/proc/nowhere", "a-file", "a-file/below"])
@pytest.mark.parametrize("arguments", [("hydra.sweep.dir={}",), ("-m", "seed=0,1", "hydra.sweep.dir={}")])
def test_a_folder_that_cannot_be_made_is_refused(place, arguments, tmp_path):
    (tmp_path / "a-file").write_text("")
    called = call(*(argument.format(place) for argument in arguments), "epochs=1", cwd=tmp_path)
    refused(called, "")
    assert place in called.err.partition(": ")[2]
    assert "; choose another folder with hydra." in called.err
    assert left_behind(tmp_path) == [tmp_path / "a-file"]


@pytest.mark.parametrize("arguments", [(), ("hydra.run.dir=chosen",), ("-m", "seed=0,1")])
def test_damaged_data_are_refused(arguments, tmp_path):
    damaged = [tmp_path / "data" / name for name in data.FILES]
    for path in (damaged[0].parent, tmp_path / "work"):
        path.mkdir()
    for path in damaged:
        path.touch()
    called = call(*arguments, "epochs=1", f"data.dir={tmp_path / 'data'}", cwd=tmp_path / "work")
    refused(called, f"{damaged[0]} is not Fashion-MNIST's {damaged[0].name}: expected")
    assert data.CHECKSUMS[damaged[0].name] in called.err
    assert left_behind(tmp_path / "work") == []


def test_where_no_data_can_be_had_the_manual_steps_are_all_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(data, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", [])
    called = call("epochs=1", cwd=tmp_path)
    assert called.code == 2
    assert "sudo apt-get install dataset-fashion-mnist" in called.err
    assert all(name in called.err for name in data.FILES)
    assert "Traceback" not in called.err
    assert not (tmp_path / "multirun").exists() or left_behind(tmp_path / "multirun") == []
