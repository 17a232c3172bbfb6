"""The command `fmnist-sweep verdicts`: print which of a paper's statements a report found reproduced."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pandas as pd

from fmnist_sweep.console import Parser, output, program, refuse
from fmnist_sweep.errors import count

_FILE = "claims.csv"
_OPEN = "open"  # also what was not run
_VERDICTS = ("reproduced", "not reproduced")


def main(arguments: list[str]) -> int:
    """Run the command. Return 0, or 2 if there is no such report."""
    parser = Parser(prog=program("fmnist_sweep verdicts"), description=__doc__)
    parser.add_argument(
        "report",
        nargs="?",
        type=Path,
        default=Path("report"),
        metavar="REPORT",
        help="folder of a report (default: report)",
    )
    parser.add_argument("--figure", metavar="NAME", help="only the statements on this figure, such as fig1")
    options = parser.parse_args(arguments)
    try:
        claims = pd.read_csv(options.report / _FILE, dtype=str, keep_default_na=False)
        claims["verdict"] = claims["verdict"].where(claims["verdict"].isin(_VERDICTS), _OPEN)
        claims = claims[["figure", "statement_en", "expected", "measured", "verdict"]]
    except (OSError, ValueError, KeyError) as error:
        return refuse(f"{options.report}: no verdicts there ({error}); make a report first")
    if options.figure:
        claims = claims[claims["figure"].map(lambda place: _is_on(place, options.figure))]
    counts = Counter(claims["verdict"])
    parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in (*_VERDICTS, _OPEN) if counts[verdict])
    what = f"{options.figure}: " if options.figure else ""
    output.print(f"{what}{count(len(claims), 'statement')}{f': {parts}' if parts else ''}")
    for claim in claims[claims["verdict"] == "not reproduced"].to_dict("records"):
        measured = f" (measured {float(claim['measured']):.4g})" if claim["measured"] else ""
        output.print(f"  not reproduced: {claim['statement_en'].rstrip('.')}{measured}")
    output.print(f"open {options.report / 'index.html'}")
    return 0


def _is_on(place: str, figure: str) -> bool:
    """Return whether a statement's place, such as `1a`, is on a figure, such as `fig1`."""
    return re.fullmatch(rf"(fig)?{re.escape(figure.removeprefix('fig'))}[a-z]?", place) is not None
