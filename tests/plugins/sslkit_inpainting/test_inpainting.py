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
from torch import nn

import sslkit_inpainting
import sslkit_inpainting.holes as holes_module
from sslkit import API_VERSION, TaskContext, squares_in_mask
from sslkit_inpainting import (
    Inpainting,
    InpaintingConfig,
    inpaint,
    inpainting_loss,
    mean_over_holes,
    sslkit_pretext_tasks,
)
from sslkit_inpainting.holes import center_hole, random_blocks

MODULES = [sslkit_inpainting, holes_module]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
FILL = torch.tensor([102, 128, 153], dtype=torch.uint8).view(3, 1, 1)
few = settings(deadline=None, max_examples=40)


def disc(size: int) -> torch.Tensor:
    across = torch.arange(size) - (size - 1) / 2
    return across[:, None] ** 2 + across**2 <= (0.48 * size) ** 2


def context(size: int = 32, masked: bool = False) -> TaskContext:
    return TaskContext(size, MEAN, STD, disc(size) if masked else None)


def task(size: int = 32, *, masked: bool = False, model: str = "test_resnet", **options: Any) -> Inpainting:
    backbone = timm.create_model(model, num_classes=0, **({"img_size": size} if "vit" in model else {}))
    return Inpainting(InpaintingConfig(**options), backbone, context(size, masked))


