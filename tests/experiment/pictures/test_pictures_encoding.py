from __future__ import annotations

import io

import numpy as np
from PIL import Image

from sslkit.experiment.pictures.encoding import Encoded, Pixels, encode, encode_all


def noise(height: int, width: int, *channels: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def opened(file: Encoded) -> Image.Image:
    image = Image.open(io.BytesIO(file.content))
    assert image.size == (file.width, file.height)
    return image


def test_a_small_picture_is_kept_bit_for_bit() -> None:
    for picture in (noise(64, 64, 3), noise(7, 64), noise(1, 1, 3)):
        file = encode(picture, 224, 64)
        assert (file.suffix, opened(file).format) == (".png", "PNG")
        assert np.array_equal(np.asarray(opened(file)), picture)


def test_a_larger_one_is_a_jpeg_that_is_shrunk_and_never_enlarged() -> None:
    for picture, size in ((noise(65, 40, 3), (40, 65)), (noise(448, 224), (112, 224)), (noise(2000, 3, 3), (1, 224))):
        file = encode(picture, 224, 64)
        assert (file.suffix, opened(file).format, opened(file).size) == (".jpg", "JPEG", size)


def test_a_jpeg_looks_like_what_it_was_made_of() -> None:
    ramp = np.linspace(0, 255, 200).round().astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(128)), axis=2)
    shown = np.asarray(opened(encode(picture, 224, 64)))
    assert np.abs(shown.astype(int) - picture).max() < 8


def test_all_are_as_large_as_fits() -> None:
    pictures = [noise(300, 300, 3)] * 4
    sizes = [max(file.width for file in encode_all(pictures, most)) for most in (10**6, 60_000, 30_000, 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (224, 64)
    for most in (10**6, 60_000):
        assert sum(len(file.content) for file in encode_all(pictures, most)) <= most
    assert encode_all([], 100) == []


def test_a_file_holds_no_metadata_and_is_always_the_same() -> None:
    for picture in (noise(32, 32, 3), noise(100, 100, 3)):
        file = encode(picture, 224, 64)
        assert not opened(file).getexif()
        assert {"exif", "comment", "icc_profile"}.isdisjoint(opened(file).info)
        assert file == encode(picture, 224, 64)
