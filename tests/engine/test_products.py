"""oneDNN's products are right, and the processor and the shape alone decide who computes a product."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fmnist_sweep.engine import products

ZEN_5 = "vendor_id\t: AuthenticAMD\ncpu family\t: 26\n"
ZEN_4 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\n"
INTEL = "vendor_id\t: GenuineIntel\ncpu family\t: 6\n"


def test_torch_still_has_the_private_product() -> None:
    assert hasattr(torch.ops.mkldnn, "_linear_pointwise")


@pytest.mark.parametrize("batch_size", [1, 7, 77, 1000])
@pytest.mark.parametrize(("inputs", "outputs"), [(784, 128), (3, 2), (31, 1)])
def test_a_product_is_that_of_double_precision(batch_size: int, inputs: int, outputs: int) -> None:
    images, weight, bias = torch.randn(batch_size, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    exact = torch.nn.functional.linear(images.double(), weight.double(), bias.double())
    torch.testing.assert_close(products.linear(images, weight, bias).double(), exact, rtol=1e-4, atol=1e-4)
    gradient = torch.randn(batch_size, outputs)
    exact = gradient.double().t() @ images.double()
    torch.testing.assert_close(products.linear(gradient.t(), images.t()).double(), exact, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("processor", "smallest"), [(ZEN_5, 64), (ZEN_4, 500), (INTEL, None), ("", None)], ids=["5", "4", "intel", "none"]
)
def test_processor_and_shape_decide(processor: str, smallest: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(Path, "read_text", lambda _: processor)
    for cached in (products._is_available, products._amd_family):
        monkeypatch.setattr(products, cached.__name__, cached.__wrapped__)
    first, second = torch.empty(4, 128, 784), torch.empty(4, 64, 128)
    chosen = [size for size in (1, 63, 64, 499, 500, 1000) if products.suits(first, size)]
    assert min(chosen, default=None) == smallest
    assert not products.suits(second, 1000)
    assert not products.suits(first.double(), 1000)