def noise(num_images: int = 3, size: int = 32, seed: int = 1) -> torch.Tensor:
    return torch.randint(256, (num_images, 3, size, size), generator=seeded(seed)).byte()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hole_in_pixels(inpainting: Inpainting, hidden: torch.Tensor) -> torch.Tensor:
    """The holes pixel by pixel, bool (N, H, W), written out anew."""
    size, stride = inpainting.context.image_size, inpainting.config.target_stride
    return torch.stack(
        [torch.tensor([[bool(h[y // stride, x // stride]) for x in range(size)] for y in range(size)]) for h in hidden]
    )


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_run(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


class TestHoles:
    @few
    @given(
        st.integers(8, 120),
        st.integers(1, 8),
        st.booleans(),
        st.floats(0.05, 0.5),
        st.integers(1, 8),
        st.integers(0, 2**32),
    )
    def test_blocks_are_never_nowhere_nor_over_the_share_nor_outside_the_mask(
        self, size, stride, masked, share, num_images, seed
    ):
        inside = squares_in_mask(size, stride, disc(size) if masked else None)
        if share * int(inside.sum()) < 1:
            return  # refused at planning
        hidden = random_blocks(inside, share, num_images, seeded(seed))
        assert hidden.shape == (num_images, len(inside), len(inside))
        assert (hidden.sum(dim=(1, 2)) >= 1).all()
        assert (hidden.sum(dim=(1, 2)) <= share * inside.sum()).all()
        assert not (hidden & ~inside).any()

    @few
    @given(st.integers(4, 40), st.floats(0.05, 0.5), st.floats(0, 0.9), st.integers(0, 2**32))
    def test_blocks_cope_with_a_mask_of_any_shape(self, side, share, lacking, seed):
        inside = torch.rand(side, side, generator=seeded(seed)) >= lacking
        if share * int(inside.sum()) < 1:
            return
        hidden = random_blocks(inside, share, 4, seeded(seed))
        assert (hidden.sum(dim=(1, 2)) >= 1).all()
        assert (hidden.sum(dim=(1, 2)) <= share * inside.sum()).all()
        assert not (hidden & ~inside).any()

    def test_blocks_come_near_the_share_and_reach_every_place(self):
        inside = squares_in_mask(64, 4, disc(64))
        hidden = random_blocks(inside, 0.25, 2000, seeded()).float()
        covered = hidden.sum(dim=(1, 2)) / inside.sum()
        assert 0.18 < covered.mean() <= 0.25
        how_often = hidden.mean(dim=0)
        assert (how_often[inside] > 0.1).all()
        assert (how_often[~inside] == 0).all()

    def test_blocks_differ_between_the_images(self):
        hidden = random_blocks(torch.ones(16, 16, dtype=torch.bool), 0.25, 8, seeded())
        assert len({tuple(hole.flatten().tolist()) for hole in hidden}) == 8

    @pytest.mark.parametrize(("side", "share", "length"), [(16, 0.25, 8), (56, 0.25, 28), (15, 0.25, 8), (8, 0.05, 2)])
    def test_the_centre_hole_is_a_square_of_its_share(self, side, share, length):
        hole = center_hole(torch.ones(side, side, dtype=torch.bool), share)
        assert hole.sum() == length**2
        assert hole.any(dim=0).sum() == hole.any(dim=1).sum() == length
        rows = hole.any(dim=1).nonzero()
        assert abs(int(rows[0]) - (side - 1 - int(rows[-1]))) <= 1

    def test_blocks_are_refused_where_not_one_square_may_be_hidden(self):
        inside = torch.eye(3, dtype=torch.bool)
        with pytest.raises(ValueError, match=r"a share of 0\.25 of 3 squares is less than one"):
            random_blocks(inside, 0.25, 2, seeded())

    def test_the_centre_hole_is_inside_the_mask(self):
        inside = squares_in_mask(64, 1, disc(64))
        hole = center_hole(inside, 0.5)
        assert 0 < hole.sum() < 45**2
        assert not (hole & ~inside).any()


class TestViews:
    @pytest.mark.parametrize("options", [{}, {"holes": "center"}, {"target_stride": 1}, {"target_stride": 5}])
    @pytest.mark.parametrize("masked", [False, True])
    def test_holes_have_the_mean_colour_and_the_rest_is_as_it_was(self, options, masked):
        inpainting, images = task(masked=masked, **options), noise(8)
        views = inpainting.make_views(images, seeded())
        assert sorted(views) == ["hidden", "images", "targets"]
        assert {name: view.dtype for name, view in views.items()} == {
            "images": torch.uint8,
            "targets": torch.uint8,
            "hidden": torch.bool,
        }
        hole = hole_in_pixels(inpainting, views["hidden"])[:, None]
        assert torch.equal(views["images"], torch.where(hole, FILL, images))
        assert torch.equal(views["targets"], images)
        if masked:
            assert not (hole & ~disc(32)).any()

    @few
    @given(st.integers(0, 2**32), st.sampled_from(["blocks", "center"]))
    def test_the_network_is_told_nothing_of_what_is_hidden(self, seed, holes):
        inpainting = TINY[holes]
        images, others = noise(4, 16, seed), noise(4, 16, seed + 1)
        views = inpainting.make_views(images, seeded(seed))
        hole = hole_in_pixels(inpainting, views["hidden"])[:, None]
        changed = inpainting.make_views(torch.where(hole, others, images), seeded(seed))
        assert torch.equal(changed["images"], views["images"])
        assert not torch.equal(changed["targets"], views["targets"])

    def test_depend_on_images_and_generator_alone_and_leave_the_images_be(self):
        inpainting, images = task(), noise()
        kept, first = images.clone(), inpainting.make_views(images, seeded(5))
        torch.manual_seed(99)
        again, other = task().make_views(images, seeded(5)), inpainting.make_views(images, seeded(6))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["hidden"], other["hidden"])
        first["targets"].zero_()
        first["images"].zero_()
        assert torch.equal(images, kept)

    def test_keep_the_memory_format(self):
        images = noise().contiguous(memory_format=torch.channels_last)
        views = task().make_views(images, seeded())
        assert views["images"].is_contiguous(memory_format=torch.channels_last)
        assert views["targets"].is_contiguous(memory_format=torch.channels_last)

    def test_give_the_audit_nothing_to_probe(self):
        inpainting = task()
        assert inpainting.probe_labels(inpainting.make_views(noise(), seeded())) is None


TINY = {holes: task(16, holes=holes) for holes in ("blocks", "center")}


class TestLoss:
    def test_equals_a_naive_loop_over_the_places(self):
        predicted, targets = torch.randn(3, 3, 5, 5), torch.randn(3, 3, 5, 5)
        hidden = torch.rand(3, 5, 5) < 0.4
        hidden[:, 0, 0] = True
        per_image = []
        for n in range(3):
            errors = [
                (float(predicted[n, c, row, column]) - float(targets[n, c, row, column])) ** 2
                for c in range(3)
                for row in range(5)
                for column in range(5)
                if hidden[n, row, column]
            ]
            per_image.append(sum(errors) / len(errors))
        assert inpainting_loss(predicted, targets, hidden).item() == pytest.approx(sum(per_image) / 3, rel=1e-6)

    @pytest.mark.parametrize("stride", [1, 3, 4])
    def test_of_a_task_equals_a_naive_loop_over_the_pixels(self, stride):
        inpainting = task(16, masked=True, target_stride=stride).eval()
        views = inpainting.make_views(noise(2, 16), seeded(3))
        predicted = inpainting.predict(views["images"]).detach().double()
        losses, errors = [], []
        for n in range(2):
            squared, absolute = [], []
            for row, column in views["hidden"][n].nonzero().tolist():
                for c in range(3):
                    pixels = [
                        int(views["targets"][n, c, y, x])
                        for y in range(row * stride, min((row + 1) * stride, 16))
                        for x in range(column * stride, min((column + 1) * stride, 16))
                    ]
                    target = (sum(pixels) / len(pixels) / 255 - MEAN[c]) / STD[c]
                    difference = float(predicted[n, c, row, column]) - target
                    squared.append(difference**2)
                    absolute.append(abs(difference) * STD[c] * 255)
            losses.append(sum(squared) / len(squared))
            errors.append(sum(absolute) / len(absolute))
        output = inpainting(views)
        assert output.loss.item() == pytest.approx(sum(losses) / 2, rel=1e-5)
        assert output.metrics["grey_level_error"].item() == pytest.approx(sum(errors) / 2, rel=1e-5)
        assert not output.metrics["grey_level_error"].requires_grad

    @pytest.mark.parametrize("stride", [1, 4])
    def test_counts_what_is_hidden_and_nothing_else(self, stride):
        inpainting = task(masked=True, target_stride=stride).eval()
        images = noise()
        views = inpainting.make_views(images, seeded())
        hole = hole_in_pixels(inpainting, views["hidden"])[:, None]
        loss = inpainting(views).loss
        elsewhere = views | {"targets": torch.where(hole, images, 255 - images)}
        within = views | {"targets": torch.where(hole, 255 - images, images)}
        assert torch.equal(inpainting(elsewhere).loss, loss)
        assert not torch.equal(inpainting(within).loss, loss)

    def test_only_hidden_places_have_a_gradient(self):
        predicted = torch.randn(2, 3, 6, 6, requires_grad=True)
        hidden = torch.zeros(2, 6, 6, dtype=torch.bool)
        hidden[0, 1:3, 2] = hidden[1, 5] = True
        inpainting_loss(predicted, torch.zeros(2, 3, 6, 6), hidden).backward()
        assert torch.equal(predicted.grad.abs().amax(dim=1) > 0, hidden)

    def test_every_image_counts_alike(self):
        hidden = torch.zeros(2, 4, 4, dtype=torch.bool)
        hidden[0, 0, 0] = hidden[1] = True
        values = torch.stack([torch.full((1, 4, 4), 8.0), torch.full((1, 4, 4), 2.0)])
        assert mean_over_holes(values, hidden).item() == 5

    def test_is_float32_and_hardly_moves_under_autocast(self):
        inpainting = task().eval()
        views = inpainting.make_views(noise(), seeded())
        expected = inpainting(views).loss.item()
        with torch.autocast("cpu", torch.bfloat16):
            output = inpainting(views)
        assert output.loss.dtype == torch.float32
        assert output.loss.item() == pytest.approx(expected, rel=1e-2)


class TestTask:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [Inpainting]
        assert (Inpainting.name, Inpainting.api_version) == ("inpainting", API_VERSION)
        assert Inpainting.family == "generation"

    def test_one_image_is_a_batch(self):
        inpainting = task(64)
        inpainting(inpainting.make_views(noise(1, 64), seeded())).loss.backward()
        assert inpainting.decoder.values.weight.grad.isfinite().all()

    @pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_convnext", "densenet121"])
    def test_gradient_reaches_the_whole_encoder(self, model):
        inpainting = task(model=model)
        inpainting(inpainting.make_views(noise(), seeded())).loss.backward()
        unused = {name for name, parameter in inpainting.encoder.named_parameters() if parameter.grad is None}
        # What only makes the pooled representation has no part in the map.
        assert all(name.startswith(("head", "fc_norm")) for name in unused)
        (first, *_) = [parameter for parameter in inpainting.encoder.parameters() if parameter.ndim == 4]
        assert first.grad.abs().sum() > 0

    def test_images_of_any_side_work(self):
        for size in (33, 50, 65):
            inpainting = task(size, masked=True)
            views = inpainting.make_views(noise(2, size), seeded())
            assert views["hidden"].shape[1] == math.ceil(size / 4)
            assert inpainting(views).loss.isfinite()

    def test_sizes_are_the_images_own(self):
        assert Inpainting.view_sizes(InpaintingConfig(), context(32, masked=True)) == (32,)

    @pytest.mark.parametrize(
        ("size", "masked", "options", "said"),
        [
            (16, False, {"target_stride": 16}, "target_stride = 16 is too large for images of 16 px"),
            (32, True, {"target_stride": 12}, "too large for the mask of images of 32 px.*; give a smaller one"),
            (16, False, {"target_stride": 16, "holes": "center"}, "too few squares to hide a share of 0.25"),
            (16, True, {"target_stride": 8, "holes": "center"}, "or a larger images.size"),
        ],
    )
    def test_squares_too_large_are_refused(self, size, masked, options, said):
        with pytest.raises(ValueError, match=said):
            Inpainting.view_sizes(InpaintingConfig(**options), context(size, masked))

    def test_a_backbone_without_a_map_is_refused_with_a_reason(self):
        class Pooled(nn.Module):
            def forward_features(self, x: torch.Tensor) -> torch.Tensor:
                return x.mean(dim=(2, 3))

        refused = Inpainting.supports(InpaintingConfig(), Pooled(), context())
        assert refused is not None
        assert "no feature map" in refused
        taken = timm.create_model("test_resnet", num_classes=0)
        assert Inpainting.supports(InpaintingConfig(), taken, context()) is None

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"holes": "ring"}, "'blocks' or 'center'"),
            ({"share": 0.01}, "greater than or equal to 0.05"),
            ({"share": 0.6}, "less than or equal to 0.5"),
            ({"target_stride": 0}, "greater than or equal to 1"),
        ],
    )
    def test_impossible_options_are_refused(self, options, said):
        with pytest.raises(ValidationError, match=said):
            InpaintingConfig(**options)


def striped(num_images: int, seed: int) -> torch.Tensor:
    """Images whose upper half tells the colour of the lower one: what is hidden of it can be told from what is not."""
    images = noise(num_images, 1, seed).repeat(1, 1, 32, 32)
    images[:, :, 16:] = 255 - images[:, :, :16]
    return images


@pytest.fixture(scope="module")
def trained() -> Inpainting:
    torch.manual_seed(0)
    inpainting = task()
    optimizer = torch.optim.AdamW(inpainting.parameters(), lr=3e-3)
    for update in range(80):
        optimizer.zero_grad()
        inpainting(inpainting.make_views(striped(16, update), seeded(update))).loss.backward()
        optimizer.step()
    return inpainting.eval()


class TestLearning:
    def test_holes_of_images_never_seen_are_filled_better_than_by_their_mean(self, trained):
        images = striped(16, 1000)
        views = trained.make_views(images, seeded(7))
        visible = ~hole_in_pixels(trained, views["hidden"])[:, None]
        mean = (images * visible).sum(dim=(2, 3), keepdim=True) / visible.sum(dim=(2, 3), keepdim=True)
        squares = torch.nn.functional.avg_pool2d(images.float(), 4)
        by_mean = mean_over_holes((squares - mean).abs(), views["hidden"])
        assert trained(views).metrics["grey_level_error"] < 0.6 * by_mean

    def test_what_is_seen_stays_and_what_is_hidden_is_not_looked_at(self, trained):
        images = striped(4, 1000)
        hidden = trained.make_views(images, seeded(7))["hidden"]
        hole = hole_in_pixels(trained, hidden)[:, None]
        filled = inpaint(trained, images, seeded(7))
        other = inpaint(trained, torch.where(hole, 255 - images, images), seeded(7))
        assert filled.dtype == torch.uint8
        assert torch.equal(torch.where(hole, 0, filled), torch.where(hole, 0, images))
        assert torch.equal(filled, other)

    def test_what_is_filled_in_is_what_was_predicted(self, trained):
        images = striped(4, 1000)
        views = trained.make_views(images, seeded(7))
        filled = inpaint(trained, images, seeded(7)).float()
        error = mean_over_holes(
            (torch.nn.functional.avg_pool2d(filled, 4) - torch.nn.functional.avg_pool2d(images.float(), 4)).abs(),
            views["hidden"],
        )
        # Colours are rounded, and clipped to what there is.
        assert error.item() == pytest.approx(trained(views).metrics["grey_level_error"].item(), abs=1.5)
