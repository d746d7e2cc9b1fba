from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from two_views import (
    MEAN,
    STD,
    UNCHANGED,
    ViewsOfTwo,
    context,
    few,
    naive_spread,
    photographs,
    seeded,
    trained,
)

from sslkit import normalize
from sslkit.testing import TinyNetwork
from sslkit_simsiam import SimSiam, SimSiamConfig, simsiam_loss, sslkit_pretext_tasks

pairs = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))


def task(masked=True, seed=0, **options) -> SimSiam:
    torch.manual_seed(seed)
    return SimSiam(SimSiamConfig(**{"width": 16, "bottleneck": 4} | options), TinyNetwork(), context(masked))


def naive_loss(p, z):
    """Half the negative cosine similarity in each direction, written from equations 1 and 2."""
    total = 0.0
    for of_p, of_z in zip(p.double(), z.double(), strict=True):
        for view in (0, 1):
            q, target = of_p[view].tolist(), of_z[1 - view].tolist()
            product = sum(a * b for a, b in zip(q, target, strict=True))
            total -= product / math.hypot(*q) / math.hypot(*target) / 2
    return total / len(p)


class TestLoss:
    @few
    @given(pairs)
    def test_equals_half_of_the_cosines_in_both_directions(self, drawn):
        num_images, width, seed = drawn
        p, z = (torch.randn(num_images, 2, width, generator=seeded(seed + i)) for i in (0, 1))
        assert simsiam_loss(p, z).item() == pytest.approx(naive_loss(p, z), abs=1e-5)
        assert simsiam_loss(p.flip(1), z.flip(1)).item() == pytest.approx(naive_loss(p, z), abs=1e-5)

    def test_is_minus_1_and_0_and_1_for_same_orthogonal_and_opposite_directions(self):
        z = torch.eye(4).view(2, 2, 4)
        assert simsiam_loss(3 * z.flip(1), z).item() == pytest.approx(-1)
        assert simsiam_loss(z, z).item() == pytest.approx(0)
        assert simsiam_loss(-z.flip(1), z).item() == pytest.approx(1)

    def test_of_a_batch_is_that_of_the_networks_run_by_hand(self):
        simsiam = task()
        views = simsiam.make_views(photographs(5), seeded())
        by_hand = copy.deepcopy(simsiam).double()
        z = by_hand.projector(by_hand.encoder(normalize(views["images"], MEAN, STD).double()))
        expected = naive_loss(by_hand.predictor(z).view(5, 2, 16), z.view(5, 2, 16))
        assert simsiam(views).loss.item() == pytest.approx(expected, abs=1e-4)

    def test_one_image_is_refused(self):
        simsiam = task()
        with pytest.raises(ValueError, match=r"^SimSiam needs two images a batch: BatchNorm"):
            simsiam(simsiam.make_views(photographs(1), seeded()))


class TestStopGradient:
    @staticmethod
    def gradient(simsiam, views, stopped):
        """The encoder's gradient, of a loss written anew from algorithm 1."""
        by_hand = copy.deepcopy(simsiam)
        z = by_hand.projector(by_hand.encoder(normalize(views["images"], MEAN, STD)))
        p = by_hand.predictor(z)
        targets = torch.stack([z[row ^ 1] for row in range(len(z))])  # rows 2 i and 2 i + 1 are two views of one image
        targets = targets.clone().detach() if stopped else targets
        loss = -(F.normalize(p, dim=1) * F.normalize(targets, dim=1)).sum(dim=1).mean()
        loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in by_hand.encoder.parameters()])

    def test_gradient_is_that_with_the_projections_taken_as_constants(self):
        simsiam = task()
        views = simsiam.make_views(photographs(6), seeded())
        stopped, through = (self.gradient(simsiam, views, stopped) for stopped in (True, False))
        simsiam(views).loss.backward()
        found = torch.cat([parameter.grad.flatten() for parameter in simsiam.encoder.parameters()])
        torch.testing.assert_close(found, stopped, atol=1e-6, rtol=1e-4)
        assert (found - through).norm() > 0.1 * stopped.norm()

    def test_no_gradient_reaches_the_projections_that_are_predicted(self):
        p, z = (torch.randn(3, 2, 5, generator=seeded(i)).requires_grad_() for i in (0, 1))
        simsiam_loss(p, z).backward()
        assert z.grad is None
        assert p.grad.abs().sum() > 0


