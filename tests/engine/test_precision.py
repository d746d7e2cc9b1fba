from __future__ import annotations

import pytest
import torch

from sslkit.engine.precision import Compute, resolve_compute
from sslkit.errors import ConfigError


def test_what_is_asked_for_is_kept() -> None:
    assert resolve_compute("cpu", "fp32", False) == Compute("cpu", "fp32")
    assert resolve_compute("cpu", "bf16", True) == Compute("cpu", "bf16", True)


def test_auto_chooses_a_device_that_is_there() -> None:
    compute = resolve_compute("auto", "auto", False)

    assert torch.ones(1, device=compute.device).item() == 1


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"compute\.device: 'cuda:99' is not on this machine; it has cpu"):
        resolve_compute("cuda:99", "auto", False)


def test_fp16_is_for_cuda_alone() -> None:
    with pytest.raises(ConfigError, match=r"compute\.precision: 'fp16' is for CUDA; on 'cpu' choose 'bf16', 'fp32'"):
        resolve_compute("cpu", "fp16", False)


def test_gradients_are_scaled_in_fp16_alone() -> None:
    loss = torch.tensor(3.0)
    assert Compute("cpu", "fp16").make_scaler().scale(loss).item() == 3 * 2**12
    assert Compute("cpu", "fp32").make_scaler().scale(loss) is loss


def test_what_is_on_the_device_already_is_not_copied() -> None:
    tensor = torch.ones(3)
    assert Compute("cpu", "fp32").send(tensor) is tensor


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_networks_compute_in_the_precision(precision: str, dtype: torch.dtype) -> None:
    with resolve_compute("cpu", precision, False).autocast():
        assert torch.nn.Linear(4, 4)(torch.ones(2, 4)).dtype == dtype
