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

import sslkit_vicreg
from sslkit.testing import TinyNetwork
from sslkit_vicreg import VICReg, VICRegConfig, covariance_term, invariance_term, sslkit_pretext_tasks, variance_term

batches = st.tuples(st.integers(2, 9), st.integers(2, 7), st.integers(0, 2**32))


def task(masked=True, seed=0, **options) -> VICReg:
    torch.manual_seed(seed)
    return VICReg(VICRegConfig(**{"hidden_width": 32, "width": 16} | options), TinyNetwork(), context(masked))


def naive_invariance(first, second):
    """Equation 5, divided by the number of features."""
    num_images, width = first.shape
    total = sum((float(first[n, j]) - float(second[n, j])) ** 2 for n in range(num_images) for j in range(width))
    return total / num_images / width


def naive_variance(z):
    """Equations 1 and 2, with the variance of n - 1."""
    num_images, width = z.shape
    total = 0.0
    for j in range(width):
        column = z[:, j].double().tolist()
        mean = sum(column) / num_images
        variance = sum((x - mean) ** 2 for x in column) / (num_images - 1)
        total += max(0.0, 1 - math.sqrt(variance + 1e-4))
    return total / width


def naive_covariance(z):
    """Equations 3 and 4."""
    num_images, width = z.shape
    rows = z.double().numpy()
    means = rows.sum(axis=0) / num_images
    total = 0.0
    for i in range(width):
        for j in range(width):
            if i != j:
                products = [(row[i] - means[i]) * (row[j] - means[j]) for row in rows]
                total += (sum(products) / (num_images - 1)) ** 2
    return total / width


def naive_loss(first, second, weights=(25, 25, 1)):
    """Equation 6."""
    terms = (
        naive_invariance(first, second),
        naive_variance(first) + naive_variance(second),
        naive_covariance(first) + naive_covariance(second),
    )
    return sum(weight * term for weight, term in zip(weights, terms, strict=True))


