from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from two_views import MEAN, STD, UNCHANGED, ViewsOfTwo, context, few, naive_spread, photographs, seeded, trained

from sslkit import normalize, representation
from sslkit.engine.optimisation import make_optimizer
from sslkit.testing import TinyNetwork
from sslkit_byol import BYOL, BYOLConfig, byol_loss, sslkit_pretext_tasks

pairs = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))


def task(masked=True, seed=0, **options) -> BYOL:
    torch.manual_seed(seed)
    return BYOL(BYOLConfig(**{"hidden_width": 32, "width": 16} | options), TinyNetwork(), context(masked))


def naive_loss(p, z):
    """Squared distances of vectors of length one, view by view, written from equation 2."""
    total = 0.0
    for of_p, of_z in zip(p.double(), z.double(), strict=True):
        for view in (0, 1):
            q, target = of_p[view].tolist(), of_z[1 - view].tolist()
            length_q, length_target = math.hypot(*q), math.hypot(*target)
            total += sum((a / length_q - b / length_target) ** 2 for a, b in zip(q, target, strict=True))
    return total / len(p)


class TestLoss:
    @few
    @given(pairs)
    def test_equals_squared_distances_of_unit_vectors(self, drawn):
        num_images, width, seed = drawn
        p, z = (torch.randn(num_images, 2, width, generator=seeded(seed + i)) for i in (0, 1))
        assert byol_loss(p, z).item() == pytest.approx(naive_loss(p, z), abs=1e-5)
        assert byol_loss(p.flip(1), z.flip(1)).item() == pytest.approx(naive_loss(p, z), abs=1e-5)

    def test_is_0_4_and_8_for_same_orthogonal_and_opposite_directions(self):
        z = torch.eye(4).view(2, 2, 4)
        assert byol_loss(3 * z.flip(1), z).item() == pytest.approx(0, abs=1e-6)
        assert byol_loss(z, z).item() == pytest.approx(4)
        assert byol_loss(-z.flip(1), z).item() == pytest.approx(8)

    def test_gradient_is_that_of_the_predictions_with_the_targets_as_constants(self):
        p, z = (torch.randn(3, 2, 5, generator=seeded(i)).requires_grad_() for i in (0, 1))
        byol_loss(p, z).backward()
        assert z.grad is None
        # d(-2 cos(p, z)) / dp = -2 (z' - cos p') / |p|, with ' for vectors of length one.
        for image in range(3):
            for view in (0, 1):
                vector, target = p[image, view].detach().double(), z[image, 1 - view].detach().double()
                unit, target = vector / vector.norm(), target / target.norm()
                expected = -2 * (target - unit @ target * unit) / vector.norm() / 3
                torch.testing.assert_close(p.grad[image, view].double(), expected, atol=1e-6, rtol=1e-4)

    def test_of_a_batch_is_that_of_the_networks_run_by_hand(self):
        byol = task()
        views = byol.make_views(photographs(5), seeded())
        with torch.no_grad():  # a target that differs from the online network
            for parameter in byol.target_encoder.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=seeded(3))
        by_hand = copy.deepcopy(byol).double()
        images = normalize(views["images"], MEAN, STD).double()
        p = by_hand.predictor(by_hand.projector(by_hand.encoder(images)))
        z = by_hand.target_projector(by_hand.target_encoder(images))
        expected = naive_loss(p.view(5, 2, 16), z.view(5, 2, 16))
        assert byol(views).loss.item() == pytest.approx(expected, abs=1e-4)

    def test_one_image_is_refused(self):
        byol = task()
        with pytest.raises(ValueError, match=r"^BYOL needs two images a batch: BatchNorm"):
            byol(byol.make_views(photographs(1), seeded()))


