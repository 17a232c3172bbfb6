"""`python -m fmnist_sweep.report`: what it writes, prints and returns."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from made_up_runs import write_grid, write_run

from fmnist_sweep.report.__main__ import main

FIGURES = [
    *(f"fig{i}" for i in range(1, 6)),
    "curves-by-optimizer",
    "curves-by-batch-size",
    "curves-by-dropout",
    "final",
    "gap",
    "convergence",
    "main-effects",
    "parallel-coordinates",
]
TABLES = ["results.csv", "summary.csv", "claims.csv", "claims.json", "index.html"]


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def test_a_whole_grid_gives_every_figure_and_table(tmp_path: Path) -> None:
    write_grid(tmp_path / "multirun", seeds=(0, 1))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "fmnist_sweep.report"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    drawn = {f"{name}.{extension}" for name in FIGURES for extension in ("png", "pdf")}
    assert {path.name for path in (tmp_path / "report").iterdir()} == drawn | set(TABLES)
    assert done.stdout.splitlines() == [
        "48 runs in multirun, 48 of them done",
        *(f"wrote report/{name}.png, report/{name}.pdf" for name in FIGURES),
        *(f"wrote report/{name}" for name in TABLES),
    ]


def test_results_hold_the_text_of_the_run_directories(tmp_path: Path) -> None:
    store, output = tmp_path / "runs", tmp_path / "out"
    runs = [
        write_run(store, epochs=3),
        write_run(store, optimizer="sgd", optimizer_args={"lr": 0.1 + 0.2, "momentum": 1e-07}, epochs=3),
        write_run(store, seed=1, epochs=3, epochs_done=2, status="running"),
    ]
    assert main([str(store), "--output", str(output)]) == 0
    results = pd.read_csv(output / "results.csv", dtype=str, keep_default_na=False)
    assert len(results) == 8
    for run in runs:
        rows = results[results["run"] == run.name]
        for file in ("metrics.csv", "timing.csv"):
            written = pd.read_csv(run / file, dtype=str)
            assert rows[list(written.columns)].values.tolist() == written.values.tolist()
    assert set(results["optimizer"]) == {"adam", "sgd lr=0.30000000000000004 momentum=1e-07"}
    summary = pd.read_csv(output / "summary.csv")
    assert list(summary["n"]) == [1, 1]
    assert list(summary["unfinished"]) == [1, 0]


def test_a_sweep_under_way_is_reported_with_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "runs"
    for seed in (0, 1):
        write_run(store, optimizer="sgd", seed=seed)
        write_run(store, batch_size=500, seed=seed)
    running = write_run(store, seed=0, epochs_done=12, status="running")
    failed = write_run(store, batch_size=1000, seed=1, epochs_done=0, status="failed", error="ValueError: no")
    (store / "notes\n").mkdir()
    assert main([str(store), "--output", str(tmp_path / "out"), "--lang", "es"]) == 0
    out, err = lines(capsys)
    assert err == []
    assert out[0] == f"6 runs in {store}, 4 of them done"
    assert [line for line in out if not line.startswith("wrote")][1:] == [
        "missing for fig1: Adam, batch 100, dropout 0.2, 30 epochs, seed 0 (12 epochs so far), 1",
        "missing for fig3: SGD, batch 500, dropout 0.2, 30 epochs, seed 0, 1",
        "missing for fig4: Adam, batch 1000, dropout 0.2, 30 epochs, seed 0, 1",
        "missing for fig5: Adam, batch 100, dropout 0.2, 100 epochs, seed 0, 1",
        f"failed: {failed.name}: ValueError: no",
        "foreign: notes\\n: no run.json",
        f"running: {running.name}: 12 of 30 epochs",
    ]
    drawn = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"fig1.png", "fig2.png"} <= drawn
    assert not {"fig3.png", "fig4.png", "fig5.png"} & drawn


def test_many_problems_are_counted_not_all_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, epochs=1)
    for i in range(30):
        (tmp_path / f"folder{i:02}").mkdir()
    assert main([str(tmp_path), "--output", str(tmp_path / ".out")]) == 0
    foreign = [line for line in lines(capsys)[0] if line.startswith("foreign")]
    assert len(foreign) == 21
    assert foreign[-1] == "foreign: and 10 more"


def test_many_missing_seeds_fit_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(25):
        write_run(tmp_path, batch_size=500, seed=seed)
    assert main([str(tmp_path), "--output", str(tmp_path / ".out")]) == 0
    missing = [line for line in lines(capsys)[0] if line.startswith("missing for fig3")]
    assert len(missing) == 1
    assert missing[0].endswith("seed 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 5 more")


def test_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert lines(capsys) == ([], [f"no runs in {tmp_path}: run a sweep first"])


def test_a_single_run_is_not_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path, epochs=1)
    assert main([str(run)]) == 1
    assert lines(capsys)[1] == [f"no runs in {run}: it is a single run: give the folder above it"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "cannot read nowhere: No such file or directory; give the folder of a sweep"),
        (["file"], "cannot read file: Not a directory; give the folder of a sweep"),
        (["runs", "--output", "file"], "cannot write file: File exists; choose another --output"),
        (["runs", "--output", "file/x"], "cannot write file/x: Not a directory; choose another --output"),
        (["--lang", "fr"], "argument --lang: invalid choice: 'fr'"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_argument_gets_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs", epochs=1)
    (tmp_path / "file").touch()
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    out, err = lines(capsys)
    assert out == []
    assert len(err) == 1
    assert message in err[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "runs"]
