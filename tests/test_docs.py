"""The documentation does what it says.

Commands in ```bash blocks compose, ```python blocks run on a small store, and files in ```yaml blocks are read. Links
between pages lead somewhere, and generated pages are current. `make docs` checks anchors and the site. Blocks of other
kinds, such as ```console, are not checked.
"""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib import pyplot

import fmnist_sweep as fs
from fmnist_sweep import papers
from fmnist_sweep.commands import COMMANDS, main
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.papers.reference import STARTER

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for folder in [DOCS, *DOCS.iterdir()] if folder.is_dir() for path in folder.glob("*.md"))
SMALL = ("data.train_size=1000", "model.hidden=[8]", "workers=1")


def blocks(page: Path, language: str) -> list[str]:
    """Return the contents of a page's fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(page: Path) -> list[list[str]]:
    """Return the words of each command of a page."""
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def having(language: str) -> Any:
    pages = [page for page in PAGES if blocks(page, language)]
    assert pages
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(DOCS)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder with the published tables, where the test runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(DOCS)
    return tmp_path


@having("bash")
def test_commands_compose(page: Path, store: Path, folder: Path) -> None:
    shutil.copytree(store, folder / "multirun")
    for words in commands(page):
        match words:
            case ["fmnist-sweep", "ls" | "best" as name, *arguments]:
                assert main(name, arguments) == 0
            case ["fmnist-sweep", name, *arguments]:
                importlib.import_module(COMMANDS[name][0])._parser().parse_args(arguments)
            case ["python", "-m", "fmnist_sweep", "--help"] | ["python", "-m", "fmnist_sweep", "--cfg", *_]:
                pass  # test_command.py runs them
            case ["python", "-m", "fmnist_sweep", "-m", *overrides]:
                dry(fs.sweep, overrides, folder)
            case ["python", "-m", "fmnist_sweep", *overrides]:
                dry(fs.train, overrides, folder)
            case ["python", "-m", "fmnist_sweep.papers", "new", name]:
                assert importlib.import_module("fmnist_sweep.papers.__main__").main(["new", name]) == 0
            case ["python", "-m", module, *arguments]:
                importlib.import_module(f"{module}.__main__")._parser().parse_args(arguments)
            case _:
                raise AssertionError(f"not a command that can be checked: {shlex.join(words)}; use ```console")


def dry(call: Callable[..., Any], overrides: list[str], folder: Path) -> None:
    further = [f"hydra.searchpath=[file://{folder}/conf]"] if (folder / "conf").exists() else []
    typed = [line for line in overrides if line != "dry_run=true" and not line.startswith("hydra.sweep.dir=")]
    try:
        call(*typed, *further, dry_run=True)
    except ConfigError as error:
        if not any(lacking in str(error) for lacking in ("pip install", "no Ray cluster answers")):
            raise


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with two small configurations of two seeds."""
    store = tmp_path_factory.mktemp("docs") / "multirun"
    fs.sweep(*SMALL, "optimizer=adam,sgd", epochs=2, seed=[0, 1], store=store)
    return store


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train small networks on few images for few epochs, whatever a page trains."""
    sweep = fs.sweep

    def small_sweep(*overrides: str, **values: Any) -> Any:
        return sweep(*overrides, *SMALL, **({"epochs": 2} | values))

    monkeypatch.setattr(fs, "sweep", small_sweep, raising=False)
    yield
    pyplot.close("all")


@having("python")
def test_python_runs(page: Path, store: Path, small: None, folder: Path) -> None:
    shutil.copytree(store, folder / "multirun")
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_claims_of_the_tutorial_are_read(folder: Path) -> None:
    claims = [claim for block in blocks(DOCS / "tutorials" / "paper.md", "yaml") for claim in yaml.safe_load(block)]
    (folder / "mine.yaml").write_text(yaml.safe_dump(yaml.safe_load(STARTER) | {"claims": claims}))
    assert [claim.id for claim in papers.read("mine.yaml").claims] == ["slow-accuracy", "fast-beats-slow"]


@pytest.mark.parametrize(
    ("page", "option", "runs"),
    [
        ("how-to/save-a-sweep.md", "figure/rates.yaml", 16),
        ("reference/figure-format.md", "figure/rates.yaml", 16),
        ("how-to/optimizer.md", "optimizer/nadam.yaml", 1),
    ],
)
def test_files_of_options_are_read(
    page: str, option: str, runs: int, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (block,) = blocks(DOCS / page, "yaml")
    (folder / option).parent.mkdir()
    (folder / option).write_text(block)
    group, name = option.removesuffix(".yaml").split("/")
    fs.sweep(f"hydra.searchpath=[file://{folder}]", f"{group}={name}", dry_run=True)
    assert re.search(rf"^{runs} runs?\b", capfd.readouterr().out, re.M)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


def test_generated_pages_are_current() -> None:
    made = runpy.run_path(str(DOCS / "generate.py"))["pages"]()
    assert [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text] == [], (
        "make reference"
    )


def test_every_key_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(.+?)` \|.*\| (.*?) ?\|$", (DOCS / "reference" / "keys.md").read_text(), re.M)
    assert len(rows) > 70
    assert [key for key, meaning in rows if not meaning] == []


def test_every_page_is_in_the_navigation() -> None:
    lines = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].splitlines()
    assert {line.split(": ")[1] for line in lines if ".md" in line} == {str(page.relative_to(DOCS)) for page in PAGES}