class TestHeads:
    def test_projections_are_standardised_over_both_views(self):
        simsiam = task()
        images = normalize(simsiam.make_views(photographs(16), seeded())["images"], MEAN, STD)
        z = simsiam.projector(simsiam.encoder(images))
        torch.testing.assert_close(z.mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)
        torch.testing.assert_close(z.var(dim=0, correction=0), torch.ones(16), atol=1e-2, rtol=0)
        assert not list(simsiam.projector[-1].parameters())  # neither scale nor shift

    def test_heads_have_the_documented_widths(self):
        simsiam = SimSiam(SimSiamConfig(), TinyNetwork(), context(masked=False))
        layers = [layer for layer in simsiam.projector if isinstance(layer, torch.nn.Linear)]
        assert [(layer.in_features, layer.out_features) for layer in layers] == [(48, 1024), (1024, 1024), (1024, 1024)]
        first, last = simsiam.predictor[0], simsiam.predictor[-1]
        assert (first.in_features, first.out_features, last.in_features, last.out_features) == (1024, 256, 256, 1024)
        assert last.bias is not None  # a prediction is not normalised

    @pytest.mark.parametrize(("width", "bottleneck"), [(16, 16), (16, 17)])
    def test_a_predictor_without_a_bottleneck_is_refused(self, width, bottleneck):
        message = rf"bottleneck = {bottleneck} is not narrower than width = 16, .* a quarter of the width is usual"
        with pytest.raises(ValueError, match=message):
            SimSiamConfig(width=width, bottleneck=bottleneck)
        assert SimSiamConfig(width=16, bottleneck=15).bottleneck == 15


class TestSpread:
    def test_shows_a_collapse_that_the_loss_calls_perfect(self):
        simsiam = task()
        views = simsiam.make_views(photographs(6), seeded())
        healthy = simsiam(views)
        with torch.no_grad():
            simsiam.projector[-1] = torch.nn.Identity()  # BatchNorm itself would keep projections apart
            simsiam.projector[-2].weight.zero_()
            simsiam.projector[-2].bias = torch.nn.Parameter(torch.ones(16))
            simsiam.predictor[-1].weight.zero_()
            simsiam.predictor[-1].bias.fill_(1.0)
        collapsed = simsiam(views)
        assert collapsed.loss.item() == pytest.approx(-1, abs=1e-5)
        assert collapsed.metrics["projection_spread"].item() == pytest.approx(0, abs=1e-3)
        assert healthy.metrics["projection_spread"].item() > 0.8

    def test_is_of_the_projections(self):
        simsiam = task()
        views = simsiam.make_views(photographs(4), seeded())
        by_hand = copy.deepcopy(simsiam)
        z = by_hand.projector(by_hand.encoder(normalize(views["images"], MEAN, STD))).detach()
        assert simsiam(views).metrics["projection_spread"].item() == pytest.approx(naive_spread(z), abs=1e-4)


class TestViews(ViewsOfTwo):
    task = staticmethod(task)


class TestPlugin:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [SimSiam]
        assert (SimSiam.name, SimSiam.family, SimSiam.min_batch_size) == ("simsiam", "self-distillation", 2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"width": 0}, r"width\n.*greater than or equal to 8"),
            ({"width": 20000}, r"width\n.*less than or equal to 16384"),
            ({"bottleneck": 1}, r"bottleneck\n.*greater than or equal to 2"),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            SimSiamConfig(**options)

    def test_learns_without_collapse(self):
        outputs = trained(task(views=UNCHANGED.model_copy(update={"min_area": 0.7})))
        assert outputs[-1].loss.item() < outputs[0].loss.item() - 0.3
        assert outputs[-1].metrics["projection_spread"].item() > 0.5
