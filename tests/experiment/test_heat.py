from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sslkit import GradedImage
from sslkit.data.cropping import circular_mask
from sslkit.experiment.graded import Graded
from sslkit.experiment.heat import colours, overlay, picture_name, write_picture


def graded(name: str, side: int = 64, grade_name: str = "Moderate") -> Graded:
    square = np.full((side, side, 3), (180, 80, 20), np.uint8) * circular_mask(side)[..., None]
    heat = np.zeros((side, side), np.float32)
    heat[:16, :32] = 1
    answer = GradedImage(name, 2, grade_name, {grade_name: 0.7}, True, 0.8)
    return Graded(answer, square.astype(np.uint8), heat * circular_mask(side))


def test_a_picture_is_grey_without_heat_and_coloured_with_it() -> None:
    one = graded("a.png")
    assert one.square is not None
    assert one.heat is not None

    drawn = overlay(one.square, one.heat, circular_mask(64))

    assert drawn.shape == (448, 448, 3)
    assert drawn.dtype == np.uint8
    lower = drawn[300:].astype(int)
    assert np.ptp(lower, axis=2).max() == 0
    assert np.ptp(drawn[60, 180].astype(int)) > 60
    rows, columns = np.mgrid[:448, :448] - 223.5
    outside = np.hypot(rows, columns) > (0.48 + 0.75 / 64) * 448  # the circle is one of whole pixels of the photograph
    assert np.ptp(drawn[outside].astype(int), axis=1).max() == 0
    assert overlay(np.zeros((600, 600, 3), np.uint8), np.zeros((600, 600), np.float32)).shape == (600, 600, 3)


def test_more_heat_is_lighter_whatever_colours_the_reader_sees() -> None:
    """As printed in grey, and as those see it who lack one kind of cone (Viénot et al. 1999, in linear light)."""
    linear = (colours() / 255) ** 2.2
    lightness = linear @ np.array([0.2126, 0.7152, 0.0722])
    assert np.diff(lightness).min() > 0
    protanope = linear @ np.array([0.1124, 0.8876, 0.0])  # of red and green, which look alike
    deuteranope = linear @ np.array([0.2928, 0.7072, 0.0])
    for seen in (protanope, deuteranope):
        assert np.diff(seen).min() > 0
        assert seen[-1] > 20 * seen[0]


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    paths = [Path("/left/0024.jpg"), Path("/right/0024.jpg"), Path("/left/0024.png"), Path("/left/\x1b/ü*?.jpg")]

    for path in paths:
        write_picture(tmp_path, path, graded(str(path)), circular_mask(64))

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(picture_name, paths))
    assert len({picture_name(path) for path in paths}) == 4
    assert picture_name(paths[3]).startswith("___")
    assert len(picture_name(Path("x" * 3000))) < 120
    assert picture_name(Path("0024.jpg")) == picture_name(Path.cwd() / "0024.jpg")


def test_a_picture_shows_the_photograph_its_heat_and_what_was_said(tmp_path: Path) -> None:
    one = graded("/scans/left.jpg", grade_name="A name that is too long " * 5)
    write_picture(tmp_path, Path("left.jpg"), one, circular_mask(64))
    write_picture(tmp_path, Path("bad.jpg"), Graded(GradedImage("bad.jpg", error="no image")), None)

    (path,) = tmp_path.iterdir()
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (508, 904, 3)
    assert pixels[224, 224].tolist() == [180, 80, 20]
    assert one.square is not None
    assert one.heat is not None
    np.testing.assert_array_equal(pixels[:448, -448:], overlay(one.square, one.heat, circular_mask(64)))
    caption = pixels[448:]
    assert (caption[:, :440].min(axis=2) < 100).sum() > 200  # text
    assert (caption[:, 440:460] == 255).all()  # which was shortened, and ends before the legend begins
    before = path.read_bytes()
    write_picture(tmp_path, Path("left.jpg"), one, circular_mask(64))
    assert path.read_bytes() == before


def test_a_picture_without_heat_says_that_no_place_speaks_for_the_grade(tmp_path: Path) -> None:
    one = graded("left.jpg")
    assert one.heat is not None
    for name in ("some", "none"):
        (tmp_path / name).mkdir()
    write_picture(tmp_path / "some", Path("left.jpg"), one, None)
    write_picture(tmp_path / "none", Path("left.jpg"), replace(one, heat=np.zeros_like(one.heat)), None)
    some, none = (np.asarray(Image.open(next((tmp_path / name).iterdir())).convert("RGB")) for name in ("some", "none"))
    legend = np.s_[460:480, 470:650]
    assert np.ptp(some[legend].astype(int), axis=2).max() > 100  # a scale of colours
    assert np.ptp(none[legend].astype(int), axis=2).max() == 0  # words in black
    assert none[legend].min() < 100
