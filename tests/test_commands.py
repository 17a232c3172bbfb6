"""Type the subcommands as users do, on made-up runs."""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import pytest
from command import Called, call, captured
from made_up_runs import write_run

from fmnist_sweep import commands
from fmnist_sweep.commands.again import overrides
from fmnist_sweep.config.compose import Composer, name_of, register
from fmnist_sweep.config.hydra_private import config_loader, master
from fmnist_sweep.config.overrides import rewrite
from fmnist_sweep.config.schema import Config, DataConfig, Execution, LossConfig, ModelConfig, SplitConfig
from fmnist_sweep.store import run_directory
from fmnist_sweep.store.layout import read_record


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a sweep: two batch sizes, three seeds, and a learning rate that diverged."""
    for seed in (0, 1, 2):
        for size in (100, 500):
            write_run(tmp_path / "multirun", batch_size=size, seed=seed, optimizer="sgd")
    wild = {"optimizer_args": {"lr": 1e30}, "status": "diverged", "error": "not finite", "epochs_done": 1}
    write_run(tmp_path / "multirun", optimizer="sgd", seed=0, **wild)
    return tmp_path


def run(*arguments: str, cwd: Path) -> Called:
    return captured(lambda: commands.main(arguments[0], arguments[1:]), cwd)


def test_ls_lists_configurations_the_best_first_and_what_failed_last(work: Path) -> None:
    called = run("ls", cwd=work)
    assert (called.code, called.err) == (0, "")
    header, *rows, last = called.out.splitlines()
    assert header.split() == ["optimizer.lr", "batch_size", "runs", "val_loss", "val_accuracy"]
    assert [row.split()[:4] for row in rows] == [
        ["best", "0.01", "100", "3"],
        ["2", "0.01", "500", "3"],
        ["1e+30", "100", "1", "diverged"],
    ]
    assert rows[0].count(" ± ") == 2
    assert last == "7 runs in multirun: 6 done, 1 diverged"
    assert len(run("ls", "--top", "1", cwd=work).out.splitlines()) == 3


def test_ls_lists_runs_and_what_is_no_run(work: Path) -> None:
    (work / "multirun" / "notes").mkdir()
    called = run("ls", "multirun", "--runs", cwd=work)
    names = sorted(path.name for path in (work / "multirun").iterdir() if path.name != "notes")
    assert [line.split()[0] for line in called.out.splitlines()[1:-1]] == names
    assert called.out.endswith("7 runs in multirun: 6 done, 1 diverged, 1 not a run\n")


def test_best_says_how_to_train_it_again(work: Path) -> None:
    called = run("best", cwd=work)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith(
        "best of 3 configurations in multirun, by validation accuracy (mean ± sd of 3 seeds)\n"
    )
    assert "  batch_size: 100\n" in called.out
    line = called.out.splitlines()[-1].strip()
    typed = "-m optimizer=sgd batch_size=100 dropout=0.2 epochs=30 seed=0,1,2"
    assert line == f"python -m fmnist_sweep {typed}"
    found = call(*typed.split(), "dry_run=true", cwd=work)
    assert found.out == "3 runs = 1 configuration x 3 seeds; 3 done\n"


@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": {"name": "SGD"}},
        {"optimizer": {"name": "SGD", "lr": 0.01, "momentum": 0.9, "nesterov": True}},
        {"optimizer": {"name": "Adamax", "lr": 0.002, "betas": [0.8, 0.9]}},
        {"optimizer": {"name": "Adam", "lr": 0.01, "schedule": {"name": "step", "every": 7, "factor": 0.2}}},
        {"model": ModelConfig([], 0.0)},
        {
            "model": ModelConfig(
                hidden=[8, 4],
                dropout=[0.1, 0.3],
                activation=["relu", "tanh"],
                init="normal",
                init_std=0.03,
                bias_init="zeros",
                norm="batch",
                input_dropout=0.1,
            )
        },
        {
            "data": DataConfig(
                validation="split",
                mean="train",
                std="pixel",
                split=SplitConfig(0.1, "random", 3),
                train_size=1000,
                shuffle=False,
            )
        },
        {"loss": LossConfig("mse_logits"), "seed": 5},
    ],
    ids=str,
)
def test_the_written_command_gives_the_same_run(changed: dict[str, Any], tmp_path: Path) -> None:
    config: Config = replace(read_record(write_run(tmp_path)).config, **changed)
    register()
    loader = config_loader(None)
    again = Composer(loader, master(loader)).config(rewrite([*overrides(config), f"seed={config.seed}"], loader))
    assert name_of(again, Execution()) == name_of(config, Execution())


def test_show_tells_everything_about_a_run(work: Path) -> None:
    (name,) = (path.name for path in (work / "multirun").glob("*bs500*seed1*"))
    called = run("show", name[-8:], cwd=work)
    assert (called.code, called.err) == (0, "")
    for line in (
        f"{name}: done, 30 of 30 epochs, 21 s of training",
        "  val_accuracy: 0.",
        "  batch_size: 500",
        "  run.json: ",
    ):
        assert line in called.out
    assert called.out == run("show", f"multirun/{name}", cwd=work).out
    assert "model.init" not in called.out  # a default


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "sgd-bs100"], "sgd-bs100: 4 runs in multirun have this in their names; give more, as sgd-bs100-"),
        (
            ["show", "sgd-bs100-do0.2-ep30-seed9"],
            "sgd-bs100-do0.2-ep30-seed9: there is no such run; did you mean sgd-bs",
        ),
        (["ls", "nowhere"], "cannot read nowhere: No such file or directory; give the folder of a sweep"),
        (["best", "."], "no runs in .; give the folder of a sweep, or run one first"),
        (["verdicts"], "report: no verdicts there"),
        (
            ["reprot"],
            "fmnist_sweep: reprot: overrides are written key=value, and commands are ls, best, show, rm, report,",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], says: str, work: Path) -> None:
    called = run(*arguments, cwd=work)
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith(says) and called.err.count("\n") == 1


def test_a_mistyped_command_gets_the_nearest_name(tmp_path: Path) -> None:
    assert call("reprot", cwd=tmp_path).err.endswith("; did you mean report?\n")
    assert call("ls", "--help", cwd=tmp_path).out.startswith("usage: python -m fmnist_sweep ls ")


def test_a_command_calls_itself_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/fmnist-sweep", "report", "--help"])
    assert run("report", "--help", cwd=tmp_path).out.startswith("usage: fmnist-sweep report ")


# Removing


def left(work: Path) -> list[str]:
    return sorted(
        str(path.relative_to(work)) for path in work.rglob("*") if path.is_file() and ".locks" not in path.parts
    )


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def whole(run: Path) -> Path:
    """Add what Hydra and TensorBoard leave in a run's directory."""
    (run / ".hydra").mkdir()
    for name in (".hydra/config.yaml", ".hydra/overrides.yaml", "run.log", "events.out.tfevents.123.fmnist_sweep"):
        (run / name).touch()
    return run


