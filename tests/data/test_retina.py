from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw

from sslkit.data.cropping import circular_mask, crop_and_resize
from sslkit.data.reading import read_image
from sslkit.data.retina import retina_box
from sslkit.errors import DataError

FUNDUS600 = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "fundus600"


@dataclass(frozen=True)
class Photograph:
    """A drawn fundus photograph: a textured disc on a surround, with the flaws of real ones."""

    height: int = 600
    width: int = 800
    radius: float = 250
    x: float = 400
    y: float = 300
    brightness: float = 130
    texture: float = 10
    vignette: float = 0
    black: float = 0
    haze: float = 0
    noise: float = 0
    shutter: int = 0
    text: bool = False
    notch: bool = False

    def draw(self) -> np.ndarray:
        """Return uint8 (H, W, 3)."""
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[: self.height, : self.width] + 0.5
        distance = np.hypot(columns - self.x, rows - self.y) / self.radius
        clouds = Image.fromarray(rng.integers(0, 256, (24, 36), dtype=np.uint8)).resize((self.width, self.height))
        retina = self.brightness * (1 - self.vignette * distance**2) + (np.asarray(clouds) / 127.5 - 1) * self.texture
        surround = self.black + self.haze * np.exp(-4 * (distance - 1))
        light = np.where(distance <= 1, retina, surround)
        if self.notch:
            tab = (abs(rows - self.y) < 0.06 * self.radius) & (columns > self.x) & (distance < 1.08)
            light[tab] = self.brightness
        if self.shutter:
            light[: self.shutter] = light[-self.shutter :] = self.black
        colour = light[..., None] * [1, 0.6, 0.3] + rng.normal(0, self.noise, (self.height, self.width, 3))
        image = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
        if self.text:
            pen = ImageDraw.Draw(image)
            pen.text((3, 3), "2019-03-02 OD", fill="white", font_size=30)
            pen.text((self.width - 90, self.height - 25), "ID 0042", fill="white", font_size=20)
            pen.rectangle((self.width - 70, 3, self.width - 4, 30), fill="#c8c8c8")
        return np.array(image)

    def visible(self) -> np.ndarray:
        """Return left, top, right, bottom of what the shutter and the frame leave of the disc."""
        return np.array(
            [
                max(0, self.x - self.radius),
                max(self.shutter, self.y - self.radius),
                min(self.width, self.x + self.radius),
                min(self.height - self.shutter, self.y + self.radius),
            ]
        )


PHOTOGRAPHS = {
    "uncut": Photograph(),
    "cut by the frame": Photograph(384, 574, 222, 287, 192),
    "cut by a shutter": Photograph(shutter=120),
    "cut at the top only": Photograph(y=150),
    "off centre": Photograph(radius=200, x=300, y=350),
    "filling the frame": Photograph(500, 500, 250, 250, 250),
    "portrait": Photograph(800, 500, 230, 250, 400),
    "small in the frame": Photograph(radius=100, x=600, y=450),
    "large file": Photograph(1500, 2000, 650, 1000, 750),
    "small file": Photograph(64, 96, 28, 48, 32),
    "tiny file": Photograph(28, 28, 13, 14, 14),
    "noise": Photograph(noise=12),
    "lifted black": Photograph(black=30, noise=5),
    "dim": Photograph(brightness=30, texture=2, noise=6, black=4),
    "vignette": Photograph(vignette=0.7),
    "haze": Photograph(haze=80, brightness=140),
    "strong texture": Photograph(texture=60),
    "text in the corners": Photograph(text=True),
    "text and a cut": Photograph(384, 574, 222, 287, 192, text=True),
    "notch": Photograph(notch=True),
}


@pytest.mark.parametrize("photograph", PHOTOGRAPHS.values(), ids=PHOTOGRAPHS)
def test_the_box_is_the_visible_disc(photograph: Photograph) -> None:
    expected = photograph.visible()
    side = min(expected[2] - expected[0], expected[3] - expected[1])
    one_step = max(photograph.height, photograph.width) / 256 / side
    assert np.abs(np.array(retina_box(photograph.draw())) - expected).max() / side < max(0.012, 1.5 * one_step)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS.values(), ids=PHOTOGRAPHS)
