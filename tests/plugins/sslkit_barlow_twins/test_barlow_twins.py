from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from two_views import (
    UNCHANGED,
    ViewsOfTwo,
    context,
    few,
    photographs,
    projections,
    projections_by_hand,
    seeded,
    trained,
)

import sslkit_barlow_twins
from sslkit.testing import TinyNetwork
from sslkit_barlow_twins import (
    BarlowTwins,
    BarlowTwinsConfig,
    barlow_twins_loss,
    cross_correlation,
    sslkit_pretext_tasks,
)

batches = st.tuples(st.integers(2, 9), st.integers(2, 7), st.integers(0, 2**32))


def task(masked=True, seed=0, **options) -> BarlowTwins:
    torch.manual_seed(seed)
    return BarlowTwins(BarlowTwinsConfig(**{"hidden_width": 32, "width": 16} | options), TinyNetwork(), context(masked))


def naive_correlations(first, second):
    """Sums over the batch for each pair of features, written from equation 2."""
    a, b = (z.double() - z.double().mean(dim=0) for z in (first, second))
    width = a.shape[1]
    table = np.empty((width, width))
    for i in range(width):
        for j in range(width):
            product = sum(float(a[n, i] * b[n, j]) for n in range(len(a)))
            lengths = [math.sqrt(sum(float(z[n, k] ** 2) for n in range(len(a)))) for z, k in ((a, i), (b, j))]
            table[i, j] = product / lengths[0] / lengths[1]
    return table


def naive_loss(table, redundancy):
    """Written from equation 1."""
    width = len(table)
    on = sum((1 - table[i, i]) ** 2 for i in range(width))
    return on + redundancy * sum(table[i, j] ** 2 for i in range(width) for j in range(width) if i != j)


class TestCorrelations:
    @few
    @given(batches)
    def test_equal_a_naive_loop_and_numpy(self, drawn):
        num_images, width, seed = drawn
        first, second = (1000 * projections(num_images, width, seed + i) for i in (0, 1))
        found = cross_correlation(first, second).double().numpy()
        np.testing.assert_allclose(found, naive_correlations(first, second), atol=1e-3)
        both = np.corrcoef(first.double().numpy(), second.double().numpy(), rowvar=False)
        np.testing.assert_allclose(found, both[:width, width:], atol=1e-3)

    @few
    @given(batches)
    def test_do_not_depend_on_scale_shift_and_order_of_the_images(self, drawn):
        num_images, width, seed = drawn
        first, second = (1000 * projections(num_images, width, seed + i) for i in (0, 1))
        scale, shift = 1 + torch.rand(width, generator=seeded(seed)), projections(1, width, seed + 2)
        order = torch.randperm(num_images, generator=seeded(seed))
        moved = cross_correlation((scale * first + shift)[order], second[order])
        torch.testing.assert_close(moved, cross_correlation(first, second), atol=1e-3, rtol=0)

    def test_of_a_feature_that_is_constant_are_0_with_a_finite_gradient(self):
        first, second = projections(6, 3).requires_grad_(), projections(6, 3, seed=1)
        constant = torch.cat([first[:, :2], 0 * first[:, 2:] + 5], dim=1)
        correlations = cross_correlation(constant, second)
        assert correlations[2].abs().max() == 0
        barlow_twins_loss(correlations, 0.1).backward()
        assert first.grad.isfinite().all()


