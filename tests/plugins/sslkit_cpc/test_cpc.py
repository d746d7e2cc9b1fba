from __future__ import annotations

import itertools
import math

import numpy as np
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

from sslkit import TaskContext, build_registry
from sslkit.errors import ConfigError
from sslkit.experiment.study import resolve
from sslkit_cpc import ContrastivePredictiveCoding, CpcConfig, sslkit_pretext_tasks

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
PLAIN = {"one_channel": 0.0, "flip": 0.0, "brightness": 0.0}
few = settings(deadline=None, max_examples=25)


class Means(nn.Module):
    """The smallest encoder that quacks as timm's models do: means over a grid of 3 x 3 cells."""

    head_hidden_size = 27

    def forward_features(self, x):
        return F.adaptive_avg_pool2d(x, 3)

    def forward_head(self, x, pre_logits=False):
        assert pre_logits
        return x.flatten(1)


class Normalised(Means):
    """The same behind a layer of BatchNorm."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward_features(self, x):
        return F.adaptive_avg_pool2d(self.norm(x), 3)


def context(size=64, masked=False):
    mask = fundus_mask(size) if masked else None
    return TaskContext(size, MEAN, STD, mask)


def task(size=64, masked=False, encoder=None, **options) -> ContrastivePredictiveCoding:
    torch.manual_seed(0)
    return ContrastivePredictiveCoding(CpcConfig(**options), encoder or Means(), context(size, masked))


def photographs(num_images, size=64, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=seeded(seed)).byte()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestViews:
    @few
    @given(st.integers(64, 200), st.booleans(), st.integers(1, 4), st.integers(3, 7), st.integers(0, 2**32))
    def test_each_patch_lies_in_its_own_cell_and_shows_nothing_that_the_mask_hides(
        self, size, masked, num_images, rows, seed
    ):
        cpc = task(size, masked, grid=rows, jitter=0.2, **PLAIN)
        images = cpc.make_views(coordinates(num_images, size, masked), seeded(seed))["images"]
        grid, side = cpc.grid, cpc.grid.patch
        assert images.shape == (rows * rows * num_images, 3, side, side)
        assert images.dtype == torch.uint8
        for number, patch in enumerate(images):
            image, place = divmod(number, rows * rows)
            assert (patch[2] == image).all()
            for axis, position in enumerate(divmod(place, rows)):
                pixels = patch[axis].amin(dim=1 - axis).tolist()
                assert pixels == list(range(pixels[0], pixels[0] + side))
                cell = grid.start + position * grid.stride
                assert cell <= pixels[0]
                assert pixels[-1] < cell + grid.cell

    @few
    @given(st.integers(48, 200), st.booleans(), st.integers(3, 7), st.integers(0, 2**32))
    def test_what_is_predicted_shares_no_pixel_with_what_it_is_predicted_from(self, size, masked, rows, seed):
        cpc = task(size, masked, grid=rows, **PLAIN)
        images = cpc.make_views(coordinates(1, size), seeded(seed))["images"]
        red = images[:, 0].unflatten(0, (rows, rows)).flatten(1)
        for row, step in itertools.product(range(rows), cpc.config.steps):
            if row + step < rows:
                assert red[: row + 1].max() < red[row + step].min()

    def test_places_in_the_cells_are_drawn_alike_and_apart(self):
        cpc = task(jitter=0.2, **PLAIN)
        images = cpc.make_views(coordinates(200, 64), seeded())["images"]
        in_cell = images[:, :2, 0, 0].long() - cpc.grid.corners().repeat(200, 1)
        assert cpc.grid.jitter == 4
        for axis in (0, 1):
            assert (in_cell[:, axis].bincount(minlength=5) - 1000).abs().max() < 150
        correlations = np.corrcoef(in_cell.view(200, 50).double().T) - np.eye(50)
        assert np.abs(correlations).max() < 0.35

    def test_probe_labels_are_the_places(self):
        cpc = task(**PLAIN)
        views = cpc.make_views(coordinates(3, 64), seeded())
        labels = cpc.probe_labels(views)
        assert labels.dtype == torch.int64
        centres = views["images"][:, :2].float().mean(dim=(2, 3)) - cpc.grid.start - cpc.grid.cell / 2
        rows, columns = (centres / cpc.grid.stride).round().long().unbind(dim=1)
        assert labels.tolist() == (5 * rows + columns).tolist()

    def test_views_depend_on_images_and_generator_alone_and_leave_the_images_be(self):
        cpc, images = task(), photographs(4)
        kept, first = images.clone(), cpc.make_views(images, seeded(5))["images"]
        again, other = task().make_views(images, seeded(5))["images"], cpc.make_views(images, seeded(6))["images"]
        assert torch.equal(images, kept)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_patches_are_resized_with_antialiasing_where_that_is_asked_for(self):
        images = photographs(2).contiguous(memory_format=torch.channels_last)
        cut, resized = (task(patch_size=patch_size).make_views(images, seeded())["images"] for patch_size in (None, 32))
        assert resized.dtype == torch.uint8
        assert resized.is_contiguous(memory_format=torch.channels_last)
        exact = F.interpolate(cut.double(), (32, 32), mode="bilinear", antialias=True)
        assert (resized - exact).abs().max() <= 1

    def test_black_stays_black(self):
        views = task(brightness=1.0).make_views(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), seeded())
        assert views["images"].max() == 0


def predictions_of(cpc, vectors):
    contexts = cpc.context_network(vectors)
    return [predictor(contexts[:, :, :-step]) for step, predictor in zip(cpc.config.steps, cpc.predictors, strict=True)]


class TestWhatAContextSees:
    @pytest.mark.parametrize(("rows", "first_step"), [(5, 2), (4, 1), (7, 2)])
    def test_no_gradient_of_a_prediction_comes_from_the_rows_below_its_context(self, rows, first_step):
        cpc = task(128, grid=rows, first_step=first_step)
        vectors = torch.randn(2, 256, rows, rows, requires_grad=True)
        for prediction in predictions_of(cpc, vectors):
            for row in range(prediction.shape[2]):
                of_row = prediction[:, :, row].square().sum()
                (gradient,) = torch.autograd.grad(of_row, vectors, retain_graph=True)
                assert (gradient[:, :, row + 1 :] == 0).all()
                assert (gradient[:, :, : row + 1] != 0).any(dim=1).all()

    @pytest.mark.parametrize("encoder", [Means, Normalised])
    def test_other_patches_below_change_no_prediction_from_above_even_through_batchnorm(self, encoder):
        cpc = task(encoder=encoder()).train()
        patches = cpc.make_views(photographs(3), seeded())["images"]
        vectors = cpc.vectors(patches)
        before = predictions_of(cpc, vectors)
        for changed in range(1, 5):
            others = patches.clone().view(3, 5, 5, *patches.shape[1:])
            others[:, changed:] = 255 - others[:, changed:]
            other_vectors = cpc.vectors(others.flatten(0, 2))
            assert torch.equal(other_vectors[:, :, :changed], vectors[:, :, :changed])
            assert not torch.allclose(other_vectors[:, :, changed:], vectors[:, :, changed:])
            for ours, theirs in zip(before, predictions_of(cpc, other_vectors), strict=True):
                assert torch.equal(ours[:, :, :changed], theirs[:, :, :changed])
                seen = ours[:, :, changed:]
                assert not seen.numel() or not torch.allclose(seen, theirs[:, :, changed:])

    def test_all_at_once_batchnorm_would_tell_of_the_rows_below(self):
        """The leak that the rows go through the encoder one by one for."""
        encoder = Normalised().train()
        patches = photographs(25, 8)
        others = patches.clone()
        others[20:] = others[20:] // 4
        encode = encoder.forward_features
        assert not torch.allclose(encode(patches / 255)[:5], encode(others / 255)[:5])

    def test_vectors_are_those_of_each_patch_by_itself(self):
        cpc = task(encoder=timm.create_model("test_resnet", num_classes=0)).eval()
        patches = cpc.make_views(photographs(2), seeded())["images"]
        vectors = cpc.vectors(patches)
        for number in (0, 7, 24, 25, 49):
            image, place = divmod(number, 25)
            row, column = divmod(place, 5)
            mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
            x = (patches[number : number + 1] / 255 - mean) / std
            h = cpc.encoder.forward_head(cpc.encoder.forward_features(x), pre_logits=True)
            assert torch.allclose(vectors[image, :, row, column], cpc.vector_layer(h)[0], atol=1e-4)


class TestLoss:
    def test_is_info_nce_of_what_is_further_down(self):
        cpc = task()
        views = cpc.make_views(photographs(3), seeded())
        output = cpc(views)
        with torch.no_grad():
            vectors = cpc.vectors(views["images"])
            contexts = cpc.context_network(vectors)
            weights, bias = cpc.target_layer.weight[:, :, 0, 0], cpc.target_layer.bias
            candidates = {
                (i, r, c): (weights @ vectors[i, :, r, c] + bias).double()
                for i, r, c in itertools.product(range(3), range(5), range(5))
            }
            losses, hits = [], []
            for step, predictor in zip((2, 3, 4), cpc.predictors, strict=True):
                of_step, right = [], []
                for i, r, c in itertools.product(range(3), range(5 - step), range(5)):
                    guess = (predictor.weight[:, :, 0, 0] @ contexts[i, :, r, c]).double()
                    scores = {place: 0.1 * float(guess @ target) for place, target in candidates.items()}
                    total = sum(math.exp(score) for score in scores.values())
                    of_step.append(math.log(total) - scores[i, r + step, c])
                    right.append(max(scores, key=scores.get) == (i, r + step, c))
                losses.append(np.mean(of_step))
                hits.append(np.mean(right))
        assert output.loss.item() == pytest.approx(np.mean(losses), abs=1e-4)
        assert output.metrics["accuracy"].item() == pytest.approx(np.mean(hits))
        assert output.metrics["chance"].item() == pytest.approx(1 / 75)

    def test_is_float32_under_autocast(self):
        cpc = task()
        with torch.autocast("cpu", torch.bfloat16):
            output = cpc(cpc.make_views(photographs(2), seeded()))
        assert output.loss.dtype == torch.float32

    def test_gradient_reaches_every_parameter(self):
        cpc = task(encoder=timm.create_model("test_resnet", num_classes=0))
        cpc(cpc.make_views(photographs(2), seeded())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in cpc.parameters())
        assert cpc.encoder.conv1[0].weight.grad.abs().sum() > 0

    def test_a_single_image_has_negatives_of_its_own(self):
        cpc = task()
        output = cpc(cpc.make_views(photographs(1), seeded()))
        assert 0 < output.loss.item() < 2 * math.log(25)

    def test_falls_on_images_never_seen(self):
        cpc = task(**PLAIN)
        optimiser = torch.optim.Adam(cpc.parameters(), lr=1e-3)

        def columns_of_one_colour(seed):
            colours = torch.randint(256, (4, 3, 1, 8), generator=seeded(seed)).byte()
            return colours.repeat_interleave(8, dim=3).repeat(1, 1, 64, 1)

        held_out = cpc.make_views(columns_of_one_colour(999), seeded(1))
        first = cpc(held_out)
        for step in range(30):
            optimiser.zero_grad()
            cpc(cpc.make_views(columns_of_one_colour(step), seeded(step))).loss.backward()
            optimiser.step()
        last = cpc(held_out)
        # The five patches of a column are alike, and which of them is the right one cannot be told.
        assert abs(first.loss.item() - math.log(100)) < 0.2
        assert last.loss < first.loss - 1


class TestPlanning:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [ContrastivePredictiveCoding]
        assert ContrastivePredictiveCoding.name == "cpc"

    @pytest.mark.parametrize(
        ("size", "masked", "patch_size", "side"),
        [(224, True, None, 47), (224, False, None, 69), (64, True, None, 13), (64, True, 32, 32), (32, True, None, 5)],
    )
    def test_view_sizes_are_those_of_the_views(self, size, masked, patch_size, side):
        config = CpcConfig(patch_size=patch_size)
        assert ContrastivePredictiveCoding.view_sizes(config, context(size, masked)) == (side,)
        views = task(size, masked, patch_size=patch_size).make_views(photographs(1, size), seeded())
        assert views["images"].shape[2:] == (side, side)

    @pytest.mark.parametrize(
        ("options", "steps"),
        [
            ({}, [2, 3, 4]),
            ({"grid": 3}, [2]),
            ({"grid": 7}, [2, 3, 4, 5, 6]),
            ({"grid": 7, "first_step": 1, "last_step": 5}, [1, 2, 3, 4, 5]),
            ({"last_step": 2}, [2]),
        ],
    )
    def test_steps_run_down_to_the_lowest_row_or_to_the_last_one_asked_for(self, options, steps):
        assert list(CpcConfig(**options).steps) == steps
        assert len(task(128, **options).predictors) == len(steps)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"grid": 3, "first_step": 3}, r"a grid of 3 rows has none that lies 3 below .* 2 or less, or grid = 4"),
            ({"last_step": 5}, r"a grid of 5 rows has none that lies 5 below another; give steps of 4 or less"),
            ({"first_step": 3, "last_step": 2}, r"last_step = 2 lies above first_step = 3; give as much or more"),
        ],
    )
    def test_steps_that_the_grid_has_no_rows_for_are_refused(self, options, message):
        with pytest.raises(ValidationError, match=message):
            CpcConfig(**options)

    def test_images_without_room_for_the_patches_are_refused(self):
        with pytest.raises(ValueError, match=r"^9 rows of patches of 4 px or more, .*; images\.size = \d+ is enough"):
            ContrastivePredictiveCoding.view_sizes(CpcConfig(grid=9), context(24))

    def test_patches_too_small_for_the_backbone_are_refused_and_larger_ones_taken(self):
        def study(**options):
            return resolve(
                tiny_config(
                    images={"size": 64, "crop": "fundus"},
                    backbone={"name": "densenet121"},
                    pretext={"name": "cpc", **options},
                ),
                build_registry(),
            )

        with pytest.raises(ConfigError, match=r"the task 'cpc' makes views of 13 px, which the backbone 'densenet121'"):
            study()
        study(patch_size=32)
