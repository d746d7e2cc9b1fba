from __future__ import annotations

import math
from importlib.metadata import entry_points, version
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import coordinates, fundus_mask
from studies import tiny_config
from torch import nn
from torch.nn import functional as F

import sslkit_jigsaw
from sslkit import TaskContext, build_registry
from sslkit.errors import ConfigError
from sslkit.experiment.study import resolve
from sslkit_jigsaw import Jigsaw, JigsawConfig, grey_tiles, sslkit_pretext_tasks, standardize_tiles

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
few = settings(deadline=None, max_examples=40)


class Means(nn.Module):
    """The smallest encoder that quacks as timm's models do: means over a grid of 4 x 4 cells."""

    head_hidden_size = 3 * 4 * 4

    def forward_features(self, x):
        return F.adaptive_avg_pool2d(x, 4)

    def forward_head(self, x, pre_logits=False):
        assert pre_logits
        return x.flatten(1)


def context(size=64, masked=False):
    mask = fundus_mask(size) if masked else None
    return TaskContext(size, MEAN, STD, mask)


def task(size=64, masked=False, encoder=None, **options) -> Jigsaw:
    return Jigsaw(JigsawConfig(**options), encoder or Means(), context(size, masked))


def photographs(num_images, size=64, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestViews:
    @few
    @given(st.integers(48, 200), st.booleans(), st.integers(1, 8), st.integers(0, 2**32), st.data())
    def test_each_tile_lies_in_its_own_cell_and_outside_the_gaps_and_the_mask(
        self, size, masked, num_images, seed, data
    ):
        options = {"gap": data.draw(st.floats(0, 0.3)), "jitter": data.draw(st.floats(0, 0.25)), "grey": 0.0}
        jigsaw = task(size, masked, **options)
        views = jigsaw.make_views(coordinates(num_images, size, masked), seeded(seed))
        grid, side = jigsaw.grid, jigsaw.grid.tile

        assert views["images"].shape == (9 * num_images, 3, side, side)
        assert views["images"].dtype == torch.uint8
        assert views["labels"].dtype == torch.int64
        for row, tile in enumerate(views["images"]):
            image, shown_at = divmod(row, 9)
            assert (tile[2] == image).all()  # nothing of another image, and nothing of what the mask hides
            place = int(jigsaw.permutations[views["labels"][image], shown_at])
            for axis, position in enumerate(divmod(place, 3)):
                pixels = tile[axis].amin(dim=1 - axis).tolist()
                assert pixels == list(range(pixels[0], pixels[0] + side))
                cell = grid.start + position * (grid.cell + grid.gap)
                assert cell <= pixels[0]
                assert pixels[-1] < cell + grid.cell

    @few
    @given(st.integers(0, 2**32), st.integers(1, 8))
    def test_the_label_puts_the_tiles_back_in_order(self, seed, num_images):
        jigsaw = task(gap=0.0, jitter=0.0, grey=0.0, size=63)
        images = photographs(num_images, 63, seed)
        views = jigsaw.make_views(images, seeded(seed))
        for shown, label, image in zip(views["images"].unflatten(0, (-1, 9)), views["labels"], images, strict=True):
            in_order = torch.empty_like(shown)
            in_order[jigsaw.permutations[label].long()] = shown
            rows = [torch.cat(list(in_order[3 * row : 3 * row + 3]), dim=2) for row in range(3)]
            assert torch.equal(torch.cat(rows, dim=1), image)

    def test_probe_labels_are_the_places_that_the_tiles_come_from(self):
        jigsaw = task(grey=0.0)
        views = jigsaw.make_views(coordinates(8, 64), seeded())
        places = jigsaw.probe_labels(views)
        centres = views["images"][:, :2].float().mean(dim=(2, 3))
        expected = 3 * (centres[:, 0] * 3 // 64) + centres[:, 1] * 3 // 64
        assert places.dtype == torch.int64
        assert places.tolist() == expected.tolist()
        assert sorted(places[:9].tolist()) == list(range(9))

    def test_places_in_the_cells_are_drawn_alike_and_apart(self):
        jigsaw = task(jitter=0.15, grey=0.0)
        views = jigsaw.make_views(coordinates(600, 64), seeded())
        corners = views["images"][:, :2, 0, 0].long()
        in_cell = corners - jigsaw.grid.corners()[jigsaw.probe_labels(views)]
        counts = torch.stack([in_cell[:, axis].bincount(minlength=4) for axis in (0, 1)])
        assert jigsaw.grid.jitter == 3
        assert (counts - 1350).abs().max() < 150
        offsets = in_cell.view(600, 18).double()
        correlations = np.corrcoef(offsets.T) - np.eye(18)
        assert np.abs(correlations).max() < 0.2

    def test_every_permutation_is_drawn_as_often(self):
        jigsaw = task(num_permutations=10)
        labels = jigsaw.make_views(torch.zeros(3000, 3, 64, 64, dtype=torch.uint8), seeded())["labels"]
        assert (labels.bincount(minlength=10) - 300).abs().max() < 70

    @pytest.mark.parametrize(("grey", "low", "high"), [(0.0, 0, 0), (0.3, 60, 120), (1.0, 300, 300)])
    def test_a_share_of_the_images_is_grey_in_all_their_tiles(self, grey, low, high):
        views = task(grey=grey).make_views(photographs(300), seeded())["images"]
        colourless = (views == views[:, :1]).flatten(1).all(dim=1).view(300, 9)
        assert (colourless.all(dim=1) == colourless.any(dim=1)).all()
        assert low <= colourless[:, 0].sum() <= high

    def test_views_depend_on_images_and_generator_alone_and_leave_the_images_be(self):
        jigsaw, images = task(), photographs(8)
        kept, first = images.clone(), jigsaw.make_views(images, seeded(5))
        torch.manual_seed(99)
        again, other = task().make_views(images, seeded(5)), jigsaw.make_views(images, seeded(6))
        first["images"][:] += 1
        assert torch.equal(images, kept)
        assert torch.equal(first["images"], again["images"] + 1)
        assert torch.equal(first["labels"], again["labels"])
        assert not torch.equal(other["images"], again["images"])

    def test_tiles_are_resized_with_antialiasing_where_that_is_asked_for(self):
        images = photographs(2).contiguous(memory_format=torch.channels_last)
        cut = task().make_views(images, seeded())
        resized = task(tile_size=32).make_views(images, seeded())
        assert torch.equal(cut["labels"], resized["labels"])
        assert resized["images"].dtype == torch.uint8
        assert resized["images"].is_contiguous(memory_format=torch.channels_last)
        exact = F.interpolate(cut["images"].double(), (32, 32), mode="bilinear", antialias=True)
        assert (resized["images"] - exact).abs().max() <= 1


class TestPixels:
    @few
    @given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 12))
    def test_each_channel_of_each_tile_is_standardised(self, seed, num_tiles, side):
        tiles = torch.randint(256, (num_tiles, 3, side, side), generator=seeded(seed)).byte()
        for tile, standardised in zip(tiles.numpy(), standardize_tiles(tiles), strict=True):
            for channel, result in zip(tile.astype(np.float64), standardised, strict=True):
                expected = (channel - channel.mean()) / math.sqrt(channel.var() + 1)
                np.testing.assert_allclose(result.numpy(), expected, atol=1e-4)

    def test_brightness_and_contrast_of_a_tile_are_not_to_be_seen(self):
        tile = torch.randint(100, (1, 3, 16, 16), generator=seeded()).byte()
        assert (standardize_tiles(tile) - standardize_tiles(2 * tile + 30)).abs().max() < 0.01

    def test_grey_is_the_luma_of_bt_601(self):
        tiles = photographs(4, 8)
        red, green, blue = tiles.double().unbind(dim=1)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        assert (grey_tiles(tiles).double() - luma[:, None]).abs().max() < 1
        white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
        assert torch.equal(grey_tiles(white), white)


