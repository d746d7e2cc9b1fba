from __future__ import annotations

import doctest
import importlib
import math
import re

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import tiny_config
from torch import nn

from sslkit import TaskContext, build_registry
from sslkit.data.cropping import circular_mask
from sslkit.errors import ConfigError, PluginError
from sslkit.experiment.study import resolve
from sslkit.testing.generators import every_generator_seeded
from sslkit.testing.network import TinyNetwork
from sslkit_mae import (
    Mae,
    MaeConfig,
    normalized_patches,
    patchify,
    reconstruct,
    reconstruction_loss,
    sslkit_pretext_tasks,
    unpatchify,
)
from sslkit_mae.decoders import sincos_positions
from sslkit_mae.patches import default_patch, num_hidden, shown_pixels

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
few = settings(deadline=None, max_examples=40)


def context(size=64, masked=False):
    mask = torch.from_numpy(circular_mask(size)) if masked else None
    return TaskContext(size, MEAN, STD, mask)


def vit(size=64, **options):
    return timm.create_model("test_vit", num_classes=0, img_size=size, **options)


def task(network="map", size=64, masked=False, **options) -> Mae:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = {"map": TinyNetwork, "tokens": lambda: vit(size)}[network]() if isinstance(network, str) else network
        return Mae(MaeConfig(**options), backbone, context(size, masked)).eval()


def photographs(num_images, size=64, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=seeded(seed)).byte()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


BOTH = pytest.mark.parametrize("network", ["map", "tokens"])


