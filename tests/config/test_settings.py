"""Configurations by the keys of the command line, and the keys in which they differ."""

from fmnist_sweep.config.schema import Config, ModelConfig, TrainingConfig
from fmnist_sweep.config.settings import settings, varied


def _settings(optimizer: dict[str, object], batch_size: int = 100, seed: int = 0) -> dict[str, object]:
    model = ModelConfig(hidden=[64, 32], dropout=0.2)
    return settings(Config(optimizer, TrainingConfig(batch_size, 30), model, seed=seed))


def test_settings_have_the_keys_of_the_command_line() -> None:
    found = _settings({"name": "SGD", "lr": 0.1})
    assert list(found)[:5] == ["optimizer", "optimizer.lr", "batch_size", "dropout", "epochs"]
    assert (found["optimizer"], found["batch_size"], found["optimizer.momentum"]) == ("SGD", 100, 0.0)


def test_an_argument_varies_only_within_a_class() -> None:
    adam, sgd = {"name": "Adam", "lr": 0.001}, {"name": "SGD", "lr": 0.01}
    assert varied([_settings(adam), _settings(sgd)]) == ["optimizer"]
    rates = [_settings(adam), _settings(sgd), _settings({"name": "SGD", "lr": 0.1}, 500)]
    assert varied(rates) == ["optimizer", "optimizer.lr", "batch_size"]


def test_seeds_and_spelled_out_defaults_do_not_vary() -> None:
    assert varied([_settings({"name": "SGD"}), _settings({"name": "SGD", "momentum": 0.0}, seed=1)]) == []
