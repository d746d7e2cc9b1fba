from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit import lab_of
from sslkit_colorization.bins import (
    annealed_mean,
    bins_in_gamut,
    nearest_bins,
    rebalancing_weights,
    smoothed,
    soft_encode,
)

few = settings(deadline=None, max_examples=25)


def colours(count: int, seed: int = 0) -> torch.Tensor:
    """Random places on the ab plane, some beyond the gamut, float32 (1, 2, count, 1)."""
    return torch.rand(1, 2, count, 1, generator=torch.Generator().manual_seed(seed)) * 240 - 120


class TestBinsInGamut:
    @pytest.mark.parametrize(("bin_size", "num_bins"), [(10, 261), (20, 77), (5, 969)])
    def test_are_those_that_colours_of_the_whole_cube_are_nearest_to(self, bin_size, num_bins):
        # Every third code of each channel, with 0 and 255.
        codes = torch.arange(0, 256, 3, dtype=torch.uint8)
        cube = torch.stack(torch.meshgrid(codes, codes, codes, indexing="ij"))[None].flatten(3)
        ab = lab_of(cube, torch.float64)[0, 1:].flatten(1).T
        found = {tuple(place) for place in ((ab / bin_size).round() * bin_size).unique(dim=0).tolist()}
        bins = [tuple(place) for place in bins_in_gamut(bin_size).tolist()]
        assert len(bins) == num_bins
        assert found <= set(bins)
        assert len(set(bins) - found) <= 1 + num_bins // 100  # edges that the coarse cube misses

    def test_are_sorted_and_hold_grey(self):
        bins = [tuple(place) for place in bins_in_gamut(10).tolist()]
        assert bins == sorted(bins)
        assert (0, 0) in bins


class TestNearestBins:
    @few
    @given(st.integers(0, 2**32))
    def test_equals_a_naive_search(self, seed):
        ab, bins = colours(20, seed), bins_in_gamut(10)
        naive = [min(range(len(bins)), key=lambda q: math.dist(place, bins[q])) for place in ab[0, :, :, 0].T.tolist()]
        assert nearest_bins(ab, bins).flatten().tolist() == naive


class TestSoftEncode:
    @few
    @given(st.integers(0, 2**32), st.sampled_from([2.5, 5.0]))
    def test_equals_a_naive_loop(self, seed, sigma):
        ab, bins = colours(10, seed), bins_in_gamut(10)
        nearest, shares = soft_encode(ab, bins, sigma)
        assert nearest.shape == shares.shape == (1, 5, 10, 1)
        for place in range(10):
            distances = [math.dist(ab[0, :, place, 0].tolist(), centre) for centre in bins.tolist()]
            order = sorted(range(len(bins)), key=distances.__getitem__)[:5]
            kernel = [math.exp(-(distances[q] ** 2 - distances[order[0]] ** 2) / (2 * sigma**2)) for q in order]
            assert nearest[0, :, place, 0].tolist() == order
            assert shares[0, :, place, 0].tolist() == pytest.approx([k / sum(kernel) for k in kernel], abs=1e-4)

    def test_puts_most_on_the_bin_of_the_colour_itself(self):
        nearest, shares = soft_encode(torch.zeros(1, 2, 1, 1), bins_in_gamut(10), 5.0)
        around = math.exp(-2)
        assert bins_in_gamut(10)[nearest[0, 0, 0, 0]].tolist() == [0, 0]
        expected = [1 / (1 + 4 * around)] + [around / (1 + 4 * around)] * 4
        assert shares.flatten().tolist() == pytest.approx(expected, abs=1e-6)

    def test_far_beyond_the_gamut_shares_are_still_finite(self):
        _, shares = soft_encode(torch.full((1, 2, 1, 1), 1e4), bins_in_gamut(10), 5.0)
        assert shares.sum().item() == pytest.approx(1)


class TestSmoothed:
    def test_equals_a_naive_loop(self):
        bins = bins_in_gamut(20)
        frequencies = torch.rand(len(bins), generator=torch.Generator().manual_seed(0))
        frequencies /= frequencies.sum()
        expected = [0.0] * len(bins)
        for source, frequency in zip(bins.tolist(), frequencies.tolist(), strict=True):
            kernel = [math.exp(-(math.dist(source, target) ** 2) / (2 * 10.0**2)) for target in bins.tolist()]
            for q, value in enumerate(kernel):
                expected[q] += frequency * value / sum(kernel)
        prior = smoothed(frequencies, bins, 10.0)
        assert prior.tolist() == pytest.approx(expected, abs=1e-6)
        assert prior.sum().item() == pytest.approx(1, abs=1e-5)


class TestRebalancingWeights:
    def test_equals_a_naive_loop(self):
        prior = [0.5, 0.25, 0.125, 0.125, 0.0]
        raw = [1 / (0.5 * p + 0.5 / 5) for p in prior]
        mean = sum(p * w for p, w in zip(prior, raw, strict=True))
        weights = rebalancing_weights(torch.tensor(prior), 0.5)
        assert weights.tolist() == pytest.approx([w / mean for w in raw])

    @few
    @given(st.integers(0, 2**32), st.floats(1e-3, 1))
    def test_have_a_mean_of_one_under_the_prior(self, seed, mixing):
        prior = torch.rand(50, generator=torch.Generator().manual_seed(seed)) ** 4
        prior /= prior.sum()
        weights = rebalancing_weights(prior, mixing)
        assert (prior * weights).sum().item() == pytest.approx(1, abs=1e-4)
        assert (weights[prior.argsort()].diff() <= 0).all()  # the rarer, the heavier

    def test_are_one_where_only_the_uniform_distribution_counts(self):
        assert rebalancing_weights(torch.tensor([0.75, 0.25]), 1.0).tolist() == [1, 1]


class TestAnnealedMean:
    @few
    @given(st.integers(0, 2**32), st.sampled_from([0.38, 1.0]))
    def test_equals_a_naive_loop(self, seed, temperature):
        bins = bins_in_gamut(20)
        logits = 4 * torch.randn(1, len(bins), 2, 1, generator=torch.Generator().manual_seed(seed))
        predicted = annealed_mean(logits, bins, temperature)
        assert predicted.shape == (1, 2, 2, 1)
        for place in range(2):
            # Equation 5 as it stands, in probabilities.
            probabilities = logits[0, :, place, 0].double().softmax(0).tolist()
            sharpened = [math.exp(math.log(p) / temperature) for p in probabilities]
            for axis in range(2):
                mean = sum(s * centre[axis] for s, centre in zip(sharpened, bins.tolist(), strict=True))
                assert predicted[0, axis, place, 0].item() == pytest.approx(mean / sum(sharpened), abs=1e-3)

    def test_nears_the_mode_as_the_temperature_falls(self):
        bins = torch.tensor([[0.0, 0.0], [40.0, 20.0]])
        logits = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
        assert annealed_mean(logits, bins, 0.01).flatten().tolist() == pytest.approx([40, 20], abs=1e-4)
