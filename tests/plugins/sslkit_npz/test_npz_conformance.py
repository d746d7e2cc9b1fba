from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sslkit.testing import parametrize_with_checks
from sslkit.testing.samples import sample_pixels
from sslkit_npz import Npz


def write_archive(folder: Path) -> dict[str, str]:
    pixels = sample_pixels(30, 256)  # of them all, more than a listing or a pickled data set may hold
    splits = {"train": pixels[:20], "val": pixels[20:25], "test": pixels[25:]}
    images = {f"{split}_images": part for split, part in splits.items()}
    np.savez(folder / "images.npz", **images, **{f"{split}_labels": np.arange(len(splits[split])) for split in splits})
    return {"path": "images.npz"}


@parametrize_with_checks(Npz, options=write_archive)
def test_npz_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
