"""Names of runs and trajectories. Runs with the same name are the same run."""

import re

from fmnist_sweep.config.schema import Config

_RUN_NAME = re.compile(r"(?P<head>.+)-ep(?P<epochs>\d+)-(?P<tail>seed\d+-(?P<digest>[0-9a-f]{8}))", re.DOTALL)


def run_name(config: Config, digest: str) -> str:
    """Return the name of a run's directory, such as `adam-bs100-do0.2-ep30-seed0-1a2b3c4d`."""
    return (
        f"{config.optimizer['name'].lower()}-bs{config.training.batch_size}-do{config.model.dropout:g}"
        f"-ep{config.training.epochs}-seed{config.seed}-{digest}"
    )


def is_run_name(name: str) -> bool:
    """Return whether `name` has the form of a run's directory name."""
    return _RUN_NAME.fullmatch(name) is not None


def trajectory_name(name: str) -> str:
    """Return a run's name without its number of epochs. Runs that differ only in epochs share this name."""
    match = _RUN_NAME.fullmatch(name)
    return f"{match['head']}-{match['tail']}" if match else name