def test_rm_removes_runs_after_a_question(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = map(whole, sorted((work / "multirun").iterdir()))
    before = left(work)
    answer(monkeypatch, "n\n")
    assert run("rm", first.name, cwd=work).code == 1
    answer(monkeypatch, "")
    assert run("rm", first.name, cwd=work).err == "nobody answered; add --yes to remove without a question\n"
    assert left(work) == before
    answer(monkeypatch, "y\n")
    called = run("rm", first.name, f"multirun/{second.name}/", first.name, cwd=work)
    assert called.code == 0 and called.out.endswith("removed 2 runs\n") and str(first) in called.out
    gone = (first.name, second.name)
    assert left(work) == [path for path in before if path.split("/")[1] not in gone]
    assert not first.exists() and not second.exists()


FOREIGN = [
    "thesis.npy",
    "metrics.csv.bak",
    ".hydra/notes.txt",
    "events.out.tfevents.1.other",
    "figures/a.png",
    "Run.json",
]


@pytest.mark.parametrize("file", FOREIGN)
def test_rm_leaves_a_directory_with_a_file_of_the_users_alone(file: str, work: Path) -> None:
    one, other, *_ = map(whole, sorted((work / "multirun").iterdir()))
    (one / file).parent.mkdir(exist_ok=True)
    (one / file).write_text("the user's")
    before = left(work)
    called = run("rm", "--yes", other.name, one.name, cwd=work)
    assert called.code == 2 and called.out == ""
    assert called.err.startswith(f"{one}: holds {file.split('/')[0]}, which no run writes; nothing was removed")
    assert left(work) == before


def test_rm_follows_no_link(work: Path) -> None:
    one, other, third, *_ = sorted((work / "multirun").iterdir())
    (work / "own").mkdir()
    for name in ("predictions.npy", "config.yaml"):
        (work / "own" / name).write_text("the user's")
    (one / "predictions.npy").symlink_to(work / "own" / "predictions.npy")
    (other / ".hydra").symlink_to(work / "own")
    (third / ".hydra").mkdir()
    (third / ".hydra" / "config.yaml").symlink_to(work / "own" / "config.yaml")
    (work / "linked").symlink_to(other)
    before = left(work)
    for directory in (one, other, third):
        assert "which no run writes" in run("rm", "--yes", directory.name, cwd=work).err
    (work / "own" / "predictions.npy").rename(work / "predictions.npy")  # the folder could now be Hydra's
    assert "which no run writes" in run("rm", "--yes", other.name, cwd=work).err
    assert "is not the directory of a run" in run("rm", "--yes", "linked", cwd=work).err
    (work / "predictions.npy").rename(work / "own" / "predictions.npy")
    assert left(work) == before


def test_rm_refuses_what_is_not_known_to_be_a_run(work: Path) -> None:
    one = next(iter(sorted((work / "multirun").iterdir())))
    (one / "run.json").write_text('{"status": "done"}')
    (work / "own").mkdir()
    (work / "own" / "metrics.csv").write_text("a,b\n")
    before = left(work)
    for given in (str(one), "own", ".", "multirun", "/", "own/metrics.csv", "nothing"):
        called = run("rm", "--yes", given, cwd=work)
        assert called.code == 2 and called.err.count("\n") == 1, given
    assert left(work) == before


def test_rm_refuses_a_run_in_training(work: Path) -> None:
    one = next(iter(sorted((work / "multirun").iterdir())))
    with run_directory.lock(one, one.name):
        called = run("rm", "--yes", one.name, cwd=work)
    assert called.err == f"{one}: is being trained; nothing was removed\n"
    lease = run_directory.lock(one, one.name, "lease")
    assert isinstance(lease, filelock.SoftFileLease)
    with lease:
        assert "is being trained" in run("rm", "--yes", one.name, cwd=work).err
    assert one.exists()
    assert run("rm", "--yes", one.name, cwd=work).code == 0


def test_a_run_in_a_folder_of_the_users_choice_can_be_removed(work: Path) -> None:
    chosen = work / "chosen"
    shutil.move(str(next(iter(sorted((work / "multirun").iterdir())))), chosen)
    (chosen / ".fmnist_sweep.lock").touch()
    assert run("rm", "--yes", "chosen", cwd=work).code == 0
    assert not chosen.exists()


def test_verdicts_are_counted_and_those_that_fail_are_named(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    rows = ["1a,Loss ends low.,0.3,0.31,reproduced", "1b,It climbs.,0.9,0.8123456,not reproduced", "2,More.,,,not run"]
    text = "figure,statement_en,expected,measured,verdict\n" + "\n".join(rows) + "\n"
    (tmp_path / "report" / "claims.csv").write_text(text)
    assert run("verdicts", "report", "--figure", "fig1", cwd=tmp_path).out == (
        "fig1: 2 statements: 1 reproduced, 1 not reproduced\n"
        "  not reproduced: It climbs (measured 0.8123)\n"
        "open report/index.html\n"
    )
    assert run("verdicts", cwd=tmp_path).out.startswith("3 statements: 1 reproduced, 1 not reproduced, 1 open\n")
    assert run("verdicts", "--figure", "fig7", cwd=tmp_path).out == "fig7: 0 statements\nopen report/index.html\n"
