from __future__ import annotations

import doctest
import math
from types import ModuleType
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import sslkit_colorization
import sslkit_colorization.bins as bins_module
from sslkit import API_VERSION, TaskContext, grey_of, lab_of
from sslkit_colorization import Colorization, ColorizationConfig, colorization_loss, colorize, sslkit_pretext_tasks
from sslkit_colorization.bins import annealed_mean, bins_in_gamut, rebalancing_weights, smoothed, soft_encode

MODULES = [sslkit_colorization, bins_module]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
few = settings(deadline=None, max_examples=25)


def disc(size: int) -> torch.Tensor:
    across = torch.arange(size) - (size - 1) / 2
    return across[:, None] ** 2 + across**2 <= (size / 2) ** 2


def context(size: int = 32, masked: bool = False) -> TaskContext:
    return TaskContext(size, MEAN, STD, disc(size) if masked else None)


def task(size: int = 32, *, masked: bool = False, model: str = "test_resnet", **options: Any) -> Colorization:
    backbone = timm.create_model(model, num_classes=0, **({"img_size": size} if "vit" in model else {}))
    return Colorization(ColorizationConfig(**options), backbone, context(size, masked))


def noise(num_images: int = 3, size: int = 32) -> torch.Tensor:
    shape = (num_images, 3, size, size)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def views_of(colorization: Colorization, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return colorization.make_views(images, torch.Generator())


TINY = task(8, target_stride=2)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_run(module: ModuleType) -> None:
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
    assert results.attempted > 0


class TestLoss:
    @pytest.mark.parametrize("masked", [False, True])
    def test_equals_a_naive_loop_over_the_places(self, masked):
        bins = bins_in_gamut(20)
        num_bins, size = len(bins), 6
        logits = torch.randn(2, num_bins, size, size)
        nearest, shares = soft_encode(torch.rand(2, 2, size, size) * 160 - 80, bins, 10.0)
        weights = torch.rand(num_bins) + 0.5
        counted = disc(size) if masked else torch.ones(size, size, dtype=torch.bool)

        losses = []
        for n in range(2):
            for row in range(size):
                for column in range(size):
                    if not counted[row, column]:
                        continue
                    z = [0.0] * num_bins  # the paper's Z, whole
                    for q, share in zip(nearest[n, :, row, column], shares[n, :, row, column], strict=True):
                        z[q] = float(share)
                    scores = logits[n, :, row, column].double().exp()
                    predicted = (scores / scores.sum()).tolist()
                    cross_entropy = -sum(t * math.log(p) for t, p in zip(z, predicted, strict=True))
                    losses.append(float(weights[z.index(max(z))]) * cross_entropy)

        loss = colorization_loss(logits, nearest, shares, weights, counted)
        assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)
        assert len(losses) == 2 * int(counted.sum())

    def test_places_outside_the_mask_get_no_gradient(self):
        counted = disc(6)
        logits = torch.randn(1, 77, 6, 6, requires_grad=True)
        nearest, shares = soft_encode(torch.zeros(1, 2, 6, 6), bins_in_gamut(20), 10.0)
        colorization_loss(logits, nearest, shares, torch.ones(77), counted).backward()
        assert torch.equal(logits.grad[0].abs().sum(dim=0) > 0, counted)


