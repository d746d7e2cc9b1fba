"""Which device and number format to compute in."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from sslkit.errors import ConfigError


@dataclass(frozen=True)
class Compute:
    """What a job computes on; part of its identity, since rounding depends on it.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        precision: of the network's forward and backward; weights, losses and the optimiser are in float32.
        compile: whether the network goes through ``torch.compile``.
    """

    device: str
    precision: Literal["bf16", "fp32"]
    compile: bool = False

    def prepare_process(self) -> None:
        """Make this process compute where it should, and choose the same algorithms every time.

        A job done again then gives what it gave. On the CPU that is so anyway; on CUDA some operations have no such
        algorithm, and torch warns of each. An executor that runs several jobs at a time numbers them from 0 in
        $SSLKIT_WORKER: on a machine with several GPUs the device ``"cuda"`` is the one of that number.
        """
        if not self.device.startswith("cuda"):
            return
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        # TensorFloat-32 for what bf16 and fp16 leave in float32; "fp32" is exact but for cuDNN's convolutions.
        torch.set_float32_matmul_precision("highest" if self.precision == "fp32" else "high")
        if self.device == "cuda":
            torch.cuda.set_device(int(os.environ.get("SSLKIT_WORKER", "0")) % torch.cuda.device_count())

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which networks run."""
        return torch.autocast(self.device.partition(":")[0], dtype=torch.bfloat16, enabled=self.precision == "bf16")


def resolve_compute(device: str, precision: str, compile_network: bool) -> Compute:
    """Turn ``"auto"`` into what this machine has.

    Raises:
        ConfigError: if the device asked for is not there.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available.append("cuda")
    if torch.backends.mps.is_available():
        available.append("mps")
    if device == "auto":
        device = available[-1]
    family, _, number = device.partition(":")
    if family not in available or (number and int(number) >= torch.cuda.device_count()):
        raise ConfigError(f"compute.device: {device!r} is not on this machine; it has {', '.join(available)}")
    resolved: Literal["bf16", "fp32"] = (
        "bf16" if precision == "bf16" or (precision == "auto" and _has_bf16(family)) else "fp32"
    )
    return Compute(device, resolved, compile_network)


def _has_bf16(family: str) -> bool:
    if family == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if family != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # The first asks whether bf16 works at all, the second whether the processor computes in it.
    works = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return works and bool(torch.cpu._is_avx512_bf16_supported())
