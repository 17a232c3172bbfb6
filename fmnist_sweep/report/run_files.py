"""Read the files of one run directory, trusting nothing in them.

A file may be torn by a crash, half written by a run that goes on, left by another program or made to do harm.
Each reader checks the kind and the size of a file before its content, and says what is wrong in one line.
"""

import json
import math
import os
import re
import stat
import tokenize
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATUSES = ("running", "interrupted", "done", "failed", "diverged")
MEASURES = ("train_loss", "train_accuracy", "running_loss", "running_accuracy", "val_loss", "val_accuracy")
CLASSES = 10
ENVIRONMENT = ("python", "torch", "cpu", "device", "threads", "platform", "git_commit")

_METRICS_HEADER = ",".join(("epoch", *MEASURES))
_TIMING_HEADER = "epoch,seconds"
_IS_LOSS = np.array([measure.endswith("loss") for measure in MEASURES])
_FORMAT = 1
_MIB = 1 << 20
_LIMITS = {
    "run.json": _MIB // 4,
    "metrics.csv": 8 * _MIB,
    "timing.csv": 8 * _MIB,
    "predictions.npy": 8 * _MIB,
}
_LARGEST = 2**63 - 1  # of pandas' int64 columns
_DIGEST = re.compile(r"-([0-9a-f]{8})")
_WORD = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)


class RunFileError(ValueError):
    """A file of a run directory cannot be used; the message is one line and names the file."""


class MissingFileError(RunFileError):
    """A file of a run directory is not there."""


def one_line(text: str, limit: int = 200) -> str:
    """`text` fit for one line of a terminal or a table: printable characters, at most `limit`."""
    start = text[: limit + 1]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in start)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def written(directory: Path) -> float:
    """When `run.json` was last written, in seconds since the epoch; 0 if it is gone."""
    try:
        return (directory / "run.json").stat().st_mtime
    except OSError:
        return 0.0


def read_info(directory: Path) -> dict[str, Any]:
    """The checked content of `run.json`: the columns of a run that it decides, by name.

    Raises:
        RunFileError: if the file is absent, unreadable, of another format, or a value is missing or out of
            range.
    """
    try:
        root = json.loads(_content(directory / "run.json"))
    except (ValueError, RecursionError) as error:
        raise (error if isinstance(error, RunFileError) else RunFileError("run.json is not valid JSON")) from error
    if _integer(root, "format", 0, _LARGEST) != _FORMAT:
        raise RunFileError(f"run.json has a format other than {_FORMAT}; it needs another version of this report")
    name = _text(root, "name")
    digest = _DIGEST.fullmatch(name[-9:])
    if digest is None:
        raise RunFileError("run.json: name does not end in a hyphen and 8 hex digits")
    error_text = _value(root, "error")
    seconds = _value(root, "seconds")
    tested = _value(root, "test") is not None
    optimizer, optimizer_args = _optimizer(root)
    return {
        "own_name": name,
        "digest": digest[1],
        "status": _choice(root, "status", STATUSES),
        "error": None if error_text is None else one_line(str(error_text)),
        "seconds": math.nan if seconds is None else _real(root, "seconds", 0, math.inf),
        "test_loss": _real(root, "test.loss", 0, math.inf) if tested else math.nan,
        "test_accuracy": _real(root, "test.accuracy", 0, 1) if tested else math.nan,
        "optimizer": optimizer,
        "optimizer_args": optimizer_args,
        "batch_size": _integer(root, "config.training.batch_size", 1, _LARGEST),
        "dropout": _real(root, "config.model.dropout", 0, 1),
        "epochs": _integer(root, "config.training.epochs", 1, _LARGEST),
        "seed": _integer(root, "config.seed", 0, _LARGEST),
        "hidden": _widths(root),
        "validation": _choice(root, "config.data.validation", ("test", "holdout")),
        "pixel_mean": _real(root, "config.data.mean", -math.inf, math.inf),
        "pixel_std": _real(root, "config.data.std", 0, math.inf),
    }


def read_environment(directory: Path) -> dict[str, str]:
    """What `run.json` says of the machine and the versions: those of `ENVIRONMENT` that it has, a line each."""
    try:
        environment = _value(json.loads(_content(directory / "run.json")), "environment")
    except (ValueError, RecursionError):
        return {}
    said = environment if isinstance(environment, dict) else {}
    return {key: one_line(str(said[key])) for key in ENVIRONMENT if said.get(key) is not None}


def read_metrics(directory: Path, done: bool) -> tuple[NDArray[np.float64], str | None]:
    """The whole rows of `metrics.csv` before the first bad one.

    Args:
        directory: of the run.
        done: whether the run claims to be finished; only the last row of one that does not may hold nan or
            inf.

    Returns:
        Array of shape `(epochs, 6)`, columns `MEASURES`; and what is wrong with the file, if anything is. A
        last line without its newline is a row being written: left out, and not wrong.
    """
    try:
        rows, complaint = _rows(_content(directory / "metrics.csv"), "metrics.csv", _METRICS_HEADER)
    except RunFileError as error:
        return np.empty((0, len(MEASURES))), str(error)
    good = (rows >= 0) & (_IS_LOSS | (rows <= 1)) & np.isfinite(rows)
    if not done and len(good):
        good[-1] |= ~np.isfinite(rows[-1])
    usable = _leading(np.all(good, axis=1))
    if usable < len(rows):
        complaint = f"metrics.csv line {usable + 2}: a loss or an accuracy out of range"
    return rows[:usable], complaint


