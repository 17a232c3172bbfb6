"""Stores and data with which tests of the report's page stay quick."""

import json
from pathlib import Path

import numpy as np
from made_up_runs import write_run
from numpy.typing import NDArray

from fmnist_sweep import data
from fmnist_sweep.report.claims import evaluate, load_claims
from fmnist_sweep.report.collect import collect
from fmnist_sweep.report.comparisons import comparison_figures
from fmnist_sweep.report.examples import examples
from fmnist_sweep.report.figures import paper_figure, save
from fmnist_sweep.report.labels import Language
from fmnist_sweep.report.page import render
from fmnist_sweep.report.paper import FIGURES

# What would set `window.pwned` if anything of it were taken for HTML or a template.
SCRIPT = "</script><script>window.pwned=1</script>"
HOSTILE = [SCRIPT, "<img src=x onerror=window.pwned=1>", "{{ 7*7 }}", "--></style><!--"]


def write_fashion(folder: Path, seed: int = 0) -> NDArray[np.uint8]:
    """Write four files of Fashion-MNIST's sizes: noise for images, random test labels, which are returned."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, 10_000, dtype=np.uint8)
    for name, file in data.FILES.items():
        header = 4 + 4 * len(file.shape)
        with open(folder / name, "wb") as written:
            written.truncate(header + int(np.prod(file.shape)))
            written.seek(header)
            if file.array == "test_labels":
                written.write(labels.tobytes())
            elif file.array == "test_images":
                written.write(random.integers(0, 256, 28 * 28 * 2000, dtype=np.uint8).tobytes())
    return labels


def guesses(labels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Predictions that are right nine times out of ten."""
    random = np.random.default_rng(seed)
    wrong = random.integers(0, 10, len(labels), dtype=np.uint8)
    return np.where(random.random(len(labels)) < 0.9, labels, wrong)


def write_store(store: Path, labels: NDArray[np.uint8]) -> None:
    """The paper's configurations but for figure 3's, with two seeds; runs that went wrong; hostile runs."""
    for seed in (0, 1):
        predictions = guesses(labels, seed)
        write_run(store, seed=seed, predictions=predictions)
        write_run(store, seed=seed, epochs=100)
        write_run(store, seed=seed, optimizer="sgd", predictions=guesses(labels, seed + 9))
        write_run(store, seed=seed, batch_size=500)
        write_run(store, seed=seed, batch_size=1000)
        write_run(store, seed=seed, dropout=0.05)
    write_run(store, seed=2, epochs_done=12, status="running")
    write_run(store, seed=3, epochs_done=4, status="failed", error=f"ValueError: {SCRIPT}")
    write_run(store, seed=4, epochs_done=3, status="diverged", curve=np.array([[0.5, 0.8] * 3] * 2 + [[np.nan] * 6]))
    for number, text in enumerate(HOSTILE):
        arguments = {"lr": 0.02 + number, "note": text, "link": '<a href="javascript:window.pwned=1">here</a>'}
        run = write_run(store, optimizer=f"sgd{number}", optimizer_args=arguments)
        info = json.loads((run / "run.json").read_text())
        info["environment"] |= {"cpu": text, "platform": f"</td>{text}"}
        (run / "run.json").write_text(json.dumps(info))
        run.rename(store / (f"{number}" + text.replace("/", "\N{DIVISION SLASH}") + run.name))
    (store / "<img src=x onerror=window.pwned=1>").mkdir()


def write_page(store: Path, fashion: Path, output: Path, language: Language) -> Path:
    """The page for a store, as the command writes it, but with two figures only."""
    collection = collect(store)
    output.mkdir()
    figures = {name: paper_figure(collection, name, language) for name in list(FIGURES)[1:3]}
    figures |= {"gap": comparison_figures(collection, language).get("gap")}
    pictures = {
        name: save(figure, output, name)[0].read_bytes() for name, figure in figures.items() if figure is not None
    }
    verdicts = evaluate(load_claims(), collection.metrics)
    page = output / "index.html"
    page.write_text(render(collection, verdicts, pictures, examples(collection, fashion), language), encoding="utf-8")
    return page
