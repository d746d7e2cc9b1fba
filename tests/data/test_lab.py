from __future__ import annotations

import doctest

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_colours import naive_lab

from sslkit import grey_of, lab_of, srgb_of
from sslkit.data import lab as lab_module

few = settings(deadline=None, max_examples=50)

# Lindbloom's calculator, sRGB with its D65 white.
STANDARD = [
    ((255, 0, 0), (53.2408, 80.0925, 67.2032)),
    ((0, 255, 0), (87.7347, -86.1827, 83.1793)),
    ((0, 0, 255), (32.2970, 79.1875, -107.8602)),
    ((0, 255, 255), (91.1132, -48.0875, -14.1312)),
    ((255, 0, 255), (60.3242, 98.2343, -60.8249)),
    ((255, 255, 0), (97.1393, -21.5537, 94.4780)),
    ((255, 255, 255), (100, 0, 0)),
    ((0, 0, 0), (0, 0, 0)),
    ((119, 119, 119), (50.0344, 0, 0)),
]


def colour(*codes: float, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    return torch.tensor(codes, dtype=dtype).view(1, 3, 1, 1)


@st.composite
def batches(draw: st.DrawFn) -> torch.Tensor:
    shape = (draw(st.integers(1, 3)), 3, draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    seed = draw(st.integers(0, 2**32))
    images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return images.contiguous(memory_format=draw(st.sampled_from([torch.contiguous_format, torch.channels_last])))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rgb", "lab"), STANDARD, ids=[str(rgb) for rgb, _ in STANDARD])
def test_standard_colours_have_their_published_values(rgb, lab, dtype) -> None:
    given_lab = lab_of(colour(*rgb), dtype)
    assert given_lab.dtype == dtype
    assert given_lab.flatten().tolist() == pytest.approx(lab, abs=2e-3)


@few
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=20))
def test_colours_are_those_of_the_standards_formulas(colours) -> None:
    images = torch.tensor(colours, dtype=torch.uint8)[:, :, None, None]
    expected = torch.tensor([naive_lab(*rgb) for rgb in colours], dtype=torch.float64)
    torch.testing.assert_close(lab_of(images, torch.float64)[:, :, 0, 0], expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(lab_of(images)[:, :, 0, 0].double(), expected, atol=2e-3, rtol=0)


def test_greys_have_no_colour() -> None:
    greys = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    lab = lab_of(greys, torch.float64)
    assert lab[:, 1:].abs().max() < 1e-10
    steps = lab[:, 0].flatten().diff()
    assert steps.min() > 0
    assert steps.max() < 0.51


@few
@given(batches())
def test_there_and_back_again_is_the_same_image(images) -> None:
    assert torch.equal(srgb_of(lab_of(images)), images)
    assert torch.equal(srgb_of(lab_of(images, torch.float64)), images)


def test_every_code_comes_back_in_each_channel() -> None:
    ramp = torch.arange(256, dtype=torch.uint8)
    for channel in range(3):
        images = torch.full((1, 3, 1, 256), 77, dtype=torch.uint8)
        images[0, channel, 0] = ramp
        assert torch.equal(srgb_of(lab_of(images)), images)


def test_colours_beyond_srgb_are_clipped() -> None:
    assert srgb_of(colour(50, 200, 0, dtype=torch.float32)).flatten().tolist()[:2] == [255, 0]
    assert srgb_of(colour(120, 0, 0, dtype=torch.float32)).flatten().tolist() == [255, 255, 255]
    assert srgb_of(colour(-5, 0, 0, dtype=torch.float32)).flatten().tolist() == [0, 0, 0]


@few
@given(batches())
def test_the_grey_image_has_equal_channels_and_the_lightness_of_the_original(images) -> None:
    grey = grey_of(images)
    assert grey.dtype == torch.uint8
    assert grey.shape == images.shape
    assert grey.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(grey, grey[:, :1].expand_as(grey))
    # From one grey to the next L* rises by 0.51 at most, and the nearest code is half a step away at most.
    error = lab_of(grey, torch.float64)[:, 0] - lab_of(images, torch.float64)[:, 0]
    assert error.abs().max() < 0.26


def test_grey_images_stay_as_they_are() -> None:
    greys = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    assert torch.equal(grey_of(greys), greys)


@pytest.mark.parametrize("function", [lab_of, grey_of])
@pytest.mark.parametrize("images", [torch.zeros(1, 3, 2, 2), torch.zeros(3, 2, 2, dtype=torch.uint8)])
def test_other_images_are_refused(function, images) -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, 3, H, W\), not torch"):
        function(images)


def test_the_examples_run() -> None:
    assert doctest.testmod(lab_module) == doctest.TestResults(failed=0, attempted=5)
