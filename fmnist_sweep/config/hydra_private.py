"""All uses of Hydra's private API, each with its reason.

`tests/config/test_hydra_private.py` lists every private name, so its failures show which one a Hydra release changed.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import hydra

# `run_job` needs the callbacks, which are notified before and after a run. Hydra creates them in Hydra.run, but that
# would compose a single run a second time.
from hydra._internal.callbacks import Callbacks

# We need the list of options before Hydra parses an argument. `_apply_overrides_to_config` sets values as Hydra does,
# on a configuration that we compose once for many jobs.
from hydra._internal.config_loader_impl import ConfigLoaderImpl

# Each composition copies its repository with all sources, unless the repository says how it is copied.
from hydra._internal.config_repository import ConfigRepository

# hydra.main composes a run and makes its directory before we can check anything, so we create the application here.
from hydra._internal.hydra import Hydra

# We parse arguments and build the search path as hydra.main does. Hydra has no public function that only does this.
from hydra._internal.utils import create_automatic_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, configure_log, run_job
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, FloatNode, OmegaConf, open_dict

from fmnist_sweep.config.schema import CONFIG_FOLDER
from fmnist_sweep.config.validation import resolving
from fmnist_sweep.console import busy
from fmnist_sweep.errors import ConfigError, one_line


def arguments() -> Namespace:
    """Parse the command line with Hydra's parser."""
    with _unchecked_help():
        parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    if "--version" in sys.argv[1:]:
        print(f"fmnist_sweep {metadata.version('fmnist-sweep')} (Hydra {hydra.__version__})")
        sys.exit(0)
    parsed: Namespace = parser.parse_intermixed_args()  # overrides may follow options
    return parsed


@contextmanager
def _unchecked_help() -> Iterator[None]:
    """Stop argparse from checking help texts. From Python 3.14 on it refuses one of Hydra 1.3 that is not a string."""
    ArgumentParser._check_help = _nothing  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del ArgumentParser._check_help  # type: ignore[attr-defined]


def _refuse(message: str) -> NoReturn:
    print(f"fmnist_sweep: {one_line(message)}; see --help", file=sys.stderr)
    sys.exit(2)


class _Repository(ConfigRepository):
    """Hydra's repository, except that a copy shares its sources, which nothing changes, with everything in them."""

    def __deepcopy__(self, _: dict[int, Any]) -> ConfigRepository:
        return copy.copy(self)


class _Loader(ConfigLoaderImpl):
    """Hydra's loader, except that it does not copy all sources for each composition and each list of options."""

    def __init__(self, path: ConfigSearchPath):
        super().__init__(path)
        self.repository = _Repository(path)


def config_loader(*folders: Path | str | None, config_path: str | None = None) -> ConfigLoader:
    """Return a loader that searches the project's configuration and then `folders` in their order.

    Args:
        folders: paths, or addresses such as `pkg://package`. None is ignored.
        config_path: a configuration folder that replaces the project's own, from `--config-path`.
    """
    path = create_automatic_config_search_path(__file__, None, config_path or str(CONFIG_FOLDER))
    for folder in [str(folder) for folder in folders if folder]:
        address = folder if "://" in folder else f"file://{os.path.abspath(folder)}"
        path.prepend("command-line", address, SearchPathQuery(provider="schema"))
    return _Loader(path)


def master(loader: ConfigLoader) -> DictConfig:
    """Compose the configuration of the sweep itself, before any override."""
    composed: DictConfig = loader.load_configuration("config", [], RunMode.MULTIRUN)
    return composed


def set_values(composed: DictConfig, values: Sequence[Override]) -> None:
    """Set values in a composed configuration, and check them against its schema."""
    ConfigLoaderImpl._apply_overrides_to_config(list(values), composed)


def resolve(composed: DictConfig, *keys: str) -> Path:
    """Join the values of `keys` to a path. Resolve each in the job's own context, as `run_job` does."""
    with resolving(composed):
        return Path(*(str(OmegaConf.select(composed, key)) for key in keys))


def numbered(composed: DictConfig, number: int) -> DictConfig:
    """Set the number of a job of a sweep, as Hydra's launchers do, and return its configuration."""
    with open_dict(composed):
        composed.hydra.job.update({"id": str(number), "num": number})
    return composed


def place(composed: DictConfig, *keys: str) -> Path:
    """Set a job's directory, the joined values of `keys`, so that `${hydra:runtime.output_dir}` resolves; return it."""
    directory = resolve(composed, *keys)
    with open_dict(composed):
        composed.hydra.runtime.output_dir = str(directory.absolute())
    return directory