class TestPatches:
    @few
    @given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32))
    def test_are_put_together_as_they_were(self, num_images, channels, size, patch, seed):
        images = torch.randint(256, (num_images, channels, size, size), generator=seeded(seed)).byte()
        patches = patchify(images, patch)
        assert patches.shape == (num_images, math.ceil(size / patch) ** 2, channels * patch**2)
        assert patches.dtype == torch.uint8
        assert torch.equal(unpatchify(patches, size, channels), images)

    def test_are_counted_row_by_row(self):
        images = photographs(2, 12).contiguous(memory_format=torch.channels_last)
        patches = patchify(images, 4)
        for row in range(3):
            for column in range(3):
                cut = images[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                assert torch.equal(patches[:, 3 * row + column], cut.flatten(1))

    @pytest.mark.parametrize(("size", "patch"), [(64, 8), (50, 16), (224, 16)])
    def test_pixels_that_show_the_subject_are_those_of_the_mask(self, size, patch):
        mask = context(size, masked=True).mask
        shown = shown_pixels(mask, size, patch)
        assert torch.equal(unpatchify(shown[None], size, channels=1)[0, 0], mask)
        assert shown.sum() == mask.sum()

    @few
    @given(st.integers(2, 400), st.floats(0.001, 0.999))
    def test_the_number_hidden_is_the_share_to_the_nearest(self, num_patches, ratio):
        hidden = num_hidden(num_patches, ratio)
        assert 1 <= hidden <= num_patches - 1
        assert abs(hidden - ratio * num_patches) <= 1

    @few
    @given(st.integers(28, 1024))
    def test_the_default_patch_is_near_a_seventh_of_the_side(self, size):
        patch = default_patch(size)
        assert patch & (patch - 1) == 0
        assert 2**-0.5 <= 7 * patch / size <= 2**0.5

    def test_positions_tell_all_places_apart_and_near_ones_are_alike(self):
        positions = sincos_positions(5, 7, 32)
        distances = torch.cdist(positions, positions) + 100 * torch.eye(35)
        assert distances.min() > 0.5
        assert distances[0].argmin() in (1, 7)
        row, column, k = 3, 4, 2
        angle = 10000 ** (-k / 8)
        assert positions[7 * row + column, k].item() == pytest.approx(math.sin(row * angle), abs=1e-6)
        assert positions[7 * row + column, 16 + 8 + k].item() == pytest.approx(math.cos(column * angle), abs=1e-6)


class TestViews:
    @few
    @given(
        st.sampled_from(["map", "tokens"]), st.booleans(), st.floats(0.05, 0.95), st.integers(1, 8), st.integers(0, 99)
    )
    def test_each_image_hides_as_many_patches_and_shows_the_others(self, network, masked, ratio, num_images, seed):
        mae, images = task(network, masked=masked, mask_ratio=ratio), photographs(num_images)
        made = mae.make_views(images, seeded(seed))
        eligible = shown_pixels(mae.context.mask, 64, mae.patch).any(dim=1).nonzero().flatten().tolist()
        assert made["images"] is images
        assert made["hidden"].shape == (num_images, num_hidden(len(eligible), ratio))
        assert made["hidden"].dtype == made["seen"].dtype == torch.int64
        for seen, hidden in zip(made["seen"].tolist(), made["hidden"].tolist(), strict=True):
            assert sorted(seen + hidden) == eligible
            assert (sorted(seen), sorted(hidden)) == (seen, hidden)

    @pytest.mark.parametrize(
        ("network", "size", "masked", "seen", "hidden"),
        [
            ("tokens", 64, False, 4, 12),
            ("tokens", 224, False, 49, 147),
            ("map", 64, False, 26, 38),
            ("map", 224, False, 20, 29),
            ("map", 64, True, 24, 36),
        ],
    )
    def test_the_default_numbers(self, network, size, masked, seen, hidden):
        made = task(network, size, masked).make_views(photographs(1, size), seeded())
        assert (made["seen"].shape[1], made["hidden"].shape[1]) == (seen, hidden)

    def test_all_patches_are_hidden_as_often(self):
        mae = task("tokens")
        counts = mae.make_views(photographs(2000), seeded())["hidden"].flatten().bincount(minlength=16)
        assert (counts - 1500).abs().max() < 100

    def test_the_generator_alone_decides(self):
        mae, images = task(), photographs(4)
        first, again, other = (mae.make_views(images, seeded(seed))["hidden"] for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def naive_loss(predicted, images, hidden, mask, patch, normalized):
    """The mean over images, hidden patches, channels and pixels within the mask, one by one in float64."""
    side, errors = math.ceil(images.shape[2] / patch), []
    for image, numbers, guesses in zip(
        images.double().numpy(), hidden.tolist(), predicted.double().numpy(), strict=True
    ):
        for number, guess in zip(numbers, guesses, strict=True):
            row, column = divmod(number, side)
            for channel in range(3):
                of_image, of_guess = [], []
                for y in range(patch):
                    for x in range(patch):
                        v, u = row * patch + y, column * patch + x
                        if v < len(mask) and u < len(mask) and mask[v, u]:
                            value = image[channel, v, u]
                            of_image.append(value if normalized else (value / 255 - MEAN[channel]) / STD[channel])
                            of_guess.append(guess[channel * patch**2 + y * patch + x])
                true = np.array(of_image)
                if normalized:
                    true = (true - true.mean()) / math.sqrt(true.var() + 1)
                errors.extend((true - np.array(of_guess)) ** 2)
    return float(np.mean(errors))


class TestLoss:
    @pytest.mark.parametrize("normalized", [True, False])
    @pytest.mark.parametrize("masked", [True, False])
    @pytest.mark.parametrize(("network", "size"), [("map", 64), ("map", 50), ("tokens", 64)])
    def test_is_that_of_a_loop_over_pixels(self, network, size, masked, normalized):
        mae = task(network, size, masked, normalize_patches=normalized)
        made = mae.make_views(photographs(2, size), seeded())
        with torch.no_grad():
            output, predicted = mae(made), mae.predict(made)
        mask = torch.ones(size, size) if mae.context.mask is None else mae.context.mask
        expected = naive_loss(predicted, made["images"], made["hidden"], mask, mae.patch, normalized)
        assert output.loss.item() == pytest.approx(expected, rel=1e-5)

    @few
    @given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 5), st.integers(1, 6))
    def test_normalised_patches_have_mean_0_and_deviation_1_where_they_count(self, seed, images, patches, pixels):
        generator = seeded(seed)
        values = torch.randint(256, (images, patches, 3 * pixels), generator=generator).float()
        shown = torch.rand(images, patches, pixels, generator=generator) < 0.7
        normalized = normalized_patches(values, shown)
        parts = (values.view(-1, 3, pixels), shown.view(-1, pixels), normalized.view(-1, 3, pixels))
        for value, count, result in zip(*parts, strict=True):
            assert (result[:, ~count] == 0).all()
            for channel in range(3 if count.any() else 0):
                of_channel = value[channel, count].double()
                expected = (of_channel - of_channel.mean()) / math.sqrt(of_channel.var(correction=0) + 1)
                torch.testing.assert_close(result[channel, count].double(), expected, atol=1e-4, rtol=1e-4)

    def test_pixels_that_do_not_count_are_left_out(self):
        shown = torch.tensor([[[True, False]]])
        assert reconstruction_loss(torch.tensor([[[1.0, 50, 2, 60]]]), torch.zeros(1, 1, 4), shown).item() == 2.5

    @BOTH
    @pytest.mark.parametrize("normalized", [True, False])
    def test_targets_are_those_of_hidden_patches_alone(self, network, normalized):
        mae = task(network, normalize_patches=normalized)
        made = mae.make_views(photographs(2), seeded())
        patches = patchify(made["images"], mae.patch).clone()
        for image in range(2):
            patches[image, made["seen"][image]] = 7
        changed = {**made, "images": unpatchify(patches, 64)}
        assert not torch.equal(changed["images"], made["images"])
        for one, other in zip(mae.targets(made), mae.targets(changed), strict=True):
            assert torch.equal(one, other)

    @BOTH
    @pytest.mark.parametrize("masked", [True, False])
    def test_the_encoder_never_sees_what_is_hidden(self, network, masked):
        mae = task(network, masked=masked)
        made = mae.make_views(photographs(2), seeded())
        patches = patchify(made["images"], mae.patch).clone()
        for image in range(2):
            patches[image, made["hidden"][image]] = photographs(1)[0, 0, 0, 0]
        changed = {**made, "images": unpatchify(patches, 64)}
        with torch.no_grad():
            one, other = mae.predict(made), mae.predict(changed)
            seen = {**made, "images": 255 - made["images"]}
            third = mae.predict(seen)
        assert not torch.equal(changed["images"], made["images"])
        assert torch.equal(one, other)
        assert not torch.equal(one, third)

    def test_a_transformer_is_not_shown_what_lies_outside_the_mask(self):
        mae = task("tokens", 128, masked=True)
        made = mae.make_views(photographs(1, 128), seeded())
        changed = {**made, "images": made["images"].clone()}
        changed["images"][:, :, :16, :16] = 0  # a corner patch, wholly outside
        with torch.no_grad():
            assert torch.equal(mae.predict(made), mae.predict(changed))
        assert len(mae.places) == 60

    def test_hidden_patches_have_the_learned_colour(self):
        mae = task("map")
        mae.mask_colour.data = torch.tensor([11.0, 12.0, 13.0])  # no pixel is so bright
        made, given = mae.make_views(photographs(2), seeded()), []
        mae.encoder.stages.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        mae(made).loss.backward()
        cells = patchify(given[0], mae.patch).unflatten(2, (3, -1))
        for image in range(2):
            hidden, seen = (cells[image, made[name][image]].flatten(2) for name in ("hidden", "seen"))
            assert all((hidden[:, channel] == channel + 11).all() for channel in range(3))
            assert not any((seen[:, channel] == channel + 11).any() for channel in range(3))
        assert mae.mask_colour.grad.abs().sum() > 0

    @BOTH
    def test_explained_is_1_for_the_truth_and_0_for_one_colour(self, network, monkeypatch):
        mae = task(network, normalize_patches=False)
        made = mae.make_views(photographs(2), seeded())
        truth, _ = mae.targets(made)
        monkeypatch.setattr(mae, "predict", lambda _: truth.requires_grad_())
        assert mae(made).metrics["explained"].item() == pytest.approx(1)
        of_channel = truth.detach().unflatten(2, (3, -1)).mean(dim=(0, 1, 3))
        colour = of_channel.repeat_interleave(mae.patch**2).expand(1, truth.shape[1], -1).requires_grad_()
        monkeypatch.setattr(mae, "predict", lambda _: colour.expand(2, -1, -1))
        assert mae(made).metrics["explained"].item() == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("normalized", [True, False])
    def test_a_reconstruction_keeps_what_was_seen_and_restores_the_truth(self, normalized, monkeypatch):
        mae = task("tokens", masked=True, normalize_patches=normalized)
        images = photographs(2) * mae.context.mask
        made = mae.make_views(images, seeded())
        filled = patchify(reconstruct(mae, made), mae.patch)
        for image in range(2):
            seen = made["seen"][image]
            assert torch.equal(filled[image, seen], patchify(images, mae.patch)[image, seen])
        assert (reconstruct(mae, made)[:, :, ~mae.context.mask] == 0).all()
        truth, _ = mae.targets(made)
        monkeypatch.setattr(mae, "predict", lambda _: truth)
        restored = reconstruct(mae, made)
        assert (restored.int() - images.int())[:, :, mae.context.mask].abs().max() <= 1


