from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit_rotation_invariant.losses import instance_loss, invariance_loss, rotation_loss, turn_weights

few = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def unit(vector):
    return vector / np.sqrt((vector**2).sum())


def naive_instance(projected, temperature):
    num_images, num_views, _ = projected.shape
    losses, hits = [], []
    for i in range(num_images):
        for v in range(num_views):
            scores = []
            for j in range(num_images):
                members = [projected[j, w] for w in range(num_views) if not (j == i and w == v)]
                mean = sum(members) / len(members)
                scores.append(float(unit(projected[i, v]) @ unit(mean)) / temperature)
            largest = max(scores)
            losses.append(largest + math.log(sum(math.exp(s - largest) for s in scores)) - scores[i])
            hits.append(scores.index(largest) == i)
    return np.mean(losses), np.mean(hits)


class TestRotationLoss:
    @few
    @given(st.integers(1, 12), seeds)
    def test_equals_a_loop_over_the_views(self, num_views, seed):
        logits, weights = normal(num_views, 4, seed=seed), normal(num_views, seed=seed + 1).sigmoid()
        labels = torch.randint(4, (num_views,), generator=torch.Generator().manual_seed(seed))
        total = 0.0
        for row, label, weight in zip(logits.tolist(), labels.tolist(), weights.tolist(), strict=True):
            total += weight * (math.log(sum(math.exp(x) for x in row)) - row[label])
        assert rotation_loss(logits, labels, weights).item() == pytest.approx(total / num_views, rel=1e-9)

    def test_weights_have_no_gradient(self):
        weights = torch.ones(4, requires_grad=True)
        logits = torch.zeros(4, 4, requires_grad=True)
        rotation_loss(logits, torch.arange(4), weights).backward()
        assert weights.grad is None
        assert logits.grad.abs().sum() > 0


class TestTurnWeights:
    @few
    @given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1), st.floats(0.1, 10))
    def test_equals_the_formula_view_by_view(self, views, gamma):
        upright, labels = (torch.tensor(column) for column in zip(*views, strict=True))
        expected = [1.0 if label == 0 else 1 - p**gamma for p, label in views]
        weights = turn_weights(upright, labels, gamma)
        assert weights.tolist() == pytest.approx(expected, abs=1e-5)
        assert ((weights >= 0) & (weights <= 1)).all()


class TestInvarianceLoss:
    @few
    @given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), seeds)
    def test_equals_a_loop_over_the_views(self, num_images, num_views, width, seed):
        features = normal(num_images, num_views, width, seed=seed)
        total = 0.0
        for image in features.numpy():
            for view in image:
                total += ((view - image.mean(axis=0)) ** 2).sum()
        expected = total / (num_images * num_views * width)
        assert invariance_loss(features).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)

    def test_is_nothing_where_all_turns_are_alike(self):
        assert invariance_loss(normal(3, 1, 5).expand(3, 4, 5)).item() == pytest.approx(0, abs=1e-20)


class TestInstanceLoss:
    @few
    @given(st.integers(2, 5), st.integers(2, 5), st.integers(2, 6), st.floats(0.05, 2), seeds)
    def test_equals_a_loop_over_views_and_images(self, num_images, num_views, width, temperature, seed):
        projected = normal(num_images, num_views, width, seed=seed)
        loss, accuracy = instance_loss(projected, temperature)
        expected_loss, expected_accuracy = naive_instance(projected.numpy(), temperature)
        assert loss.item() == pytest.approx(expected_loss, rel=1e-6, abs=1e-9)
        assert accuracy.item() == pytest.approx(expected_accuracy, abs=1e-6)

    def test_does_not_compare_a_view_with_itself(self):
        """Views at right angles to one another have nothing in common, within an image as between images."""
        projected = torch.eye(8, dtype=torch.double).view(2, 4, 8)
        loss, _ = instance_loss(projected, 0.07)
        assert loss.item() == pytest.approx(math.log(2))

    def test_lengths_do_not_matter_for_a_view_of_its_own(self):
        projected = normal(3, 4, 6)
        longer = 7 * projected
        assert instance_loss(projected, 0.1)[0].item() == pytest.approx(instance_loss(longer, 0.1)[0].item())

    def test_float32_is_as_good(self):
        projected = normal(8, 4, 16)
        expected, _ = naive_instance(projected.numpy(), 0.07)
        loss, accuracy = instance_loss(projected.float().requires_grad_(), 0.07)
        assert loss.item() == pytest.approx(expected, rel=1e-4)
        assert not accuracy.requires_grad

    def test_the_same_vector_for_all_is_chance(self):
        loss, _ = instance_loss(torch.ones(6, 4, 8), 0.07)
        assert loss.item() == pytest.approx(math.log(6), rel=1e-5)

    def test_a_single_image_is_refused(self):
        with pytest.raises(ValueError, match=r"^images are told from one another: give a batch of two or more"):
            instance_loss(torch.ones(1, 4, 8), 0.07)
