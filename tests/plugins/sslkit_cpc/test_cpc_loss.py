from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit_cpc import info_nce


def naive(predictions, targets, steps, scale):
    """Equation 4, place by place, in float64."""
    num_images, _, rows, columns = targets.shape
    places = [(i, r, c) for i in range(num_images) for r in range(rows) for c in range(columns)]
    losses, hits = [], []
    for step, prediction in zip(steps, predictions, strict=True):
        of_step, right = [], []
        for i in range(num_images):
            for row in range(rows - step):
                for column in range(columns):
                    guess = prediction[i, :, row, column].tolist()
                    scores = [
                        scale * sum(p * t for p, t in zip(guess, targets[j, :, r, c].tolist(), strict=True))
                        for j, r, c in places
                    ]
                    largest = max(scores)
                    total = sum(math.exp(score - largest) for score in scores)
                    true = places.index((i, row + step, column))
                    of_step.append(-(scores[true] - largest - math.log(total)))
                    right.append(scores.index(largest) == true)
        losses.append(sum(of_step) / len(of_step))
        hits.append(sum(right) / len(right))
    return sum(losses) / len(losses), sum(hits) / len(hits)


def drawn(num_images, features, rows, columns, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(num_images, features, rows, columns, generator=generator, dtype=torch.double)
    noise = [torch.randn(targets[:, :, step:].shape, generator=generator, dtype=torch.double) for step in steps]
    return [targets[:, :, step:] + part for step, part in zip(steps, noise, strict=True)], targets


class TestInfoNce:
    @settings(deadline=None, max_examples=40)
    @given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**32), st.data())
    def test_equals_a_loop_over_the_places(self, num_images, features, rows, columns, seed, data):
        first = data.draw(st.integers(1, rows - 1))
        steps = range(first, data.draw(st.integers(first, rows - 1)) + 1)
        scale = data.draw(st.floats(0.05, 3))
        predictions, targets = drawn(num_images, features, rows, columns, steps, seed)
        loss, accuracy = info_nce(predictions, targets, steps, scale)
        expected_loss, expected_accuracy = naive(predictions, targets, steps, scale)
        assert loss.item() == pytest.approx(expected_loss, rel=1e-9)
        assert accuracy.item() == pytest.approx(expected_accuracy)
        assert not accuracy.requires_grad

    def test_float32_is_as_good(self):
        predictions, targets = drawn(3, 8, 5, 5, range(2, 5), seed=0)
        expected, _ = naive(predictions, targets, range(2, 5), 0.1)
        loss, _ = info_nce([p.float() for p in predictions], targets.float(), range(2, 5), 0.1)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected, rel=1e-5)

    def test_without_knowledge_is_the_logarithm_of_the_number_of_candidates(self):
        targets = torch.randn(4, 8, 5, 5)
        loss, _ = info_nce([torch.zeros(4, 8, 3, 5)], targets, [2], 0.1)
        assert loss.item() == pytest.approx(math.log(4 * 25), rel=1e-6)

    def test_huge_products_stay_finite(self):
        predictions, targets = drawn(2, 4, 3, 3, [1], seed=1)
        loss, _ = info_nce([1e4 * predictions[0].float()], 1e4 * targets.float(), [1], 1.0)
        assert loss.isfinite()