def interpolates(composed: DictConfig) -> bool:
    """Return whether a value outside `hydra` depends on others."""
    return "${" in str(OmegaConf.to_container(without_hydra(composed), resolve=False))


def converted(composed: DictConfig, key: str, value: float) -> float:
    """Return a number as it is after `set_values` has given it to a key: whole numbers become floats for some keys."""
    section, _, last = key.rpartition(".")
    # `OmegaConf.get_type` tells the type of a value, not that of its key.
    node = (OmegaConf.select(composed, section) if section else composed)._get_node(last, validate_access=False)
    return float(value) if isinstance(node, FloatNode) else value


def without_hydra(composed: DictConfig) -> DictConfig:
    """Return a copy of a configuration without Hydra's settings."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def rehearse(composed: DictConfig, loader: ConfigLoader) -> None:
    """Let Hydra prepare a job in a temporary folder, so that errors appear before anything trains.

    Call `place` on the job first. Callbacks are not notified, and nothing is written to the job's own directory.

    Raises:
        Exception: an error of Hydra, OmegaConf or Python's logging, for a configuration that cannot work.
    """
    copied = copy.deepcopy(composed)
    with tempfile.TemporaryDirectory() as folder, open_dict(copied), resolving(copied):
        copied.hydra.run.dir = folder
        for handler in (OmegaConf.select(copied, "hydra.job_logging.handlers") or {}).values():
            if "filename" in handler:
                log = Path(handler.filename)
                if not log.parent.is_dir() and log.parent != Path(composed.hydra.runtime.output_dir):
                    raise ConfigError(
                        f"{log}: this log file's folder is not there; make it, or change hydra.job.name or "
                        "hydra.job_logging, which name the file"
                    )
                handler.filename = str(Path(folder) / "log")
                if str(handler.get("class")).startswith("logging."):
                    handler.delay = True  # else the file stays open if another setting is invalid
        subdir = copied.hydra.output_subdir
        if subdir is not None and (Path(subdir).is_absolute() or ".." in Path(subdir).parts):
            copied.hydra.output_subdir = None
        run_job(_nothing, copied, "hydra.run.dir", None, HydraContext(loader, Callbacks()))
        configure_log(composed.hydra.hydra_logging, composed.hydra.verbose)


def begin_job(composed: DictConfig, task: TaskFunction, context: HydraContext) -> None:
    """Begin a job of a sweep as Hydra does: make its directory, log and `.hydra`, and notify the callbacks."""

    def start(**about: Any) -> None:
        context.callbacks.on_job_start(**{**about, "task_function": task})

    _run_half(_nothing, composed, context, SimpleNamespace(on_job_start=start, on_job_end=_nothing))


def end_job(composed: DictConfig, outcome: TaskFunction, context: HydraContext) -> JobReturn:
    """End a job that `begin_job` began, as Hydra does; `outcome` returns the job's result or raises its error."""
    end = context.callbacks.on_job_end
    return _run_half(outcome, composed, context, SimpleNamespace(on_job_start=_nothing, on_job_end=end))


def _run_half(task: TaskFunction, composed: DictConfig, context: HydraContext, callbacks: Any) -> JobReturn:
    # Hydra does both halves in one function, around the task. Here, many other jobs run between them.
    half = HydraContext(context.config_loader, callbacks)
    result: JobReturn = run_job(task, composed, "hydra.sweep.dir", "hydra.sweep.subdir", half)
    configure_log(composed.hydra.hydra_logging, composed.hydra.verbose)
    return result


def _nothing(*_: Any, **__: Any) -> None:
    return None