class TestLoss:
    def test_is_the_mean_negative_log_probability_of_the_permutation(self):
        jigsaw = task(num_permutations=20)
        views = jigsaw.make_views(photographs(5), seeded())
        output = jigsaw(views)
        first, _, last = (layer.double() for layer in jigsaw.classifier)
        loss = hits = 0.0
        for image, label in enumerate(views["labels"].tolist()):
            features = []
            for tile in views["images"][9 * image : 9 * image + 9]:
                h = jigsaw.encoder.forward_features(standardize_tiles(tile[None])).flatten().double()
                features.append(jigsaw.tile_layer.double()(h).clamp(min=0))
            logits = last(first(torch.cat(features)).clamp(min=0)).detach()
            loss -= float(logits[label] - logits.exp().sum().log())
            hits += float(logits.argmax() == label)
        assert output.loss.item() == pytest.approx(loss / 5, abs=1e-5)
        assert output.metrics["accuracy"].item() == pytest.approx(hits / 5)
        assert not output.metrics["accuracy"].requires_grad

    def test_is_float32_under_autocast(self):
        jigsaw = task()
        with torch.autocast("cpu", torch.bfloat16):
            output = jigsaw(jigsaw.make_views(photographs(2), seeded()))
        assert output.loss.dtype == torch.float32

    def test_the_encoder_sees_one_tile_at_a_time(self):
        jigsaw = task(encoder=timm.create_model("test_resnet", num_classes=0)).eval()
        views = jigsaw.make_views(photographs(1), seeded())["images"]
        encode = jigsaw.encoder.forward_features
        together = encode(standardize_tiles(views))
        alone = torch.cat([encode(standardize_tiles(tile[None])) for tile in views])
        assert (together - alone).abs().max() < 1e-4

    def test_gradient_reaches_the_whole_encoder(self):
        jigsaw = task(encoder=timm.create_model("test_resnet", num_classes=0))
        jigsaw(jigsaw.make_views(photographs(2), seeded())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in jigsaw.parameters())
        assert jigsaw.encoder.conv1[0].weight.grad.abs().sum() > 0

    def test_falls_on_puzzles_never_seen(self):
        torch.manual_seed(0)
        jigsaw = task(num_permutations=10, grey=0.0)
        optimiser = torch.optim.Adam(jigsaw.parameters(), lr=3e-3)
        # A bow from the middle, which brightens every tile in its own direction, under noise.
        places = torch.linspace(-1, 1, 64)
        bow = 120 * torch.cos(2 * torch.hypot(places[:, None] - 0.1, places))
        images = (120 + bow + 10 * torch.randn(32, 3, 64, 64, generator=seeded())).clamp(0, 255).byte()

        first = jigsaw(jigsaw.make_views(images, seeded(0)))
        for step in range(60):
            optimiser.zero_grad()
            jigsaw(jigsaw.make_views(images, seeded(step))).loss.backward()
            optimiser.step()
        last = jigsaw(jigsaw.make_views(images, seeded(1000)))

        assert abs(first.loss.item() - math.log(10)) < 0.3
        assert last.loss < first.loss / 4
        assert last.metrics["accuracy"] > 0.9

    def test_state_makes_another_task_the_same(self):
        torch.manual_seed(0)
        jigsaw, other = task(), task()
        views = jigsaw.make_views(photographs(4), seeded())
        assert jigsaw(views).loss != other(views).loss
        other.load_state_dict(jigsaw.state_dict())
        assert jigsaw(views).loss == other(views).loss
        assert torch.equal(jigsaw.permutations, other.permutations)


