from __future__ import annotations

import platform
import resource
import subprocess
import sys

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not told")
def test_memory_that_tensors_leave_is_used_again() -> None:
    script = (
        "import resource, torch\n"
        "from sslkit.engine.precision import Compute\n"
        "Compute('cpu', 'fp32').prepare_process()\n"
        "def faults():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for update in range(20):\n"  # the heap grows by a few tensors before one fits in what another left
        "    before = before if update > 10 else faults()\n"
        "    torch.ones(2**24).add_(1)\n"
        "print(faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 2**24 * 4 / resource.getpagesize() / 10, "ten tensors of 64 MiB take no new pages"
