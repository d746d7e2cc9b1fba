from __future__ import annotations

import doctest

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sslkit import MapDecoder
from sslkit.engine import decoder as decoder_module


def nearest(x, side):
    """What each place of a map is on a grid of another size: that of the place which its upper left corner is in."""
    rows, columns = ([place * length // side for place in range(side)] for length in x.shape[2:])
    return x[:, :, rows][:, :, :, columns]


@pytest.mark.parametrize(
    ("sides", "side", "steps", "widths"),
    [
        ((7, 7), 56, [14, 28, 56], [128, 64, 32]),
        ((7, 7), 224, [14, 28, 56, 112, 224], [128, 64, 32, 32, 32]),
        ((14, 14), 56, [28, 56], [128, 64]),
        ((1, 1), 8, [2, 4, 8], [128, 64, 32]),
        ((1, 1), 16, [2, 4, 8, 16], [128, 64, 32, 32]),
        ((2, 2), 7, [4, 7], [128, 64]),
        ((3, 4), 7, [7], [128]),
        ((7, 7), 7, [7], [128]),
        ((8, 8), 4, [4], [128]),
    ],
)
@pytest.mark.parametrize("channels", [1, 11])
def test_doubles_the_side_until_it_is_the_targets(sides, side, steps, widths, channels):
    decoder = MapDecoder((5, *sides), channels, side)
    assert decoder(torch.zeros(2, 5, *sides)).shape == (2, channels, side, side)
    assert [block[0].size for block in decoder.blocks] == [(step, step) for step in steps]
    assert [block[1].out_channels for block in decoder.blocks] == widths


@pytest.mark.parametrize(("narrowest", "widths"), [(128, [128] * 4), (64, [128, 64, 64, 64]), (1, [128, 64, 32, 16])])
def test_no_step_is_narrower_than_asked_for(narrowest, widths):
    decoder = MapDecoder((5, 1, 1), 2, 16, narrowest=narrowest)
    assert [block[1].out_channels for block in decoder.blocks] == widths


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 24), st.integers(0, 2**32))
def test_equals_its_steps_written_out(height, width, side, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = MapDecoder((3, height, width), 2, side).double()
        features = torch.randn(2, 3, height, width, dtype=torch.float64)
    x = features
    for block in decoder.blocks:
        x = F.conv2d(nearest(x, block[0].size[0]), block[1].weight, padding=1)
        mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), correction=0, keepdim=True)
        x = ((x - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
    expected = torch.einsum("nchw,oc->nohw", x, decoder.values.weight[:, :, 0, 0]) + decoder.values.bias[:, None, None]
    torch.testing.assert_close(decoder(features), expected)


def test_gradient_reaches_every_parameter_and_the_map():
    decoder = MapDecoder((3, 2, 2), 2, 8)
    features = torch.randn(2, 3, 2, 2, requires_grad=True)
    decoder(features).square().sum().backward()
    assert all(value.grad.abs().sum() > 0 for value in (features, *decoder.parameters()))


def test_the_example_runs():
    assert doctest.testmod(decoder_module) == doctest.TestResults(failed=0, attempted=1)