def read_timing(directory: Path) -> tuple[NDArray[np.float64], str | None]:
    """Cumulative training seconds by epoch, shape `(epochs,)`, and what is wrong with `timing.csv`."""
    try:
        rows, complaint = _rows(_content(directory / "timing.csv"), "timing.csv", _TIMING_HEADER)
    except RunFileError as error:
        return np.empty(0), str(error)
    seconds = rows[:, 0]
    usable = _leading(np.isfinite(seconds) & (seconds >= np.append(0.0, seconds)[:-1]))
    if usable < len(seconds):
        complaint = f"timing.csv line {usable + 2}: seconds are negative or go back"
    return seconds[:usable], complaint


def read_predictions(directory: Path) -> NDArray[np.uint8]:
    """The final validation predictions, uint8 class indices of shape `(n_validation,)`, in data set order.

    Raises:
        RunFileError: if the file is absent or holds anything else.
    """
    content = _content(directory / "predictions.npy")
    file = BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    except (ValueError, tokenize.TokenError) as error:
        raise RunFileError("predictions.npy is not a NumPy array") from error
    # The header is compared with the bytes that are there before anything of the size it claims is allocated.
    if dtype != np.uint8 or len(shape) != 1 or shape[0] != len(content) - file.tell():
        raise RunFileError("predictions.npy is not one whole row of uint8")
    classes = np.frombuffer(content, np.uint8, offset=file.tell())
    if (classes >= CLASSES).any():
        raise RunFileError(f"predictions.npy holds a class over {CLASSES - 1}")
    return classes


def _content(path: Path) -> bytes:
    limit = _LIMITS[path.name]
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RunFileError(f"{path.name} is not a plain file")
            content = b"" if status.st_size > limit else file.read(limit + 1)
    except FileNotFoundError:
        raise MissingFileError(f"no {path.name}") from None
    except OSError as error:
        raise RunFileError(f"{path.name}: {error.strerror}") from error
    if max(status.st_size, len(content)) > limit:
        raise RunFileError(f"{path.name} is larger than {limit // 1024} KiB")
    return content


def _rows(content: bytes, name: str, header: str) -> tuple[NDArray[np.float64], str | None]:
    columns = header.count(",")
    rows: list[list[float]] = []
    complaint = None
    *lines, _torn = content.split(b"\n")
    if lines and lines[0].rstrip(b"\r") != header.encode():
        lines, complaint = [], f"{name}: the first line is not {header}"
    for epoch, line in enumerate(lines[1:], start=1):
        cells = line.split(b",", columns + 1)
        if len(cells) != columns + 1:
            complaint = f"{name} line {epoch + 1}: not {columns + 1} values"
            break
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            complaint = f"{name} line {epoch + 1}: not numbers"
            break
        if values[0] != epoch:
            complaint = f"{name} line {epoch + 1}: epoch {values[0]:g} instead of {epoch}"
            break
        rows.append(values[1:])
    return np.array(rows).reshape(-1, columns), complaint


def _leading(good: NDArray[np.bool_]) -> int:
    """How many values are true before the first false."""
    return len(good) if good.all() else int(good.argmin())


def _value(root: object, path: str) -> object:
    value = root
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise RunFileError(f"run.json has no {path}")
        value = value[key]
    return value


def _text(root: object, path: str) -> str:
    value = _value(root, path)
    if not isinstance(value, str):
        raise RunFileError(f"run.json: {path} is not a text")
    return value


def _choice(root: object, path: str, options: tuple[str, ...]) -> str:
    value = _text(root, path)
    if value not in options:
        raise RunFileError(f"run.json: {path} is none of {', '.join(options)}")
    return value


def _integer(root: object, path: str, low: int, high: int) -> int:
    value = _value(root, path)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RunFileError(f"run.json: {path} is not a whole number from {low} to {high}")
    return value


def _real(root: object, path: str, low: float, high: float) -> float:
    value = _value(root, path)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high or abs(value) > 1e300:
        raise RunFileError(f"run.json: {path} is not a number from {low} to {high}")
    return float(value)


def _widths(root: object) -> str:
    widths = _value(root, "config.model.hidden")
    whole = isinstance(widths, list) and 0 < len(widths) <= 64 and all(type(width) is int for width in widths)
    if not isinstance(widths, list) or not whole or not all(0 < width <= _LARGEST for width in widths):
        raise RunFileError("run.json: config.model.hidden is not a list of widths")
    return "-".join(map(str, widths))


def _optimizer(root: object) -> tuple[str, str]:
    """A short label, plain for the paper's lr=0.01 and nothing else; and all arguments as canonical JSON."""
    arguments = _value(root, "config.optimizer")
    if not isinstance(arguments, dict) or not all(_WORD.fullmatch(key) for key in arguments):
        raise RunFileError("run.json: config.optimizer is not a name with arguments")
    name = _text(root, "config.optimizer.name")
    if not _WORD.fullmatch(name):
        raise RunFileError("run.json: config.optimizer.name is not the name of a class")
    arguments = {key: value for key, value in arguments.items() if key != "name"}
    try:
        canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise RunFileError("run.json: config.optimizer has a value that is not finite") from error
    if len(canonical) > 1000:
        raise RunFileError("run.json: config.optimizer is longer than 1000 characters")
    extra = [f"{key}={_plain(value)}" for key, value in sorted(arguments.items()) if (key, value) != ("lr", 0.01)]
    return one_line(" ".join([name.lower(), *extra]), 80), canonical


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
