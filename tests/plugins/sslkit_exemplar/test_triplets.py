from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit_exemplar.triplets import share_of_nearest_positives, share_of_violations, squared_distances, triplet_loss

few = settings(deadline=None, max_examples=60)
batches = st.tuples(st.integers(2, 7), st.integers(2, 9), st.integers(0, 2**32))


def embeddings(num_images, width, seed):
    return torch.randn(2 * num_images, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def apart(z, a, b):
    """The squared distance of two embeddings on the unit sphere, number by number."""
    first, second = (row / math.sqrt((row**2).sum()) for row in (z[a].numpy(), z[b].numpy()))
    return float(((first - second) ** 2).sum())


def triplets(z):
    """For each anchor, the distance of its positive and those of its negatives: pair by pair."""
    for anchor in range(len(z)):
        positive = anchor + 1 if anchor % 2 == 0 else anchor - 1
        negatives = [other for other in range(len(z)) if other not in (anchor, positive)]
        yield apart(z, anchor, positive), [apart(z, anchor, negative) for negative in negatives]


def chosen_by(negatives, to_positive, to_negatives):
    if negatives == "all":
        return to_negatives
    farther = [distance for distance in to_negatives if distance > to_positive]
    return [min(farther) if farther else max(to_negatives)]


class TestDistances:
    @few
    @given(batches)
    def test_are_those_of_unit_vectors_pair_by_pair(self, batch):
        z = embeddings(*batch)
        distances = squared_distances(z)
        assert distances.dtype == torch.float32
        for a, b in itertools.product(range(len(z)), repeat=2):
            assert distances[a, b].item() == pytest.approx(apart(z, a, b), abs=1e-5)

    def test_length_does_not_count(self):
        z = embeddings(3, 5, 0)
        lengths = torch.tensor([[0.1], [7.0], [1.0], [3.0], [20.0], [0.5]])
        np.testing.assert_allclose(squared_distances(lengths * z), squared_distances(z), atol=1e-6)

    def test_an_embedding_of_nothing_has_a_finite_distance_and_gradient(self):
        z = torch.zeros(4, 3, requires_grad=True)
        loss = triplet_loss(squared_distances(z), 1.0)
        loss.backward()
        assert loss.item() == 1.0
        assert z.grad.isfinite().all()


class TestLoss:
    @few
    @given(batches, st.floats(0.01, 4), st.sampled_from(["all", "semi-hard"]))
    def test_is_the_mean_over_all_triplets_in_a_plain_loop(self, batch, margin, negatives):
        z = embeddings(*batch)
        terms = [
            max(0.0, to_positive - to_negative + margin)
            for to_positive, to_negatives in triplets(z)
            for to_negative in chosen_by(negatives, to_positive, to_negatives)
        ]
        assert triplet_loss(squared_distances(z), margin, negatives).item() == pytest.approx(np.mean(terms), abs=1e-5)
        num_views = len(z)
        assert len(terms) == (num_views * (num_views - 2) if negatives == "all" else num_views)

    @few
    @given(batches, st.floats(0.01, 4))
    def test_metrics_are_counts_in_a_plain_loop(self, batch, margin):
        z = embeddings(*batch)
        found = list(triplets(z))
        violated = [to_positive - to_negative + margin > 0 for to_positive, others in found for to_negative in others]
        nearest = [to_positive < min(others) for to_positive, others in found]
        distances = squared_distances(z).double()
        assert share_of_violations(distances, margin).item() == pytest.approx(np.mean(violated), abs=1e-9)
        assert share_of_nearest_positives(distances).item() == pytest.approx(np.mean(nearest), abs=1e-9)

    @pytest.mark.parametrize("negatives", ["all", "semi-hard"])
    def test_gradient_is_that_of_finite_differences(self, negatives):
        distances = squared_distances(embeddings(3, 4, 1)).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda d: triplet_loss(d, 1.0, negatives), distances)

    def test_a_semi_hard_negative_is_farther_than_the_positive_or_else_the_farthest(self):
        distances = torch.tensor(
            [[0.0, 2.0, 1.5, 2.2], [2.0, 0.0, 1.1, 0.7], [1.5, 1.1, 0.0, 0.0], [2.2, 0.7, 0.0, 0.0]]
        )
        # Anchors 0 and 1 are 2 from their positives: 0 has one negative beyond, at 2.2, and 1 has none: 1.1.
        terms = [2.0 - 2.2 + 1, 2.0 - 1.1 + 1, 0.0 - 1.1 + 1, 0.0 - 0.7 + 1]
        expected = np.mean([max(0.0, term) for term in terms])
        assert triplet_loss(distances, 1.0, "semi-hard").item() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("negatives", ["all", "semi-hard"])
    def test_is_nothing_where_images_are_told_apart_and_the_margin_where_all_are_the_same(self, negatives):
        apart = squared_distances(torch.eye(4).repeat_interleave(2, dim=0))
        assert triplet_loss(apart, 1.0, negatives) == 0
        assert share_of_violations(apart, 1.0) == 0
        assert share_of_nearest_positives(apart) == 1
        same = squared_distances(torch.ones(8, 4))
        assert triplet_loss(same, 0.7, negatives).item() == pytest.approx(0.7)
        assert share_of_violations(same, 0.7) == 1
        assert share_of_nearest_positives(same) == 0

    @pytest.mark.parametrize("num_images", [0, 1])
    def test_fewer_than_two_images_are_refused(self, num_images):
        distances = torch.zeros(2 * num_images, 2 * num_images)
        message = rf"^an image is told from the others of its batch; give two or more, not {num_images}$"
        for function in (triplet_loss, share_of_violations):
            with pytest.raises(ValueError, match=message):
                function(distances, 1.0)
        with pytest.raises(ValueError, match=message):
            share_of_nearest_positives(distances)
