from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from sslkit.testing import parametrize_with_checks
from sslkit.testing.samples import sample_pixels
from sslkit_image_folder import ImageFolder


def write_images(folder: Path) -> dict[str, str]:
    for number, pixels in enumerate(sample_pixels(6, 96)):
        path = folder / "images" / ("mild", "severe")[number % 2] / f"{number // 2}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return {"path": "images", "group_pattern": r"^(\d+)_"}


@parametrize_with_checks(ImageFolder, options=write_images)
def test_image_folder_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
