from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from several_processes import PlainNetwork, in_processes, step
from torch import nn

from sslkit import TaskContext, ViewsConfig, augmented_views
from sslkit.config.base import PluginConfig
from sslkit.data.cropping import circular_mask
from sslkit_simclr import SimCLR, SimCLRConfig, nt_xent, partners, similarities, sslkit_pretext_tasks

few = settings(deadline=None, max_examples=40)


def context(size=32, masked=True):
    mask = torch.from_numpy(circular_mask(size)) if masked else None
    return TaskContext(size, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), mask)


def task(size=32, masked=True, encoder=None, **options) -> SimCLR:
    encoder = encoder or timm.create_model("test_resnet", num_classes=0)
    return SimCLR(SimCLRConfig(**options), encoder, context(size, masked))


def photographs(num_images, size=32, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def projections(num_images, width, seed):
    return torch.randn(2 * num_images, width, dtype=torch.float64, generator=seeded(seed))


def cosine(a, b):
    return float(a @ b) / (math.sqrt(float(a @ a)) * math.sqrt(float(b @ b)))


def loss(z, temperature):
    return nt_xent(similarities(z, temperature))


def naive_nt_xent(z, temperature):
    """Equation 1, and the mean over all views, one pair after the other."""
    losses = []
    for i in range(len(z)):
        other = i + 1 if i % 2 == 0 else i - 1
        denominator = 0.0
        for k in range(len(z)):
            if k != i:
                denominator += math.exp(cosine(z[i], z[k]) / temperature)
        losses.append(-math.log(math.exp(cosine(z[i], z[other]) / temperature) / denominator))
    return sum(losses) / len(losses)


class TestLoss:
    @few
    @given(st.integers(1, 8), st.integers(1, 12), st.floats(0.05, 5), st.integers(0, 2**32))
    def test_is_that_of_the_papers_equation(self, num_images, width, temperature, seed):
        z = projections(num_images, width, seed)
        assert loss(z, temperature).item() == pytest.approx(naive_nt_xent(z, temperature), rel=1e-9, abs=1e-9)

    @few
    @given(st.integers(2, 8), st.integers(2, 12), st.integers(0, 2**32), st.data())
    def test_does_not_depend_on_the_order_of_images_nor_of_views(self, num_images, width, seed, data):
        z = projections(num_images, width, seed)
        order = data.draw(st.permutations(range(num_images)))
        pairs = z.view(num_images, 2, width)[order]
        assert loss(pairs.flatten(0, 1), 0.5).item() == pytest.approx(loss(z, 0.5).item())
        assert loss(pairs.flip(1).flatten(0, 1), 0.5).item() == pytest.approx(loss(z, 0.5).item())

    @few
    @given(st.integers(2, 6), st.integers(2, 12), st.integers(0, 2**32))
    def test_does_not_depend_on_lengths_nor_on_a_turn_of_all(self, num_images, width, seed):
        z = projections(num_images, width, seed)
        lengths = 0.1 + torch.rand(len(z), 1, dtype=torch.float64, generator=seeded(seed))
        turn = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=seeded(seed)))[0]
        assert loss(lengths * z @ turn, 0.3).item() == pytest.approx(loss(z, 0.3).item())

    @pytest.mark.parametrize("num_images", [2, 5])
    def test_of_a_collapsed_encoder_is_that_of_chance(self, num_images):
        z = torch.ones(2 * num_images, 3)
        assert loss(z, 0.1).item() == pytest.approx(math.log(2 * num_images - 1), rel=1e-5)

    def test_is_least_where_pairs_agree_and_images_do_not(self):
        z = torch.eye(4).repeat_interleave(2, dim=0)
        wanted = math.log(1 + 6 * math.exp(-1 / 0.5))
        assert loss(z, 0.5).item() == pytest.approx(wanted, rel=1e-5)
        assert loss(z, 0.5) < loss(z.roll(1, dims=0), 0.5)

    def test_gradient_is_right(self):
        z = projections(3, 4, seed=0).requires_grad_()
        assert torch.autograd.gradcheck(lambda z: loss(z, 0.5), z)

    def test_rows_are_partners_by_two(self):
        assert partners(6).tolist() == [1, 0, 3, 2, 5, 4]
        assert similarities(torch.ones(2, 3), 0.5).diagonal().isneginf().all()


