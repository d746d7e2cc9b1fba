from __future__ import annotations

import doctest
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_colours import naive_lab
from pydantic import ValidationError
from torch import nn

import sslkit_saliency
import sslkit_saliency.maps as maps_module
from sslkit import API_VERSION, TaskContext, lab_of
from sslkit_saliency import (
    Saliency,
    SaliencyConfig,
    correlation,
    saliency_loss,
    saliency_map,
    sslkit_pretext_tasks,
)
from sslkit_saliency.maps import frequency_tuned, local_contrast, to_unit_range

MODULES = [sslkit_saliency, maps_module]
MAPS = ["local-contrast", "frequency-tuned"]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
few = settings(deadline=None, max_examples=25)


def disc(size: int) -> torch.Tensor:
    across = torch.arange(size) - (size - 1) / 2
    return across[:, None] ** 2 + across**2 <= (0.48 * size) ** 2


def context(size: int = 32, masked: bool = False) -> TaskContext:
    return TaskContext(size, MEAN, STD, disc(size) if masked else None)


def task(size: int = 32, *, masked: bool = False, model: str = "test_resnet", **options: Any) -> Saliency:
    backbone = timm.create_model(model, num_classes=0, **({"img_size": size} if "vit" in model else {}))
    return Saliency(SaliencyConfig(**options), backbone, context(size, masked))


