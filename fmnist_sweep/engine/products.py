"""Matrix products of one model through oneDNN, on processors where that is faster than torch's own choice.

For float32, torch calls Intel's MKL, which runs AVX2 code on AMD's processors. oneDNN is inside torch too and runs
AVX-512 code there. docs/explanation/speed.md has the measurements from which `suits` chooses. It goes by processor and
shape, never by a measurement of its own: the two libraries round differently, and noise must not decide about bytes.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch
from torch import Tensor

_ZEN_5 = 26  # the CPU family from which on AVX-512 units have their full width


def suits(weights: Tensor, batch_size: int) -> bool:
    """Tell whether oneDNN should compute the products of a layer with weights [K, out, in].

    Small products are slower by it, since it is called once a model; MKL is called once for a whole stack.
    """
    if weights.device.type != "cpu" or weights.dtype != torch.float32 or not _is_available():
        return False
    smallest_batch = 64 if _amd_family() >= _ZEN_5 else 500
    return weights.shape[2] >= 512 and batch_size >= smallest_batch


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return inputs [n, in] times the transposed weight [out, in], plus bias [out], as a new tensor [n, out]."""
    # Private in torch, which uses it for compiled models; tests/engine/test_products.py names it.
    result: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return result


def batched(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write the products of left [K, m, n] and right [K, n, columns] into `out` [K, m, columns].

    For one model alone, torch computes a product with one column by another routine than for several. So such products
    are computed one model at a time. Their routine may round by the place of its operands in memory, hence the copies.
    """
    if right.shape[2] > 1:
        torch.bmm(left, right, out=out)
    else:
        for k in range(len(out)):
            out[k] = torch.mm(left[k].clone(), right[k].clone())


@functools.cache
def _is_available() -> bool:
    return (
        _amd_family() > 0
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


@functools.cache
def _amd_family() -> int:
    """Return the family of this machine's AMD processor, or 0 if it has another processor or does not tell."""
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    except OSError:
        return 0
    told = {name.strip(): value.strip() for name, value in facts.items()}
    is_amd = told.get("vendor_id") == "AuthenticAMD" and platform.machine() == "x86_64"
    return int(told.get("cpu family", 0)) if is_amd else 0