class HydraApplication:
    """Hydra's application object for a run or a sweep. It is a context manager because Hydra stores it in a global."""

    def __init__(self, loader: ConfigLoader, config_name: str | None):
        self._name = config_name or "config"
        self._hydra = Hydra(task_name="fmnist_sweep", config_loader=loader)

    def __enter__(self) -> HydraApplication:
        GlobalHydra.instance().initialize(self._hydra)
        return self

    def __exit__(self, *_: object) -> None:
        GlobalHydra.instance().clear()

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose the configuration of a single run. Its `hydra.mode` is MULTIRUN if it asks for a sweep instead."""
        composed = self._hydra.compose_config(self._name, list(overrides), RunMode.RUN, with_log_configuration=True)
        composed.hydra.mode = composed.hydra.mode or RunMode.RUN
        return composed

    def rehearse(self, composed: DictConfig) -> None:
        """Create the callbacks of a run, and rehearse the run."""
        self._callbacks = Callbacks(composed)
        rehearse(composed, self._hydra.config_loader)

    def run(self, composed: DictConfig, task: TaskFunction) -> None:
        """Run a task in the directory of its configuration, as `Hydra.run` does. Raise any error of the task."""
        errors = []

        def kept(config: DictConfig) -> Any:
            try:
                return task(config)
            except Exception as error:
                errors.append(error)
                raise

        callbacks = self._callbacks
        callbacks.on_run_start(config=composed, config_name=self._name)
        result = run_job(
            hydra_context=HydraContext(config_loader=self._hydra.config_loader, callbacks=callbacks),
            task_function=kept,
            config=composed,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
        )
        callbacks.on_run_end(config=composed, config_name=self._name, job_return=result)
        for error in errors:
            raise error  # `result.return_value` would raise it too, but print a line first

    def sweep(self, overrides: Sequence[str], task: TaskFunction) -> list[Path]:
        """Run a sweep with Hydra's sweeper and launcher. Return the directories of the jobs that ran."""
        lines = [*overrides, "hydra.mode=MULTIRUN"]
        with busy("reading the configuration"):
            composed = self._hydra.compose_config(self._name, lines, RunMode.MULTIRUN, with_log_configuration=True)
        resolve(composed, "hydra.sweep.dir")  # check it here: the whole sweep shares this one folder
        # `Hydra.multirun` would leave `${hydra:...}` unresolved in the sweep's own configuration.
        with resolving(composed):
            callbacks = Callbacks(composed)
            callbacks.on_multirun_start(config=composed, config_name=self._name)
            context = HydraContext(config_loader=self._hydra.config_loader, callbacks=callbacks)
            sweeper = Plugins.instance().instantiate_sweeper(config=composed, hydra_context=context, task_function=task)
            arguments = OmegaConf.to_container(composed.hydra.overrides.task, resolve=False)
            launched = sweeper.sweep(arguments=cast("list[str]", arguments))
            callbacks.on_multirun_end(config=composed, config_name=self._name)
        if not isinstance(launched, list):  # another sweeper may return anything
            return []
        directories = (directory_of(job) for batch in launched for job in batch)
        return [directory for directory in directories if directory is not None]


class QuickReturn(JobReturn):
    """A job's result that composes its configurations only when they are read.

    Args:
        directory: the directory of the job's run.
        overrides: the job's overrides outside `hydra`.
        compose: returns Hydra's own configuration of the job.
    """

    def __init__(self, directory: Path, overrides: list[str], compose: Callable[[], DictConfig]):
        self.directory = directory
        self.overrides = overrides
        self.working_dir = os.getcwd()
        self.task_name = "fmnist_sweep"
        self._compose = compose

    @property
    def hydra_cfg(self) -> DictConfig:  # type: ignore[override]
        """Return Hydra's settings of the job."""
        return OmegaConf.masked_copy(self._compose(), "hydra")

    @property
    def cfg(self) -> DictConfig:  # type: ignore[override]
        """Return the job's configuration without Hydra's settings."""
        return without_hydra(self._compose())


def directory_of(result: JobReturn) -> Path | None:
    """Return the directory of a job's run, or None if the job did not begin."""
    if isinstance(result, QuickReturn):
        return result.directory
    return Path(result.hydra_cfg.hydra.runtime.output_dir) if result.hydra_cfg is not None else None


def error_of(result: JobReturn) -> Any:
    """Return the error that a job raised. Reading `return_value` would raise it and print a line of Hydra's first."""
    return result._return_value


@contextmanager
def globals_kept() -> Iterator[None]:
    """Reset Hydra's globals to those of a new process inside the `with` block, and restore them afterwards."""
    Plugins.instance()  # load the plugins now: they register their options only once, on import
    store, application, job = ConfigStore.instance(), GlobalHydra.instance(), HydraConfig.instance()
    before = store.repo, application.hydra, job.cfg
    store.repo, application.hydra, job.cfg = copy.deepcopy(store.repo), None, None
    try:
        yield
    finally:
        store.repo, application.hydra, job.cfg = before


def show(typed: Namespace, overrides: Sequence[str], task: TaskFunction) -> None:
    """Let hydra.main handle --help, --cfg, --info and similar flags. It only reads arguments from `sys.argv`."""
    flags = sys.argv[1:]
    for argument in typed.overrides:
        flags.remove(argument)
    sys.argv[1:] = [*overrides, *flags]
    with _unchecked_help():
        hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="config")(task)()


def complete(typed: Namespace, rewrite: Callable[[list[str]], list[str]], task: TaskFunction) -> None:
    """Complete the command line. Hydra reads it only from `COMP_LINE` and composes its complete words first."""
    command, *words = os.environ.get("COMP_LINE", "").split(" ")
    os.environ["COMP_LINE"] = " ".join([command, *rewrite(words[:-1]), *words[-1:]])
    show(typed, typed.overrides, task)
