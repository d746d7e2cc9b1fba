from __future__ import annotations

import math

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import coordinates, fundus_mask
from pydantic import ValidationError
from studies import tiny_config
from torch import nn
from torch.nn import functional as F

from sslkit import TaskContext, build_registry, normalize
from sslkit.errors import ConfigError
from sslkit.experiment.study import resolve
from sslkit_relative_patch import RelativePatch, RelativePatchConfig, sslkit_pretext_tasks

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
few = settings(deadline=None, max_examples=40)


class Means(nn.Module):
    """The smallest encoder that quacks as timm's models do: means over a grid of 3 x 3 cells."""

    head_hidden_size = 3 * 3 * 3

    def forward_features(self, x):
        return F.adaptive_avg_pool2d(x, 3)

    def forward_head(self, x, pre_logits=False):
        assert pre_logits
        return x.flatten(1)


def context(size=64, masked=False):
    mask = fundus_mask(size) if masked else None
    return TaskContext(size, MEAN, STD, mask)


def task(size=64, masked=False, encoder=None, **options) -> RelativePatch:
    return RelativePatch(RelativePatchConfig(**options), encoder or Means(), context(size, masked))


def photographs(num_images, size=64, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def in_words(down, across):
    vertical, horizontal = ((axis > 0) - (axis < 0) for axis in (down, across))
    return ("upper ", "", "lower ")[vertical + 1] + ("left", "", "right")[horizontal + 1]


NAMES = ["upper left", "upper ", "upper right", "left", "right", "lower left", "lower ", "lower right"]


class TestViews:
    @few
    @given(st.integers(48, 200), st.booleans(), st.integers(1, 8), st.integers(0, 2**32), st.data())
    def test_patches_lie_in_the_mask_and_apart_and_the_labels_say_where(self, size, masked, num_images, seed, data):
        gap = data.draw(st.floats(0.1, 0.6))
        relative = task(size, masked, colour="keep", gap=gap, jitter=data.draw(st.floats(0, min(0.25, 0.45 * gap))))
        views = relative.make_views(coordinates(num_images, size, masked), seeded(seed))
        side = relative.layout.patch
        assert views["images"].shape == (9 * num_images, 3, side, side)
        assert views["images"].dtype == torch.uint8
        for image, patches in enumerate(views["images"].unflatten(0, (-1, 9)).int()):
            assert (patches[:, 2] == image).all()  # nothing of another image, and nothing of what the mask hides
            corners = patches[:, :2, 0, 0]
            within = torch.arange(side, dtype=torch.int32)
            assert torch.equal(patches[:, 0], (corners[:, 0, None] + within)[:, :, None].expand(9, side, side))
            assert torch.equal(patches[:, 1], (corners[:, 1, None] + within)[:, None].expand(9, side, side))
            for (first, second), label in zip(relative.pairs.tolist(), relative.directions.tolist(), strict=True):
                down, across = (corners[second] - corners[first]).tolist()
                apart = max(abs(down), abs(across)) - side
                assert apart >= relative.layout.least_gap >= 1
                # Of an axis along which they lie side by side, only the jitter tells them apart.
                down, across = (axis if abs(axis) > 2 * relative.layout.jitter else 0 for axis in (down, across))
                assert in_words(down, across) == NAMES[label]

    def test_places_are_drawn_alike_and_apart(self):
        relative = task(128, colour="keep", jitter=0.1)
        views = relative.make_views(coordinates(250, 128), seeded())
        moves = views["images"][:, :2, 0, 0].long().unflatten(0, (-1, 9)) - relative.layout.corners()
        assert relative.layout.jitter == 3
        counts = (moves + 3).flatten().bincount(minlength=7)
        assert (counts - 4500 / 7).abs().max() < 100
        correlations = torch.corrcoef(moves.flatten(1).T.double()) - torch.eye(18)
        assert correlations.abs().max() < 0.3

    def test_probe_labels_are_the_cells_of_the_patches(self):
        relative = task(colour="keep")
        views = relative.make_views(coordinates(3, 64), seeded())
        cells = relative.probe_labels(views)
        centres = views["images"][:, :2].float().mean(dim=(2, 3))
        assert cells.dtype == torch.int64
        assert cells.tolist() == (3 * (centres[:, 0] * 3 // 64) + centres[:, 1] * 3 // 64).tolist()

    def test_colours_are_dropped_of_each_patch_by_itself_and_each_as_often(self):
        images = photographs(60)
        kept_all, dropped = (task(colour=colour).make_views(images, seeded())["images"] for colour in ("keep", "drop"))
        same = (kept_all == dropped).flatten(2).all(dim=2)
        assert (same.sum(dim=1) == 1).all()
        assert (same.sum(dim=0) - 180).abs().max() < 40
        assert dropped.double()[~same.view(-1, 3)].std(dim=(1, 2)).max() < 3

    def test_colours_are_projected_where_that_is_asked_for(self):
        views = task(colour="project").make_views(photographs(3), seeded())["images"].double()
        red, green, blue = views.unbind(dim=1)
        inside = ((views > 0) & (views < 255)).all(dim=1)
        assert (2 * green - red - blue)[inside].abs().max() <= 2  # nothing but what rounding leaves
        assert inside.double().mean() > 0.5

    def test_views_depend_on_images_and_generator_alone_and_leave_the_images_be(self):
        relative, images = task(), photographs(8)
        kept, first = images.clone(), relative.make_views(images, seeded(5))["images"]
        torch.manual_seed(99)
        again, other = task().make_views(images, seeded(5)), relative.make_views(images, seeded(6))
        assert torch.equal(first, again["images"])
        assert not torch.equal(first, other["images"])
        first[:] += 1
        assert torch.equal(images, kept)

    def test_patches_are_resized_with_antialiasing_where_that_is_asked_for(self):
        images = photographs(2).contiguous(memory_format=torch.channels_last)
        cut, resized = (
            task(colour="keep", patch_size=size).make_views(images, seeded())["images"] for size in (None, 32)
        )
        exact = F.interpolate(cut.double(), (32, 32), mode="bilinear", antialias=True)
        assert resized.dtype == torch.uint8
        assert resized.is_contiguous(memory_format=torch.channels_last)
        assert (resized - exact).abs().max() <= 1


class TestLoss:
    def test_is_the_mean_negative_log_probability_of_the_direction(self):
        relative = task()
        views = relative.make_views(photographs(3), seeded())
        output = relative(views)
        first, _, last = (layer.double() for layer in relative.classifier)
        places = [(row, column) for row in range(3) for column in range(3)]
        loss, hits, count = 0.0, 0, 0
        for patches in normalize(views["images"], MEAN, STD).double().unflatten(0, (-1, 9)):
            h = relative.encoder.forward_features(patches).flatten(1)
            for a, b in ((a, b) for a in range(9) for b in range(9) if a != b):
                down, across = (places[b][axis] - places[a][axis] for axis in (0, 1))
                if max(abs(down), abs(across)) > 1:
                    continue
                label = NAMES.index(in_words(down, across))
                logits = last(first(torch.cat([h[a], h[b]])).clamp(min=0)).detach()
                loss -= float(logits[label] - logits.exp().sum().log())
                hits += int(logits.argmax() == label)
                count += 1
        assert count == 120
        assert output.loss.item() == pytest.approx(loss / count, abs=1e-5)
        assert output.metrics["accuracy"].item() == pytest.approx(hits / count)
        assert not output.metrics["accuracy"].requires_grad

    def test_is_float32_under_autocast(self):
        relative = task()
        with torch.autocast("cpu", torch.bfloat16):
            output = relative(relative.make_views(photographs(2), seeded()))
        assert output.loss.dtype == torch.float32

    @pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
    def test_gradient_reaches_the_whole_network(self, model):
        size = {"img_size": 32} if "vit" in model else {}
        relative = task(encoder=timm.create_model(model, num_classes=0, **size), patch_size=32)
        relative(relative.make_views(photographs(1), seeded())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in relative.parameters())
        assert sum(p.grad.abs().sum() for p in relative.encoder.parameters()) > 0

    def test_falls_on_patches_never_seen(self):
        torch.manual_seed(0)
        relative = task()
        optimiser = torch.optim.Adam(relative.parameters(), lr=3e-3)
        # A bow from the middle, which brightens every patch in its own direction, under noise.
        places = torch.linspace(-1, 1, 64)
        bow = 120 * torch.cos(2 * torch.hypot(places[:, None] - 0.1, places))
        images = (120 + bow + 10 * torch.randn(16, 3, 64, 64, generator=seeded())).clamp(0, 255).byte()

        first = relative(relative.make_views(images, seeded(0)))
        for step in range(60):
            optimiser.zero_grad()
            relative(relative.make_views(images, seeded(step))).loss.backward()
            optimiser.step()
        last = relative(relative.make_views(images, seeded(1000)))

        assert abs(first.loss.item() - math.log(8)) < 0.3
        assert last.loss < first.loss / 4
        assert last.metrics["accuracy"] > 0.9

    def test_state_makes_another_task_the_same(self):
        relative, other = task(), task()
        views = relative.make_views(photographs(4), seeded())
        assert relative(views).loss != other(views).loss
        other.load_state_dict(relative.state_dict())
        assert relative(views).loss == other(views).loss


def study(size, crop="fundus", backbone=None, **options):
    config = tiny_config(
        images={"size": size, "crop": crop},
        backbone=backbone or {"name": "densenet121"},
        pretext={"name": "relative-patch", **options},
    )
    return resolve(config, build_registry())


class TestPlanning:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [RelativePatch]
        assert (RelativePatch.name, RelativePatch.api_version) == ("relative-patch", 1)

    @pytest.mark.parametrize(
        ("size", "masked", "patch_size", "side"),
        [(224, True, None, 36), (224, False, None, 54), (64, True, None, 10), (64, True, 32, 32), (224, True, 64, 64)],
    )
    def test_view_sizes_are_those_of_the_views(self, size, masked, patch_size, side):
        config = RelativePatchConfig(patch_size=patch_size)
        assert RelativePatch.view_sizes(config, context(size, masked)) == (side,)
        views = task(size, masked, patch_size=patch_size).make_views(photographs(1, size), seeded())
        assert views["images"].shape[2:] == (side, side)

    def test_patches_too_small_for_the_backbone_are_refused(self):
        message = (
            r"^images\.size: with 128 px images the task 'relative-patch' makes views of 21 px, which the backbone "
            r"'densenet121' cannot take: .* at least 29 px, not 21; raise images\.size, or make the views larger"
        )
        with pytest.raises(ConfigError, match=message):
            study(128)
        study(128, patch_size=32)

    def test_images_without_room_for_nine_patches_are_refused(self):
        message = (
            r"^the pretext task 'relative-patch' can make no views of these images: nine patches of 4 px or more, .* "
            r"images\.size = \d+ is enough$"
        )
        with pytest.raises(ConfigError, match=message):
            study(24, backbone={"name": "timm", "model": "test_resnet"}, patch_size=32)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"gap": 1.2}, r"pretext\.gap: .*1"),
            ({"gap": 0.0}, r"pretext\.gap: .*0\.05"),
            ({"jitter": 0.3}, r"pretext\.jitter: .*0\.25"),
            ({"colour": "shift"}, r"pretext\.colour: .*drop"),
            ({"patch_size": 7}, r"pretext\.patch_size: .*8"),
            (
                {"gap": 0.2, "jitter": 0.1},
                r"moved towards each other by jitter = 0\.1 close a gap of 0\.2; give a gap above 0\.2, or a smaller",
            ),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ConfigError, match=message):
            study(224, **options)

    @pytest.mark.parametrize("jitter", [0.25, 0.2501])
    def test_a_gap_must_outlast_the_jitter(self, jitter):
        assert RelativePatchConfig(gap=0.51, jitter=0.25).jitter == 0.25
        with pytest.raises(ValidationError):
            RelativePatchConfig(gap=0.5, jitter=jitter)
