from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit_relative_patch.colours import drop_colours, project_colours

few = settings(deadline=None, max_examples=30)


def photographs(num_images, size, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


class TestDropped:
    @few
    @given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))
    def test_one_channel_is_kept_as_it_is_and_the_others_say_nothing(self, num_patches, side, seed):
        generator = torch.Generator().manual_seed(seed)
        kept = torch.randint(3, (num_patches,), generator=generator)
        patches, others = photographs(num_patches, side, seed % 89), photographs(num_patches, side, 97)
        state = generator.get_state()
        result = drop_colours(patches, kept, (0.4, 0.5, 0.6), generator)
        generator.set_state(state)
        of_others = drop_colours(others, kept, (0.4, 0.5, 0.6), generator)
        assert result.dtype == torch.uint8
        for row, channel in enumerate(kept.tolist()):
            dropped = [c for c in range(3) if c != channel]
            assert torch.equal(result[row, channel], patches[row, channel])
            assert torch.equal(result[row, dropped], of_others[row, dropped])  # of whatever there was, no trace

    def test_noise_is_of_one_grey_level_about_the_mean(self):
        patches = torch.full((30, 3, 40, 40), 200, dtype=torch.uint8)
        kept = torch.arange(30) % 3
        result = drop_colours(patches, kept, (0.4, 0.5, 0.6), torch.Generator().manual_seed(0)).double()
        for channel, mean in enumerate((102, 127.5, 153)):
            noise = result[kept != channel, channel]
            assert noise.mean().item() == pytest.approx(mean, abs=0.05)
            assert noise.std().item() == pytest.approx(1, abs=0.06)
        first, second = (result[kept == 0, channel].flatten().numpy() for channel in (1, 2))
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.05

    def test_a_mean_at_the_end_of_the_scale_does_not_wrap(self):
        black = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
        result = drop_colours(black, torch.tensor([0]), (0.0, 0.0, 1.0), torch.Generator().manual_seed(0))
        assert result[0, 1].max() < 8
        assert result[0, 2].min() > 247


class TestProjected:
    @few
    @given(st.integers(1, 3), st.integers(1, 8), st.integers(0, 2**32))
    def test_equals_the_matrix_of_the_paper_pixel_by_pixel(self, num_patches, side, seed):
        patches = photographs(num_patches, side, seed)
        a = np.array([[-1.0, 2.0, -1.0]])
        matrix = np.eye(3) - a.T @ a / (a @ a.T)
        result = project_colours(patches)
        assert result.dtype == torch.uint8
        for patch, projected in zip(patches.numpy(), result.numpy(), strict=True):
            for row, column in np.ndindex(side, side):
                expected = (matrix @ patch[:, row, column].astype(float)).clip(0, 255)
                assert np.abs(projected[:, row, column] - expected).max() <= 0.501

    def test_greys_are_left_alone(self):
        greys = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
        assert torch.equal(project_colours(greys), greys)

    def test_keeps_the_memory_format(self):
        patches = photographs(2, 8).contiguous(memory_format=torch.channels_last)
        assert project_colours(patches).is_contiguous(memory_format=torch.channels_last)
