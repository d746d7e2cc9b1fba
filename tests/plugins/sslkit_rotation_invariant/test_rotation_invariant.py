from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from sslkit import TaskContext, normalize
from sslkit.data.cropping import circular_mask
from sslkit_rotation_invariant import (
    RotationInvariant,
    RotationInvariantConfig,
    sslkit_pretext_tasks,
    turned_views,
)

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
UNCHANGED = {"min_area": 1.0, "flips": False, "recoloured": 0.0, "grey": 0.0, "blurred": 0.0}
few = settings(deadline=None, max_examples=30)


class Pixels(nn.Module):
    """The smallest encoder that quacks as timm's models do: the first numbers of a small picture of the image."""

    def __init__(self, width):
        super().__init__()
        self.head_hidden_size = width

    def forward_features(self, x):
        return F.adaptive_avg_pool2d(x, 8)

    def forward_head(self, x, pre_logits=False):
        assert pre_logits
        return x.flatten(1)[:, : self.head_hidden_size]


def task(size=16, masked=False, encoder=None, width=48, **options) -> RotationInvariant:
    torch.manual_seed(0)
    mask = torch.from_numpy(circular_mask(size)) if masked else None
    config = RotationInvariantConfig.model_validate(options)
    return RotationInvariant(config, encoder or Pixels(width), TaskContext(size, MEAN, STD, mask))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photographs(num_images, size=16, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=seeded(seed)).byte()


