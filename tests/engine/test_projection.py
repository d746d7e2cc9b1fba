from __future__ import annotations

import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from two_views import few, naive_spread, seeded

from sslkit import make_projector, projection_spread
from sslkit.engine import projection as projection_module


class TestProjector:
    @pytest.mark.parametrize("last_norm", [False, True])
    @few
    @given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(0, 2**32))
    def test_equals_its_layers_written_out(self, last_norm, widths, seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            projector = make_projector(widths, last_norm=last_norm).double()
            h = torch.randn(7, widths[0], dtype=torch.float64)

        def normalised(x):
            return (x - x.mean(dim=0)) / (x.var(dim=0, correction=0) + 1e-5).sqrt()

        *before, last = [layer for layer in projector if isinstance(layer, nn.Linear)]
        x = h
        for layer in before:
            assert layer.bias is None
            x = normalised(x @ layer.weight.T).clamp(min=0)
        x = x @ last.weight.T
        expected = normalised(x) if last_norm else x + last.bias
        assert [layer.in_features for layer in (*before, last)] == widths[:-1]
        torch.testing.assert_close(projector(h), expected)

    def test_a_last_norm_has_neither_scale_nor_shift_nor_a_bias_before_it(self):
        projector = make_projector([3, 4, 2], last_norm=True)
        assert not list(projector[-1].parameters())
        assert projector[-2].bias is None

    @pytest.mark.parametrize("widths", [[], [5]])
    def test_fewer_than_two_widths_are_refused(self, widths):
        with pytest.raises(ValueError, match=r"needs the widths of what comes in and goes out, not \["):
            make_projector(widths)


class TestSpread:
    @few
    @given(st.integers(2, 8), st.integers(1, 9), st.integers(0, 2**32))
    def test_equals_a_naive_loop_and_does_not_depend_on_lengths(self, num_rows, width, seed):
        z = torch.randn(num_rows, width, generator=seeded(seed))
        lengths = 0.1 + 10 * torch.rand(num_rows, 1, generator=seeded(seed + 1))
        assert projection_spread(z).item() == pytest.approx(naive_spread(z), abs=1e-3)
        assert projection_spread(lengths * z).item() == pytest.approx(naive_spread(z), abs=1e-3)

    def test_is_near_1_without_a_preferred_direction(self):
        assert projection_spread(torch.randn(2000, 64, generator=seeded())).item() == pytest.approx(1, abs=0.01)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_is_float32_and_detached_under_autocast_too(self, dtype):
        z = torch.randn(9, 5, generator=seeded()).to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            spread = projection_spread(z)
        assert spread.dtype == torch.float32
        assert not spread.requires_grad
        assert spread.item() == pytest.approx(naive_spread(z), abs=1e-3)


def test_the_examples_run():
    assert doctest.testmod(projection_module) == doctest.TestResults(failed=0, attempted=2)
