"""The command `python -m fmnist_sweep.papers`: start a paper's file, or print the reference of the format."""

import re
import sys
from pathlib import Path

from fmnist_sweep.config import hydra_private
from fmnist_sweep.config.schema import CONFIG_FOLDER
from fmnist_sweep.console import Parser, program, refuse, sweep_program
from fmnist_sweep.papers.reference import STARTER, reference

_FOLDER = Path("conf")


def main(arguments: list[str] | None = None) -> int:
    """Do what `arguments` (by default the command line) ask for.

    Returns:
        0 on success; 2 if the name cannot be used, if there is such a paper already, or if the file cannot be written.
    """
    options = _parser().parse_args(arguments)
    if options.command == "format":
        print(reference(), end="")
        return 0
    return _new(options.name, options.config_dir)


def _parser() -> Parser:
    parser = Parser(prog=program("fmnist_sweep.papers"), description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="new|format")
    new = commands.add_parser("new", help="write a starter file that works as it is, paper/NAME.yaml in a folder")
    new.add_argument("name", metavar="NAME", help="the new paper's name, as in paper=NAME")
    folder = "folder that gets paper/NAME.yaml (default: conf)"
    new.add_argument("--config-dir", "-cd", type=Path, default=_FOLDER, metavar="FOLDER", help=folder)
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
    print(f"wrote {file}; next, to check it, to train what it needs and to judge it:")
    sweep = sweep_program()
    print(f"  {sweep} -m{known} paper={name} dry_run=true")
    print(f"  {sweep} -m{known} paper={name} seed=0,1,2,3,4")
    print(f"  {sweep} report{known} --paper {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
