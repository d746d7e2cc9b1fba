"""Keeps uploads and answers in a folder, under the digest of the upload: no name that a client chose becomes a path."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sslkit.errors import StorageError
from sslkit.files import make_folder, write_atomically

_ENDINGS = (
    (b"\x89PNG\r\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
)


def prepare_folder(folder: Path) -> None:
    """Make the folder, for its owner alone, and check that it can be written to.

    Raises:
        StorageError: if it cannot.
    """
    if not folder.is_dir():
        make_folder(folder)
        folder.chmod(0o700)
    probe = folder / ".sslkit"
    write_atomically(probe, lambda file: None)
    probe.unlink()


def keep(folder: Path, content: bytes, answer: Mapping[str, Any]) -> str:
    """Write an upload and its answer; the same ones give the same files.

    Returns:
        The digest, SHA-256 in hex, which is the stem of both names.

    Raises:
        StorageError: if they cannot be written.
    """
    if not folder.is_dir():
        raise StorageError(f"{folder}, in which uploads are kept, was taken away")
    digest = hashlib.sha256(content).hexdigest()
    ending = next((ending for start, ending in _ENDINGS if content.startswith(start)), ".image")
    _write(folder / f"{digest}{ending}", content)
    _write(folder / f"{digest}.json", f"{json.dumps(answer, indent=2, ensure_ascii=False)}\n".encode())
    return digest


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""

    def write(file: BinaryIO) -> None:
        os.chmod(file.name, 0o600)
        file.write(content)

    write_atomically(path, write)