class TestTerms:
    @few
    @given(batches, st.floats(0.1, 3))
    def test_equal_naive_loops(self, drawn, scale):
        num_images, width, seed = drawn
        first, second = (scale * projections(num_images, width, seed + i) for i in (0, 1))
        assert invariance_term(first, second).item() == pytest.approx(naive_invariance(first, second), rel=1e-4)
        assert variance_term(first).item() == pytest.approx(naive_variance(first), rel=1e-4, abs=1e-5)
        assert covariance_term(first).item() == pytest.approx(naive_covariance(first), rel=1e-3, abs=1e-5)

    @few
    @given(batches)
    def test_variance_and_covariance_do_not_depend_on_shift_and_order_of_the_images(self, drawn):
        num_images, width, seed = drawn
        z = projections(num_images, width, seed)
        moved = (z + projections(1, width, seed + 1))[torch.randperm(num_images, generator=seeded(seed))]
        torch.testing.assert_close(variance_term(moved), variance_term(z), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(covariance_term(moved), covariance_term(z), atol=1e-4, rtol=1e-3)

    def test_variance_asks_for_a_standard_deviation_of_1_and_no_more(self):
        z = projections(50, 4).requires_grad_()
        standardised = (z - z.mean(dim=0)) / z.std(dim=0)
        for scale, lacking in ((0.5, 0.5), (0.9, 0.1), (1.0, 0.0), (4.0, 0.0)):
            assert variance_term(scale * standardised).item() == pytest.approx(lacking, abs=2e-4)
        variance_term(4 * standardised).backward()
        assert z.grad.abs().max() == 0

    def test_of_a_constant_are_known_and_their_gradients_finite(self):
        z = torch.ones(5, 3, requires_grad=True)
        assert invariance_term(z, z).item() == 0
        assert variance_term(z).item() == pytest.approx(0.99)
        assert covariance_term(z).item() == 0
        (variance_term(z) + covariance_term(z)).backward()
        assert z.grad.isfinite().all()

    @few
    @given(st.integers(2, 6), st.integers(6, 40), st.integers(0, 2**32))
    def test_covariance_has_the_documented_floor_where_features_outnumber_images(self, num_images, width, seed):
        z = projections(num_images, width, seed)
        z = (z - z.mean(dim=0)) / z.std(dim=0)
        for scale in (1.0, 0.5):
            floor = (width / (num_images - 1) - 1) * scale**4
            assert covariance_term(scale * z).item() >= floor * (1 - 1e-3)

    @pytest.mark.parametrize(
        ("width", "num_images", "documented"), [(256, 32, 0.95), (1024, 32, 0.58), (8192, 2048, 1)]
    )
    def test_the_best_standard_deviation_is_as_documented(self, width, num_images, documented):
        stds = np.linspace(0, 1, 1001)
        costs = 25 * (1 - stds) + (width / (num_images - 1) - 1) * stds**4
        assert stds[costs.argmin()] == pytest.approx(documented, abs=0.005)


class TestLoss:
    def test_of_a_batch_is_that_of_the_networks_run_by_hand(self):
        vicreg = task()
        views = vicreg.make_views(photographs(9), seeded())
        first, second = projections_by_hand(vicreg, views)
        output = vicreg(views)
        assert output.loss.item() == pytest.approx(naive_loss(first, second), rel=1e-3)
        stds = [np.std(z.numpy(), axis=0, ddof=1).mean() for z in (first, second)]
        expected = {
            "invariance": naive_invariance(first, second),
            "variance": naive_variance(first) + naive_variance(second),
            "covariance": naive_covariance(first) + naive_covariance(second),
            "projection_std": sum(stds) / 2,
        }
        found = {name: value.item() for name, value in output.metrics.items()}
        assert found == pytest.approx(expected, rel=1e-3)

    def test_terms_are_weighed_as_asked(self):
        views = task().make_views(photographs(5), seeded())
        vicreg = task(invariance=3.0, variance=5.0, covariance=7.0)
        assert vicreg(views).loss.item() == pytest.approx(
            naive_loss(*projections_by_hand(vicreg, views), (3, 5, 7)), rel=1e-3
        )

    def test_is_over_the_batches_of_all_processes(self, monkeypatch):
        vicreg = task()
        mine, others = (vicreg.make_views(photographs(6, seed), seeded(seed)) for seed in (0, 1))
        elsewhere = torch.stack(projections_by_hand(vicreg, others), dim=1).float()
        monkeypatch.setattr(sslkit_vicreg, "gather", lambda z: torch.cat([z, elsewhere]))
        first, second = (
            torch.cat(parts)
            for parts in zip(projections_by_hand(vicreg, mine), projections_by_hand(vicreg, others), strict=True)
        )
        assert vicreg(mine).loss.item() == pytest.approx(naive_loss(first, second), rel=1e-3)

    def test_shows_a_collapse(self):
        vicreg = task()
        with torch.no_grad():
            vicreg.projector[-1].weight.zero_()
        metrics = vicreg(vicreg.make_views(photographs(5), seeded())).metrics
        assert metrics["projection_std"].item() == 0
        assert metrics["variance"].item() == pytest.approx(1.98)
        assert metrics["invariance"].item() == 0

    def test_gradient_reaches_the_whole_encoder(self):
        vicreg = task()
        vicreg(vicreg.make_views(photographs(4), seeded())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in vicreg.parameters())
        assert vicreg.encoder.stages[0][0].weight.grad.abs().sum() > 0

    def test_one_image_is_refused(self):
        vicreg = task()
        with pytest.raises(ValueError, match=r"^VICReg needs two images a batch: over one there is no variance$"):
            vicreg(vicreg.make_views(photographs(1), seeded()))


class TestViews(ViewsOfTwo):
    task = staticmethod(task)


class TestPlugin:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [VICReg]
        assert (VICReg.name, VICReg.family, VICReg.min_batch_size) == ("vicreg", "redundancy reduction", 2)

    def test_the_projector_has_the_documented_widths(self):
        vicreg = VICReg(VICRegConfig(), TinyNetwork(), context(masked=False))
        layers = [layer for layer in vicreg.projector if isinstance(layer, torch.nn.Linear)]
        assert [(layer.in_features, layer.out_features) for layer in layers] == [(48, 1024), (1024, 1024), (1024, 256)]
        assert isinstance(vicreg.projector[-1], torch.nn.Linear)  # BatchNorm would do the variance term's work

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"width": 1}, r"width\n.*greater than or equal to 2"),
            ({"hidden_width": 20000}, r"hidden_width\n.*less than or equal to 16384"),
            ({"invariance": 0.0}, r"invariance\n.*greater than 0"),
            ({"variance": 0.0}, r"variance\n.*greater than 0"),
            ({"covariance": -1.0}, r"covariance\n.*greater than or equal to 0"),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            VICRegConfig(**options)

    def test_learns(self):
        outputs = trained(task(views=UNCHANGED.model_copy(update={"min_area": 0.7})))
        assert outputs[-1].loss.item() < outputs[0].loss.item() / 2
        assert outputs[-1].metrics["projection_std"].item() > 0.6
