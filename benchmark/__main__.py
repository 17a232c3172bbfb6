"""Measure the engine's speed: `make bench`. Prints a Markdown page, and writes it to the file given."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmark.measuring import page


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmark", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--epochs", type=int, default=6, help="epochs a run of the engine; a quarter for the tuned loop"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/explanation/benchmark.md"))
    options = parser.parse_args()
    text = page(options.rounds, options.epochs, lambda line: print(line, file=sys.stderr, flush=True))
    print(text)
    options.output.write_text(text)


if __name__ == "__main__":
    main()
