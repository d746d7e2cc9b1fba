from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torchvision.transforms.v2 import functional as F

from sslkit import ViewsConfig
from sslkit.data.views.blur import blur
from sslkit.data.views.colour import NUM_DRAWS, draw_colour_maps, mean_brightness, recolour

few = settings(deadline=None, max_examples=30)
share = st.floats(0, 1)

STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "recoloured": 1.0, "grey": 0.0}
BRIGHTNESS, CONTRAST, SATURATION, HUE, CHANGED, GREY = range(NUM_DRAWS)


def drawn(**values):
    """Draws that leave colours as they are, but for those that are given by the name of their place."""
    numbers = torch.full((1, NUM_DRAWS), 0.5)
    for name, value in values.items():
        numbers[0, globals()[name]] = value
    return numbers


def photographs(num_images=1, size=8, seed=0, low=0.0, high=255.0):
    return low + (high - low) * torch.rand(num_images, 3, size, size, generator=torch.Generator().manual_seed(seed))


def changed(images, numbers, **options):
    config = ViewsConfig(**{**STILL, **options})
    return recolour(images, *draw_colour_maps(numbers, config, mean_brightness(images, None)))


class TestColours:
    """Against torchvision, of images that stay within 0..1: it cuts off what leaves it after each change."""

    @few
    @given(share, st.integers(0, 2**32))
    def test_brightness_is_that_of_torchvision(self, draw, seed):
        images = photographs(seed=seed, high=170)
        factor = 0.6 + 0.8 * draw
        wanted = F.adjust_brightness(images / 255, factor) * 255
        assert (changed(images, drawn(BRIGHTNESS=draw), brightness=0.4) - wanted).abs().max() < 0.01

    @few
    @given(share, st.integers(0, 2**32))
    def test_contrast_is_that_of_torchvision(self, draw, seed):
        images = photographs(seed=seed, low=90, high=160)
        factor = 0.6 + 0.8 * draw
        wanted = F.adjust_contrast(images / 255, factor) * 255
        # Its weight of red is 0.2989.
        assert (changed(images, drawn(CONTRAST=draw), contrast=0.4) - wanted).abs().max() < 0.05

    @few
    @given(share, st.integers(0, 2**32))
    def test_saturation_is_that_of_torchvision(self, draw, seed):
        images = photographs(seed=seed, low=90, high=160)
        factor = 0.6 + 0.8 * draw
        wanted = F.adjust_saturation(images / 255, factor) * 255
        assert (changed(images, drawn(SATURATION=draw), saturation=0.4) - wanted).abs().max() < 0.05

    @few
    @given(share, share, share, st.integers(0, 2**32))
    def test_all_three_come_in_the_order_of_torchvision(self, b, c, s, seed):
        images = photographs(seed=seed, low=90, high=130)
        wanted = F.adjust_brightness(images / 255, 0.6 + 0.8 * b)
        wanted = F.adjust_contrast(wanted, 0.6 + 0.8 * c)
        wanted = F.adjust_saturation(wanted, 0.6 + 0.8 * s) * 255
        options = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}
        found = changed(images, drawn(BRIGHTNESS=b, CONTRAST=c, SATURATION=s), **options)
        assert (found - wanted).abs().max() < 0.1

    @few
    @given(share, st.floats(0, 0.5), st.integers(0, 2**32))
    def test_hue_turns_the_two_coordinates_of_colour(self, draw, most, seed):
        """One pixel after the other, by the standard library's conversion to YIQ of the same standard."""
        images = photographs(size=3, seed=seed)
        angle = most * (2 * draw - 1) * 2 * math.pi
        found = changed(images, drawn(HUE=draw), hue=most)
        for pixel, result in zip(images[0].flatten(1).T.double(), found[0].flatten(1).T, strict=True):
            y, i, q = colorsys.rgb_to_yiq(*pixel.tolist())
            turned_i = math.cos(angle) * i - math.sin(angle) * q
            turned_q = math.sin(angle) * i + math.cos(angle) * q
            # The way back of the standard library is cut off to 0..1; solve its way there in its place.
            forth = np.array([colorsys.rgb_to_yiq(*unit) for unit in np.eye(3)]).T
            wanted = np.linalg.solve(forth, [y, turned_i, turned_q])
            np.testing.assert_allclose(result.numpy(), wanted, atol=4.0)  # the rounding of the two ways' numbers

    def test_half_a_turn_of_the_hue_makes_red_cyan_of_the_same_brightness(self):
        red = torch.tensor([200.0, 0.0, 0.0]).view(1, 3, 1, 1)
        r, g, b = changed(red, drawn(HUE=1.0), hue=0.5).flatten().tolist()
        assert r < g
        assert r < b
        assert 0.299 * r + 0.587 * g + 0.114 * b == pytest.approx(0.299 * 200, abs=0.01)

    @few
    @given(share, share, share, share, st.floats(0, 255))
    def test_grey_stays_grey(self, b, c, s, h, value):
        images = torch.full((1, 3, 4, 4), value)
        options = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.5}
        found = changed(images, drawn(BRIGHTNESS=b, CONTRAST=c, SATURATION=s, HUE=h), **options)
        assert (found - found[:, :1]).abs().max() < 0.01
        assert found.mean().item() == pytest.approx(value * (0.2 + 1.6 * b), abs=0.01)

    def test_a_view_without_colour_has_its_luma_in_all_channels(self):
        images = photographs(2)
        luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        assert (changed(images, drawn(GREY=0.1).expand(2, -1), grey=0.2) - luma).abs().max() < 0.01
        assert (changed(images, drawn(GREY=0.3).expand(2, -1), grey=0.2) - images).abs().max() < 0.01

    def test_a_view_that_is_not_to_be_changed_is_not(self):
        images = photographs()
        options = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "recoloured": 0.8}
        numbers = drawn(BRIGHTNESS=1.0, CONTRAST=0.0, SATURATION=0.0, HUE=1.0, CHANGED=0.9)
        assert (changed(images, numbers, **options) - images).abs().max() < 0.01

    @few
    @given(st.integers(0, 2**32))
    def test_contrast_is_about_the_mean_of_what_the_mask_shows(self, seed):
        images = photographs(3, seed=seed)
        mask = torch.rand(8, 8, generator=torch.Generator().manual_seed(seed)) < 0.5
        mask[0, 0] = True
        weights = np.array([0.299, 0.587, 0.114])
        for image, mean in zip(images.double().numpy(), mean_brightness(images, mask), strict=True):
            assert mean.item() == pytest.approx(float(weights @ image[:, mask.numpy()].mean(axis=1)), abs=0.01)


class TestBlur:
    @few
    @given(st.integers(1, 4), st.integers(5, 24), st.floats(0.05, 3), st.integers(0, 2**32))
    def test_is_that_of_scipy(self, num_images, size, most, seed):
        images = photographs(num_images, size, seed)
        sigmas = most * torch.linspace(0.3, 1, num_images)
        reach = math.ceil(3 * sigmas.max().item())
        for image, sigma, found in zip(images, sigmas.tolist(), blur(images, sigmas), strict=True):
            radius = min(math.ceil(3 * sigma), size - 1, reach)
            wanted = gaussian_filter(image.double().numpy(), sigma, mode="nearest", radius=radius, axes=(1, 2))
            np.testing.assert_allclose(found.numpy(), wanted, atol=0.01)

    def test_of_an_image_does_not_depend_on_the_others(self):
        images = photographs(2, 32)
        alone = blur(images[:1], torch.tensor([0.8]))
        together = blur(images, torch.tensor([0.8, 6.0]))
        assert (alone - together[:1]).abs().max() < 1e-3

    def test_leaves_an_even_image_even(self):
        assert (blur(torch.full((1, 3, 9, 9), 80.0), torch.tensor([2.0])) - 80).abs().max() < 1e-3
