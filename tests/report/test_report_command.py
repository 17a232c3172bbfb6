"""`python -m fmnist_sweep.report`: what it writes, prints and returns."""

import csv
import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from made_up_runs import write_grid, write_run
from page_stores import PAPER, guesses, write_fashion

from fmnist_sweep import papers
from fmnist_sweep.report.__main__ import main
from fmnist_sweep.report.comparisons import comparison_tables
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect

COMPARISONS = ["curves-by-optimizer", "curves-by-batch-size", "curves-by-dropout", "final-values"]
COMPARISONS += ["generalisation-gap", "convergence-speed", "main-effects", "interaction-effects"]
FIGURES = [*PAPER.figures, *COMPARISONS, "confusion-matrix", "frequent-mistakes", "verdicts"]
TABLES = ["results.csv", "summary.csv", "claims.csv", "claims.json", "index.html"]


@pytest.fixture(autouse=True)
def no_fashion(tmp_path, monkeypatch):
    """A cache without Fashion-MNIST."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))


def report(*arguments, capsys):
    """The exit code of the command and the lines that it says on standard output and standard error."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        code = exit_.code
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


@pytest.mark.slow
def test_a_whole_grid_gives_every_figure_and_table(tmp_path):
    labels = write_fashion(tmp_path / "fashion")
    write_grid(tmp_path / "multirun", seeds=(0, 1), predictions=guesses(labels, 0))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "fmnist_sweep.report", "--data", "fashion"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    files = {
        name: [f"{name}.{end}" for end in ("png", "pdf", "csv")[: 3 if name in COMPARISONS else 2]] for name in FIGURES
    }
    drawn = {file for each in files.values() for file in each}
    assert {path.name for path in (tmp_path / "report").iterdir()} == drawn | set(TABLES)
    assert done.stdout.splitlines() == [
        "48 runs in multirun, 48 of them done",
        *(f"wrote {', '.join(f'report/{file}' for file in each)}" for each in files.values()),
        *(f"wrote report/{name}" for name in TABLES),
        "no verdict yet: 23 of 57 claims are numbers that one run gave and take 5 seeds: "
        "seed=0,1,2,3,4, or make figures PAPER=caprari2024 SEEDS=0,1,2,3,4",
    ]