class TestViews:
    def test_are_the_grey_image_and_its_colours_on_average(self):
        images = noise(2)
        views = views_of(task(), images)
        assert sorted(views) == ["ab", "images"]
        assert torch.equal(views["images"], grey_of(images))
        assert views["ab"].shape == (2, 2, 8, 8)
        ab = lab_of(images, torch.float64)[:, 1:]
        for row in range(8):
            for column in range(8):
                square = ab[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                torch.testing.assert_close(
                    views["ab"][:, :, row, column].double(), square.mean(dim=(2, 3)), atol=1e-3, rtol=0
                )

    def test_need_no_whole_number_of_squares(self):
        colorization = task(30, target_stride=4)
        views = views_of(colorization, noise(size=30))
        assert views["ab"].shape == (3, 2, 8, 8)
        assert colorization(views).loss.isfinite()

    @few
    @given(st.integers(1, 8), st.integers(0, 2**32))
    def test_of_an_image_do_not_depend_on_the_others(self, count, seed):
        images = torch.randint(256, (8, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
        alone, together = views_of(TINY, images[:count]), views_of(TINY, images)
        assert torch.equal(alone["images"], together["images"][:count])
        torch.testing.assert_close(alone["ab"], together["ab"][:count])

    def test_draw_nothing_and_leave_the_images_as_they_are(self):
        images, generator = noise(), torch.Generator().manual_seed(0)
        kept, state = images.clone(), generator.get_state()
        views = task().make_views(images, generator)
        for view in views.values():
            view.zero_()
        assert torch.equal(images, kept)
        assert torch.equal(generator.get_state(), state)

    def test_give_the_audit_nothing_to_probe(self):
        colorization = task()
        assert colorization.probe_labels(views_of(colorization, noise())) is None


class TestSizes:
    def test_are_the_images_own(self):
        assert Colorization.view_sizes(ColorizationConfig(), context(32, masked=True)) == (32,)

    def test_squares_count_that_are_wholly_inside_the_mask(self):
        counted = task(32, masked=True).counted
        for row in range(8):
            for column in range(8):
                square = disc(32)[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                assert counted[row, column] == square.all()
        assert 0 < counted.sum() < 64

    @pytest.mark.parametrize(
        ("size", "stride", "masked", "said"),
        [
            (16, 16, False, "target_stride = 16 is too large for images of 16 px"),
            (16, 15, True, "target_stride = 15 is too large for the mask of images of 16 px.*; give a smaller one"),
        ],
    )
    def test_without_a_square_to_predict_are_refused(self, size, stride, masked, said):
        with pytest.raises(ValueError, match=said):
            Colorization.view_sizes(ColorizationConfig(target_stride=stride), context(size, masked))


class TestFit:
    def test_smooths_how_often_each_bin_is_the_nearest(self):
        colorization, images = task(masked=True), noise(11)
        colorization.fit(images)
        ab = views_of(colorization, images)["ab"]
        counts = torch.zeros(261)
        for place in ab[:, :, colorization.counted].movedim(1, 2).flatten(0, 1):
            counts[(colorization.bins - place).square().sum(dim=1).argmin()] += 1
        assert counts.sum() == 11 * colorization.counted.sum()
        torch.testing.assert_close(colorization.prior, smoothed(counts / counts.sum(), colorization.bins, 5.0))

    def test_is_deterministic_and_draws_nothing(self):
        first, second, random = task(), task(), torch.get_rng_state()
        first.fit(noise(9))
        second.fit(noise(9))
        assert torch.equal(first.prior, second.prior)
        assert torch.equal(torch.get_rng_state(), random)

    def test_without_it_all_colours_weigh_alike(self):
        colorization = task()
        weights = rebalancing_weights(colorization.prior, colorization.config.mixing)
        torch.testing.assert_close(weights, torch.ones(261))

    def test_weighs_rare_colours_up(self):
        colorization = task()
        images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
        images[0, 0, :8, :8] = 255  # red
        colorization.fit(images)
        weights = rebalancing_weights(colorization.prior, colorization.config.mixing)
        grey, red = ((colorization.bins - torch.tensor(ab)).square().sum(1).argmin() for ab in ([0.0, 0], [80.1, 67.2]))
        assert weights[red] > 20 * weights[grey]
        assert (colorization.prior * weights).sum().item() == pytest.approx(1, abs=1e-5)


class TestTask:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [Colorization]
        assert Colorization.name == "colorization"
        assert Colorization.api_version == API_VERSION

    @pytest.mark.parametrize("masked", [False, True])
    def test_puts_the_equations_together(self, masked):
        colorization = task(masked=masked).eval()
        colorization.fit(noise(5))
        views = views_of(colorization, noise())
        output = colorization(views)

        logits = colorization.predict(views["images"]).detach()
        nearest, shares = soft_encode(views["ab"], colorization.bins, 5.0)
        weights = rebalancing_weights(colorization.prior, 0.5)
        counted = colorization.counted
        loss = colorization_loss(logits, nearest, shares, weights, counted)
        accuracy = (logits.argmax(dim=1) == nearest[:, 0])[:, counted].float().mean()
        distance = (annealed_mean(logits, colorization.bins) - views["ab"]).square().sum(dim=1).sqrt()
        assert output.loss.item() == pytest.approx(loss.item(), rel=1e-5)
        assert output.metrics["accuracy"].item() == pytest.approx(accuracy.item(), abs=1e-6)
        assert output.metrics["colour_error"].item() == pytest.approx(distance[:, counted].mean().item(), rel=1e-5)
        assert not any(metric.requires_grad for metric in output.metrics.values())

    def test_colours_outside_the_mask_change_nothing(self):
        colorization = task(masked=True).eval()
        views = views_of(colorization, noise())
        changed = views | {"ab": torch.where(colorization.counted, views["ab"], 99.0)}
        assert not torch.equal(changed["ab"], views["ab"])
        first, second = colorization(views), colorization(changed)
        assert torch.equal(first.loss, second.loss)
        assert first.metrics == second.metrics

    @pytest.mark.parametrize("value", [0, 128, 255])
    def test_images_of_one_grey_give_a_finite_loss(self, value):
        colorization = task()
        images = torch.full((2, 3, 32, 32), value, dtype=torch.uint8)
        colorization.fit(images)
        output = colorization(views_of(colorization, images))
        output.loss.backward()
        assert output.loss.isfinite()
        assert all(metric.isfinite() for metric in output.metrics.values())
        assert all(parameter.grad.isfinite().all() for parameter in colorization.parameters())

    def test_one_image_is_a_batch(self):
        colorization = task(64)  # the encoder's own BatchNorm has more than one value a channel
        colorization(views_of(colorization, noise(1, 64))).loss.backward()
        assert colorization.decoder.values.weight.grad.isfinite().all()

    @pytest.mark.parametrize("model", ["test_resnet", "test_vit", "densenet121", "mobilenetv3_small_050"])
    def test_gradient_reaches_the_whole_encoder(self, model):
        colorization = task(model=model)
        colorization(views_of(colorization, noise())).loss.backward()
        unused = {name for name, parameter in colorization.encoder.named_parameters() if parameter.grad is None}
        # What only makes the pooled representation has no part in the map.
        assert all(name.startswith(("conv_head", "head", "fc_norm")) for name in unused)
        (first, *_) = [parameter for parameter in colorization.encoder.parameters() if parameter.ndim == 4]
        assert first.grad.abs().sum() > 0

    def test_loss_is_float32_and_hardly_moves_under_autocast(self):
        colorization = task().eval()
        colorization.fit(noise())
        views = views_of(colorization, noise())
        expected = colorization(views)
        with torch.autocast("cpu", torch.bfloat16):
            output = colorization(views)
        assert output.loss.dtype == torch.float32
        assert output.loss.item() == pytest.approx(expected.loss.item(), rel=1e-2)
        assert output.metrics["colour_error"].item() == pytest.approx(expected.metrics["colour_error"].item(), rel=1e-2)

    def test_state_goes_from_one_to_another(self):
        first, second = task().eval(), task().eval()
        first.fit(noise(5))
        views = views_of(first, noise())
        assert not torch.equal(first(views).loss, second(views).loss)
        second.load_state_dict(first.state_dict())
        assert "prior" in first.state_dict()
        assert torch.equal(first(views).loss, second(views).loss)

    def test_finer_bins_are_more(self):
        colorization = task(bin_size=5)
        assert colorization.decoder.values.out_channels == len(colorization.prior) == 969

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"bin_size": 4}, "greater than or equal to 5"),
            ({"mixing": 0.0}, "greater than 0"),
            ({"mixing": 1.5}, "less than or equal to 1"),
            ({"target_stride": 0}, "greater than or equal to 1"),
        ],
    )
    def test_impossible_options_are_refused(self, options, said):
        with pytest.raises(ValidationError, match=said):
            ColorizationConfig(**options)


