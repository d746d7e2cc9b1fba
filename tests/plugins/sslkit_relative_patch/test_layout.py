from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from masks import ellipses, fundus_mask, naive_square

from sslkit_relative_patch.layout import Layout, cells, direction, make_layout, neighbours

few = settings(deadline=None, max_examples=60)


@st.composite
def shares(draw):
    """Gaps and jitters as the options allow them."""
    gap = draw(st.floats(0.05, 1))
    return gap, draw(st.floats(0, min(0.25, 0.499 * gap)))


class TestDirection:
    @pytest.mark.parametrize(
        ("down", "across", "label"),
        [(-1, -1, 0), (-1, 0, 1), (-1, 1, 2), (0, -1, 3), (0, 1, 4), (1, -1, 5), (1, 0, 6), (1, 1, 7)],
    )
    def test_is_where_the_second_cell_lies(self, down, across, label):
        for row, column in itertools.product(range(-3, 4), repeat=2):
            first, second = torch.tensor([row, column]), torch.tensor([row + down, column + across])
            assert direction(first, second).item() == label
            assert direction(second, first).item() == 7 - label

    @pytest.mark.parametrize("second", [[1, 1], [1, 3], [3, 2], [0, -1]])
    def test_cells_that_do_not_touch_have_none(self, second):
        with pytest.raises(ValueError, match=r"^cells must be neighbours, and two are not among \[1, 1\] and \["):
            direction(torch.tensor([1, 1]), torch.tensor(second))

    def test_neighbours_are_all_ordered_pairs_of_cells_that_touch(self):
        places = list(itertools.product(range(3), range(3)))
        assert cells().tolist() == [list(place) for place in places]
        expected = [
            [a, b]
            for a, b in itertools.permutations(range(9), 2)
            if abs(places[a][0] - places[b][0]) <= 1 and abs(places[a][1] - places[b][1]) <= 1
        ]
        assert neighbours().tolist() == expected
        assert len(expected) == 40

    def test_the_centre_has_one_neighbour_in_each_direction_and_no_direction_is_rare(self):
        pairs = neighbours()
        labels = direction(*cells()[pairs].unbind(dim=1))
        assert labels[pairs[:, 0] == 4].tolist() == list(range(8))
        assert labels.bincount().tolist() == [4, 6, 4, 6, 6, 4, 6, 4]


class TestLayout:
    @few
    @given(st.integers(60, 600), shares(), st.data())
    def test_a_gap_is_left_whatever_is_drawn(self, size, options, data):
        layout = make_layout(size, None, *options)
        moves = st.sampled_from([-layout.jitter, 0, layout.jitter])
        corners = layout.corners() + torch.tensor([[data.draw(moves), data.draw(moves)] for _ in range(9)])
        for a, b in itertools.combinations(range(9), 2):
            apart = (corners[a] - corners[b]).abs().max().item() - layout.patch
            assert apart >= layout.least_gap >= 1
        assert corners.min() >= 0
        assert corners.max() + layout.patch <= size

    @few
    @given(st.integers(60, 600), shares())
    def test_gap_and_jitter_are_the_shares_asked_for(self, size, options):
        layout = make_layout(size, None, *options)
        gap, jitter = (share * layout.patch for share in options)
        assert (layout.jitter == 0) == (jitter == 0)
        assert layout.jitter == 1 or abs(layout.jitter - jitter) <= 0.5
        assert layout.gap == 2 * layout.jitter + 1 or abs(layout.gap - gap) <= 0.5

    @few
    @given(st.integers(60, 600), shares())
    def test_patches_are_as_large_as_they_can_be_and_centred(self, size, options):
        gap, jitter = options
        layout = make_layout(size, None, gap, jitter)
        used = 3 * layout.patch + 2 * layout.gap + 2 * layout.jitter
        before = layout.start - layout.jitter
        assert 0 <= size - used - 2 * before <= 1
        larger = layout.patch + 1
        jitter_then = max(1, round(jitter * larger)) if jitter else 0
        assert 3 * larger + 2 * max(round(gap * larger), 2 * jitter_then + 1) + 2 * jitter_then > size

    @settings(deadline=None, max_examples=25)
    @given(ellipses(), shares())
    def test_lies_in_the_largest_centred_square_of_the_mask(self, mask, options):
        margin, side = naive_square(mask)
        assume(side > 30)
        layout, in_square = make_layout(len(mask), mask, *options), make_layout(side, None, *options)
        assert layout == Layout(margin + in_square.start, in_square.patch, in_square.gap, in_square.jitter)

    @pytest.mark.parametrize(
        ("size", "whole", "fundus"),
        [(64, 15, 10), (96, 22, 16), (128, 30, 21), (160, 38, 26), (224, 54, 36), (256, 62, 42), (512, 123, 84)],
    )
    def test_patches_have_the_documented_sides(self, size, whole, fundus):
        assert make_layout(size, None, 0.5, 0.07).patch == whole
        assert make_layout(size, fundus_mask(size), 0.5, 0.07).patch == fundus

    def test_the_smallest_images_have_room_with_a_mask_and_without(self):
        assert make_layout(32, None, 0.5, 0.07).patch == 7
        assert make_layout(32, fundus_mask(32), 0.5, 0.07).patch == 4

    @settings(deadline=None, max_examples=100)
    @given(st.integers(2, 60), st.integers(0, 100), st.booleans(), shares())
    def test_the_size_that_is_said_to_be_enough_is_and_so_is_a_larger_one(self, size, more, masked, options):
        def layout(size):
            return make_layout(size, fundus_mask(size) if masked else None, *options)

        try:
            layout(size)
        except ValueError as error:
            enough = int(str(error).rpartition("images.size = ")[2].partition(" ")[0])
            assert enough > size
            assert layout(enough + more).patch >= 4

    def test_images_too_small_are_refused(self):
        message = (
            r"^nine patches of 4 px or more, with gap = 0\.5 and jitter = 0\.07, do not fit into the 13 px square that "
            r"images of 13 px have for them; images\.size = 23 is enough$"
        )
        with pytest.raises(ValueError, match=message):
            make_layout(13, None, 0.5, 0.07)

    def test_a_mask_that_hides_the_centre_is_refused(self):
        mask = torch.ones(64, 64, dtype=torch.bool)
        mask[32, 32] = False
        with pytest.raises(ValueError, match=r"^the mask hides the centre of the images of 64 px, and the patches are"):
            make_layout(64, mask, 0.5, 0.07)