class TestTarget:
    def test_begins_as_the_online_network(self):
        byol = task()
        for copied, module in ((byol.target_encoder, byol.encoder), (byol.target_projector, byol.projector)):
            for name, value in module.state_dict().items():
                assert torch.equal(copied.state_dict()[name], value)

    def test_no_gradient_reaches_it_and_no_optimiser_holds_it(self):
        byol = task()
        byol(byol.make_views(photographs(4), seeded())).loss.backward()
        target = [*byol.target_encoder.parameters(), *byol.target_projector.parameters()]
        assert all(p.grad is None and not p.requires_grad for p in target)
        online = [*byol.encoder.parameters(), *byol.projector.parameters(), *byol.predictor.parameters()]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in online)
        assert byol.encoder.stages[0][0].weight.grad.abs().sum() > 0

        groups = make_optimizer([byol], 0.1, 0.0).param_groups
        trained = {id(p) for group in groups for p in group["params"]}
        assert trained == {id(p) for p in online}

    @pytest.mark.parametrize("first", [0.0, 0.9, 0.99])
    def test_is_a_weighted_sum_of_all_online_networks_so_far(self, first):
        byol, num_updates = task(momentum=first), 5
        output = byol(byol.make_views(photographs(2), seeded()))
        online = [byol.encoder.stages[0][0].weight, byol.projector[-1].bias]
        target = [byol.target_encoder.stages[0][0].weight, byol.target_projector[-1].bias]
        seen = [[p.detach().clone().double()] for p in online]
        momenta = []
        for update in range(num_updates):
            with torch.no_grad():
                for p, history in zip(online, seen, strict=True):
                    p.copy_(torch.randn(p.shape, generator=seeded(update)))
                    history.append(p.clone().double())
            progress = (update + 1) / num_updates
            byol.after_update(output, progress)
            momenta.append(1 - (1 - first) * (math.cos(math.pi * progress) + 1) / 2)
        weights = [(1.0 if k == 0 else 1 - momenta[k - 1]) * math.prod(momenta[k:]) for k in range(num_updates + 1)]
        assert sum(weights) == pytest.approx(1)
        for copied, history in zip(target, seen, strict=True):
            expected = sum(weight * value for weight, value in zip(weights, history, strict=True))
            torch.testing.assert_close(copied.double(), expected, atol=1e-6, rtol=1e-5)

    def test_has_batch_statistics_of_its_own(self):
        byol = task()
        output = byol(byol.make_views(photographs(4), seeded()))
        own = byol.target_encoder.stages[0][1].running_mean.clone()
        byol.encoder.stages[0][1].running_mean.fill_(7.0)
        byol.after_update(output, 0.0)
        assert own.abs().sum() > 0
        assert torch.equal(byol.target_encoder.stages[0][1].running_mean, own)


class TestSpread:
    def test_shows_a_collapse_that_the_loss_calls_perfect(self):
        byol = task()
        views = byol.make_views(photographs(6), seeded())
        healthy = byol(views)
        with torch.no_grad():
            for head in (byol.projector, byol.target_projector, byol.predictor):
                head[-1].weight.zero_()
                head[-1].bias.fill_(1.0)
        collapsed = byol(views)
        assert collapsed.loss.item() == pytest.approx(0, abs=1e-5)
        assert collapsed.metrics["projection_spread"].item() == pytest.approx(0, abs=1e-3)
        assert healthy.metrics["projection_spread"].item() > 0.1

    def test_is_of_the_online_projections(self):
        byol = task()
        views = byol.make_views(photographs(4), seeded())
        z = copy.deepcopy(byol).projector(representation(byol.encoder, normalize(views["images"], MEAN, STD)))
        assert byol(views).metrics["projection_spread"].item() == pytest.approx(naive_spread(z.detach()), abs=1e-4)


class TestViews(ViewsOfTwo):
    task = staticmethod(task)


class TestPlugin:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [BYOL]
        assert (BYOL.name, BYOL.family, BYOL.min_batch_size) == ("byol", "self-distillation", 2)

    def test_heads_have_the_documented_widths(self):
        byol = BYOL(BYOLConfig(), TinyNetwork(), context(masked=False))
        for head, widths in ((byol.projector, (48, 2048, 256)), (byol.predictor, (256, 2048, 256))):
            assert (head[0].in_features, head[0].out_features, head[-1].out_features) == widths

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"momentum": 1.0}, r"momentum\n.*less than 1"),
            ({"momentum": -0.1}, r"momentum\n.*greater than or equal to 0"),
            ({"width": 0}, r"width\n.*greater than or equal to 8"),
            ({"hidden_width": 20000}, r"hidden_width\n.*less than or equal to 16384"),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            BYOLConfig(**options)

    def test_learns_without_collapse(self):
        outputs = trained(task(views=UNCHANGED.model_copy(update={"min_area": 0.7})))
        assert outputs[-1].loss.item() < outputs[0].loss.item() / 2
        assert outputs[-1].metrics["projection_spread"].item() > 0.3
