"""A Hydra application that knows nothing of Fashion-MNIST: a function to search, which keeps a record of its calls."""

import time
from argparse import ArgumentParser
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

APP = Path(__file__)
DEFAULTS = {"x": 0.0, "kind": "a", "seed": 0, "epochs": 9, "calls": "calls.txt", "seconds": 0.0}
ConfigStore.instance().store(name="searched", node=DEFAULTS)

ArgumentParser._check_help = lambda *_: None  # so that Hydra 1.3 starts on Python 3.14, as in config/hydra_private.py


@hydra.main(version_base="1.3", config_path=None, config_name="searched")
def main(config: DictConfig) -> float:
    """A parabola with its least value at x = 2, of kind a."""
    time.sleep(config.seconds)
    with open(config.calls, "a") as calls:
        calls.write(f"{config.x} {config.kind} {config.seed} {config.epochs}\n")
    if config.kind == "broken":
        raise ValueError("is broken")
    return float((config.x - 2) ** 2 + (config.kind == "b") + config.seed / 10 + 1 / config.epochs)


if __name__ == "__main__":
    main()