class TestTask:
    @pytest.mark.parametrize("masked", [True, False])
    def test_views_are_two_an_image_of_the_shared_views(self, masked):
        images, options = photographs(3), {"grey": 0.5, "min_area": 0.4}
        views = task(masked=masked, views=options).make_views(images, seeded(2))
        wanted = augmented_views(images, seeded(2), ViewsConfig(**options), context(masked=masked).mask, num_views=2)
        assert torch.equal(views["images"], wanted)
        assert views["images"].shape == (6, 3, 32, 32)

    def test_loss_and_accuracy_are_those_of_the_projections(self):
        simclr = task(temperature=0.2).eval()
        views = simclr.make_views(photographs(4), seeded())
        output = simclr(views)
        scale, shift = torch.tensor(simclr.context.std), torch.tensor(simclr.context.mean)
        hits, z = 0, []
        for view in views["images"]:
            x = ((view.permute(1, 2, 0) / 255 - shift) / scale).permute(2, 0, 1)
            h = simclr.encoder.forward_head(simclr.encoder.forward_features(x[None]), pre_logits=True)
            z.append(simclr.projector(h)[0].double().detach())
        for i, one in enumerate(z):
            others = [cosine(one, other) if k != i else -2 for k, other in enumerate(z)]
            hits += others.index(max(others)) == i + 1 - 2 * (i % 2)
        assert output.loss.item() == pytest.approx(naive_nt_xent(z, 0.2), rel=1e-4)
        assert output.metrics["accuracy"].item() == pytest.approx(hits / 8)
        assert output.loss.dtype == torch.float32

    def test_projector_has_the_widths_that_are_asked_for(self):
        linear = [layer for layer in task(projection=17).projector if isinstance(layer, nn.Linear)]
        width = task().encoder.head_hidden_size
        assert [(layer.in_features, layer.out_features) for layer in linear] == [(width, width), (width, 17)]

    def test_a_batch_of_one_image_is_refused(self):
        simclr = task()
        with pytest.raises(ValueError, match="takes 2 images or more"):
            simclr(simclr.make_views(photographs(1), seeded()))

    def test_gradient_reaches_every_parameter(self):
        simclr = task()
        simclr(simclr.make_views(photographs(3), seeded())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in simclr.parameters())
        assert simclr.encoder.conv1[0].weight.grad.abs().sum() > 0

    def test_learns_to_tell_images_apart(self):
        torch.manual_seed(0)
        simclr = task(views={"grey": 0.0, "recoloured": 0.0})
        optimiser = torch.optim.Adam(simclr.parameters(), lr=3e-3)
        # Each image has a colour of its own, under noise.
        colours = torch.rand(8, 3, 1, 1, generator=seeded()) * 200
        images = (colours + 20 * torch.rand(8, 3, 32, 32, generator=seeded())).byte()
        first = simclr(simclr.make_views(images, seeded(0)))
        for update in range(30):
            optimiser.zero_grad()
            simclr(simclr.make_views(images, seeded(update))).loss.backward()
            optimiser.step()
        last = simclr(simclr.make_views(images, seeded(1000)))
        assert last.loss < 0.8 * first.loss
        assert last.metrics["accuracy"] > 0.9

    def test_two_processes_train_as_one_with_the_whole_batch(self, tmp_path: Path):
        torch.manual_seed(0)
        simclr = task(encoder=PlainNetwork(), views={"grey": 0.0})
        simclr.projector = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4)).double()
        views = simclr.make_views(photographs(6), seeded())["images"]
        alone = step(0, copy.deepcopy(simclr), [{"images": views}])
        parts = [{"images": part} for part in views.chunk(2)]
        together = in_processes(step, 2, tmp_path, simclr, parts)
        for result in together:
            assert result["loss"].item() == pytest.approx(alone["loss"].item(), rel=1e-12)
            assert result["metrics"]["accuracy"] == alone["metrics"]["accuracy"]
        assert len(alone["gradients"]) == 8
        for name, gradient in alone["gradients"].items():
            mean = sum(result["gradients"][name] for result in together) / 2
            assert torch.allclose(mean, gradient, rtol=1e-9, atol=1e-12), name


class TestOptions:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [SimCLR]
        assert (SimCLR.name, SimCLR.family, SimCLR.min_batch_size) == ("simclr", "contrast", 2)
        assert issubclass(SimCLR.Config, PluginConfig)

    @pytest.mark.parametrize(
        "wrong", [{"temperature": 0.0}, {"temperature": 11.0}, {"projection": 1}, {"views": {"hue": 2.0}}], ids=str
    )
    def test_what_is_out_of_bounds_is_refused(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SimCLRConfig(**wrong)