def test_numbers_behind_a_comparison_are_written_whole(tmp_path, capsys):
    for size, dropout, seed in product((100, 500), (0.05, 0.2), (0, 1)):
        write_run(tmp_path / "runs", batch_size=size, dropout=dropout, epochs=2, seed=seed)
    of = ("--paper", papers.DEFAULT)
    assert report(tmp_path / "runs", *of, "--output", tmp_path / "out", capsys=capsys)[0] == 0
    collection = collect(tmp_path / "runs", PAPER.covers)
    tables = comparison_tables(PAPER, collection, Curves(collection))
    assert len(tables) == 7
    for name, table in tables.items():
        with open(tmp_path / "out" / f"{name}.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row, written in zip(table.to_dict("records"), rows, strict=True):
            for key, value in row.items():
                assert written[key] == (value if isinstance(value, str) else json.dumps(value).replace("NaN", "nan"))


def test_results_hold_the_text_of_the_run_directories(tmp_path, capsys):
    store, output = tmp_path / "runs", tmp_path / "out"
    runs = [
        write_run(store, epochs=3),
        write_run(
            store, optimizer="sgd", optimizer_args={"lr": 0.01, "momentum": 0.1 + 0.2, "dampening": 1e-7}, epochs=3
        ),
        write_run(store, seed=1, epochs=3, epochs_done=2, status="running"),
    ]
    assert report(store, "--output", output, capsys=capsys)[0] == 0
    results = pd.read_csv(output / "results.csv", dtype=str, keep_default_na=False)
    assert len(results) == 8
    for run in runs:
        rows = results[results["run"] == run.name]
        for file in ("metrics.csv", "timing.csv"):
            written = pd.read_csv(run / file, dtype=str)
            assert rows[list(written.columns)].values.tolist() == written.values.tolist()
    given = results[["optimizer.dampening", "optimizer.lr", "optimizer.momentum"]].drop_duplicates()
    assert ["1e-07", "0.01", "0.30000000000000004"] in given.to_numpy().tolist()
    summary = pd.read_csv(output / "summary.csv")
    assert sorted(zip(summary["optimizer"], summary["n"], summary["unfinished"], strict=True)) == [
        ("Adam", 1, 1),
        ("SGD", 1, 0),
    ]


def test_claims_are_json_and_the_same_as_csv(tmp_path, capsys):
    for seed in range(5):
        write_run(tmp_path / "runs", seed=seed)
    assert report(tmp_path / "runs", "--output", tmp_path / "out", capsys=capsys)[0] == 0

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    claims = json.loads((tmp_path / "out" / "claims.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert [claim["id"] for claim in claims] == [claim.id for claim in PAPER.claims]
    assert {claim["verdict"] for claim in claims} > {"not run", "reproduced"}
    with open(tmp_path / "out" / "claims.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, claim in zip(rows, claims, strict=True):
        assert row.keys() == claim.keys()
        for key, value in claim.items():
            cell = row[key] if isinstance(value, str) else json.loads(row[key] or "null")
            assert cell == value


def test_a_sweep_under_way_is_reported_with_what_is_missing(tmp_path, capsys):
    store = tmp_path / "runs"
    for seed in (0, 1):
        write_run(store, optimizer="sgd", seed=seed)
        for batch_size, optimizer in ((500, "adam"), (1000, "sgd")):
            write_run(store, optimizer=optimizer, batch_size=batch_size, seed=seed)
    running = write_run(store, seed=0, epochs_done=12, status="running")
    failed = write_run(store, batch_size=1000, seed=1, epochs_done=0, status="failed", error="ValueError: no")
    write_run(store, optimizer_args={"lr": 0.1}, seed=7)
    (store / "notes\n").mkdir()
    code, out, err = report(store, "--output", tmp_path / "out", "--lang", "es", capsys=capsys)
    assert (code, err) == (0, [])
    assert [line for line in out if not line.startswith("wrote")] == [
        f"8 runs in {store}, 6 of them done",
        "left out: 1 run of another protocol than caprari2024's",
        "missing for fig1: adam, seed 0 (12 epochs so far), 1",
        "missing for fig3: sgd-500, seed 0, 1",
        "missing for fig4: adam-1000, seed 0, 1",
        "missing for fig5: adam-100-epochs, seed 0, 1",
        "missing for claims: adam-dropout-0.05, seed 0, 1",
        "missing for claims: sgd-dropout-0.05, seed 0, 1",
        "no verdict yet: 7 of 57 claims are numbers that one run gave and take 5 seeds: "
        "seed=0,1,2,3,4, or make figures PAPER=caprari2024 SEEDS=0,1,2,3,4",
        f"failed: {failed.name}: ValueError: no",
        "foreign: notes\\n: no run.json",
        f"running: {running.name}: 12 of 30 epochs",
    ]
    drawn = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"fig1.png", "fig2.png"} <= drawn
    assert not {"fig3.png", "fig4.png", "fig5.png"} & drawn


def test_long_lists_are_counted(tmp_path, capsys):
    for seed in range(25):
        write_run(tmp_path, batch_size=500, seed=seed, epochs=30, epochs_done=0, status="running")
        (tmp_path / f"folder{seed:02}").mkdir()
    out = report(tmp_path, "--output", tmp_path / ".out", capsys=capsys)[1]
    foreign = [line for line in out if line.startswith("foreign")]
    assert len(foreign) == 21 and foreign[-1] == "foreign: and 5 more"
    (missing,) = [line for line in out if line.startswith("missing for fig2")]
    assert missing.endswith(f"seed {', '.join(map(str, range(20)))} and 5 more")


def test_a_store_without_a_run_to_judge_by_says_so(tmp_path, capsys):
    assert report(tmp_path, capsys=capsys) == (1, [], [f"no runs in {tmp_path}: run a sweep first"])
    run = write_run(tmp_path, epochs=1, optimizer_args={"lr": 0.1})
    hint = "left out: 1 run of another protocol than caprari2024's; choose another --paper, or none"
    assert report(tmp_path, "--paper", papers.DEFAULT, capsys=capsys) == (1, [], [f"no runs in {tmp_path}: {hint}"])
    hint = "it is a single run: give the folder above it"
    assert report(run, capsys=capsys)[::2] == (1, [f"no runs in {run}: {hint}"])


PLAIN = """
{title: T, authors: [A], year: 2000, language: en, configurations: {a: {}}, figures: {f: {title: {en: F}, rows: [%s]}}}
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "cannot read nowhere: No such file or directory; give the folder of a sweep"),
        (["file"], "cannot read file: Not a directory; give the folder of a sweep"),
        (["runs", "--output", "file"], "cannot write file: File exists; choose another --output"),
        (["runs", "--output", "file/x"], "cannot write file/x: Not a directory; choose another --output"),
        (["--lang", "fr"], "argument --lang: invalid choice: 'fr'"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["runs", "--paper", "caprari2042"], "chaudhary2021, oren2026; did you mean caprari2024?"),
        (["runs", "--paper", "mine"], "one of yours is paper/mine.yaml in a folder that --config-dir names"),
        (
            ["runs", "--paper", "mine", "--config-dir", "no"],
            "--config-dir no: is not a folder; give the one that holds",
        ),
        (["runs", "--paper", "none.yaml"], "none.yaml: No such file or directory; give the name of a paper or"),
        (["runs", "--paper", "bad.yaml"], "bad.yaml: figures.f.rows: there is no 'b'; allowed: a"),
        (["runs", "--paper", "good.yaml", "--lang", "es"], "good: figures.f.title: has no text in es, only in en"),
    ],
)
def test_what_cannot_be_used_gets_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs", epochs=1)
    (tmp_path / "file").touch()
    for name, row in (("good", "a"), ("bad", "b")):
        (tmp_path / f"{name}.yaml").write_text(PLAIN % row)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = report(*arguments, capsys=capsys)
    assert (code, out, len(err)) == (2, [], 1)
    assert message in err[0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("file", ["results.csv", "fig1.png"])
def test_files_that_no_report_wrote_are_left_alone(file, tmp_path, capsys):
    write_run(tmp_path / "runs")
    output = tmp_path / "mine"
    output.mkdir()
    (output / file).write_text("the user's")
    code, out, err = report(tmp_path / "runs", "--output", output, capsys=capsys)
    said = f"cannot write {output / file}: already exists and was not written by a report; choose another --output"
    assert (code, out, err) == (2, [], [said])
    assert [path.read_text() for path in output.iterdir()] == ["the user's"]
