"""The files of a run directory and their formats.

The store writes these files, the report reads them, and tests create them with this module. It does not use torch.

A crash may have left a run directory incomplete, and it may come from someone else. So nothing in it is executed, no
file is read beyond a fixed size, and an error names an unusable file in one line. Nothing here protects against a
person who changes files while they are read.
"""

import hashlib
import re
import tokenize
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fmnist_sweep import files
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import CLASS_NAMES
from fmnist_sweep.engine.metrics import MEASURES, METRICS_COLUMNS, TEST_MEASURES, FloatArray, Metrics
from fmnist_sweep.errors import first_problem, one_line

Status = Literal["running", "interrupted", "done", "failed", "diverged"]
FINISHED = ("done", "diverged")  # nothing is left to train

Digested = Literal["metrics.csv", "timing.csv", "predictions.npy"]
RECORD = "run.json"
METRICS: Digested = "metrics.csv"
TIMING: Digested = "timing.csv"
PREDICTIONS: Digested = "predictions.npy"
TRACEBACK = "traceback.txt"


_MIB = 1 << 20
_LIMITS = {RECORD: _MIB // 4, METRICS: 8 * _MIB, TIMING: 8 * _MIB, PREDICTIONS: 8 * _MIB}
_NAMES = "|".join(map(re.escape, (RECORD, METRICS, TIMING, PREDICTIONS, TRACEBACK)))
_OURS = re.compile(rf"({_NAMES}|checkpoint-\d+\.pt(\.bad)?)(?P<unfinished>\.\d+\.tmp)?")


class RecordError(ValueError):
    """Raised if a file of a run directory cannot be used. The message is one line and names the file."""


class MissingFileError(RecordError):
    """Raised if a file of a run directory does not exist."""


TIMING_COLUMNS = ("epoch", "seconds")  # see `read_timing`
_COLUMNS = {METRICS: METRICS_COLUMNS, TIMING: TIMING_COLUMNS}


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)


class Test(_Model):
    """The result of the single evaluation on a held-out test set."""

    loss: Annotated[float, Field(ge=0)]
    accuracy: Annotated[float, Field(ge=0, le=1)]


class Record(_Model):
    """The content of run.json: the run's status, its configuration and its environment.

    Attributes:
        name: the run's name. Its directory has the same name, unless `hydra.run.dir` chose another.
        error: the error in one line, if there was one.
        epochs_done: the number of rows in metrics.csv when this was written.
        seconds: the last value in timing.csv; see `read_timing`.
        cut_from: the name of the longer run from which this one was cut.
        environment: versions and machine, as returned by `machine.environment`.
        sha256: by name, the digest of each file of the run that was complete when this was written.
    """

    format: Literal[1] = 1
    status: Status
    name: Annotated[str, Field(pattern=r"-[0-9a-f]{8}$")]
    error: str | None = None
    epochs_done: Annotated[int, Field(ge=0)] = 0
    seconds: Annotated[float, Field(ge=0)] | None = None
    cut_from: str | None = None
    test: Test | None = None
    config: Config
    environment: dict[str, Any] = {}
    sha256: dict[Digested, str] = {}

    def encode(self) -> bytes:
        """Return the content of run.json."""
        content = self.model_dump_json(indent=2).encode() + b"\n"
        return _sealed(content)


def _sealed(content: bytes) -> bytes:
    """Insert an indented JSON object's SHA-256 as its second line, so that changes by a faulty disk are detected."""
    opening, _, rest = content.partition(b"\n")
    return b'%s\n  "seal": "%s",\n%s' % (opening, hashlib.sha256(content).hexdigest().encode(), rest)


def is_ours(file: str, *, unfinished: bool = False) -> bool:
    """Tell whether a run writes files of this name. With `unfinished`, accept only its temporary names.

    All other files in a run's directory belong to Hydra, a tracker or the user, and are left alone.
    """
    match = _OURS.fullmatch(file)
    return match is not None and (match["unfinished"] is not None or not unfinished)


def csv_lines(rows: Iterable[Iterable[float]]) -> bytes:
    """Format rows as in metrics.csv, with full precision, so that equal numbers give equal bytes."""
    return "".join(",".join(map(repr, row)) + "\n" for row in rows).encode()


def csv_files(metrics: Iterable[Metrics], seconds: Iterable[float], *, tests: bool = False) -> dict[Digested, bytes]:
    """Return the content of metrics.csv and timing.csv by file name.

    Args:
        metrics: a row per epoch.
        seconds: as `read_timing` returns them.
        tests: whether the run measures on the test images after each epoch.
    """
    times = ((epoch, round(until, 3)) for epoch, until in enumerate(seconds, 1))
    return {
        METRICS: csv_header(METRICS, tests=tests) + csv_lines(row.row() for row in metrics),
        TIMING: csv_header(TIMING) + csv_lines(times),
    }


def csv_header(file: Digested, *, tests: bool = False) -> bytes:
    """Return the first line of metrics.csv or timing.csv."""
    return ",".join((*_COLUMNS[file], *(TEST_MEASURES if tests else ()))).encode() + b"\n"


def read_record(directory: Path) -> Record:
    """Read and check run.json. Raise `RecordError` if it is not there, invalid or damaged.

    If the file has no digests, because another program wrote it, it is not checked for damage.
    """
    content = _content(directory / RECORD)
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        raise RecordError(one_line(f"{RECORD}: {first_problem(error)}")) from error
    lines = content.split(b"\n", 2)
    unsealed = b"\n".join(lines[:1] + lines[2:])
    if (record.sha256 or b'"seal"' in content) and content != _sealed(unsealed):
        raise RecordError(f"{RECORD}: its SHA-256 is not the one that it states")
    return record


