from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from sslkit_fundus import render
from sslkit_fundus.drawing import Frame, Layer, blob, ribbon
from sslkit_fundus.lesions import SEVERITIES
from sslkit_fundus.manifest import grade_of, severity


def brightest_column(image: np.ndarray) -> float:
    """Return where along the width (0..1) a spot of the size of a disc is brightest against its surroundings."""
    side, seen = len(image), (image.max(axis=2) > 12).astype(np.uint8) * 255

    def blurred(grey: np.ndarray, share: float) -> np.ndarray:
        return np.asarray(Image.fromarray(grey).filter(ImageFilter.GaussianBlur(side * share)), dtype=float)

    # Divided by the blurred field of view, lest the black around it make the border look bright.
    around = blurred(image[..., 1], 0.12) / np.maximum(blurred(seen, 0.12), 1)
    spot = blurred(image[..., 1], 0.03) / np.maximum(blurred(seen, 0.03), 1)
    return float(np.argmax(np.where(seen > 0, spot / np.maximum(around, 0.01), 0)) % side / side)


@pytest.mark.parametrize("patient", range(1, 13))
def test_the_disc_is_on_the_right_in_a_right_eye_and_mirrored_in_a_left_one(patient: int) -> None:
    assert brightest_column(render(0, patient, "R", 0, 96)) > 0.6
    assert brightest_column(render(0, patient, "L", 0, 96)) < 0.4


def test_the_corners_are_black_and_the_retina_is_orange() -> None:
    for patient in range(1, 9):
        image = render(3, patient, "L", 0, 64).astype(int)
        assert all(image[y, x].max() == 0 for y in (0, -1) for x in (0, -1))
        red, green, blue = image[16:48, 16:48].mean(axis=(0, 1))
        assert red > green > blue > 0


def test_some_patients_met_a_shutter_and_it_cut_both_their_eyes() -> None:
    lit = {
        (p, eye): np.ptp(np.nonzero(render(0, p, eye, 0, 48).max(axis=(1, 2)) > 12))
        for p in range(1, 25)
        for eye in "LR"
    }
    cut = {key: rows < 0.86 * 48 for key, rows in lit.items()}
    assert all(cut[p, "L"] == cut[p, "R"] for p in range(1, 25))
    assert 2 <= sum(cut[p, "L"] for p in range(1, 25)) <= 14


def test_the_scene_is_the_same_at_every_size() -> None:
    large, small = Image.fromarray(render(0, 4, "R", 2, 256)), render(0, 4, "R", 2, 64)
    shrunk = np.asarray(large.resize((64, 64), Image.Resampling.BOX), dtype=float)
    assert np.corrcoef(shrunk.ravel(), small.ravel().astype(float))[0, 1] > 0.98


def test_lesions_cover_more_with_each_grade() -> None:
    def changed(patient: int, grade: int) -> float:
        healthy, ill = (render(0, patient, "L", g, 96).astype(int) for g in (0, grade))
        return float((np.abs(healthy - ill).max(axis=2) > 12).mean())

    share = np.array([[changed(patient, grade) for grade in range(5)] for patient in range(1, 9)])
    assert (share[:, 0] == 0).all()
    assert (np.diff(share[:, :4], axis=1) > 0).all()
    assert (np.diff(share.mean(axis=0)) > 0.005).all()


def test_severe_haemorrhages_lie_in_all_four_quadrants() -> None:
    for patient in range(1, 5):
        healthy, ill = (render(0, patient, "R", g, 96).astype(int) for g in (0, 3))
        darker = (healthy - ill)[..., 1] > 12
        assert all(quarter.sum() > 20 for half in np.split(darker, 2) for quarter in np.split(half, 2, axis=1))


def test_colour_and_exposure_do_not_tell_the_grade() -> None:
    colours, grades = [], []
    for patient in range(1, 101):
        grades.append(grade_of(severity(0, patient)[0], (0.36, 0.16, 0.24, 0.12, 0.12)))
        colours.append(render(0, patient, "L", grades[-1], 32).reshape(-1, 3).mean(axis=0))
    for channel in np.array(colours).T:
        assert abs(np.corrcoef(channel, grades)[0, 1]) < 0.25


@pytest.mark.parametrize("eye", ["L", "R"])
def test_what_is_drawn_lies_where_the_grid_says(eye: str) -> None:
    frame = Frame(size=100, centre=(0.52, 0.49), radius=0.45, mirrored=eye == "L", torsion=0.2)
    layer = Layer(frame)
    place = np.array([0.4, -0.3])
    layer.polygon(place + 0.1 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), 1.0)
    drawn, (x, y) = layer.pixels(), frame.retinal_grid()
    assert drawn.max() == 1
    assert (x * drawn).sum() / drawn.sum() == pytest.approx(place[0], abs=0.005)
    assert (y * drawn).sum() / drawn.sum() == pytest.approx(place[1], abs=0.005)
    assert drawn.sum() == pytest.approx(0.2**2 * (0.45 * 100) ** 2, rel=0.05)


def test_a_layer_on_which_nothing_is_drawn_is_zero() -> None:
    pixels = Layer(Frame(40, (0.5, 0.5), 0.47, False, 0.0)).pixels()
    assert pixels.shape == (40, 40)
    assert not pixels.any()


def shoelace(outline: np.ndarray) -> float:
    x, y = outline.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def test_a_straight_ribbon_is_a_trapezium() -> None:
    points = np.stack([np.linspace(0, 2, 21), np.full(21, 0.5)], axis=1)
    assert shoelace(ribbon(points, np.linspace(0.2, 0.1, 21))) == pytest.approx(2 * 0.15)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 0.3), st.floats(0, 6.3), st.integers(0, 100))
def test_a_smooth_blob_is_a_disc_wherever_it_is_turned(radius: float, angle: float, seed: int) -> None:
    outline = blob(np.random.default_rng(seed), np.array([0.2, -0.1]), radius, roughness=0.0, angle=angle)
    np.testing.assert_allclose(np.hypot(*(outline - [0.2, -0.1]).T), radius)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 10_000))
def test_severities_stay_on_their_scale_and_near_each_other(seed: int, patient: int) -> None:
    left, right, rank = severity(seed, patient)
    assert 0 <= left < 1
    assert 0 <= right <= 1
    assert 0 <= rank < 1
    assert abs(left - right) <= 0.075
    assert severity(seed, patient) == (left, right, rank)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any), st.floats(0, 1), st.floats(0, 1))
def test_graver_eyes_have_higher_grades_and_only_grades_that_occur(
    weights: list[int], one: float, other: float
) -> None:
    proportions = [weight / sum(weights) for weight in weights]
    low, high = (grade_of(s, proportions) for s in sorted((one, other)))
    assert low <= high
    assert proportions[low] > 0
    assert proportions[high] > 0


def test_there_is_one_severity_a_grade_and_each_kind_of_lesion_enters_where_the_scale_says() -> None:
    none, mild, moderate, severe, proliferative = SEVERITIES
    assert none == type(none)()
    assert mild.aneurysms[0] > 0
    assert mild.haemorrhages == (0, 0)
    assert moderate.haemorrhages[0] > 0
    assert moderate.tangles == severe.tangles == (0, 0)
    assert severe.haemorrhages[0] > moderate.haemorrhages[1]
    assert severe.beading > 0 == moderate.beading
    assert severe.shunts[0] > 0
    assert proliferative.tangles[0] > 0
    assert proliferative.pools[0] > 0
