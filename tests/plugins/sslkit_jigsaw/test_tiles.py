from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sslkit.data.cropping import circular_mask
from sslkit_jigsaw.tiles import Grid, cut_tiles, make_grid

few = settings(deadline=None, max_examples=60)
shares = st.tuples(st.floats(0, 0.3), st.floats(0, 0.5))


def fundus_mask(size):
    return torch.from_numpy(circular_mask(size))


@st.composite
def masks(draw):
    """Discs, ellipses and frames, of which some do not lie in the middle."""
    size = draw(st.integers(40, 130))
    down, across = (draw(st.floats(0.3, 0.6)) * size for _ in range(2))
    row, column = (size / 2 + draw(st.floats(-0.1, 0.1)) * size for _ in range(2))
    places = torch.arange(size) + 0.5
    return ((places[:, None] - row) / down) ** 2 + ((places - column) / across) ** 2 <= 1


def naive_square(mask):
    """The largest centred square in a mask: pixel by pixel, from the largest."""
    size = len(mask)
    for margin in range(size // 2):
        inside = range(margin, size - margin)
        if all(bool(mask[row, column]) for row in inside for column in inside):
            return margin, size - 2 * margin
    raise AssertionError("the mask has no centre")


class TestGrid:
    @few
    @given(st.integers(40, 600), shares)
    def test_cells_lie_in_the_image_and_share_nothing(self, size, options):
        grid = make_grid(size, None, *options)
        corners = grid.corners().tolist()
        starts = [row for row, column in corners if column == grid.start]
        assert corners == [list(corner) for corner in itertools.product(starts, starts)]
        assert starts[0] >= 0
        assert starts[2] + grid.cell <= size
        for before, behind in itertools.pairwise(starts):
            assert behind - (before + grid.cell) == grid.gap
        # What nine cells and the gaps leave over is less than a row of each, and evenly dealt.
        assert 0 <= size - (starts[2] + grid.cell) - starts[0] <= 1
        assert starts[0] <= 1

    @few
    @given(st.integers(40, 600), shares)
    def test_gap_and_jitter_are_the_shares_asked_for(self, size, options):
        grid = make_grid(size, None, *options)
        for share, pixels in zip(options, (grid.gap, grid.jitter), strict=True):
            assert (pixels == 0) == (share == 0)
            assert pixels == 1 or abs(pixels - share * size / 3) <= 0.5
        assert grid.tile >= 4

    @settings(deadline=None, max_examples=25)
    @given(masks(), shares)
    def test_cells_fill_the_largest_centred_square_of_the_mask(self, mask, options):
        margin, side = naive_square(mask)
        assume(side > 40)
        grid, in_square = make_grid(len(mask), mask, *options), make_grid(side, None, *options)
        assert grid == Grid(margin + in_square.start, in_square.cell, in_square.gap, in_square.tile)

    @pytest.mark.parametrize(
        ("size", "whole", "fundus"),
        [(64, 17, 12), (96, 25, 17), (128, 34, 22), (160, 42, 28), (224, 59, 39), (256, 66, 45), (512, 133, 91)],
    )
    def test_tiles_have_the_documented_sides(self, size, whole, fundus):
        assert make_grid(size, None, 0.1, 0.15).tile == whole
        assert make_grid(size, fundus_mask(size), 0.1, 0.15).tile == fundus

    @settings(deadline=None, max_examples=200)
    @given(st.integers(2, 50), st.integers(0, 100), st.booleans(), shares)
    def test_the_size_that_is_said_to_be_enough_is_and_so_is_a_larger_one(self, size, more, masked, options):
        def grid(size):
            return make_grid(size, fundus_mask(size) if masked else None, *options)

        try:
            grid(size)
        except ValueError as error:
            enough = int(str(error).rpartition("images.size = ")[2].partition(" ")[0])
            assert enough > size
            assert grid(enough + more).tile >= 4

    def test_images_too_small_are_refused(self):
        message = (
            r"^nine tiles of 4 px or more, with gap = 0\.1 and jitter = 0\.15, do not fit into the 13 px square that "
            r"images of 13 px have for them; images\.size = 23 is enough$"
        )
        with pytest.raises(ValueError, match=message):
            make_grid(13, None, 0.1, 0.15)

    def test_a_mask_that_hides_the_centre_is_refused(self):
        mask = torch.ones(64, 64, dtype=torch.bool)
        mask[32, 32] = False
        with pytest.raises(ValueError, match=r"^the mask hides the centre of the images of 64 px, and the tiles are"):
            make_grid(64, mask, 0.1, 0.15)


class TestCut:
    @few
    @given(st.integers(1, 3), st.integers(1, 4), st.integers(3, 12), st.integers(3, 12), st.data())
    def test_equals_slices_one_by_one(self, num_images, channels, height, width, data):
        side = data.draw(st.integers(1, min(height, width)))
        corner = st.tuples(st.integers(0, height - side), st.integers(0, width - side))
        count = data.draw(st.integers(1, 5))
        corners = data.draw(st.lists(st.lists(corner, min_size=count, max_size=count), min_size=num_images, max_size=3))
        corners = corners[:num_images]
        images = torch.arange(num_images * channels * height * width).view(num_images, channels, height, width)
        naive = [
            image[:, row : row + side, column : column + side].numpy()
            for image, of_image in zip(images, corners, strict=True)
            for row, column in of_image
        ]
        np.testing.assert_array_equal(cut_tiles(images, torch.tensor(corners), side).numpy(), np.stack(naive))

    def test_keeps_the_layout_of_the_cache(self):
        images = torch.zeros(2, 16, 16, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        tiles = cut_tiles(images, torch.zeros(2, 9, 2, dtype=torch.int64), 5)
        assert tiles.is_contiguous(memory_format=torch.channels_last)