def test_the_circle_shows_no_surround(photograph: Photograph) -> None:
    # The same disc, white on black: what of the circle is dark there is surround.
    clean = Photograph(photograph.height, photograph.width, photograph.radius, photograph.x, photograph.y, 255, 0)
    truth = Photograph(**(vars(clean) | {"shutter": photograph.shutter})).draw()
    left, top, right, bottom = retina_box(photograph.draw())
    np.testing.assert_allclose(retina_box(truth), (left, top, right, bottom), atol=0.02 * (right - left) + 1)
    half, x, y = min(right - left, bottom - top) / 2, (left + right) / 2, (top + bottom) / 2
    square = Image.fromarray(truth[..., 0]).resize((224, 224), Image.BOX, box=(x - half, y - half, x + half, y + half))
    assert (np.asarray(square)[circular_mask(224)] > 127).mean() > 0.999


@pytest.mark.parametrize(
    "photograph",
    [
        Photograph(radius=2000),
        Photograph(radius=2000, noise=15),
        Photograph(radius=2000, texture=60),
        Photograph(radius=560, vignette=0.6),
    ],
)
def test_an_image_without_surround_is_retina_from_edge_to_edge(photograph: Photograph) -> None:
    np.testing.assert_allclose(retina_box(photograph.draw()), (0, 0, 800, 600), atol=8)


@given(turns=st.integers(1, 3), flip=st.booleans(), x=st.integers(280, 520), y=st.integers(200, 400))
@settings(deadline=None, max_examples=15)
def test_the_box_turns_with_the_image(turns: int, flip: bool, x: int, y: int) -> None:
    pixels = Photograph(480, 768, 230, x, y).draw()
    marked = np.zeros(pixels.shape[:2], np.uint8)
    left, top, right, bottom = (int(edge) for edge in retina_box(pixels))
    marked[top:bottom, left:right] = 1

    def moved(array: np.ndarray) -> np.ndarray:
        return np.rot90(array[:, ::-1] if flip else array, turns)

    rows, columns = np.nonzero(moved(marked))
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(retina_box(np.ascontiguousarray(moved(pixels))), expected, atol=3)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((300, 400, 3), np.uint8), r"the image is nearly black \(brightness 0 to 0 of 255\)"),
        (np.full((300, 400, 3), 5, np.uint8), r"the image is nearly black \(brightness 5 to 5"),
        (
            np.full((30, 40, 3), 128, np.uint8),
            r"the image is of one colour \(brightness 128 to 128 of 255\); use crop =",
        ),
        (Photograph(radius=40).draw(), r"brighter than the surround covers 1\.\d% of the image; use crop = \"center\""),
        (Photograph(radius=1, text=True).draw(), r"covers 0\.\d% of the image"),
    ],
    ids=["black", "nearly black", "grey", "spot", "text alone"],
)
def test_what_shows_no_retina_is_refused(pixels: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=f"no retina found: .*{reason}"):
        retina_box(pixels)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
@settings(deadline=None)
def test_any_image_has_a_box_inside_it_or_is_refused(pixels: np.ndarray) -> None:
    try:
        left, top, right, bottom = retina_box(pixels)
    except DataError:
        return
    assert 0 <= left < right <= pixels.shape[1]
    assert 0 <= top < bottom <= pixels.shape[0]


@pytest.mark.skipif(not FUNDUS600.is_dir(), reason=f"no fundus600 at {FUNDUS600}")
def test_real_photographs_show_no_surround_inside_the_circle() -> None:
    mask = circular_mask(224)
    for path in sorted((FUNDUS600 / "images").glob("*.jpg"))[::12]:
        pixels = read_image(path.read_bytes()).pixels
        left, top, right, bottom = retina_box(pixels)
        # All 600 come from one camera, whose disc is 438 to 501 pixels wide and cut by the frame at top and bottom.
        assert 430 <= right - left <= 510
        assert bottom - top >= 340
        cropped = crop_and_resize(pixels, "fundus", 224)
        # The surround of these photographs is at most 3 of 255, and their retina, but for shadows, above 15.
        assert (cropped[mask].max(axis=1) < 15).mean() < 0.015, path.name
