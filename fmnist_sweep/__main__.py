"""The command `python -m fmnist_sweep`: one run, or a sweep with -m."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fmnist_sweep import config, overrides
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
        if not arguments.shell_completion:
            rewritten = _rewrite(arguments.overrides, arguments.config_dir, sweeps=arguments.multirun)
            for typed, meant in zip(arguments.overrides, rewritten, strict=True):
                sys.argv[sys.argv.index(typed, 1)] = meant
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
        print(f"fmnist_sweep: {one_line(error)}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    except KeyboardInterrupt:
        print("fmnist_sweep: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _rewrite(arguments: list[str], config_dir: str | None, *, sweeps: bool) -> list[str]:
    path = create_config_search_path(str(config.CONFIG_FOLDER))
    if config_dir is not None:
        path.prepend("command-line", f"file://{os.path.abspath(config_dir)}", SearchPathQuery(provider="schema"))
    rewritten = overrides.rewrite(arguments, ConfigLoaderImpl(path))
    several = overrides.is_sweep(rewritten)
    if several and not sweeps and not any(line.startswith(("figure=", "hydra.mode=")) for line in arguments):
        raise ConfigError(f"{several}: several values make a sweep: add -m")
    return rewritten


if __name__ == "__main__":
    sys.exit(main())