def registry():
    """The installed plugins with the jigsaw of this tree among them."""
    ours = SimpleNamespace(
        name="jigsaw",
        value="sslkit_jigsaw",
        dist=SimpleNamespace(name="sslkit", version=version("sslkit")),
        load=lambda: sslkit_jigsaw,
    )
    return build_registry([*(point for point in entry_points(group="sslkit") if point.name != "jigsaw"), ours])


def study(size, crop="fundus", backbone=None, **options):
    config = tiny_config(
        images={"size": size, "crop": crop},
        backbone=backbone or {"name": "densenet121"},
        pretext={"name": "jigsaw", **options},
    )
    return resolve(config, registry())


class TestPlanning:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [Jigsaw]
        assert (Jigsaw.name, Jigsaw.api_version) == ("jigsaw", 1)

    @pytest.mark.parametrize(
        ("size", "masked", "tile_size", "side"),
        [(224, True, None, 39), (224, False, None, 59), (64, True, None, 12), (64, True, 32, 32), (224, True, 64, 64)],
    )
    def test_view_sizes_are_those_of_the_views(self, size, masked, tile_size, side):
        config = JigsawConfig(tile_size=tile_size)
        assert Jigsaw.view_sizes(config, context(size, masked)) == (side,)
        views = task(size, masked, tile_size=tile_size).make_views(photographs(1, size), seeded())
        assert views["images"].shape[2:] == (side, side)

    @pytest.mark.parametrize(
        ("size", "crop", "side"), [(64, "fundus", 12), (128, "fundus", 22), (160, "fundus", 28), (96, "center", 25)]
    )
    def test_tiles_too_small_for_the_backbone_are_refused(self, size, crop, side):
        message = (
            rf"^images\.size: with {size} px images the task 'jigsaw' makes views of {side} px, which the backbone "
            rf"'densenet121' cannot take: .* at least 29 px, not {side}; raise images\.size, or make the views larger"
        )
        with pytest.raises(ConfigError, match=message):
            study(size, crop)
        study(size, crop, tile_size=32)

    def test_images_without_room_for_nine_tiles_are_refused(self):
        message = (
            r"^the pretext task 'jigsaw' can make no views of these images: nine tiles of 4 px or more, with gap = "
            r"0\.1 and jitter = 0\.15, do not fit into the 16 px square that images of 24 px have for them; "
            r"images\.size = \d+ is enough$"
        )
        with pytest.raises(ConfigError, match=message):
            study(24, backbone={"name": "timm", "model": "test_resnet"}, tile_size=32)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_permutations": 1}, r"pretext\.num_permutations: .*2"),
            ({"num_permutations": 1001}, r"pretext\.num_permutations: .*1000"),
            ({"gap": 0.4}, r"pretext\.gap: .*0\.3"),
            ({"jitter": -0.1}, r"pretext\.jitter: .*0"),
            ({"grey": 1.5}, r"pretext\.grey: .*1"),
            ({"tile_size": 7}, r"pretext\.tile_size: .*8"),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ConfigError, match=message):
            study(224, **options)
