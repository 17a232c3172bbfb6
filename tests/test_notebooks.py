"""The notebooks in docs/tutorials do what they say, each in a kernel of its own and an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(cell: nbformat.NotebookNode) -> str:
    """Return what a cell prints, returns and raises, as text."""
    shown = [out.get("data", out) for out in cell.get("outputs", [])]
    return "\n".join(str(out.get("text/plain", out.get("text", out.get("evalue")))) for out in shown)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> list[nbformat.NotebookNode]:
    """Return the cells of a notebook after it ran."""
    path = request.param
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    folder = tmp_path_factory.mktemp(path.stem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook.cells


def running(name: str) -> pytest.MarkDecorator:
    path = next(path for path in NOTEBOOKS if path.stem == name)
    return pytest.mark.parametrize("executed", [path], indirect=True, ids=[name])


def shown(cells: list[nbformat.NotebookNode], call: str, place: int = 0) -> str:
    """Return the output of the cell that has a call; of several, of the one at `place`."""
    return [outputs(cell) for cell in cells if cell.cell_type == "code" and call in cell.source][place]


def interval(text: str) -> tuple[float, float]:
    """Return the interval that `compare` shows."""
    low, high = (float(re.search(rf"^{name} +(\S+)$", text, re.M)[1]) for name in ("low", "high"))
    return low, high


def pictures(cells: list[nbformat.NotebookNode]) -> list[bool]:
    """Return, for each cell that draws, whether it shows a picture."""
    drawing = [cell for cell in cells if cell.cell_type == "code" and "fs.draw" in cell.source]
    return [any("image/png" in out.get("data", {}) for out in cell.outputs) for cell in drawing]


@every
def test_it_goes_from_a_question_to_an_answer(path: Path) -> None:
    cells = nbformat.read(path, nbformat.NO_CONVERT).cells
    assert "**Question.**" in cells[0].source and "**Answer.**" in cells[-1].source
    assert [cell.source for cell in cells if re.search("@[A-Z]", cell.source)] == []  # a place left to fill


@every
def test_its_outputs_are_committed_and_name_no_machine(path: Path) -> None:
    cells = nbformat.read(path, nbformat.NO_CONVERT).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(cell.outputs for cell in code)
    assert all(pictures(cells))
    texts = [cell.source + str([{**out.get("data", out), "image/png": ""} for out in cell.outputs]) for cell in code]
    assert [text for text in texts if re.search(r"/(tmp|home|root|work|Users)/|0x[0-9a-f]{6}", text)] == []


@pytest.mark.slow
@running("learning-rate")
def test_the_learning_rate_is_not_at_the_edge(executed: list[nbformat.NotebookNode]) -> None:
    assert all(pictures(executed))
    rates = re.findall(r"^ *(?:best|\d) +([\d.]+) ", shown(executed, "0.1,0.3,1"), re.M)
    assert rates[0] in ("0.1", "0.3") and rates[-1] == "1"
    low, high = interval(shown(executed, "fs.compare"))
    assert low < 0 < high


@pytest.mark.slow
@running("difference")
def test_five_seeds_do_not_confirm_one(executed: list[nbformat.NotebookNode]) -> None:
    assert all(pictures(executed))
    assert "NaN" in shown(executed, "fs.summary(once)")
    assert "seeds do not pair up" in shown(executed, "fs.compare(once")
    low, high = interval(shown(executed, "fs.compare(runs"))
    assert low < 0 < high
    low, high = interval(shown(executed, "fs.compare(far"))
    assert 0 < low < high


@pytest.mark.slow
@running("paper-claims")
def test_the_claims_get_the_verdicts_that_are_committed(executed: list[nbformat.NotebookNode]) -> None:
    assert all(pictures(executed))
    committed = nbformat.read(ROOT / "docs" / "tutorials" / "paper-claims.ipynb", nbformat.NO_CONVERT).cells
    for place, verdict in enumerate(("open", "not reproduced")):
        now, then = (
            re.findall(
                r"^(?:fast|adam|sgd)-\w+ .*?(not reproduced|reproduced|open)", shown(cells, "fs.judge", place), re.M
            )
            for cells in (executed, committed)
        )
        assert now == then == [verdict, *["reproduced"] * 3]
    here, recorded = re.findall(r"0\.\d{4}", shown(executed, "fs.load_model"))
    assert here == recorded
