from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as F

from sslkit import normalize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_equals_torchvision_and_keeps_the_layout(num_images, height, width, memory_format):
    images = random_images(num_images, 3, height, width).contiguous(memory_format=memory_format)
    kept = images.clone()
    normalised = normalize(images, MEAN, STD)
    expected = F.normalize(F.to_dtype(images, torch.float32, scale=True), list(MEAN), list(STD))
    torch.testing.assert_close(normalised, expected, rtol=0, atol=1e-6)
    assert normalised.dtype == torch.float32
    assert normalised.is_contiguous(memory_format=memory_format)
    assert torch.equal(images, kept)


def test_every_value_of_every_channel_is_within_a_millionth_of_torchvision():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    expected = F.normalize(images.double() / 255, list(MEAN), list(STD))
    torch.testing.assert_close(normalize(images, MEAN, STD).double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("images", [torch.zeros(1, 3, 4, 4), random_images(3, 4, 4), random_images(1, 1, 4, 4)])
def test_refuses_other_images(images):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, 3, H, W\), not"):
        normalize(images, MEAN, STD)


def test_refuses_another_number_of_channels():
    with pytest.raises(ValueError, match="3 each, not 1 and 3"):
        normalize(random_images(1, 3, 4, 4), (0.5,), STD)
