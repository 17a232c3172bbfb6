"""`python -m fmnist_sweep.papers`: the starter file, and the reference of the format."""

import json
from pathlib import Path

import pytest
from command import INLINE, Called, call, captured

from fmnist_sweep.config.schema import CONFIG_FOLDER
from fmnist_sweep.papers.__main__ import main
from fmnist_sweep.papers.reference import STARTER
from fmnist_sweep.report.__main__ import main as report_main

DOCS = Path(__file__).parents[2] / "docs"


def papers(*arguments: str, cwd: Path) -> Called:
    return captured(lambda: main([*arguments]), cwd)


def test_the_reference_in_docs_is_current(tmp_path):
    done = papers("format", cwd=tmp_path)
    assert done.code == 0
    assert (DOCS / "reference" / "paper-format.md").read_text(encoding="utf-8") == done.out, "make reference writes it"


@pytest.mark.parametrize(("more", "folder"), [([], "conf"), (["--config-dir", "mine"], "mine")])
def test_the_starter_works_as_it_is(tmp_path, more, folder):
    made = papers("new", "rates-2026", *more, cwd=tmp_path)
    assert made.code == 0 and f"wrote {folder}/paper/rates-2026.yaml" in made.out
    assert made.out.count(f"--config-dir {folder}") == 4
    done = call("-m", INLINE, "--config-dir", folder, "paper=rates-2026", "figure=rates", "seed=0,1", cwd=tmp_path)
    assert done.code == 0, done.err
    arguments = ["multirun", "--config-dir", folder, "--paper", "rates-2026", "--output", "out"]
    judged = captured(lambda: report_main(arguments), tmp_path)
    assert judged.code == 0, judged.err
    assert "departs from the paper: The paper does not state its batch size." in judged.out
    claims = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert [claim["id"] for claim in claims] == ["slow-accuracy", "fast-accuracy", "fast-beats-slow"]
    assert {claim["figure"] for claim in claims} == {"Figure 1", ""}
    assert {claim["departs_en"].split(".")[0] for claim in claims} == {"The paper does not state its batch size"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Figure 1. Two learning rates" in page
    assert "The paper does not state its batch size." in page and "fast (SGD, lr 0.1)" in page


def test_check_counts_what_a_file_states(tmp_path):
    assert papers("new", "mine", cwd=tmp_path).code == 0
    file = tmp_path / "conf" / "paper" / "mine.yaml"
    text = file.read_text()
    file.write_text(text.replace("departs:", "  spare: {epochs: 2}\ndeparts:"))
    for named in (["mine", "--config-dir", "conf"], [str(file)]):
        assert papers("check", *named, cwd=tmp_path).out.splitlines() == [
            "mine: 3 configurations, 1 figure, 3 claims",
            "  rates (slow, fast): 2 claims, by kind: run 2",
            "  in no figure: 1 claim, by kind: comparison 1",
            "  used by no figure and no claim: spare",
        ]
    file.write_text(text.replace("kind: comparison", "kind: compare"))
    wrong = papers("check", str(file), cwd=tmp_path)
    assert wrong.code == 2 and wrong.err.startswith("mine.yaml: claim fast-beats-slow: kind=compare: must be ")
    assert wrong.err.count("\n") == 1


def test_nothing_is_overwritten(tmp_path):
    assert papers("new", "mine", cwd=tmp_path).code == 0
    file = tmp_path / "conf" / "paper" / "mine.yaml"
    assert file.read_text() == STARTER and len(STARTER.splitlines()) < 45
    file.write_text("title: Mine")
    again = papers("new", "mine", cwd=tmp_path)
    assert again.code == 2
    assert again.err == "conf/paper/mine.yaml: is there already; choose another name, or delete it first\n"
    assert file.read_text() == "title: Mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["new", "caprari2024"], "caprari2024: comes with this package; choose another name"),
        (["new", "caprari2024", "--config-dir", str(CONFIG_FOLDER)], "caprari2024.yaml: is there already"),
        (["new", "a/b"], "a/b: a paper's name has letters"),
        (["new", "mine", "--config-dir", "file"], "cannot write file/paper/mine.yaml: "),
        (["new"], "the following arguments are required: NAME; see --help"),
        ([], "the following arguments are required: new|check|format; see --help"),
    ],
)
def test_what_cannot_be_done_gets_one_line(tmp_path, arguments, said):
    (tmp_path / "file").touch()
    done = papers(*arguments, cwd=tmp_path)
    assert done.code == 2 and len(done.err.splitlines()) == 1 and said in done.err
    assert not (tmp_path / "conf").exists()
