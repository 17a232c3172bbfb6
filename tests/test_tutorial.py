"""docs/tutorial.ipynb does what it says, in a kernel of its own and an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the output of each code cell, by its source."""
    folder = tmp_path_factory.mktemp("tutorial")
    notebook = nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    assert (folder / "tutorial" / "curves.png").stat().st_size > 10_000
    return {
        cell.source: "".join(str(out.get("data", out).get("text/plain", "")) for out in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def shown(cells: dict[str, str], call: str) -> str:
    (output,) = [output for source, output in cells.items() if call in source]
    return output


def test_it_goes_from_a_sweep_to_a_verdict(cells: dict[str, str]) -> None:
    assert len(cells) <= 10
    assert "20 done" in shown(cells, "epochs=3") and "20 done" in shown(cells, "epochs=5")
    assert re.search(r"sgd-wants-small.* reproduced", shown(cells, "fs.judge"))
    assert re.search(r"so-does-adam.* not reproduced", shown(cells, "fs.judge"))


def test_its_model_is_the_run_s(cells: dict[str, str]) -> None:
    here, recorded = re.findall(r"0\.\d{4}", shown(cells, "fs.load_model"))
    assert here == recorded
    assert shown(cells, "torch.export") == "True"


def test_the_verdicts_that_it_shows_are_committed(cells: dict[str, str]) -> None:
    committed = {cell.source: cell for cell in nbformat.read(NOTEBOOK, nbformat.NO_CONVERT).cells}
    (judged,) = [source for source in cells if "fs.judge" in source]
    assert _words(committed[judged].outputs[0]["data"]["text/plain"]) == _words(cells[judged])


def _words(text: str) -> list[str]:
    """Return the words of a text. Numbers are left out: their last digits differ between types of processor."""
    return [word for word in text.split() if not re.search(r"\d", word)]
