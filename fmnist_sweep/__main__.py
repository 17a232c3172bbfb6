"""The command `python -m fmnist_sweep`: one run, or a sweep with -m."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fmnist_sweep import config, data, overrides
from fmnist_sweep.data import DataError
from fmnist_sweep.errors import ConfigError, RunError, one_line


def run(composed: DictConfig) -> float | None:
    """Train the one run that this configuration describes. Returns its final validation loss."""
    from fmnist_sweep import launching

    return launching.run_alone(config.parse(composed), Path(HydraConfig.get().runtime.output_dir))


def _together(*arguments: Any) -> Any:
    """What the stacked launcher asks for: torch is loaded only then."""
    from fmnist_sweep.launching import Sweep

    return Sweep(*arguments)


run.together = _together  # type: ignore[attr-defined]


def main() -> int:
    """Run the command; the exit code is 0, 1 where a run did not end well, or 2 where the arguments are wrong."""
    arguments = get_args_parser().parse_args()
    config.register()
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # With it Hydra raises what it would else print over many lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        loader = _loader(arguments)
        if arguments.shell_completion:
            os.environ["COMP_LINE"] = _completable(os.environ.get("COMP_LINE", ""), loader)
        else:
            rewritten = _rewrite(arguments.overrides, loader, sweeps=arguments.multirun)
            for typed, meant in zip(arguments.overrides, rewritten, strict=True):
                sys.argv[sys.argv.index(typed, 1)] = meant
            shows = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info
            if not shows and not arguments.multirun and _only_checks(rewritten, loader, arguments.config_name):
                return 0
        hydra.main(version_base="1.3", config_path=str(config.CONFIG_FOLDER), config_name="config")(run)()
    except (
        ConfigError,
        DataError,
        RunError,
        HydraException,
        OmegaConfBaseException,
        OSError,
        ValueError,
    ) as error:
        if wants_traceback:
            raise
        # Where no data can be had, the manual steps follow on lines of their own.
        reason = str(error) if isinstance(error, DataError) else one_line(error)
        print(f"fmnist_sweep: {reason}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    except KeyboardInterrupt:
        print("fmnist_sweep: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _loader(arguments: Namespace) -> ConfigLoaderImpl:
    """A loader that knows every option which Hydra's own will know."""
    path = create_config_search_path(str(config.CONFIG_FOLDER))
    if arguments.config_dir is not None:
        folder = os.path.abspath(arguments.config_dir)
        path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    for line in arguments.overrides:
        if line.startswith("hydra.searchpath="):
            (override,) = OverridesParser.create().parse_overrides([line])
            for folder in cast("list[str]", override.value()):
                path.prepend("command-line", folder, SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(path)


def _completable(line: str, loader: ConfigLoaderImpl) -> str:
    """The line to complete with its whole words rewritten: Hydra composes them to see what is left to choose."""
    *words, last = line.split(" ")
    for number, word in enumerate(words):
        if "=" in word:
            with suppress(ConfigError):
                (words[number],) = overrides.rewrite([word], loader)
    return " ".join([*words, last])


def _only_checks(rewritten: list[str], loader: ConfigLoaderImpl, config_name: str | None) -> bool:
    """Check a single run before Hydra makes its directory. Returns whether that was all: it was a dry run."""
    composed = loader.load_configuration(
        config_name or "config", rewritten, RunMode.RUN, validate_sweep_overrides=False
    )
    if composed.hydra.mode == RunMode.MULTIRUN:
        return False
    one = config.parse(composed)
    setup_globals()
    HydraConfig.instance().set_config(composed)
    directory = Path(str(composed.hydra.run.dir))

    from fmnist_sweep import launching

    launching.make_job(one, directory)
    if one.dry_run:
        launching.run_alone(one, directory)
        return True
    data.prepare(Path(one.data.dir) if one.data.dir else None)
    return False


def _rewrite(arguments: list[str], loader: ConfigLoaderImpl, *, sweeps: bool) -> list[str]:
    rewritten = overrides.rewrite(arguments, loader)
    several = overrides.is_sweep(rewritten)
    if several and not sweeps and not any(line.startswith(("figure=", "hydra.mode=")) for line in arguments):
        raise ConfigError(f"{several}: several values make a sweep: add -m")
    return rewritten


if __name__ == "__main__":
    sys.exit(main())
