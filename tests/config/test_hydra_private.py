"""Every private part of Hydra that this project takes is there, and is looked for in one module alone."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn

ROOT = Path(__file__).parents[2]
PARTS = [
    ("callbacks", "Callbacks.on_job_start", ["config", "task_function"]),
    ("callbacks", "Callbacks.on_job_end", ["config", "job_return"]),
    ("callbacks", "Callbacks.on_multirun_start", ["config"]),
    ("callbacks", "Callbacks.on_multirun_end", ["config"]),
    ("callbacks", "Callbacks.on_run_start", ["config"]),
    ("callbacks", "Callbacks.on_run_end", ["config"]),
    ("config_loader_impl", "ConfigLoaderImpl", ["config_search_path"]),
    ("config_loader_impl", "ConfigLoaderImpl._apply_overrides_to_config", ["overrides", "cfg"]),
    ("config_repository", "ConfigRepository", ["config_search_path"]),
    ("hydra", "Hydra", ["task_name", "config_loader"]),
    ("hydra", "Hydra.compose_config", ["config_name", "overrides", "run_mode", "with_log_configuration"]),
    ("utils", "create_automatic_config_search_path", ["calling_file", "calling_module", "config_path"]),
    ("utils", "get_args_parser", []),
]


@pytest.mark.parametrize(("module", "name", "parameters"), PARTS, ids=[name for _, name, _ in PARTS])
def test_hydra_has_what_is_taken_from_it(module, name, parameters):
    part = importlib.import_module(f"hydra._internal.{module}")
    for word in name.split("."):
        part = getattr(part, word)
    assert set(parameters) <= set(inspect.signature(part).parameters)


def test_a_job_s_result_holds_its_error():
    assert "_return_value" in {field.name for field in dataclasses.fields(JobReturn)}


def test_no_other_module_takes_a_private_part():
    found = {}
    paths = {*(ROOT / "fmnist_sweep").rglob("*.py"), *(ROOT / "hydra_plugins").glob("*.py")}
    for path in paths - {ROOT / "fmnist_sweep" / "__main__.py"}:  # it reads whether the first word is a subcommand
        if private := re.findall(
            r"hydra\._internal\.(\w+) import (.+)|(sys\.argv(?!\[0\])|COMP_LINE)", path.read_text()
        ):
            found[path.name] = {(module, name) for module, names, _ in private for name in names.split(", ") if module}
    assert found == {"hydra_private.py": {(module, name.split(".")[0]) for module, name, _ in PARTS}}
