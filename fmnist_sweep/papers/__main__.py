"""The command `python -m fmnist_sweep.papers`: start a paper's file, check one, or print the reference."""

import re
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

from fmnist_sweep.config import hydra_private
from fmnist_sweep.config.schema import CONFIG_FOLDER
from fmnist_sweep.console import Parser, program, refuse, sweep_program
from fmnist_sweep.errors import count
from fmnist_sweep.papers.paper import PaperError, read
from fmnist_sweep.papers.reference import STARTER, reference

_FOLDER = Path("conf")


def main(arguments: list[str] | None = None) -> int:
    """Do what `arguments` (by default the command line) ask for.

    Returns:
        0 on success; 2 if the name cannot be used, if there is such a paper already, if the file cannot be written, or
        if the checked paper has a mistake.
    """
    options = _parser().parse_args(arguments)
    if options.command == "format":
        print(reference(), end="")
        return 0
    if options.command == "check":
        return _check(options.name, options.config_dir)
    return _new(options.name, options.config_dir)


def _parser() -> Parser:
    parser = Parser(prog=program("fmnist_sweep.papers"), description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="new|check|format")
    new = commands.add_parser("new", help="write a starter file that works as it is, paper/NAME.yaml in a folder")
    new.add_argument("name", metavar="NAME", help="the new paper's name, as in paper=NAME")
    folder = "folder that gets paper/NAME.yaml (default: conf)"
    new.add_argument("--config-dir", "-cd", type=Path, default=_FOLDER, metavar="FOLDER", help=folder)
    check = commands.add_parser("check", help="read a paper's file and count what it states")
    check.add_argument("name", metavar="NAME|FILE", help="an option of the group paper, or the path of such a file")
    check.add_argument("--config-dir", "-cd", type=Path, metavar="FOLDER", help="folder of yours with paper/NAME.yaml")
    commands.add_parser("format", help="print the reference of the format, as Markdown")
    return parser


def _new(name: str, folder: Path) -> int:
    if not re.fullmatch(r"[a-zA-Z0-9][\w-]*", name, re.ASCII):
        return refuse(f"{name}: a paper's name has letters, digits, _ and -, as in smith2024")
    papers = hydra_private.config_loader(None).get_group_options("paper")
    if name in papers and folder.resolve() != CONFIG_FOLDER.resolve():
        return refuse(f"{name}: comes with this package; choose another name")
    file = folder / "paper" / f"{name}.yaml"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(STARTER)
    except FileExistsError:
        return refuse(f"{file}: is there already; choose another name, or delete it first")
    except OSError as error:
        return refuse(f"cannot write {file}: {error.strerror}; choose another --config-dir")
    known = "" if folder.resolve() == CONFIG_FOLDER.resolve() else f" --config-dir {folder}"
    print(f"wrote {file}; next, to check it, to see what it would train, to train that and to judge it:")
    sweep = sweep_program()
    print(f"  {sweep} papers check {name}{known}")
    print(f"  {sweep} -m{known} paper={name} dry_run=true")
    print(f"  {sweep} -m{known} paper={name} seed=0,1,2,3,4")
    print(f"  {sweep} report{known} --paper {name}")
    return 0


def _check(name: str, folder: Path | None) -> int:
    """Print how many statements of each kind a paper's file has, by figure, and what nothing uses."""
    try:
        paper = read(name, hydra_private.config_loader(folder) if folder else None)
    except PaperError as error:
        return refuse(str(error))
    parts = ((len(paper.configurations), "configuration"), (len(paper.figures), "figure"), (len(paper.claims), "claim"))
    print(f"{paper.name}: {', '.join(count(*part) for part in parts)}")
    for figure in [*paper.figures, None]:
        kinds = Counter(claim.kind for claim in paper.claims if claim.figure == figure)
        if figure or kinds:
            place = f"{figure} ({', '.join(paper.figures[figure].rows)})" if figure else "in no figure"
            of_kinds = ", ".join(f"{kind} {number}" for kind, number in kinds.items())
            print(f"  {place}: {count(kinds.total(), 'claim')}{of_kinds and f', by kind: {of_kinds}'}")
    used = {*chain.from_iterable(figure.rows for figure in paper.figures.values())}
    if unused := [one for one in paper.configurations if one not in used.union(*(c.sides for c in paper.claims))]:
        print(f"  used by no figure and no claim: {', '.join(unused)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
