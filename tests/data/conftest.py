"""Fixtures of the tests of decoded images."""

from __future__ import annotations

import re
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted_images import CountedImages
from forking import warm_context
from object_store import ObjectStore
from PIL import Image


@pytest.fixture(scope="module")
def context() -> BaseContext:
    """How the processes that decode are started."""
    return warm_context()


@pytest.fixture
def images(tmp_path: Path) -> CountedImages:
    """20 images, more than a chunk."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for row in range(20):
        pixels = rng.integers(0, 256, (16 + row, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row:02d}.png")
    return CountedImages(folder, tmp_path / "log")


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URL of a bucket that is empty."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", object_store.endpoint)
    name = "b" + re.sub("[^a-z0-9]", "", request.node.name.lower())[:50]
    object_store.put(name, {})
    return f"s3://{name}"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this process one of several machines, each with a disk of its own."""

    def become(name: str) -> Path:
        monkeypatch.setenv("SSLKIT_CACHE_LOCAL", str(tmp_path / name))
        return tmp_path / name

    return become
