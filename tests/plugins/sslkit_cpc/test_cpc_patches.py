from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import fundus_mask

from sslkit_cpc.patches import PatchGrid, alter_patches, make_patch_grid

few = settings(deadline=None, max_examples=60)
options = st.tuples(st.integers(3, 9), st.floats(0, 0.75), st.floats(0, 0.5))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(num_patches, side=6, seed=0):
    return torch.randint(256, (num_patches, 3, side, side), generator=seeded(seed)).byte()


class TestGrid:
    @few
    @given(st.integers(96, 600), options)
    def test_cells_are_the_largest_that_lie_in_the_image(self, size, options):
        rows, overlap, jitter = options
        grid = make_patch_grid(size, None, *options)
        corners = grid.corners().tolist()
        starts = [row for row, column in corners if column == grid.start]
        assert corners == [list(corner) for corner in itertools.product(starts, starts)]
        assert starts == [grid.start + place * grid.stride for place in range(rows)]
        end = starts[-1] + grid.cell
        assert 0 <= grid.start <= size - end <= grid.start + 1  # what is left over is dealt evenly
        larger = grid.cell + 1
        assert larger + (rows - 1) * (larger * (1 - overlap) + 0.999) > size - rows
        assert (grid.jitter == 0) == (jitter == 0)
        assert grid.jitter == 1 or abs(grid.jitter - jitter * grid.cell) <= 0.5

    @few
    @given(st.integers(96, 600), options)
    def test_neighbours_share_no_more_than_asked_for_and_less_by_under_a_pixel(self, size, options):
        grid = make_patch_grid(size, None, *options)
        shared, asked = grid.cell - grid.stride, options[1] * grid.cell
        assert asked - 1 < shared <= asked + 1e-5

    @few
    @given(st.integers(40, 600), st.integers(3, 9), st.booleans())
    def test_at_an_overlap_of_a_half_every_second_row_shares_nothing(self, size, rows, masked):
        grid = make_patch_grid(size + 40, fundus_mask(size + 40) if masked else None, rows, 0.5, 0.0)
        assert 2 * grid.stride >= grid.cell

    @few
    @given(st.integers(64, 300), options)
    def test_cells_lie_in_the_mask(self, size, options):
        mask = fundus_mask(size)
        try:
            grid = make_patch_grid(size, mask, *options)
        except ValueError:
            return
        for row, column in grid.corners().tolist():
            assert mask[row : row + grid.cell, column : column + grid.cell].all()

    def test_is_the_papers_own_at_256_pixels(self):
        assert make_patch_grid(256, None, 7, 0.5, 0.0) == PatchGrid(rows=7, start=0, stride=32, cell=64, patch=64)

    @pytest.mark.parametrize(
        ("size", "rows", "whole", "fundus"),
        [(32, 5, 9, 5), (64, 5, 19, 13), (224, 5, 69, 47), (224, 7, 52, 36), (512, 5, 159, 109)],
    )
    def test_patches_have_the_documented_sides(self, size, rows, whole, fundus):
        assert make_patch_grid(size, None, rows, 0.5, 0.0625).patch == whole
        assert make_patch_grid(size, fundus_mask(size), rows, 0.5, 0.0625).patch == fundus

    @settings(deadline=None, max_examples=150)
    @given(st.integers(2, 60), st.integers(0, 100), st.booleans(), options)
    def test_the_size_that_is_said_to_be_enough_is_and_so_is_a_larger_one(self, size, more, masked, options):
        def grid(size):
            return make_patch_grid(size, fundus_mask(size) if masked else None, *options)

        try:
            grid(size)
        except ValueError as error:
            enough = int(str(error).rpartition("images.size = ")[2].partition(" ")[0])
            assert enough > size
            assert grid(enough + more).patch >= 4

    def test_images_too_small_are_refused(self):
        message = (
            r"^7 rows of patches of 4 px or more, with overlap = 0\.5 and jitter = 0\.0625, do not fit into the 13 px "
            r"square that images of 13 px have for them; images\.size = \d+ is enough, and fewer rows \(grid\) need"
        )
        with pytest.raises(ValueError, match=message):
            make_patch_grid(13, None, 7, 0.5, 0.0625)

    def test_a_mask_that_hides_the_centre_is_refused(self):
        mask = torch.ones(64, 64, dtype=torch.bool)
        mask[32, 32] = False
        with pytest.raises(ValueError, match=r"^the mask hides the centre of the images of 64 px, and the patches are"):
            make_patch_grid(64, mask, 5, 0.5, 0.0)