@BOTH
def test_state_makes_another_task_the_same(network):
    one, other = task(network), task(network)
    with every_generator_seeded(5):
        for parameter in other.parameters():
            nn.init.normal_(parameter, std=0.02)
    made = one.make_views(photographs(2), seeded())
    assert one(made).loss != other(made).loss
    other.load_state_dict(one.state_dict())
    assert one(made).loss == other(made).loss


def study(size, backbone, **options):
    config = tiny_config(images={"size": size, "crop": "fundus"}, backbone=backbone, pretext={"name": "mae", **options})
    return resolve(config, build_registry())


class Pooled(TinyNetwork):
    def forward_features(self, x):
        return super().forward_features(x).mean((2, 3))


class TestPlanning:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [Mae]
        assert (Mae.name, Mae.api_version, Mae.family) == ("mae", 1, "generation")

    @pytest.mark.parametrize("masked", [True, False])
    @pytest.mark.parametrize(
        ("model", "options", "size"),
        [
            ("test_resnet", {}, 32),
            ("test_resnet", {}, 97),
            ("densenet121", {}, 29),
            ("test_convnext", {}, 64),
            ("test_vit", {"dynamic_img_size": True}, 32),
            ("test_vit", {"dynamic_img_size": True, "dynamic_img_pad": True}, 50),
            ("test_vit_relpos", {"img_size": 64}, 64),
            ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "depth": 1}, 56),
        ],
    )
    def test_takes_networks_of_all_kinds_and_sizes(self, model, options, size, masked):
        network, told = timm.create_model(model, num_classes=0, **options), context(size, masked)
        assert Mae.supports(MaeConfig(), network, told) is None
        mae = Mae(MaeConfig(), network, told)
        output = mae(mae.make_views(photographs(2, size), seeded()))
        output.loss.backward()
        assert output.loss.isfinite()
        assert (mae.tokens is not None) == (model in ("test_vit", "vit_small_patch14_reg4_dinov2"))
        assert all(p.grad is not None for name, p in mae.decoder.named_parameters())

    def test_a_network_without_tokens_or_a_map_is_refused(self):
        reason = Mae.supports(MaeConfig(), Pooled(), context())
        assert reason is not None
        assert "no feature map can be had of the backbone Pooled" in reason
        assert "Take another backbone" in reason
        with pytest.raises(PluginError, match="no feature map"):
            task(Pooled())

    def test_patches_of_another_size_are_refused_for_transformers(self):
        reason = Mae.supports(MaeConfig(patch=8), vit(), context())
        assert reason == (
            "patch = 8 is for networks without tokens; the patches of this vision transformer have 16 px: leave patch "
            "out"
        )
        assert Mae.supports(MaeConfig(patch=16), vit(), context()) is None

    def test_an_image_of_one_patch_is_refused(self):
        message = "images of 64 px have fewer than two patches of 64 px: .* smaller patches"
        assert re.match(message, Mae.supports(MaeConfig(patch=64), TinyNetwork(), context()))
        with pytest.raises(ValueError, match=message):
            task("map", patch=64)
        assert Mae.supports(MaeConfig(patch=63), TinyNetwork(), context()) is None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mask_ratio": 1.0}, r"pretext\.mask_ratio: .*1"),
            ({"patch": 1}, r"pretext\.patch: .*2"),
            ({"decoder_width": 100}, r"pretext\.decoder_width: .*32"),
            ({"decoder_depth": 0}, r"pretext\.decoder_depth: .*1"),
            ({"normalize_patches": "never"}, r"pretext\.normalize_patches"),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ConfigError, match=message):
            study(64, {"name": "densenet121"}, **options)


@pytest.mark.parametrize("module", ["sslkit_mae", "sslkit_mae.patches", "sslkit_mae.loss", "sslkit_mae.decoders"])
def test_the_examples_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