class TestLoss:
    @few
    @given(batches, st.floats(0, 0.9))
    def test_equals_a_naive_double_loop(self, drawn, redundancy):
        num_images, width, seed = drawn
        first, second = (1000 * projections(num_images, width, seed + i) for i in (0, 1))
        found = barlow_twins_loss(cross_correlation(first, second), redundancy).item()
        assert found == pytest.approx(naive_loss(naive_correlations(first, second), redundancy), rel=1e-3, abs=1e-3)

    def test_is_0_for_features_that_agree_and_share_nothing(self):
        z = torch.tensor([[1.0, -1, -1, 1], [1, -1, 1, -1], [1, 1, -1, -1]]).T * 100
        assert barlow_twins_loss(cross_correlation(z, 3 * z + 1), 0.5).item() == pytest.approx(0, abs=1e-5)

    def test_of_a_constant_is_that_of_no_correlation(self):
        constant = torch.ones(8, 5)
        assert barlow_twins_loss(cross_correlation(constant, constant), 0.5).item() == 5

    @few
    @given(st.integers(2, 6), st.integers(6, 40), st.floats(0.001, 0.5), st.integers(0, 2**32))
    def test_has_the_documented_floor_where_features_outnumber_images(self, num_images, width, redundancy, seed):
        z = 10 * projections(num_images, width, seed)
        excess = redundancy * (width / (num_images - 1) - 1)
        floor = width * excess / (1 + excess)
        assert barlow_twins_loss(cross_correlation(z, z), redundancy).item() >= floor - 1e-2

    def test_of_a_batch_is_that_of_the_networks_run_by_hand(self):
        barlow = task(redundancy=0.2)
        views = barlow.make_views(photographs(9), seeded())
        table = naive_correlations(*projections_by_hand(barlow, views))
        output = barlow(views)
        assert output.loss.item() == pytest.approx(naive_loss(table, 0.2), rel=1e-2)
        others = [table[i, j] for i in range(16) for j in range(16) if i != j]
        assert output.metrics["agreement"].item() == pytest.approx(np.diag(table).mean(), abs=5e-3)
        assert output.metrics["redundancy"].item() == pytest.approx(math.sqrt(np.square(others).mean()), abs=5e-3)

    def test_chance_gives_no_agreement_and_the_documented_redundancy(self, monkeypatch):
        barlow = task(width=64)
        z = projections(64, 64, seed=5)
        monkeypatch.setattr(sslkit_barlow_twins, "representation", lambda encoder, images: z)
        barlow.projector = torch.nn.Identity()
        metrics = barlow({"images": photographs(64)}).metrics
        assert metrics["agreement"].item() == pytest.approx(0, abs=0.1)
        assert metrics["redundancy"].item() == pytest.approx(1 / math.sqrt(31), abs=0.01)

    def test_is_over_the_batches_of_all_processes(self, monkeypatch):
        barlow = task()
        mine, others = (barlow.make_views(photographs(6, seed), seeded(seed)) for seed in (0, 1))
        elsewhere = torch.stack(projections_by_hand(barlow, others), dim=1).float()
        monkeypatch.setattr(sslkit_barlow_twins, "gather", lambda z: torch.cat([z, elsewhere]))
        first, second = (
            torch.cat(parts)
            for parts in zip(projections_by_hand(barlow, mine), projections_by_hand(barlow, others), strict=True)
        )
        expected = naive_loss(naive_correlations(first, second), 0.0051)
        assert barlow(mine).loss.item() == pytest.approx(expected, rel=1e-2)

    def test_gradient_reaches_the_encoder_through_both_views(self):
        first, second = (projections(6, 4, seed).requires_grad_() for seed in (0, 1))
        barlow_twins_loss(cross_correlation(first, second), 0.1).backward()
        assert first.grad.norm() > 0.01
        assert second.grad.norm() > 0.01
        barlow = task()
        barlow(barlow.make_views(photographs(4), seeded())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in barlow.parameters())
        assert barlow.encoder.stages[0][0].weight.grad.abs().sum() > 0

    def test_one_image_is_refused(self):
        barlow = task()
        with pytest.raises(ValueError, match=r"^Barlow Twins needs two images a batch: nothing can be correlated"):
            barlow(barlow.make_views(photographs(1), seeded()))


class TestViews(ViewsOfTwo):
    task = staticmethod(task)


class TestPlugin:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [BarlowTwins]
        announced = (BarlowTwins.name, BarlowTwins.family, BarlowTwins.min_batch_size)
        assert announced == ("barlow-twins", "redundancy reduction", 2)

    def test_the_projector_has_the_documented_widths(self):
        barlow = BarlowTwins(BarlowTwinsConfig(), TinyNetwork(), context(masked=False))
        layers = [layer for layer in barlow.projector if isinstance(layer, torch.nn.Linear)]
        assert [(layer.in_features, layer.out_features) for layer in layers] == [(48, 1024), (1024, 1024), (1024, 256)]
        assert isinstance(barlow.projector[-1], torch.nn.Linear)  # the loss itself standardises

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"width": 1}, r"width\n.*greater than or equal to 2"),
            ({"hidden_width": 20000}, r"hidden_width\n.*less than or equal to 16384"),
            ({"redundancy": -0.1}, r"redundancy\n.*greater than or equal to 0"),
            ({"redundancy": 1.0}, r"redundancy\n.*less than 1"),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            BarlowTwinsConfig(**options)

    def test_learns(self):
        outputs = trained(task(views=UNCHANGED.model_copy(update={"min_area": 0.7})))
        assert outputs[-1].loss.item() < outputs[0].loss.item() / 2
        assert outputs[-1].metrics["agreement"].item() > outputs[0].metrics["agreement"].item() + 0.3
