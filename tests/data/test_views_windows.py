from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.data.cropping import circular_mask
from sslkit.data.views.windows import NUM_DRAWS, disc_radius, draw_windows, look_through

few = settings(deadline=None, max_examples=30)


def draws(count, seed=0):
    return torch.rand(count, NUM_DRAWS, generator=torch.Generator().manual_seed(seed))


def naive_look_through(image, window, size):
    """Return what a window shows of an image (C, H, W), pixel by pixel, in double precision."""
    channels, height, width = image.shape
    seen = np.zeros((channels, size, size))
    for row in range(size):
        for column in range(size):
            place = np.array([(2 * column + 1) / size - 1, (2 * row + 1) / size - 1, 1.0])
            x, y = window @ place
            x = min(max(((x + 1) * width - 1) / 2, 0), width - 1)
            y = min(max(((y + 1) * height - 1) / 2, 0), height - 1)
            left, top = math.floor(x), math.floor(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            above = image[:, top, left] * (left + 1 - x) + image[:, top, right] * (x - left)
            below = image[:, bottom, left] * (left + 1 - x) + image[:, bottom, right] * (x - left)
            seen[:, row, column] = above * (top + 1 - y) + below * (y - top)
    return seen


@few
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(2, 12),
    st.integers(1, 12),
    st.sampled_from([None, 0.96]),
    st.integers(0, 2**32),
)
def test_windows_show_what_bilinear_interpolation_says(num_images, num_views, side, size, radius, seed):
    images = torch.rand(num_images, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 255
    windows = draw_windows(draws(num_images * num_views, seed), (0.1, 1.0), flips=True, turns="any", radius=radius)
    seen = look_through(images, windows, size).double().numpy()
    for row, window in enumerate(windows):
        image = images[row // num_views].double().numpy()
        np.testing.assert_allclose(seen[row], naive_look_through(image, window.double().numpy(), size), atol=0.01)


@few
@given(st.floats(0.01, 1), st.floats(0, 1), st.integers(0, 2**32), st.sampled_from(["any", "quarter", "none"]))
def test_without_a_mask_a_window_lies_in_the_image_and_has_the_drawn_share_of_its_area(least, more, seed, turns):
    most = least + more * (1 - least)
    drawn = draws(50, seed)
    windows = draw_windows(drawn, (least, most), flips=True, turns=turns, radius=None).double()
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)]).double()
    places = torch.einsum("nij,cj->nci", windows, corners)
    assert places.abs().max() <= 1 + 1e-5
    sides = places.amax(dim=1) - places.amin(dim=1)
    shares = sides.prod(dim=1) / 4
    wanted = least + (most - least) * drawn[:, 0].double()
    assert (shares - wanted).abs().max() < 1e-5
    ratios = sides[:, 0] / sides[:, 1]
    assert (torch.maximum(ratios, 1 / ratios) <= 4 / 3 + 1e-5).all()


@few
@given(st.floats(0.01, 1), st.integers(0, 2**32), st.floats(0.5, 1))
def test_with_a_mask_the_disc_of_a_view_lies_in_that_of_the_image(least, seed, radius):
    drawn = draws(50, seed)
    windows = draw_windows(drawn, (least, 1.0), flips=True, turns="any", radius=radius).double()
    angles = torch.arange(360).double().deg2rad()
    rim = torch.stack([radius * angles.cos(), radius * angles.sin(), torch.ones(360)], dim=1)
    places = torch.einsum("nij,cj->nci", windows, rim)
    distances = places.norm(dim=2)
    assert distances.max() <= radius + 1e-5
    areas = torch.det(windows[:, :, :2]).abs()
    assert (areas - (least + (1 - least) * drawn[:, 0].double())).abs().max() < 1e-5


def test_windows_lie_everywhere_and_no_place_is_favoured():
    """In a disc, as many lie in each of four rings of one area and in each of four sectors."""
    windows = draw_windows(draws(4000), (0.25, 0.25), flips=False, turns="none", radius=1.0)
    x, y = windows[:, 0, 2] / 0.5, windows[:, 1, 2] / 0.5
    rings = (4 * (x**2 + y**2)).long().clamp(max=3).bincount(minlength=4)
    sectors = ((torch.atan2(y, x) / math.pi + 1) * 2).long().clamp(max=3).bincount(minlength=4)
    assert (rings - 1000).abs().max() < 120
    assert (sectors - 1000).abs().max() < 120


@pytest.mark.parametrize(
    ("turns", "radius", "quarters_only", "turned"),
    [("any", 0.96, False, True), ("any", None, True, True), ("quarter", 0.96, True, True), ("none", 0.96, True, False)],
)
def test_turns_are_by_what_is_asked_for(turns, radius, quarters_only, turned):
    windows = draw_windows(draws(200), (1.0, 1.0), flips=False, turns=turns, radius=radius)
    linear = windows[:, :, :2]
    assert (torch.det(linear) - 1).abs().max() < 1e-5
    assert torch.isin(linear, torch.tensor([-1.0, 0.0, 1.0])).all() == quarters_only
    assert bool((linear != torch.eye(2)).any()) == turned


def test_half_of_the_views_are_in_a_mirror():
    windows = draw_windows(draws(1000), (0.2, 1.0), flips=True, turns="any", radius=0.96)
    assert 440 < (torch.det(windows[:, :, :2]) < 0).sum() < 560


@few
@given(st.integers(8, 200))
def test_the_radius_of_the_mask_is_that_of_the_nearest_pixel_outside(size):
    mask = torch.from_numpy(circular_mask(size))
    radius = disc_radius(mask)
    assert 0.96 <= radius <= 0.96 + 3 / size
    for row, column in (~mask).nonzero().tolist():
        assert math.hypot((2 * row + 1) / size - 1, (2 * column + 1) / size - 1) >= radius - 1e-6
