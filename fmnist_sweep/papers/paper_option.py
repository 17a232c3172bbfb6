"""The options `paper=NAME` and `until=settled`.

`paper=NAME` makes the paper's sweeps options of the group `figure`. The paper's file itself never becomes part of a
job's configuration. With `until=settled` the sweeper `settle` chooses the runs, until the paper's claims are settled.
"""

from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType

from fmnist_sweep import papers
from fmnist_sweep.config.overrides import words
from fmnist_sweep.config.parsing import parse
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.papers.paper import Paper
from fmnist_sweep.papers.yaml_file import load


def consume_paper_option(arguments: Sequence[str], loader: ConfigLoader, *, trains: bool) -> list[str]:
    """Register the paper's sweeps, and return the typed arguments without `paper=` and `until=`.

    `paper=` without `figure=` becomes `figure=paper`; `until=` becomes the sweeper and its settings. `trains` says
    whether the paper's configurations are needed. Help and tab completion need only the names, quickly.

    Raises:
        ConfigError: the paper does not exist or has a mistake, or the arguments name several papers, contradict each
            other, or give `until=` without a paper.
    """
    asked = [line for line in arguments if line.startswith("paper=")]
    until = [line for line in arguments if line.startswith("until=")]
    rest = [line for line in arguments if line not in (*asked, *until)]
    drawn = [line for line in rest if line.startswith("figure=")]
    if until:
        if until != ["until=settled"]:
            raise ConfigError(f"{' '.join(until)}: must be settled: seeds are added until every claim has a verdict")
        if not asked:
            raise ConfigError(f"until=settled: needs a paper; add paper=NAME, one of {_options(loader)}")
        if drawn:
            raise ConfigError("figure=: until=settled trains what the paper's claims need; leave one of them out")
        return [*rest, "hydra/sweeper=settle", f"hydra.sweeper.paper={_one(asked, loader)}", "hydra.mode=MULTIRUN"]
    if asked or drawn or not trains:
        name = _one(asked, loader) if asked else papers.DEFAULT
        paper = papers.read(name, loader) if trains else load(papers.find(name, loader), Paper)
        sweeps, own = paper.sweeps(), _files(loader)
        chosen = _words(drawn or [f"figure={papers.ALL}"], loader)
        if asked and (both := sorted({*chosen} & {*sweeps} & {*own})):
            raise ConfigError(
                f"figure={both[0]}: both {name} and your file figure/{both[0]}.yaml have it; rename the file"
            )
        for option in sweeps.keys() - own:
            node = {"grids": list(sweeps[option].values())}
            ConfigStore.instance().store(name=option, node=node, group="figure")
    return [*rest, f"figure={papers.ALL}"] if asked and not drawn else rest


def _one(asked: Sequence[str], loader: ConfigLoader) -> str:
    names = _words(asked, loader)
    if len(names) != 1:
        raise ConfigError(f"{' '.join(asked)}: one paper at a time; choose one of {_options(loader)}")
    return names[0]


def _words(lines: Sequence[str], loader: ConfigLoader) -> list[str]:
    return [word for override in parse(lines, loader) for word in words(override)]


def _files(loader: ConfigLoader) -> set[str]:
    """Return the names of figures that have a file. Hydra would merge a paper's figure of the same name into it."""
    sources = [source for source in loader.get_sources() if source.scheme() != "structured"]
    return {
        name for source in sources if source.is_group("figure") for name in source.list("figure", ObjectType.CONFIG)
    }


def _options(loader: ConfigLoader) -> str:
    return ", ".join(loader.get_group_options("paper"))