class TestViews:
    @few
    @given(st.integers(1, 4), st.integers(1, 6), st.sampled_from([torch.uint8, torch.float32]), st.booleans())
    def test_each_is_turned_by_its_label_without_loss(self, num_images, side, dtype, last):
        memory_format = torch.channels_last if last else torch.contiguous_format
        views = photographs(4 * num_images, side).to(dtype).contiguous(memory_format=memory_format)
        kept = views.clone()
        turned, labels = turned_views(views)
        assert torch.equal(views, kept)
        assert labels.tolist() == [0, 1, 2, 3] * num_images
        assert turned.is_contiguous(memory_format=memory_format)
        for view, shown, k in zip(views, turned, labels.tolist(), strict=True):
            np.testing.assert_array_equal(shown.numpy(), np.rot90(view.numpy(), k, axes=(1, 2)))
            assert torch.equal(torch.rot90(shown, -k, (1, 2)), view)

    @pytest.mark.parametrize("masked", [False, True])
    def test_with_nothing_switched_on_they_are_the_image_in_its_four_turns(self, masked):
        images = photographs(3)
        if masked:
            images *= torch.from_numpy(circular_mask(16))
        views = task(masked=masked, views=UNCHANGED).make_views(images, seeded())
        for row, (view, k) in enumerate(zip(views["images"], views["labels"].tolist(), strict=True)):
            assert torch.equal(torch.rot90(view, -k, (1, 2)), images[row // 4])

    def test_each_turn_is_of_a_view_of_its_own(self):
        smooth = F.interpolate(photographs(2, 4).float(), 16, mode="bilinear").byte()
        views, labels = task().make_views(smooth, seeded()).values()
        back = torch.stack([torch.rot90(view, -k, (1, 2)) for view, k in zip(views, labels.tolist(), strict=True)])
        for image in back.view(2, 4, 3, 16, 16):
            assert all(not torch.equal(image[a], image[b]) for a in range(4) for b in range(a))

    def test_views_before_turning_are_upright(self):
        """Bright above and dark below, and so it stays, in a mirror as well."""
        images = torch.linspace(250, 5, 16).view(1, 1, 16, 1).expand(6, 3, 16, 16).byte().contiguous()
        views, labels = task(views={"min_area": 0.2}).make_views(images, seeded()).values()
        for view, k in zip(views.float(), labels.tolist(), strict=True):
            back = torch.rot90(view, -k, (1, 2))
            assert back[:, :8].mean() > back[:, 8:].mean() + 5

    def test_probe_labels_are_the_turns(self):
        rotation = task()
        views = rotation.make_views(photographs(3), seeded())
        assert torch.equal(rotation.probe_labels(views), torch.arange(4).repeat(3))

    def test_the_border_is_the_same_in_all_turns(self):
        images = photographs(4, 32) * torch.from_numpy(circular_mask(32))
        views = task(32, masked=True).make_views(images, seeded())["images"]
        assert (views[:, :, ~torch.from_numpy(circular_mask(32))] == 0).all()


class TestSplit:
    @pytest.mark.parametrize("width", [2, 3, 7, 48, 49])
    def test_covers_the_representation_of_any_width(self, width):
        rotation = task(width=width)
        images = photographs(4)
        related, invariant = rotation.split(images)
        h = F.adaptive_avg_pool2d(normalize(images, MEAN, STD), 8).flatten(1)[:, :width]
        assert related.shape == (4, width // 2)
        assert torch.equal(torch.cat([related, invariant], dim=1), h)
        assert rotation(rotation.make_views(images, seeded())).loss.isfinite()

    def test_each_loss_trains_its_own_half(self):
        def reached(**weights):
            rotation = task(**weights)
            h = torch.randn(8, 48, requires_grad=True)
            rotation.encoder.forward_head = lambda x, pre_logits: h
            rotation(rotation.make_views(photographs(2), seeded())).loss.backward()
            return [bool(h.grad[:, half].abs().sum()) for half in (slice(0, 24), slice(24, 48))]

        none = {"rotation_weight": 0.0, "invariance_weight": 0.0, "instance_weight": 0.0}
        assert reached(**none | {"rotation_weight": 1.0}) == [True, False]
        assert reached(**none | {"instance_weight": 1.0}) == [False, True]
        assert reached(**none | {"rotation_weight": 1e-9, "invariance_weight": 1.0})[1]
        assert reached() == [True, True]


class TestLoss:
    @pytest.mark.parametrize("positive_unlabelled", [False, True])
    def test_is_the_weighted_sum_of_its_parts(self, positive_unlabelled):
        parts = {"rotation_weight": 0.7, "invariance_weight": 0.3, "instance_weight": 1.9, "gamma": 1.5}
        rotation = task(positive_unlabelled=positive_unlabelled, **parts)
        views = rotation.make_views(photographs(3), seeded())
        output = rotation(views)
        rotation.double()
        related, invariant = (half.double() for half in rotation.split(views["images"]))
        rows = range(12)

        weights, of_upright = [1.0] * 12, 0.0
        if positive_unlabelled:
            p = [rotation.upright_classifier(related[row]).sigmoid().item() for row in rows]
            weights = [1.0 if row % 4 == 0 else 1 - p[row] ** 1.5 for row in rows]
            of_upright = sum(-3 * math.log(p[row]) if row % 4 == 0 else -math.log(1 - p[row]) for row in rows) / 12
        of_turns = hits = 0.0
        for row in rows:
            logits = rotation.classifier(related[row]).tolist()
            of_turns += weights[row] * (math.log(sum(map(math.exp, logits))) - logits[row % 4]) / 12
            hits += (logits.index(max(logits)) == row % 4) / 12

        features, projected = (
            x.detach().numpy().reshape(3, 4, -1) for x in (invariant, rotation.projection(invariant))
        )
        distance = np.mean([(features[i, v] - features[i].mean(axis=0)) ** 2 for i in range(3) for v in range(4)])
        of_instances = found = 0.0
        for i in range(3):
            for v in range(4):
                scores = []
                for j in range(3):
                    mean = np.mean([projected[j, w] for w in range(4) if (j, w) != (i, v)], axis=0)
                    lengths = np.linalg.norm(mean) * np.linalg.norm(projected[i, v])
                    scores.append(float(projected[i, v] @ mean) / lengths / 0.07)
                of_instances += (math.log(sum(map(math.exp, scores))) - scores[i]) / 12
                found += (scores.index(max(scores)) == i) / 12

        expected = 0.7 * of_turns + 0.3 * distance + 1.9 * of_instances + of_upright
        assert output.loss.item() == pytest.approx(expected, rel=1e-4)
        assert output.metrics["rotation_accuracy"].item() == pytest.approx(hits, abs=1e-6)
        assert output.metrics["instance_accuracy"].item() == pytest.approx(found, abs=1e-6)
        assert output.metrics["distance"].item() == pytest.approx(distance, rel=1e-4)
        assert not any(value.requires_grad for value in output.metrics.values())

    def test_the_classifier_of_upright_views_does_not_train_the_encoder(self):
        rotation = task(positive_unlabelled=True)
        h = torch.randn(8, 48, requires_grad=True)
        _, loss = rotation._weights(h[:, :24].detach(), torch.arange(4).repeat(2))
        loss.backward()
        assert h.grad is None
        assert rotation.upright_classifier.weight.grad.abs().sum() > 0

    def test_what_looks_the_same_in_all_turns_comes_to_count_less(self):
        torch.manual_seed(0)
        rotation = task(width=4, positive_unlabelled=True, gamma=1.0)
        labels = torch.arange(4).repeat(16)
        # The first eight images tell their turn by the first feature, and the others by none.
        related = torch.zeros(64, 2)
        related[:32, 0] = torch.where(labels[:32] == 0, 1.0, -1.0)
        optimiser = torch.optim.Adam(rotation.upright_classifier.parameters(), lr=0.1)
        for _ in range(150):
            optimiser.zero_grad()
            rotation._weights(related, labels)[1].backward()
            optimiser.step()
        weights, _ = rotation._weights(related, labels)
        assert (weights[labels == 0] == 1).all()
        assert weights[:32].min() > 0.9
        assert weights[32:][labels[32:] != 0].tolist() == pytest.approx([0.5] * 24, abs=0.05)

    def test_is_float32_under_autocast(self):
        rotation = task(positive_unlabelled=True)
        with torch.autocast("cpu", torch.bfloat16):
            output = rotation(rotation.make_views(photographs(2), seeded()))
        assert output.loss.dtype == torch.float32

    def test_gradient_reaches_every_parameter(self):
        encoder = timm.create_model("test_resnet", num_classes=0)
        rotation = task(32, encoder=encoder, positive_unlabelled=True)
        rotation(rotation.make_views(photographs(2, 32), seeded())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in rotation.parameters())
        assert encoder.conv1[0].weight.grad.abs().sum() > 0

    def test_a_batch_of_one_is_refused(self):
        rotation = task()
        assert RotationInvariant.min_batch_size == 2
        with pytest.raises(ValueError, match="give a batch of two or more, not of one"):
            rotation(rotation.make_views(photographs(1), seeded()))


class TestPlanning:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [RotationInvariant]
        assert RotationInvariant.name == "rotation-invariant"

    def test_other_turns_than_those_learnt_are_refused_and_the_rest_of_the_views_kept(self):
        config = RotationInvariantConfig.model_validate({"views": {"hue": 0.1}})
        assert (config.views.turns, config.views.min_area, config.views.hue) == ("none", 0.5, 0.1)
        with pytest.raises(ValidationError, match="Input should be 'none'"):
            RotationInvariantConfig.model_validate({"views": {"turns": "any"}})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rotation_weight": 0.0, "instance_weight": 0.0}, "all images may come to look the same; give one of"),
            ({"rotation_weight": -1.0}, "greater than or equal to 0"),
            ({"temperature": 0.0}, "greater than or equal to 0.01"),
            ({"gamma": 0.0}, "greater than or equal to 0.1"),
        ],
    )
    def test_options_that_make_no_task_are_refused(self, options, message):
        with pytest.raises(ValidationError, match=message):
            RotationInvariantConfig.model_validate(options)
