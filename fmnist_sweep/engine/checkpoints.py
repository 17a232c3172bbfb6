"""Encode a model's progress as bytes, and decode it.

A checkpoint may come from anyone. Decoding executes no code in it and accepts only a state that fits the model. An
optimizer's fused step trusts its state: given tensors of other shapes, it would write past their end.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import Any

import torch

from fmnist_sweep.config import optimizers
from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.torch_private import take_step
from fmnist_sweep.engine.metrics import Metrics
from fmnist_sweep.engine.training import Progress, start

_DIGEST_BYTES = 32


@dataclass
class Checkpoint:
    """A model's progress, and the rows of its epochs so far.

    Attributes:
        metrics: one row per epoch.
        seconds: training time up to the end of each epoch; see `layout.read_timing`.
        cpu: the type of CPU that trained it. If there were several, all of them in order.
    """

    progress: Progress
    metrics: list[Metrics]
    seconds: list[float]
    cpu: str


def encode(checkpoint: Checkpoint, version: str) -> bytes:
    """Return a checkpoint file's content. Decoding requires the same version."""
    stream, progress = io.BytesIO(), checkpoint.progress
    saved = {
        "version": version,
        "epoch": progress.epoch,
        "parameters": progress.parameters,
        "optimizer": progress.optimizer,
        "statistics": progress.statistics,
        "metrics": [list(row.row()) for row in checkpoint.metrics],
        "seconds": checkpoint.seconds,
        "cpu": checkpoint.cpu,
    }
    torch.save(saved, stream)
    return stream.getvalue() + hashlib.sha256(stream.getvalue()).digest()


def decode(content: bytes, version: str, config: Config, epoch: int) -> Checkpoint:
    """Return the checkpoint that `encode` was given.

    Raises:
        Exception: of any type, if the content is damaged, of another version, or of another model or epoch.
    """
    saved = _saved(content)
    if saved["version"] != version:
        raise ValueError(f"is of version {saved['version']}, not {version}")
    progress = Progress(saved["epoch"], saved["parameters"], saved["optimizer"], saved.get("statistics", []))
    metrics, seconds = [Metrics(*row) for row in saved["metrics"]], saved["seconds"]
    expected = _stepped(config)
    before_any_step = {"state": {}, "param_groups": expected.optimizer["param_groups"]} if expected.optimizer else None
    if _form(_model(progress)) != _form(_model(expected)) or _form(progress.optimizer) not in (
        _form(expected.optimizer),
        _form(before_any_step),
    ):
        raise ValueError("is of another model")
    if not [epoch] * 3 == [progress.epoch, len(metrics), len(seconds)] or any(
        type(number) is not float for row in (seconds, *(row.row()[1:] for row in metrics)) for number in row
    ):
        raise ValueError(f"does not contain {epoch} epochs")
    return Checkpoint(progress, metrics, seconds, str(saved.get("cpu", "")))


def decode_model(content: bytes, config: Config) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return only the model's parameters and running statistics, from a checkpoint of any version.

    Raises:
        Exception: of any type, if the content is damaged or of another model.
    """
    saved = _saved(content)
    parameters, statistics = saved["parameters"], saved.get("statistics", [])
    if _form((parameters, statistics)) != _form(_model(start(config))):
        raise ValueError("is of another model")
    return parameters, statistics


def _model(progress: Progress) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return progress.parameters, progress.statistics


def _saved(content: bytes) -> dict[str, Any]:
    content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("is torn or corrupt")
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
            raise ValueError("is compressed; checkpoints never are")
    saved: dict[str, Any] = torch.load(io.BytesIO(content), "cpu", weights_only=True)
    return saved


def most_bytes(config: Config) -> int:
    """Return an upper limit for a checkpoint's size in bytes.

    It has room for the parameters, an optimizer state several times as large, and the rows.
    """
    return (64 << 20) + 16 * sum(tensor.nbytes for tensor in start(config).parameters)


def _stepped(config: Config) -> Progress:
    """Return a model after one step with zero gradients. It has the same form as the model's checkpoints."""
    begun = start(config)
    parameters = [torch.nn.Parameter(tensor) for tensor in begun.parameters]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = optimizers.build(config.optimizer, parameters)
    with torch.no_grad():
        take_step(optimizer)
    return Progress(1, [parameter.detach() for parameter in parameters], optimizer.state_dict(), begun.statistics)


def _form(value: object) -> object:
    """Return a value with each tensor replaced by its shape, strides, dtype, device and layout.

    A checkpoint fits a model if their forms are equal.
    """
    if isinstance(value, torch.Tensor):
        return value.shape, value.stride(), value.dtype, value.device, value.layout
    if isinstance(value, dict):
        return {key: _form(item) for key, item in value.items()}
    return [_form(item) for item in value] if isinstance(value, list | tuple) else value
