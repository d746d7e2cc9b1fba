from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from masks import ellipses, fundus_mask, naive_square

from sslkit_jigsaw.tiles import Grid, make_grid

few = settings(deadline=None, max_examples=60)
shares = st.tuples(st.floats(0, 0.3), st.floats(0, 0.5))


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
    @given(ellipses(), shares)
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
