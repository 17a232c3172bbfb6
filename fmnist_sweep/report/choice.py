"""Choose what a report of some runs is about: a paper, or the sweep itself."""

from collections.abc import Callable

from hydra.core.config_loader import ConfigLoader

from fmnist_sweep import papers
from fmnist_sweep.config.schema import Config
from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.store.tables import Collection, recipe

NONE = "none"  # in place of a paper's name: a report on the sweep itself


def choose(
    name: str | None,
    language: str,
    read: Callable[[Callable[[Config], bool]], Collection],
    loader: ConfigLoader | None = None,
) -> tuple[Paper | None, Collection]:
    """Return the paper of a report, or None if it is about the sweep itself, and the runs that it shows.

    Args:
        name: of a paper, or its file, or `none`. Without a name it is the default paper if it has one of the runs.
        language: of the report.
        read: returns the runs whose configuration a function accepts.
        loader: finds papers; see `papers.read`.

    Raises:
        PaperError: there is no such paper, or it has a mistake or lacks the language.
    """
    if name != NONE:
        paper = papers.read(name or papers.DEFAULT, loader)
        paper.require(language)
        collection = read(paper.covers)
        if name or _has_run(paper, collection):
            return paper, collection
    return None, read(lambda _: True)


def _has_run(paper: Paper, collection: Collection) -> bool:
    """Return whether a run, finished or not, is of one of the paper's configurations."""
    longest = collection.runs.groupby("recipe")["epochs"].max()
    return any(longest.get(recipe(one), 0) >= one.training.epochs for one in paper.configs.values())
