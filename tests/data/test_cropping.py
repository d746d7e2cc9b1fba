from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sslkit.data.cropping import MASK_RADIUS, circular_mask, crop_and_resize
from sslkit.errors import DataError

RNG = np.random.default_rng(0)


def disc(height: int, width: int, radius: float, x: float, y: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width] + 0.5
    inside = np.hypot(columns - x, rows - y) <= radius
    return np.where(inside[..., None], [180, 110, 60], [0, 0, 0]).astype(np.uint8)


@given(st.integers(1, 300))
def test_the_mask_is_a_circle_that_no_turn_or_flip_changes(size: int) -> None:
    mask = circular_mask(size)
    assert mask.shape == (size, size)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, np.rot90(mask))
    np.testing.assert_array_equal(mask, mask[::-1])
    assert abs(mask.sum() - np.pi * (MASK_RADIUS * size) ** 2) <= 4 * size**0.7


@pytest.mark.parametrize(
    "pixels",
    [
        disc(600, 800, 250, 400, 300),
        disc(384, 574, 222, 260, 192),
        disc(800, 600, 200, 220, 510),
        np.ascontiguousarray(RNG.integers(100, 200, (300, 500, 3), dtype=np.uint8)),
    ],
    ids=["uncut", "cut", "off centre", "no surround"],
)
@pytest.mark.parametrize("size", [29, 64, 224])
def test_fundus_shows_the_same_circle_of_every_image(pixels: np.ndarray, size: int) -> None:
    cropped = crop_and_resize(pixels, "fundus", size)
    assert cropped.shape == (size, size, 3)
    assert cropped.dtype == np.uint8
    np.testing.assert_array_equal(cropped.any(axis=2), circular_mask(size))


def test_fundus_keeps_the_aspect_and_the_scale() -> None:
    pixels = disc(600, 800, 250, 420, 280)
    pixels[280 - 100 : 280 - 60, 420 + 50 : 420 + 90] = 255
    cropped = crop_and_resize(pixels, "fundus", 250)
    rows, columns = np.nonzero((cropped > 200).all(axis=2))
    np.testing.assert_allclose(
        [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1], [75, 95, 150, 170], atol=2
    )


def test_fundus_refuses_an_image_without_retina() -> None:
    with pytest.raises(DataError, match=r'no retina found: the image is nearly black .* use crop = "center" or "none"'):
        crop_and_resize(np.zeros((50, 60, 3), np.uint8), "fundus", 32)


@pytest.mark.parametrize(("height", "width"), [(40, 100), (100, 40), (70, 70)])
def test_center_is_the_central_square(height: int, width: int) -> None:
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    np.testing.assert_array_equal(crop_and_resize(pixels, "center", side), square)


def test_none_squeezes_the_whole_image() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 40:] = 200
    cropped = crop_and_resize(pixels, "none", 20)
    assert (cropped[:, :8] == 0).all()
    assert (cropped[:, 12:] == 200).all()


@pytest.mark.parametrize("crop", ["center", "none"])
def test_resizing_is_antialiased(crop: str) -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(crop_and_resize(stripes, crop, 64).astype(int) - 127.5).max() <= 2


def test_resizing_in_two_steps_is_as_good_as_in_one() -> None:
    clouds = Image.fromarray(RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)).resize((900, 900), Image.BICUBIC)
    once = np.asarray(clouds.resize((64, 64), Image.BICUBIC)).astype(int)
    assert np.abs(crop_and_resize(np.array(clouds), "none", 64) - once).mean() < 2


@pytest.mark.parametrize("crop", ["fundus", "center", "none"])
def test_small_images_are_enlarged(crop: str) -> None:
    assert crop_and_resize(disc(30, 36, 14, 18, 15), crop, 224).shape == (224, 224, 3)


def test_an_unknown_crop_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"unknown crop 'centre'; did you mean 'center'\?; accepted: fundus, center, none"
    ):
        crop_and_resize(np.zeros((5, 5, 3), np.uint8), "centre", 8)
