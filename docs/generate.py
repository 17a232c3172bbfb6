"""Write the parts of the documentation that are made from code and data: `make reference`.

The whole of reference/keys.md and reference/paper-format.md, and in README.md and results/ what stands between the
comments `<!-- generated: … -->` and `<!-- /generated -->`.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import pandas as pd

from fmnist_sweep.config.overrides import NUMBERS
from fmnist_sweep.config.schema import CONFIG_FOLDER, KEYS, decides
from fmnist_sweep.papers.reference import described, keys_table, reference
from hydra_plugins.fmnist_sweep_grids import GridSweeperConf
from hydra_plugins.fmnist_sweep_search import SearchSweeperConf
from hydra_plugins.fmnist_sweep_settle import SettlingSweeperConf
from hydra_plugins.fmnist_sweep_stacked import StackedRayConf, StackedSlurmConf

DOCS = Path(__file__).parent
PAPERS = ("caprari2024", "bordone2025", "chaudhary2021", "oren2026")

_KEYS = """\
<!-- Written by `make reference` from the comments in conf/ and hydra_plugins/; change those instead. -->

# Every key

Set a key on the command line (`key=value`), sweep it (`key=a,b` with `-m`), search it (`key=interval(0,1)`), or use it
in a [paper's file](paper-format.md). [Definitions](network.md) says exactly what the values compute.

## Options

A group has a file for each option, and `--help` lists them. Any number works for `batch_size`, `dropout` and `epochs`.

{options}
## What decides a result

These keys tell one configuration from another. `optimizer` also takes any argument of its class, such as
`optimizer.momentum` or `optimizer.weight_decay`.

{deciding}
## How it is carried out

These keys change neither results nor the names of runs. All runs of a sweep share them, except `device`.

{execution}
## Sweeps

`-m` makes a sweep. These keys say which runs it has; [the format of a sweep's file](figure-format.md) explains them.

{grids}
## Seeds until claims are settled

With `until=settled` and `paper=NAME`; see [seeds](../how-to/seeds.md).

{settle}
## The sweeper search

With `hydra/sweeper=search`; see [search](../how-to/search.md).

{search}
## Slurm

With `hydra/launcher=stacked_slurm`; write `hydra.launcher.` before each key; see [clusters](../how-to/cluster.md).

{slurm}
## Ray

With `hydra/launcher=stacked_ray`; write `hydra.launcher.` before each key.

{ray}
## Trackers

With `tracker=NAME`; see [trackers](../how-to/trackers.md).

{trackers}
## Folders

| key | default | meaning |
| --- | --- | --- |
| `hydra.sweep.dir` | `multirun` | the folder of the runs |
| `hydra.run.dir` | below `hydra.sweep.dir`, the run's name | the directory of one run |
| `hydra.sweep.subdir` | the run's name | the directory of a sweep's run, below its folder |
"""


def keys() -> str:
    """Return reference/keys.md."""
    said = described()
    short = {key: name for name, key in NUMBERS.items()}
    typed = [short.get(key, key) for key in KEYS if not key.startswith("tracker.")]
    deciding = dict.fromkeys(
        ["optimizer", *NUMBERS, *(key for key in said if key.startswith("optimizer.")), *filter(decides, typed)]
    )
    execution = [key for key in typed if key not in deciding]
    return _KEYS.format(
        options=_options(),
        deciding=keys_table(deciding, said),
        execution=keys_table(execution, said),
        grids=_settings(GridSweeperConf),
        settle=_settings(SettlingSweeperConf),
        search=_settings(SearchSweeperConf, leave_out=["grids"]),
        slurm=_settings(StackedSlurmConf),
        ray=_settings(StackedRayConf),
        trackers=keys_table([key for key in KEYS if key.startswith("tracker.")], said),
    )


def _options() -> str:
    groups = [folder for folder in sorted(CONFIG_FOLDER.iterdir()) if folder.is_dir() and folder.name != "hydra"]
    rows = ""
    for folder in groups:
        names = {path.stem for path in folder.glob("*.yaml")}
        options = sorted(names, key=float if folder.name in NUMBERS else None)
        rows += f"| `{folder.name}` | {', '.join(f'`{name}`' for name in options)} |\n"
    return f"| group | options |\n| --- | --- |\n{rows}"


def _settings(cls: type, leave_out: Iterable[str] = ()) -> str:
    """Return a table of a dataclass of settings, with the comments on the lines of its fields."""
    said: dict[str, tuple[str, str]] = {}
    for key, value, comment in re.findall(r"^    ([a-z]\w*): .+? = (.+?)  # (.+)$", inspect.getsource(cls), re.M):
        default = {"None": "null", "MISSING": "", "field(default_factory=dict)": "{}"}.get(value, value)
        said[key] = (default.lower() if default in ("True", "False") else default.strip('"'), comment)
    inherited = {item.name for base in cls.__mro__[1:-1] for item in fields(base)}
    names = [item.name for item in fields(cls) if not item.name.startswith("_") and item.name not in inherited]
    return keys_table([name for name in names if name not in leave_out], said)


def results(text: str, folder: str = "") -> str:
    """Return the text of a page with its generated parts made anew. `folder` leads from the page to results/."""
    parts: dict[str, Callable[[str], str]] = {"summary": _summary, "statements": _statements}

    def part(match: re.Match[str]) -> str:
        paper, _, kind = match[1].partition(" ")
        made = parts[kind](paper) if kind else _papers(folder)
        return f"<!-- generated: {match[1]} -->\n{made}<!-- /generated -->"

    return re.sub(r"<!-- generated: ([\w ]+) -->\n.*?<!-- /generated -->", part, text, flags=re.S)


def _claims(paper: str) -> pd.DataFrame:
    claims = pd.read_csv(DOCS / paper / "claims.csv", keep_default_na=False)
    is_decided = claims["verdict"].isin(["reproduced", "not reproduced"])
    return claims.assign(verdict=claims["verdict"].where(is_decided, "open"))


def _counts(paper: str) -> list[int]:
    verdicts = _claims(paper)["verdict"]
    return [len(verdicts), *((verdicts == name).sum() for name in ("reproduced", "not reproduced", "open"))]


def _summary(paper: str) -> str:
    every, yes, no, undecided = _counts(paper)
    return f"**{every} statements: {yes} reproduced, {no} not reproduced, {undecided} open.**\n"


def _papers(folder: str) -> str:
    rows = "".join(f"| [{paper}]({folder}{paper}.md) | {' | '.join(map(str, _counts(paper)))} |\n" for paper in PAPERS)
    head = "| paper | statements | reproduced | not reproduced | open |\n| --- | ---: | ---: | ---: | ---: |\n"
    return head + rows


def _statements(paper: str) -> str:
    claims = _claims(paper)
    parts = []
    for verdict in ("not reproduced", "open", "reproduced"):
        rows = ""
        for row in claims[claims["verdict"] == verdict].to_dict("records"):
            measured = _number(row["measured"])
            if row["interval_low"]:
                measured += f" ({_number(row['interval_low'])} to {_number(row['interval_high'])})"
            cells = [row["figure"], row["statement_en"], row["expected"], measured]
            rows += f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
        head = "| figure | statement | paper | measured, and its 95 % interval |\n| --- | --- | ---: | ---: |\n"
        parts.append(f"\n### {verdict.capitalize()}\n\n{head}{rows}")
    return "".join(parts)[1:]


def _number(text: str) -> str:
    return f"{float(text):.3g}" if text else ""


def pages() -> dict[Path, str]:
    """Return the text of each page that has generated parts."""
    made = {DOCS / "reference" / "keys.md": keys(), DOCS / "reference" / "paper-format.md": reference()}
    for path in [DOCS.parent / "README.md", *sorted((DOCS / "results").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        if "<!-- generated: " in text:
            made[path] = results(text, "docs/results/" if path.name == "README.md" else "")
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
