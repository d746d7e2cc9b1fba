from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import ellipses, fundus_mask, naive_square

from sslkit import cut_squares, inscribed_square, squares_in_mask
from sslkit.data import squares as squares_module

few = settings(deadline=None, max_examples=60)


class TestInscribed:
    @few
    @given(ellipses(smallest=1, largest=60))
    def test_equals_a_search_pixel_by_pixel(self, mask):
        assert inscribed_square(len(mask), mask) == naive_square(mask)

    @few
    @given(st.integers(1, 9), st.floats(0.5, 1), st.integers(0, 2**32))
    def test_equals_a_search_for_any_mask(self, size, share, seed):
        mask = torch.rand(size, size, generator=torch.Generator().manual_seed(seed)) < share
        assert inscribed_square(size, mask) == naive_square(mask)

    @pytest.mark.parametrize("size", [1, 2, 7, 64])
    def test_is_the_whole_image_where_nothing_is_hidden_and_none_where_all_is(self, size):
        everywhere = torch.ones(size, size, dtype=torch.bool)
        assert inscribed_square(size, None) == inscribed_square(size, everywhere) == (0, size)
        assert inscribed_square(size, ~everywhere) == (size // 2, 0)

    @pytest.mark.parametrize("size", [32, 65, 224])
    def test_of_the_fundus_mask_is_as_wide_as_geometry_has_it(self, size):
        _, side = square = inscribed_square(size, fundus_mask(size))
        assert square == naive_square(fundus_mask(size))
        assert abs(side - 0.48 * 2**0.5 * size) <= 2

    @pytest.mark.parametrize("mask", [torch.ones(4, 4), torch.ones(4, 5, dtype=torch.bool)])
    def test_other_masks_are_refused(self, mask):
        message = r"^the mask of images of 4 px must be bool \(4, 4\), not torch\.\w+ \(4, [45]\)$"
        with pytest.raises(ValueError, match=message):
            inscribed_square(4, mask)


class TestCut:
    @few
    @given(st.integers(0, 3), st.integers(1, 4), st.integers(3, 12), st.integers(3, 12), st.data())
    def test_equals_slices_one_by_one(self, num_images, channels, height, width, data):
        side = data.draw(st.integers(1, min(height, width)))
        corner = st.tuples(st.integers(0, height - side), st.integers(0, width - side))
        count = data.draw(st.integers(1, 5))
        corners = torch.tensor(
            [[data.draw(corner) for _ in range(count)] for _ in range(num_images)], dtype=torch.int64
        ).view(num_images, count, 2)
        images = torch.arange(num_images * channels * height * width).view(num_images, channels, height, width)
        cut = cut_squares(images, corners, side)
        assert cut.shape == (num_images * count, channels, side, side)
        assert cut.dtype == images.dtype
        for row, (image, (top, left)) in enumerate(
            (image, corner) for image, of_image in zip(images, corners.tolist(), strict=True) for corner in of_image
        ):
            naive = image[:, top : top + side, left : left + side]
            np.testing.assert_array_equal(cut[row].numpy(), naive.numpy())

    @pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
    def test_keeps_the_memory_format_and_the_images(self, memory_format):
        images = torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16).to(torch.uint8)
        images = images.contiguous(memory_format=memory_format)
        before = images.clone()
        cut = cut_squares(images, torch.zeros(2, 9, 2, dtype=torch.int64), 5)
        assert cut.is_contiguous(memory_format=memory_format)
        cut.zero_()
        assert torch.equal(images, before)

    @pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (4, 0), (0, 7), (9, 9)])
    def test_squares_beyond_the_image_are_refused(self, corner):
        images = torch.zeros(2, 3, 8, 11)
        corners = torch.tensor([[[0, 0], [3, 6]], [[0, 0], corner]])
        with pytest.raises(ValueError, match=r"^a square of 5 px reaches beyond its image of 8 x 11 px$"):
            cut_squares(images, corners, 5)
        corners[1, 1] = torch.tensor([3, 6])
        assert cut_squares(images, corners, 5).shape == (4, 3, 5, 5)

    def test_squares_larger_than_the_image_are_refused(self):
        with pytest.raises(ValueError, match=r"^a square of 9 px reaches beyond its image of 8 x 11 px$"):
            cut_squares(torch.zeros(1, 3, 8, 11), torch.zeros(1, 1, 2, dtype=torch.int64), 9)

    @pytest.mark.parametrize("shape", [(1, 4, 2), (2, 4, 3), (2, 2), (2, 4, 2, 2)])
    def test_corners_of_another_shape_are_refused(self, shape):
        with pytest.raises(ValueError, match=r"^corners must be \(N, P, 2\) for 2 images, not \("):
            cut_squares(torch.zeros(2, 3, 8, 8), torch.zeros(shape, dtype=torch.int64), 3)


class TestInside:
    @pytest.mark.parametrize(("size", "stride"), [(32, 4), (30, 4), (33, 1)])
    def test_squares_count_that_are_wholly_inside_the_mask(self, size, stride):
        inside, mask = squares_in_mask(size, stride, fundus_mask(size)), fundus_mask(size)
        assert len(inside) == math.ceil(size / stride)
        for row in range(len(inside)):
            for column in range(len(inside)):
                square = mask[row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
                assert inside[row, column] == square.all()


def test_the_examples_run():
    assert doctest.testmod(squares_module) == doctest.TestResults(failed=0, attempted=8)