def painted(num_images: int) -> torch.Tensor:
    """Images whose colour is told by their lightness: a dark red square on a light blue ground."""
    images = torch.empty(num_images, 3, 32, 32, dtype=torch.uint8)
    images[:] = torch.tensor([150, 200, 250], dtype=torch.uint8).view(3, 1, 1)
    corners = torch.randint(0, 4, (num_images, 2), generator=torch.Generator().manual_seed(2)) * 4
    for image, (top, left) in zip(images, corners.tolist(), strict=True):
        image[:, top : top + 16, left : left + 16] = torch.tensor([120, 20, 10], dtype=torch.uint8).view(3, 1, 1)
    return images


@pytest.fixture(scope="module")
def trained() -> Colorization:
    torch.manual_seed(0)
    colorization = task()
    colorization.fit(painted(8))
    views = views_of(colorization, painted(8))
    optimizer = torch.optim.AdamW(colorization.parameters(), lr=2e-3)
    for _ in range(40):
        optimizer.zero_grad()
        colorization(views).loss.backward()
        optimizer.step()
    return colorization.eval()


class TestLearning:
    def test_loss_falls_below_that_of_the_best_constant_answer(self, trained):
        views = views_of(trained, painted(8))
        nearest, shares = soft_encode(views["ab"], trained.bins, 5.0)
        weights = rebalancing_weights(trained.prior, 0.5)
        weight = weights[nearest[:, 0]]
        # The weighted cross-entropy of one distribution for all places is least for their weighted mean.
        mean = torch.zeros(261).index_add_(0, nearest.flatten(), (weight[:, None] * shares).flatten())
        constant = torch.special.entr(mean / mean.sum()).sum() * weight.mean()
        assert trained(views).loss < 0.7 * constant

    def test_colours_come_back(self, trained):
        images = painted(8)
        error = (lab_of(colorize(trained, images)) - lab_of(images))[:, 1:].square().sum(dim=1).sqrt()
        grey_error = lab_of(images)[:, 1:].square().sum(dim=1).sqrt()
        assert error.mean() < grey_error.mean() / 3

    def test_colorizing_uses_nothing_of_the_colours(self, trained):
        images = painted(2)
        assert torch.equal(colorize(trained, images), colorize(trained, grey_of(images)))

    def test_colorizing_keeps_the_lightness(self, trained):
        images = painted(2)
        lightness = lab_of(colorize(trained, images))[:, 0] - lab_of(grey_of(images))[:, 0]
        assert lightness.abs().median() < 1  # but for colours that sRGB lacks at that lightness
