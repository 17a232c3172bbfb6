"""The tuned loop as a Hydra application, to be swept with Hydra's joblib launcher."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore

from benchmark.contenders import Setting, tuned_loop


@dataclass
class Config:
    """One run."""

    optimizer: str = "adam"
    batch_size: int = 100
    seed: int = 0
    epochs: int = 1
    folder: str = ""
    stamps: str = ""  # a folder where each run leaves the times when it began and ended


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config: Config) -> None:
    """Train one run."""
    began = time.time()
    tuned_loop(Setting(config.optimizer, config.batch_size, config.seed), Path(config.folder), config.epochs)
    name = f"{config.optimizer}-{config.batch_size}-{config.seed}"
    (Path(config.stamps) / name).write_text(f"{began} {time.time()}")


if __name__ == "__main__":
    main()