class TestAlter:
    @few
    @given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6))
    def test_leaves_patches_alone_where_nothing_is_switched_on(self, seed, num_patches, side):
        patches = noise(num_patches, side, seed)
        altered = alter_patches(patches, seeded(seed), one_channel=0.0, flip=0.0, brightness=0.0)
        assert torch.equal(altered, patches)
        assert altered.data_ptr() != patches.data_ptr()

    def test_shows_one_channel_in_the_place_of_all_and_each_as_often(self):
        patches = noise(900)
        altered = alter_patches(patches, seeded(), one_channel=1.0, flip=0.0, brightness=0.0)
        counts = [
            sum(
                torch.equal(shown, patch[channel].expand(3, -1, -1))
                for shown, patch in zip(altered, patches, strict=True)
            )
            for channel in range(3)
        ]
        assert sum(counts) == 900
        assert all(abs(count - 300) < 60 for count in counts)

    def test_mirrors_left_and_right(self):
        patches = noise(3)
        altered = alter_patches(patches, seeded(), one_channel=0.0, flip=1.0, brightness=0.0)
        assert torch.equal(altered, patches.flip(3))

    def test_multiplies_all_of_a_patch_by_one_factor_and_stops_at_white(self):
        patches = torch.full((500, 3, 4, 4), 100, dtype=torch.uint8)
        patches[:, 1] = 250
        altered = alter_patches(patches, seeded(), one_channel=0.0, flip=0.0, brightness=0.5)
        factors = altered[:, 0, 0, 0].double() / 100
        assert torch.equal(altered[:, 0], altered[:, :1, :1, :1].expand(-1, -1, 4, 4)[:, 0])
        assert (altered[:, 1, 0, 0] - (factors * 250).clamp(max=255)).abs().max() <= 2
        assert factors.min() >= 0.5
        assert factors.min() < 0.52
        assert 1.48 < factors.max() <= 1.5
        assert abs(factors.mean() - 1) < 0.05

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_a_share_of_the_patches_is_changed_each_by_itself(self, share):
        patches = noise(1000)
        colourless = alter_patches(patches, seeded(), one_channel=share, flip=0.0, brightness=0.0)
        mirrored = alter_patches(patches, seeded(), one_channel=0.0, flip=share, brightness=0.0)
        num_colourless = (colourless == colourless[:, :1]).flatten(1).all(dim=1).sum()
        num_mirrored = (mirrored != patches).flatten(1).any(dim=1).sum()
        assert abs(num_colourless - 1000 * share) < 60
        assert abs(num_mirrored - 1000 * share) < 60

    def test_one_option_does_not_change_what_another_draws(self):
        patches = noise(50)
        both = alter_patches(patches, seeded(), one_channel=0.5, flip=0.5, brightness=0.0)
        mirrored = alter_patches(patches, seeded(), one_channel=0.0, flip=0.5, brightness=0.0)
        kept = (both != both[:, :1]).flatten(1).any(dim=1)
        assert 10 < kept.sum() < 40
        assert torch.equal(both[kept], mirrored[kept])

    def test_keeps_the_layout_of_the_cache(self):
        patches = noise(5).contiguous(memory_format=torch.channels_last)
        altered = alter_patches(patches, seeded(), one_channel=0.5, flip=0.5, brightness=0.2)
        assert altered.is_contiguous(memory_format=torch.channels_last)
        assert altered.dtype == torch.uint8
