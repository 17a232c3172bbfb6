"""Stores and data with which tests of the report's page stay quick."""

from pathlib import Path

import numpy as np
import optuna
from made_up_runs import write_run
from numpy.typing import NDArray
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from fmnist_sweep import data, papers
from fmnist_sweep.report.claims import judged
from fmnist_sweep.report.comparisons import comparison_tables
from fmnist_sweep.report.figures.comparisons import comparison_figures
from fmnist_sweep.report.figures.paper_figures import paper_figure
from fmnist_sweep.report.figures.style import encode
from fmnist_sweep.report.page.confusion_section import examples
from fmnist_sweep.report.page.pages import front_page, paper_page, report
from fmnist_sweep.report.page.pictures import picture
from fmnist_sweep.report.page.render import Link
from fmnist_sweep.report.search_history import read_searches
from fmnist_sweep.report.texts import LANGUAGES, Texts
from fmnist_sweep.store.tables import collect

PAPER = papers.read(papers.DEFAULT)

# What would set `window.pwned` if anything of it were taken for HTML or a template.
SCRIPT = "</script><script>window.pwned=1</script>"
HOSTILE = [SCRIPT, "<img src=x onerror=window.pwned=1>", "{{ 7*7 }}", "--></style><!--"]


def write_fashion(folder: Path, seed: int = 0) -> NDArray[np.uint8]:
    """Write four files of Fashion-MNIST's sizes: noise for images, random test labels, which are returned."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, 10_000, dtype=np.uint8)
    contents = {"t10k-labels-idx1-ubyte": labels}
    contents["t10k-images-idx3-ubyte"] = random.integers(0, 256, 28 * 28 * 2000, dtype=np.uint8)
    for name, shape in data.FILES.items():
        with open(folder / name, "wb") as written:
            written.truncate(4 + 4 * len(shape) + int(np.prod(shape)))
            written.seek(4 + 4 * len(shape))
            written.write(contents.get(name, b""))
    return labels


def guesses(labels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Predictions that are right nine times out of ten."""
    random = np.random.default_rng(seed)
    wrong = random.integers(0, 10, len(labels), dtype=np.uint8)
    return np.where(random.random(len(labels)) < 0.9, labels, wrong)


def write_store(store: Path, labels: NDArray[np.uint8]) -> None:
    """Write runs of `PAPER`, none of figure 3, figure 4's with five seeds, others with two; failed and hostile runs."""
    for seed in (0, 1):
        predictions = guesses(labels, seed)
        write_run(store, seed=seed, predictions=predictions)
        write_run(store, seed=seed, epochs=100)
        write_run(store, seed=seed, optimizer="sgd", predictions=guesses(labels, seed + 9))
        write_run(store, seed=seed, batch_size=500)
        write_run(store, seed=seed, batch_size=1000)
        write_run(store, seed=seed, dropout=0.05)
    for seed in (2, 3, 4):  # with five seeds its numbers have verdicts
        write_run(store, seed=seed, batch_size=1000)
    write_run(store, seed=2, epochs_done=12, status="running")
    write_run(store, seed=3, epochs_done=4, status="failed", error=f"ValueError: {SCRIPT}")
    write_run(store, seed=4, epochs_done=3, status="diverged", curve=np.array([[0.5, 0.8] * 3] * 2 + [[np.nan] * 6]))
    for number, text in enumerate(HOSTILE):
        link = f'<a href="javascript:window.pwned={number + 1}">here</a>'
        arguments = {"lr": 0.01, "a": link, "b": text}
        machine = {"cpu": text, "platform": f"</td>{text}"}
        run = write_run(store, optimizer="sgd", optimizer_args=arguments, environment=machine)
        run.rename(store / (f"{number}" + text.replace("/", "\N{DIVISION SLASH}") + run.name))
    (store / "<img src=x onerror=window.pwned=1>").mkdir()


def write_search(
    store: Path, *, name: str = "search", objectives: tuple[str, ...] = ("val_loss",), trials: int = 12
) -> None:
    """Write a study as the sweeper does, with rungs, a failure and hostile texts."""
    database = optuna.storages.RDBStorage(f"sqlite:///{store / 'search.db'}")
    study = optuna.create_study(
        storage=database, study_name=name, directions=["minimize"] * len(objectives), sampler=RandomSampler(seed=0)
    )
    rungs = [1, 3, 9] if len(objectives) == 1 else []
    study.set_user_attr("problem", {"objectives": list(objectives), "seeds": 2, "rungs": rungs})
    for number in range(trials):
        trial = study.ask()
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        hostile = trial.suggest_categorical(HOSTILE[1], HOSTILE)
        trial.set_user_attr("batch", 0)
        trial.set_user_attr("runs", [f"adam-bs100-do0.2-ep9-seed0-{number:08x}", SCRIPT])
        values = [lr * (HOSTILE.index(hostile) + 1), 1 - lr][: len(objectives)]
        steps = rungs[: 3 if number % 4 == 0 else 1] if number != trials - 1 else []
        for step in steps:
            trial.report(values[0], step)
        if number == trials - 1:
            study.tell(trial, state=TrialState.FAIL)
        elif len(steps) == 1:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, values)
    database.engine.dispose()


def drawn(results, figures, texts):
    """The pictures of some figures of a paper, by name."""
    found = {name: paper_figure(results.paper, name, results.curves, texts) for name in figures}
    return {name: picture(figure, encode(figure)["png"]) for name, figure in found.items() if figure is not None}


def write_page(store: Path, fashion: Path, output: Path, language: str, paper: papers.Paper = PAPER) -> Path:
    """The page for a store, as the command writes it, but with two figures and one comparison only."""
    results, texts = judged(paper, collect(store, paper.covers)), Texts(language)
    _, collection, curves, _ = results
    pictures = drawn(results, list(paper.figures)[1:3], texts)
    tables = comparison_tables(paper, collection, curves)
    for name, figure in comparison_figures(paper, tables, collection.runs, texts).items():
        if name == "generalisation-gap":
            pictures[name] = picture(figure, encode(figure)["png"])
    searches, _ = read_searches(store)
    page = report(results, searches, pictures, examples(collection, fashion), texts)
    output.mkdir()
    (output / "index.html").write_text(page, encoding="utf-8")
    return output / "index.html"


def write_site(store: Path, output: Path, language: str) -> tuple[Path, Path]:
    """The front page on two papers, judged by the runs of `store` of their protocols, and the page on the first."""
    texts = Texts(language)
    every = []
    for paper in (PAPER, papers.read("bordone2025")):
        results = judged(paper, collect(store, paper.covers))
        every.append((results, drawn(results, list(paper.figures)[1:2], texts), f"{paper.name}.html"))
    links = [Link(f"../{one}/index.html", one, one) for one in LANGUAGES if one != language]
    output.mkdir()
    (output / "index.html").write_text(front_page(every, links, texts), encoding="utf-8")
    results, pictures, address = every[0]
    page = paper_page(results, pictures, [Link("index.html", texts("page.all_papers")), *links], texts)
    (output / address).write_text(page, encoding="utf-8")
    return output / "index.html", output / address
