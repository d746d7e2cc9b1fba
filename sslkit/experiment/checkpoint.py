"""Where a pretraining goes on: a zip archive, whose every entry has a CRC-32, which torch writes but does not check."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sslkit.files import write_atomically

_KEYS = {"job", "update", "task", "optimizer", "scaler", "log", "epoch", "best"}


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write plain values and tensors atomically.

    Raises:
        StorageError: if the disk is full, say.
    """
    content = io.BytesIO()  # written in one go: torch's own writer does not tell a full disk from a bug
    torch.save(dict(state), content)
    write_atomically(path, lambda file: file.write(content.getbuffer()))


def read_checkpoint(path: Path, device: str) -> dict[str, Any] | None:
    """Return what a checkpoint holds, its tensors on a device, or None if it is damaged; no code in it is run."""
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            if archive.testzip() is not None:
                return None
        content.seek(0)
        state = torch.load(content, map_location=device, weights_only=True)
    except Exception:  # a damaged archive makes its parsers raise nearly anything
        return None
    return state if isinstance(state, dict) and state.keys() >= _KEYS else None
