from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional as F

from sslkit import ViewsConfig, augmented_views
from sslkit.data.cropping import circular_mask
from sslkit.data.views.surround import fill_surround

few = settings(deadline=None, max_examples=30)

NOTHING = ViewsConfig(min_area=1.0, flips=False, turns="none", recoloured=0.0, grey=0.0, blurred=0.0)
COLOURS_OFF = {"recoloured": 0.0, "grey": 0.0, "blurred": 0.0}


def photographs(num_images, size=32, seed=0):
    pixels = torch.randint(256, (num_images, size, size, 3), generator=torch.Generator().manual_seed(seed)).byte()
    return pixels.permute(0, 3, 1, 2)


def smooth(num_images, size=48, seed=0):
    """Images without a sharp edge."""
    return F.interpolate(photographs(num_images, 4, seed).float(), (size, size), mode="bicubic").clamp(0, 255).byte()


def disc(size):
    return torch.from_numpy(circular_mask(size))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def masked(images):
    return images * disc(images.shape[2])


class TestAll:
    @few
    @given(st.integers(1, 4), st.integers(1, 3), st.integers(8, 40), st.booleans(), st.integers(0, 2**32))
    def test_with_everything_off_views_are_the_images_bit_for_bit(self, num_images, num_views, size, round_, seed):
        images = photographs(num_images, size, seed % 97)
        mask = disc(size) if round_ else None
        images = images if mask is None else images * mask
        views = augmented_views(images, seeded(seed), NOTHING, mask, num_views=num_views)
        assert views.dtype == torch.uint8
        assert torch.equal(views, images.repeat_interleave(num_views, dim=0))

    @few
    @given(st.integers(1, 3), st.integers(8, 300), st.booleans(), st.integers(0, 2**32))
    def test_quarter_turns_and_flips_alone_are_lossless(self, num_images, size, round_, seed):
        images = photographs(num_images, size, seed % 97)
        mask = disc(size) if round_ else None
        images = images if mask is None else images * mask
        options = NOTHING.model_copy(update={"turns": "quarter", "flips": True})
        views = augmented_views(images, seeded(seed), options, mask, num_views=3)
        for row, view in enumerate(views):
            symmetries = [
                torch.rot90(image, k, (1, 2))
                for image in (images[row // 3], images[row // 3].flip(2))
                for k in range(4)
            ]
            assert any(torch.equal(view, symmetry) for symmetry in symmetries)

    def test_every_turn_and_flip_comes_equally_often(self):
        image = photographs(1, 8)
        options = NOTHING.model_copy(update={"turns": "quarter", "flips": True})
        views = augmented_views(image, seeded(), options, None, num_views=1600)
        counts = [
            int((views == torch.rot90(flipped, k, (2, 3))).flatten(1).all(dim=1).sum())
            for flipped in (image, image.flip(3))
            for k in range(4)
        ]
        assert sum(counts) == 1600
        assert all(abs(count - 200) < 55 for count in counts)

    @few
    @given(st.integers(1, 4), st.integers(0, 2**32), st.booleans(), st.sampled_from([None, 24, 96]))
    def test_views_depend_on_images_and_generator_alone_and_leave_the_images_be(self, num_images, seed, round_, size):
        images, mask = photographs(num_images), disc(32) if round_ else None
        kept = images.clone()
        first = augmented_views(images, seeded(seed), ViewsConfig(), mask, size=size)
        torch.manual_seed(seed % 7)
        state = torch.get_rng_state()
        again = augmented_views(images.contiguous(), seeded(seed), ViewsConfig(), mask, size=size)
        assert torch.equal(first, again)
        assert torch.equal(images, kept)
        assert torch.equal(torch.get_rng_state(), state)
        assert first.shape == (2 * num_images, 3, size or 32, size or 32)
        assert first.is_contiguous(memory_format=torch.channels_last)
        assert not torch.equal(first, augmented_views(images, seeded(seed + 1), ViewsConfig(), mask, size=size))

    @pytest.mark.parametrize(
        "changed",
        [
            {"min_area": 1.0},
            {"flips": False},
            {"turns": "none"},
            {"brightness": 0.0},
            {"contrast": 0.0},
            {"saturation": 0.0},
            {"hue": 0.0},
            {"recoloured": 0.0},
            {"grey": 0.5},
            {"blurred": 0.0},
            {"blur": 0.5},
        ],
        ids=str,
    )
    def test_an_option_changes_nothing_that_another_draws(self, changed):
        """Whatever one option is, the generator stands at the same place, and what is drawn after is the same."""
        images, generators, views = photographs(8), (seeded(), seeded()), []
        for generator, options in zip(generators, ({"blur": 20.0}, {"blur": 20.0, **changed}), strict=True):
            views.append(augmented_views(images, generator, ViewsConfig(**options), None))
        assert not torch.equal(*views)
        assert torch.equal(generators[0].get_state(), generators[1].get_state())

    def test_a_view_is_the_same_crop_whatever_its_colours_and_blur(self):
        """Of an image whose brightness is a ramp, the place of a view is told by the order of its pixels."""
        images = (torch.arange(64) * 2 + 60).byte().expand(4, 3, 64, 64)
        with_colours = ViewsConfig(brightness=0.1, contrast=0.1, saturation=0.0, hue=0.0, grey=0.0, blurred=0.0)
        plain = augmented_views(images, seeded(3), ViewsConfig(**COLOURS_OFF), None).double()
        coloured = augmented_views(images, seeded(3), with_colours, None).double()
        for one, other in zip(plain, coloured, strict=True):
            correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
            assert correlation > 0.999

    @pytest.mark.parametrize("off", ["grey", "recoloured", "blurred"])
    def test_views_that_an_option_does_not_touch_are_the_same_without_it(self, off):
        images = photographs(40)
        some = augmented_views(images, seeded(), ViewsConfig(**{"blur": 32.0, off: 0.3}), None)
        none = augmented_views(images, seeded(), ViewsConfig(**{"blur": 32.0, off: 0.0}), None)
        untouched = (some == none).flatten(1).all(dim=1)
        assert 40 < untouched.sum() < 72  # of 80

    def test_a_share_of_views_is_grey(self):
        options = ViewsConfig(grey=0.2, recoloured=0.0, blurred=0.0)
        views = augmented_views(photographs(500, 8), seeded(), options, None)
        assert 150 < (views == views[:, :1]).flatten(1).all(dim=1).sum() < 250

    def test_a_share_of_views_is_blurred(self):
        options = NOTHING.model_copy(update={"blurred": 0.3, "blur": 30.0})
        images = photographs(500, 16)
        views = augmented_views(images, seeded(), options, None)
        changed = (views != images.repeat_interleave(2, dim=0)).flatten(1).any(dim=1)
        assert 240 < changed.sum() < 360

    @pytest.mark.parametrize("size", [12, 24, 48, 96])
    def test_views_of_another_size_show_the_same(self, size):
        images = smooth(2)
        options = NOTHING.model_copy(update={"turns": "quarter"})
        views = augmented_views(images, seeded(1), options, None, size=size)
        plain = augmented_views(images, seeded(1), options, None)
        wanted = F.interpolate(plain.float(), (size, size), mode="bilinear", antialias=True)
        assert views.shape == (4, 3, size, size)
        assert (views.float() - wanted).abs().mean() < 3

    def test_smaller_views_are_means_of_pixels_and_no_picks(self):
        """A chequerboard of single pixels is grey from afar."""
        board = (255 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)).byte().expand(1, 3, 64, 64)
        views = augmented_views(board, seeded(), NOTHING, None, size=16)
        assert ((views.int() - 128).abs() <= 1).all()

    def test_an_area_of_its_own_goes_before_the_least_one(self):
        ramp = (torch.arange(64) * 4).byte().expand(8, 3, 64, 64)
        options = ViewsConfig(turns="none", flips=False, **COLOURS_OFF)
        small = augmented_views(ramp, seeded(), options, None, area=(0.05, 0.1)).float()
        spans = small.amax(dim=(1, 2, 3)) - small.amin(dim=(1, 2, 3))
        assert ((spans > 40) & (spans < 100)).all()  # a fifth to a third of 255, a little more or less by its shape


class TestOptions:
    @pytest.mark.parametrize(
        "wrong",
        [{"min_area": 0.0}, {"min_area": 1.1}, {"turns": "half"}, {"hue": 0.6}, {"grey": -0.1}, {"blur": 0.0}],
        ids=str,
    )
    def test_what_is_out_of_bounds_is_refused(self, wrong):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            ViewsConfig(**wrong)


class TestSurround:
    @few
    @given(st.integers(16, 80), st.floats(0.05, 1), st.integers(0, 2**32), st.sampled_from(["any", "quarter", "none"]))
    def test_nothing_of_the_surround_is_within_a_view_and_nothing_but_black_outside(self, size, least, seed, turns):
        """A white disc gives white discs, at every place, size and angle, and with blur as well."""
        mask = disc(size)
        images = (255 * mask).byte().expand(2, 3, size, size)
        options = ViewsConfig(min_area=least, turns=turns, recoloured=0.0, grey=0.0, blurred=0.5, blur=20.0)
        views = augmented_views(images, seeded(seed), options, mask)
        assert (views[:, :, mask] == 255).all()
        assert (views[:, :, ~mask] == 0).all()

    @pytest.mark.parametrize("size", [17, 32, 40, 100])
    def test_so_it_is_where_views_have_another_size(self, size):
        mask = disc(64)
        images = (255 * mask).byte().expand(4, 3, 64, 64)
        views = augmented_views(images, seeded(), ViewsConfig(recoloured=0.0, grey=0.0), mask, size=size)
        shown = (views != 0).all(dim=0).all(dim=0)
        assert set(views.unique().tolist()) == {0, 255}
        assert ((views != 0) == shown).all()  # the same disc in every view
        assert (shown != disc(size)).float().mean() < 0.04
        assert torch.equal(shown, shown.flip(0))
        assert torch.equal(shown, shown.T)

    @few
    @given(st.integers(8, 40), st.integers(0, 2**32))
    def test_what_lies_outside_the_mask_does_not_change_a_view(self, size, seed):
        images, mask = photographs(2, size, seed % 97), disc(size)
        wanted = augmented_views(images * mask, seeded(seed), ViewsConfig(), mask)
        assert torch.equal(augmented_views(images, seeded(seed), ViewsConfig(), mask), wanted)

    @few
    @given(st.integers(6, 20), st.integers(0, 2**32))
    def test_the_surround_is_filled_with_the_nearest_pixel_within(self, size, seed):
        images, mask = photographs(2, size, seed % 97), disc(size)
        filled = fill_surround(images, mask)
        inside = mask.nonzero().double()
        for row in range(size):
            for column in range(size):
                distances = torch.linalg.vector_norm(inside - torch.tensor([row, column]), dim=1)
                nearest = inside[distances <= distances.min() + 1e-9].long()
                candidates = [images[:, :, r, c] for r, c in nearest.tolist()]
                assert any(torch.equal(filled[:, :, row, column], candidate) for candidate in candidates)

    def test_a_mask_that_hides_all_is_refused(self):
        with pytest.raises(ValueError, match="the mask hides the whole of the images"):
            fill_surround(photographs(1, 8), torch.zeros(8, 8, dtype=torch.bool))

    def test_a_view_does_not_tell_where_it_lay_by_how_bright_its_rim_is(self):
        """The rim of a view of the middle and of one of the border are equally bright, on an even image."""
        mask = disc(64)
        images = (200 * mask).byte().expand(8, 3, 64, 64)
        views = augmented_views(images, seeded(), ViewsConfig(recoloured=0.0, grey=0.0), mask, num_views=8)
        assert views[:, :, mask].unique().tolist() == [200]
