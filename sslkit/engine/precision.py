"""Which device and number format to compute in."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, cast

import torch

from sslkit.errors import ConfigError

Precision = Literal["bf16", "fp16", "fp32"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Compute:
    """What a job computes on; part of its identity, since rounding depends on it.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        precision: of the network's forward and backward; weights, losses and the optimiser are in float32.
        compile: whether pretraining puts the network through ``torch.compile``.
    """

    device: str
    precision: Precision
    compile: bool = False

    def prepare_process(self) -> None:
        """Make this process, a job's own, compute where it should, and choose the same algorithms every time.

        A job done again then gives what it gave. On the CPU that is so anyway; on CUDA some operations have no such
        algorithm, and torch warns of each. An executor that runs several jobs at a time numbers them from 0 in
        $SSLKIT_WORKER: on a machine with several GPUs the device ``"cuda"`` is the one of that number.
        """
        if self.device == "cpu":
            keep_freed_memory()
        if self.family != "cuda":
            return
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        # TensorFloat-32 for what bf16 and fp16 leave in float32; "fp32" is exact but for cuDNN's convolutions.
        torch.set_float32_matmul_precision("highest" if self.precision == "fp32" else "high")
        if self.device == "cuda":
            torch.cuda.set_device(int(os.environ.get("SSLKIT_WORKER", "0")) % torch.cuda.device_count())

    @property
    def family(self) -> str:
        """The kind of device: ``"cpu"``, ``"cuda"`` or ``"mps"``."""
        return self.device.partition(":")[0]

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which networks run."""
        return torch.autocast(self.family, dtype=_DTYPES[self.precision], enabled=self.precision != "fp32")

    def make_scaler(self) -> torch.amp.GradScaler:
        """Return what keeps gradients within the range of fp16; in other precisions it does nothing.

        It begins low: an update whose gradients overflow is left out, and a cell may have only a few dozen.
        """
        return torch.amp.GradScaler(
            self.family, init_scale=2.0**12, growth_interval=500, enabled=self.precision == "fp16"
        )

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the CPU on the device; the CPU does not wait until it is there."""
        if self.family == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def keep_freed_memory() -> None:
    """Let this process use memory again that tensors have left; where the C library cannot be told, nothing changes.

    glibc gives blocks of more than 32 MiB back to the system at once, and those of threads even sooner. An update takes
    and frees hundreds of them, and each comes back as pages that the system must clear first: up to a quarter of the
    time at 224 pixels.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_ARENA_MAX, 1)


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
    if precision == "auto":
        precision = "bf16" if _has_bf16(family) else "fp16" if family == "cuda" else "fp32"
    if precision == "fp16" and family != "cuda":
        raise ConfigError(f"compute.precision: 'fp16' is for CUDA; on {family!r} choose 'bf16', 'fp32' or 'auto'")
    return Compute(device, cast("Precision", precision), compile_network)


def _has_bf16(family: str) -> bool:
    if family == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if family != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # The first asks whether bf16 works at all, the second whether the processor computes in it.
    works = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return works and bool(torch.cpu._is_avx512_bf16_supported())