def noise(num_images: int = 3, size: int = 32, seed: int = 1) -> torch.Tensor:
    return torch.randint(256, (num_images, 3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


def views_of(saliency: Saliency, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return saliency.make_views(images, torch.Generator())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_run(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


def naive_map(image: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
    """The map of one image, uint8 (3, H, W), in float64, pixel by pixel, before it is brought to 0..1."""
    size = len(mask)
    lab = np.array([[naive_lab(*image[:, y, x].tolist()) for x in range(size)] for y in range(size)])
    binomial = [1, 4, 6, 4, 1]

    def mean(y: int, x: int, reach: int, weights: list[int] | None = None) -> np.ndarray:
        total, weight = np.zeros(3), 0.0
        for v in range(max(y - reach, 0), min(y + reach + 1, size)):
            for u in range(max(x - reach, 0), min(x + reach + 1, size)):
                if mask[v, u]:
                    w = weights[v - y + reach] * weights[u - x + reach] if weights else 1
                    total, weight = total + w * lab[v, u], weight + w
        return total / weight

    whole = lab[mask].mean(axis=0)
    saliency = np.zeros((size, size))
    for y, x in np.argwhere(mask):
        colour = mean(y, x, 2, binomial)
        if name == "frequency-tuned":
            saliency[y, x] = np.linalg.norm(colour - whole)
        else:
            surroundings = [mean(y, x, size // part // 2) for part in (2, 4, 8)]
            saliency[y, x] = sum(np.linalg.norm(colour - around) for around in surroundings) / 3
    return saliency


class TestMaps:
    @pytest.mark.parametrize("masked", [False, True])
    @pytest.mark.parametrize("name", MAPS)
    def test_equal_a_naive_loop_over_the_pixels(self, name, masked):
        size = 17
        images = noise(2, size)
        images[1, :, 4:8, 5:7] = 255
        mask = disc(size) if masked else torch.ones(size, size, dtype=torch.bool)
        function = {"local-contrast": local_contrast, "frequency-tuned": frequency_tuned}[name]
        found = function(lab_of(images), mask)
        saliency = saliency_map(images, disc(size) if masked else None, name)
        for image, of_image, scaled in zip(images.numpy(), found, saliency, strict=True):
            expected = naive_map(image, mask.numpy(), name)
            np.testing.assert_allclose(of_image.numpy(), expected, atol=1e-2)
            reached = max(float(np.quantile(expected[mask.numpy()], 0.95)), 1.0)
            np.testing.assert_allclose(scaled.numpy(), np.minimum(expected / reached, 1), atol=1e-3)

    @pytest.mark.parametrize("masked", [False, True])
    @pytest.mark.parametrize("name", MAPS)
    @pytest.mark.parametrize("place", [(20, 30), (44, 33), (32, 15)])
    def test_one_bright_spot_stands_out_most(self, place, name, masked):
        image = torch.full((1, 3, 64, 64), 80, dtype=torch.uint8)
        y, x = place
        image[..., y - 1 : y + 2, x - 1 : x + 2] = 255
        if masked:
            image = image * disc(64)
        mask = disc(64) if masked else torch.ones(64, 64, dtype=torch.bool)
        function = {"local-contrast": local_contrast, "frequency-tuned": frequency_tuned}[name]
        saliency = function(lab_of(image), mask)[0]
        assert divmod(int(saliency.argmax()), 64) == place
        far = (torch.arange(64)[:, None] - y).abs().maximum((torch.arange(64) - x).abs()) > 34
        assert saliency[far & mask].max() < saliency.max() / 20

    @pytest.mark.parametrize("name", MAPS)
    @few
    @given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
    def test_an_image_of_one_colour_has_nothing_salient_least_of_all_the_rim_of_its_mask(self, name, red, green, blue):
        image = torch.tensor([red, green, blue], dtype=torch.uint8).view(1, 3, 1, 1) * disc(32)
        assert saliency_map(image, disc(32), name).max() < 1e-3

    @pytest.mark.parametrize("name", MAPS)
    @few
    @given(st.integers(0, 2**32))
    def test_what_the_mask_hides_changes_nothing(self, name, seed):
        images, others, mask = noise(2, 32, seed), noise(2, 32, seed + 1), disc(32)
        first = saliency_map(images, mask, name)
        assert torch.equal(first, saliency_map(torch.where(mask, images, others), mask, name))
        assert (first[:, ~mask] == 0).all()
        assert first[:, mask].min() >= 0
        assert first.max() == 1

    @pytest.mark.parametrize("name", MAPS)
    def test_turn_with_the_image(self, name):
        images, mask = noise(2), disc(32)
        turned = saliency_map(images.rot90(1, (2, 3)), mask, name)
        torch.testing.assert_close(turned, saliency_map(images, mask, name).rot90(1, (1, 2)), atol=1e-4, rtol=0)

    def test_uneven_light_stands_out_by_one_map_and_hardly_by_the_other(self):
        slope = torch.linspace(60, 200, 64).byte().expand(1, 3, 64, 64).clone()
        slope[..., 40:44, 20:24] = 255
        near_the_edge = (slice(None), slice(8, 24), slice(52, 60))
        inside = torch.ones(64, 64, dtype=torch.bool)
        local, tuned = (to_unit_range(f(lab_of(slope), inside), inside, 1.0) for f in (local_contrast, frequency_tuned))
        assert local[near_the_edge].mean() < tuned[near_the_edge].mean() / 2

    def test_faint_contrast_is_not_made_to_stand_out(self):
        faint = torch.zeros(1, 4, 4)
        faint[0, 0, 0] = 0.2
        mask = torch.ones(4, 4, dtype=torch.bool)
        assert to_unit_range(faint, mask).max().item() == pytest.approx(0.2)
        assert to_unit_range(100 * faint, mask, quantile=1.0).max() == 1


class TestLoss:
    def test_equals_a_naive_loop_over_the_places(self):
        logits, targets, counted = torch.randn(2, 6, 6), torch.rand(2, 6, 6), disc(6)
        targets[0, 2, 2], targets[0, 3, 3] = 0, 1
        losses = []
        for n in range(2):
            for row, column in counted.nonzero().tolist():
                t = float(targets[n, row, column])
                p = 1 / (1 + math.exp(-float(logits[n, row, column])))
                losses.append(sum(a * math.log(a / b) for a, b in ((t, p), (1 - t, 1 - p)) if a > 0))
        assert saliency_loss(logits, targets, counted).item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)

    def test_is_nothing_for_a_perfect_prediction(self):
        targets = torch.rand(2, 6, 6) * 0.98 + 0.01
        assert saliency_loss(targets.logit(), targets, disc(6)).abs() < 1e-6

    def test_places_outside_the_mask_get_no_gradient(self):
        logits = torch.randn(1, 6, 6, requires_grad=True)
        saliency_loss(logits, torch.rand(1, 6, 6), disc(6)).backward()
        assert torch.equal(logits.grad[0].abs() > 0, disc(6))

    def test_correlation_is_numpys(self):
        predicted, targets, counted = torch.rand(3, 6, 6), torch.rand(3, 6, 6), disc(6)
        expected = [np.corrcoef(p[counted], t[counted])[0, 1] for p, t in zip(predicted, targets, strict=True)]
        assert correlation(predicted, targets, counted).item() == pytest.approx(np.mean(expected), abs=1e-5)

    def test_correlation_of_a_constant_is_nothing(self):
        assert correlation(torch.full((2, 6, 6), 0.3), torch.rand(2, 6, 6), disc(6)).abs() < 1e-3


class TestViews:
    @pytest.mark.parametrize("stride", [1, 4, 5])
    def test_are_the_images_and_their_maps_averaged_over_squares(self, stride):
        saliency, images = task(masked=True, target_stride=stride), noise(2)
        views = views_of(saliency, images)
        side = math.ceil(32 / stride)
        assert sorted(views) == ["images", "saliency"]
        assert torch.equal(views["images"], images)
        assert views["saliency"].shape == (2, side, side)
        whole = saliency_map(images, disc(32))
        for row in range(side):
            for column in range(side):
                square = (slice(row * stride, (row + 1) * stride), slice(column * stride, (column + 1) * stride))
                expected = whole[:, square[0], square[1]].mean(dim=(1, 2))
                torch.testing.assert_close(views["saliency"][:, row, column], expected)
                assert saliency.counted[row, column] == disc(32)[square].all()

    def test_of_an_image_do_not_depend_on_the_others(self):
        images = noise(5)
        together, alone = views_of(task(), images)["saliency"], views_of(task(), images[2:3])["saliency"]
        torch.testing.assert_close(together[2:3], alone)

    def test_draw_nothing_and_leave_the_images_as_they_are(self):
        images, generator = noise(), torch.Generator().manual_seed(0)
        kept, state = images.clone(), generator.get_state()
        views = task().make_views(images, generator)
        views["images"].zero_()
        assert torch.equal(images, kept)
        assert torch.equal(generator.get_state(), state)

    def test_the_option_chooses_the_map(self):
        images = noise()
        local, tuned = (views_of(task(map=name), images)["saliency"] for name in MAPS)
        assert not torch.equal(local, tuned)

    def test_give_the_audit_nothing_to_probe(self):
        saliency = task()
        assert saliency.probe_labels(views_of(saliency, noise())) is None


class TestTask:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [Saliency]
        assert (Saliency.name, Saliency.api_version) == ("saliency", API_VERSION)
        assert Saliency.family == "generation"

    def test_puts_the_parts_together_and_counts_nothing_outside_the_mask(self):
        saliency = task(masked=True).eval()
        views = views_of(saliency, noise())
        output = saliency(views)
        logits, counted = saliency.predict(views["images"]).detach(), saliency.counted
        assert output.loss.item() == pytest.approx(saliency_loss(logits, views["saliency"], counted).item(), rel=1e-5)
        error = (logits.sigmoid() - views["saliency"])[:, counted].abs().mean()
        assert output.metrics["error"].item() == pytest.approx(error.item(), rel=1e-5)
        together = correlation(logits.sigmoid(), views["saliency"], counted)
        assert output.metrics["correlation"].item() == pytest.approx(together.item(), abs=1e-5)
        assert not any(metric.requires_grad for metric in output.metrics.values())

        changed = views | {"saliency": torch.where(counted, views["saliency"], 1 - views["saliency"])}
        assert not torch.equal(changed["saliency"], views["saliency"])
        assert torch.equal(saliency(changed).loss, output.loss)
        assert saliency(changed).metrics == output.metrics

    def test_one_image_is_a_batch(self):
        saliency = task(64)
        saliency(views_of(saliency, noise(1, 64))).loss.backward()
        assert saliency.decoder.values.weight.grad.isfinite().all()

    @pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_convnext", "densenet121"])
    def test_gradient_reaches_the_whole_encoder(self, model):
        saliency = task(model=model)
        saliency(views_of(saliency, noise())).loss.backward()
        unused = {name for name, parameter in saliency.encoder.named_parameters() if parameter.grad is None}
        # What only makes the pooled representation has no part in the map.
        assert all(name.startswith(("head", "fc_norm")) for name in unused)
        (first, *_) = [parameter for parameter in saliency.encoder.parameters() if parameter.ndim == 4]
        assert first.grad.abs().sum() > 0

    def test_loss_is_float32_and_hardly_moves_under_autocast(self):
        saliency = task().eval()
        views = views_of(saliency, noise())
        expected = saliency(views).loss.item()
        with torch.autocast("cpu", torch.bfloat16):
            output = saliency(views)
        assert output.loss.dtype == torch.float32
        assert output.loss.item() == pytest.approx(expected, rel=1e-2)

    def test_images_of_any_side_work(self):
        for size in (33, 50, 65):
            saliency = task(size, masked=True)
            views = views_of(saliency, noise(2, size))
            assert views["saliency"].shape[1] == math.ceil(size / 4)
            assert saliency(views).loss.isfinite()

    def test_sizes_are_the_images_own(self):
        assert Saliency.view_sizes(SaliencyConfig(), context(32, masked=True)) == (32,)

    @pytest.mark.parametrize(
        ("size", "masked", "stride", "said"),
        [
            (16, False, 16, "target_stride = 16 is too large for images of 16 px"),
            (32, True, 16, "too large for the mask of images of 32 px.*; give a smaller one, or a larger images.size"),
        ],
    )
    def test_squares_too_large_are_refused(self, size, masked, stride, said):
        with pytest.raises(ValueError, match=said):
            Saliency.view_sizes(SaliencyConfig(target_stride=stride), context(size, masked))

    def test_a_backbone_without_a_map_is_refused_with_a_reason(self):
        class Pooled(nn.Module):
            def forward_features(self, x: torch.Tensor) -> torch.Tensor:
                return x.mean(dim=(2, 3))

        refused = Saliency.supports(SaliencyConfig(), Pooled(), context())
        assert refused is not None
        assert "no feature map" in refused
        assert Saliency.supports(SaliencyConfig(), timm.create_model("test_resnet", num_classes=0), context()) is None

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"map": "gradient"}, "'local-contrast' or 'frequency-tuned'"),
            ({"target_stride": 0}, "greater than or equal to 1"),
            ({"target_stride": 65}, "less than or equal to 64"),
        ],
    )
    def test_impossible_options_are_refused(self, options, said):
        with pytest.raises(ValidationError, match=said):
            SaliencyConfig(**options)


def spotted(num_images: int, seed: int) -> torch.Tensor:
    """Images of one colour each, with one square of white in one of four places."""
    generator = torch.Generator().manual_seed(seed)
    grounds = torch.randint(60, 180, (num_images, 3, 1, 1), generator=generator).byte()
    images = grounds.repeat(1, 1, 32, 32)
    for image, (top, left) in zip(images, torch.randint(2, (num_images, 2), generator=generator) * 16, strict=True):
        image[:, top + 4 : top + 12, left + 4 : left + 12] = 255
    return images


def test_spots_of_images_never_seen_are_found() -> None:
    saliency = task()
    optimizer = torch.optim.AdamW(saliency.parameters(), lr=1e-3)
    for update in range(100):
        optimizer.zero_grad()
        saliency(views_of(saliency, spotted(16, update))).loss.backward()
        optimizer.step()
    saliency.eval()
    views = views_of(saliency, spotted(16, 1000))
    average = views["saliency"].mean(dim=0, keepdim=True).expand_as(views["saliency"])
    assert correlation(average, views["saliency"], saliency.counted) < 0.6
    assert saliency(views).metrics["correlation"] > 0.75
