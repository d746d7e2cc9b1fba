from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sslkit.data.decoding import HEADER
from sslkit.data.image_audit import describe_images
from sslkit.data.image_statistics import global_statistics
from sslkit.data.reading import read_image


def file_of(pixels: np.ndarray, kind: str = "PNG", mode: str | None = None, **options: object) -> bytes:
    image = Image.fromarray(pixels)
    content = io.BytesIO()
    (image.convert(mode) if mode else image).save(content, kind, **options)
    return content.getvalue()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def describe(contents: dict[str, bytes | np.ndarray], size: int = 16, **unreadable: str) -> dict:
    images = [read_image(content) for content in contents.values()]
    headers = np.array([(image.format, image.mode, image.bits) for image in images], dtype=HEADER)
    statistics = np.array([list(global_statistics(image).values()) for image in images])
    return describe_images(list(contents), headers, statistics, unreadable, size)


def test_kinds_are_counted_the_most_frequent_first() -> None:
    found = describe(
        {
            "a": file_of(noise(20, 20)),
            "b": file_of(noise(20, 20), "JPEG"),
            "c": file_of(noise(20, 20), "JPEG", "L"),
            "d": file_of(noise(20, 20), "JPEG", "CMYK"),
            "e": file_of(noise(20, 20), mode="P"),
            "f": noise(20, 20),
        }
    )
    assert found["formats"] == {"JPEG": 3, "PNG": 2, "array": 1}
    assert found["modes"] == {"RGB": 3, "CMYK": 1, "L": 1, "P": 1}
    assert found["bit_depths"] == {"8": 6}


@pytest.mark.parametrize(
    ("content", "bits"),
    [
        (file_of(noise(9, 9), mode="1"), 1),
        (file_of(noise(9, 9)[..., 0].astype(np.uint16) * 257), 16),
        (file_of(noise(9, 9)[..., 0].astype(np.float32), "TIFF"), 32),
        (file_of(noise(9, 9), "JPEG"), 8),
    ],
    ids=["1", "16", "32", "8"],
)
def test_bits_are_those_that_are_stored(content: bytes, bits: int) -> None:
    assert describe({"a": content})["bit_depths"] == {str(bits): 1}


def test_sizes_are_those_of_the_files() -> None:
    found = describe({"a": noise(20, 40), "b": noise(30, 30), "c": noise(100, 50)})
    assert found["width"] == {"min": 30, "median": 40, "max": 50}
    assert found["height"] == {"min": 20, "median": 30, "max": 100}
    assert found["aspect"] == {"min": 0.5, "median": 1, "max": 2}


def test_odd_images_are_named() -> None:
    one_colour = np.full((20, 20, 3), (9, 90, 200), np.uint8)
    found = describe(
        {"small": noise(40, 15), "plain": one_colour, "fine": noise(16, 16)},
        cut="the file is truncated: OSError: 3 bytes",
        text="not an image",
    )
    assert (found["tiny"], found["constant"], found["truncated"]) == (["small"], ["plain"], ["cut"])


def test_a_jpeg_that_was_decoded_smaller_keeps_its_size() -> None:
    image = read_image(file_of(noise(800, 1000), "JPEG"), at_least=100)
    assert image.pixels.shape[:2] == (100, 125)
    assert (image.width, image.height) == (1000, 800)
