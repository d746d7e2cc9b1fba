from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sslkit import TaskContext, ViewsConfig, normalize
from sslkit.data.cropping import circular_mask
from sslkit.engine.optimisation import make_optimizer
from sslkit.testing import TinyNetwork
from sslkit_simsiam import SimSiam, SimSiamConfig, projection_spread, simsiam_loss, sslkit_pretext_tasks

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
UNCHANGED = ViewsConfig(min_area=1.0, flips=False, turns="none", recoloured=0.0, grey=0.0, blurred=0.0)
few = settings(deadline=None, max_examples=40)
pairs = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def task(masked=True, seed=0, **options) -> SimSiam:
    torch.manual_seed(seed)
    mask = torch.from_numpy(circular_mask(32)) if masked else None
    context = TaskContext(32, MEAN, STD, mask)
    return SimSiam(SimSiamConfig(**{"width": 16, "bottleneck": 4} | options), TinyNetwork(), context)


def photographs(num_images, seed=0):
    return torch.randint(256, (num_images, 3, 32, 32), generator=seeded(seed)).byte()


def naive_loss(p, z):
    """Half the negative cosine similarity in each direction, written from equations 1 and 2."""
    total = 0.0
    for of_p, of_z in zip(p.double(), z.double(), strict=True):
        for view in (0, 1):
            q, target = of_p[view].tolist(), of_z[1 - view].tolist()
            product = sum(a * b for a, b in zip(q, target, strict=True))
            total -= product / math.hypot(*q) / math.hypot(*target) / 2
    return total / len(p)


def naive_spread(z):
    directions = [[x / math.hypot(*row) for x in row] for row in z.double().tolist()]
    means = [sum(column) / len(directions) for column in zip(*directions, strict=True)]
    return math.sqrt(sum((x - m) ** 2 for row in directions for x, m in zip(row, means, strict=True)) / len(directions))


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
        simsiam = SimSiam(SimSiamConfig(), TinyNetwork(), TaskContext(32, MEAN, STD))
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
    @few
    @given(st.integers(2, 8), st.integers(1, 9), st.integers(0, 2**32))
    def test_equals_a_naive_loop_and_does_not_depend_on_lengths(self, num_rows, width, seed):
        z = torch.randn(num_rows, width, generator=seeded(seed))
        lengths = 0.1 + 10 * torch.rand(num_rows, 1, generator=seeded(seed + 1))
        assert projection_spread(z).item() == pytest.approx(naive_spread(z), abs=1e-3)
        assert projection_spread(lengths * z).item() == pytest.approx(naive_spread(z), abs=1e-3)

    def test_is_near_1_without_a_preferred_direction(self):
        assert projection_spread(torch.randn(2000, 64, generator=seeded())).item() == pytest.approx(1, abs=0.01)

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


class TestViews:
    @pytest.mark.parametrize("masked", [False, True])
    def test_are_two_an_image_side_by_side(self, masked):
        simsiam = task(masked, views=ViewsConfig(recoloured=0.0, grey=0.0))
        images = torch.arange(1, 6, dtype=torch.uint8).mul(40).view(5, 1, 1, 1).expand(5, 3, 32, 32)
        views = simsiam.make_views(images, seeded())["images"]
        assert views.shape == (10, 3, 32, 32)
        assert views.dtype == torch.uint8
        assert views[:, 0, 16, 16].tolist() == [40, 40, 80, 80, 120, 120, 160, 160, 200, 200]

    def test_differ_between_the_two_of_an_image(self):
        views = task().make_views(photographs(4), seeded())["images"]
        assert all(not torch.equal(first, second) for first, second in views.unflatten(0, (4, 2)))

    def test_options_of_views_are_heeded(self):
        images = photographs(3)
        views = task(masked=False, views=UNCHANGED).make_views(images, seeded())["images"]
        assert torch.equal(views, images.repeat_interleave(2, dim=0))


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
        simsiam = task(views=UNCHANGED.model_copy(update={"min_area": 0.7})).train()
        images = torch.randint(256, (16, 3, 4, 4), generator=seeded()).byte().repeat_interleave(8, 2)
        images = images.repeat_interleave(8, 3)
        optimizer = make_optimizer([simsiam], 3e-3, 0.0)
        outputs = []
        for update in range(60):
            output = simsiam(simsiam.make_views(images, seeded(update)))
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            outputs.append(output)
        assert outputs[-1].loss.item() < outputs[0].loss.item() - 0.3
        assert outputs[-1].metrics["projection_spread"].item() > 0.5