def damage(directory: Path, record: Record, *files: Digested) -> str | None:
    """Return the first of these files that is unreadable or differs from its digest in run.json, in one line, or None.

    A file without a digest always matches.
    """
    for file in files:
        try:
            if file in record.sha256 and hashlib.sha256(_content(directory / file)).hexdigest() != record.sha256[file]:
                return f"{file}: its SHA-256 is not the one in {RECORD}"
        except RecordError as error:
            return str(error)
    return None


def read_rows(directory: Path, file: Digested) -> tuple[FloatArray, str | None]:
    """Read the complete rows of metrics.csv or timing.csv before the first bad one.

    Returns:
        An array of shape `(epochs, columns)` without the epoch column, which counts from 1; and the error in the file,
        or None. The columns of metrics.csv may end with `TEST_MEASURES`. A last line without its newline is still being
        written. It is left out, and is not an error.
    """
    columns = _COLUMNS[file]
    rows: list[list[float]] = []
    try:
        *lines, _torn = _content(directory / file).split(b"\n")
    except RecordError as error:
        return np.empty((0, len(columns) - 1)), str(error)
    complaint = None
    header = lines[0].rstrip(b"\r") + b"\n" if lines else b""
    if file == METRICS and header == csv_header(METRICS, tests=True):
        columns = (*columns, *TEST_MEASURES)
    elif lines and header != csv_header(file):
        lines, complaint = [], f"{file}: the first line is not {','.join(columns)}"
    for epoch, line in enumerate(lines[1:], start=1):
        try:
            values = [float(cell) for cell in line.split(b",", len(columns))]
        except ValueError:
            complaint = f"{file} line {epoch + 1}: not numbers"
            break
        if len(values) != len(columns) or values[0] != epoch:
            complaint = f"{file} line {epoch + 1}: not the {len(columns)} values of epoch {epoch}"
            break
        rows.append(values[1:])
    return np.array(rows).reshape(-1, len(columns) - 1), complaint


def read_metrics(directory: Path, *, done: bool) -> tuple[FloatArray, str | None]:
    """Return the usable rows of metrics.csv and the error in the file, or None.

    The columns are `MEASURES`, followed by `TEST_MEASURES` if the run measures them after each epoch.

    Only the last row of a run that is not `done` may contain nan or inf, where training diverged.
    """
    rows, complaint = read_rows(directory, METRICS)
    measures = (*MEASURES, *TEST_MEASURES)[: rows.shape[1]]
    is_loss = np.array([measure.endswith("loss") for measure in measures])
    good = (rows >= 0) & (is_loss | (rows <= 1)) & np.isfinite(rows)
    if not done and len(good):
        good[-1] |= ~np.isfinite(rows[-1])
    usable = _leading(np.all(good, axis=1))
    if usable < len(rows):
        complaint = f"{METRICS} line {usable + 2}: a loss or an accuracy out of range"
    return rows[:usable], complaint


def read_timing(directory: Path) -> tuple[FloatArray, str | None]:
    """Return the seconds of training up to each epoch's end, shape `(epochs,)`, and the error in timing.csv, or None.

    A stack trains its models together, so the time of one model cannot be measured. The time of an epoch is the elapsed
    time of its stack, divided by the number of models in the stack. Each value is the sum over the epochs so far. It is
    a share of the worker's time, not elapsed time. It depends on the stack and on how busy the machine was, so it does
    not show which of two configurations trains faster.
    """
    rows, complaint = read_rows(directory, TIMING)
    seconds = rows[:, 0]
    usable = _leading(np.isfinite(seconds) & (seconds >= np.append(0.0, seconds)[:-1]))
    if usable < len(seconds):
        complaint = f"{TIMING} line {usable + 2}: seconds are negative or decrease"
    return seconds[:usable], complaint


def read_predictions(directory: Path) -> NDArray[np.uint8]:
    """Read the final validation predictions: uint8 class indices of shape `(n_validation,)`, in data set order.

    Raise `RecordError` if the file does not exist or contains anything else.
    """
    content = _content(directory / PREDICTIONS)
    file = BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    except (ValueError, tokenize.TokenError) as error:
        raise RecordError(f"{PREDICTIONS} is not a NumPy array") from error
    # Check the size in the header against the actual bytes, so that a false header cannot allocate memory.
    if dtype != np.uint8 or len(shape) != 1 or shape[0] != len(content) - file.tell():
        raise RecordError(f"{PREDICTIONS} is not a whole one-dimensional uint8 array")
    classes = np.frombuffer(content, np.uint8, offset=file.tell())
    if (classes >= len(CLASS_NAMES)).any():
        raise RecordError(f"{PREDICTIONS} holds a class over {len(CLASS_NAMES) - 1}")
    return classes


def encode_predictions(predictions: NDArray[np.uint8]) -> bytes:
    """Return the content of predictions.npy for classes of shape `(n_validation,)`."""
    stream = BytesIO()
    np.save(stream, predictions, allow_pickle=False)
    return stream.getvalue()


def _content(path: Path) -> bytes:
    try:
        return files.read(path, _LIMITS[path.name])
    except FileNotFoundError:
        raise MissingFileError(f"no {path.name}") from None
    except OSError as error:
        raise RecordError(f"{path.name}: {error.strerror}") from error


def _leading(good: NDArray[np.bool_]) -> int:
    """Count the true values before the first false."""
    return len(good) if good.all() else int(good.argmin())
