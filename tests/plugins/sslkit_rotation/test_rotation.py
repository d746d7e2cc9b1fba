from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sslkit import TaskContext, normalize
from sslkit_rotation import (
    Rotation,
    RotationConfig,
    randomly_rotated_views,
    rotate,
    rotated_views,
    sslkit_pretext_tasks,
)

DTYPES = [torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool]
CONTEXT = TaskContext(image_size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
few = settings(deadline=None, max_examples=50)


@st.composite
def batches(draw: st.DrawFn, min_images: int = 0, square: bool = True) -> torch.Tensor:
    """Batches in which no two pixels of an image are equal, as far as the dtype allows."""
    num_images, channels = draw(st.integers(min_images, 4)), draw(st.integers(1, 4))
    height = draw(st.integers(1, 6))
    width = height if square else draw(st.integers(1, 6))
    dtype = draw(st.sampled_from(DTYPES))
    count = num_images * channels * height * width
    images = torch.randperm(count, generator=torch.Generator().manual_seed(count)).view(-1, channels, height, width)
    memory_format = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    return (images % 2 if dtype == torch.bool else images).to(dtype).contiguous(memory_format=memory_format)


class TestRotate:
    @pytest.mark.parametrize(
        ("k", "turned"),
        [(0, [[1, 2], [3, 4]]), (1, [[2, 4], [1, 3]]), (2, [[4, 3], [2, 1]]), (3, [[3, 1], [4, 2]])],
    )
    def test_is_counter_clockwise(self, k, turned):
        assert rotate(torch.tensor([[[[1, 2], [3, 4]]]]), k)[0, 0].tolist() == turned

    @few
    @given(batches(), st.integers(-5, 8))
    def test_equals_numpy(self, images, k):
        if images.dtype == torch.bfloat16:
            images = images.float()
        np.testing.assert_array_equal(rotate(images, k).numpy(), np.rot90(images.numpy(), k, axes=(2, 3)))

    @few
    @given(batches(), st.integers(0, 3))
    def test_turning_back_restores_every_pixel(self, images, k):
        turned = rotate(images, k)
        assert turned.dtype == images.dtype
        assert torch.equal(rotate(turned, -k), images)

    @few
    @given(batches(), st.integers(0, 3), st.integers(0, 3))
    def test_turns_add_up_modulo_four(self, images, a, b):
        assert torch.equal(rotate(rotate(images, a), b), rotate(images, (a + b) % 4))

    @few
    @given(batches(square=False))
    def test_half_a_turn_takes_any_shape(self, images):
        assert torch.equal(rotate(images, 2), images.flip(2, 3))

    @pytest.mark.parametrize(("k", "degrees"), [(1, 90), (3, 270), (-1, 270), (5, 90)])
    def test_refuses_to_turn_oblong_images_on_their_side(self, k, degrees):
        with pytest.raises(ValueError, match=f"4 x 6 pixels cannot be turned by {degrees} degrees; make them square"):
            rotate(torch.zeros(1, 3, 4, 6), k)

    def test_refuses_a_single_image(self):
        with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\), not \(3, 4, 4\)"):
            rotate(torch.zeros(3, 4, 4), 1)


class TestRotatedViews:
    @few
    @given(batches())
    def test_row_4i_plus_k_is_image_i_turned_by_k(self, images):
        views, labels = rotated_views(images)
        assert views.dtype == images.dtype
        assert views.shape == (4 * len(images), *images.shape[1:])
        assert labels.dtype == torch.int64
        for row in range(4 * len(images)):
            assert labels[row] == row % 4
            assert torch.equal(views[row], rotate(images[row // 4][None], row % 4)[0])

    @few
    @given(batches(min_images=1))
    def test_turning_back_by_the_label_restores_the_image(self, images):
        for view, label, image in zip(*rotated_views(images), images.repeat_interleave(4, 0), strict=True):
            assert torch.equal(rotate(view[None], -int(label))[0], image)

    @few
    @given(batches(min_images=1))
    def test_the_views_of_an_image_carry_all_labels(self, images):
        _, labels = rotated_views(images)
        assert labels.view(-1, 4).sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * len(images)

    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_keeps_the_memory_format(self, memory_format):
        images = torch.rand(2, 3, 8, 8).contiguous(memory_format=memory_format)
        assert rotated_views(images)[0].is_contiguous(memory_format=memory_format)
        assert randomly_rotated_views(images, torch.Generator())[0].is_contiguous(memory_format=memory_format)

    def test_refuses_oblong_images(self):
        with pytest.raises(ValueError, match="4 x 6 pixels cannot be turned by 90 degrees"):
            rotated_views(torch.zeros(1, 3, 4, 6))


class TestRandomlyRotatedViews:
    @few
    @given(batches(), st.integers(0, 2**32))
    def test_each_image_is_turned_by_its_label(self, images, seed):
        views, labels = randomly_rotated_views(images, torch.Generator().manual_seed(seed))
        assert views.shape == images.shape
        for view, label, image in zip(views, labels, images, strict=True):
            assert torch.equal(view, rotate(image[None], int(label))[0])

    def test_draws_each_turn_as_often_from_the_generator_alone(self):
        images = torch.zeros(4000, 1, 1, 1)
        _, labels = randomly_rotated_views(images, torch.Generator().manual_seed(7))
        assert (labels.bincount(minlength=4) - 1000).abs().max() < 120
        assert torch.equal(randomly_rotated_views(images, torch.Generator().manual_seed(7))[1], labels)


class Flat(nn.Module):
    """The smallest encoder that quacks as timm's models do: the pixels themselves, in double the width."""

    head_hidden_size = 3 * 16 * 16

    def forward_features(self, x):
        return 2 * x

    def forward_head(self, x, pre_logits=False):
        assert pre_logits
        return x.flatten(1)


def task(turns="all", encoder=None) -> Rotation:
    return Rotation(RotationConfig(turns=turns), encoder or Flat(), CONTEXT)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


class TestTask:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [Rotation]
        assert Rotation.name == "rotation"

    @pytest.mark.parametrize(("turns", "rows"), [("all", 12), ("one", 3)])
    def test_views_hold_a_whole_number_of_rows_an_image(self, images, turns, rows):
        views = task(turns).make_views(images, torch.Generator().manual_seed(0))
        assert {name: (view.dtype, len(view)) for name, view in views.items()} == {
            "images": (torch.uint8, rows),
            "labels": (torch.int64, rows),
        }

    def test_views_leave_the_images_as_they_are(self, images):
        kept = images.clone()
        task().make_views(images, torch.Generator())["images"].zero_()
        assert torch.equal(images, kept)

    def test_loss_is_the_mean_negative_log_probability_of_the_turn(self, images):
        rotation = task()
        views = rotation.make_views(images, torch.Generator())
        output = rotation(views)
        loss = hits = 0.0
        for view, label in zip(views["images"], views["labels"], strict=True):
            h = 2 * normalize(view[None], CONTEXT.mean, CONTEXT.std).flatten().double()
            logits = (rotation.classifier.weight.double() @ h + rotation.classifier.bias.double()).detach()
            loss -= float(logits[label] - logits.exp().sum().log())
            hits += float(logits.argmax() == label)
        assert output.loss.item() == pytest.approx(loss / 12, abs=1e-5)
        assert output.metrics["accuracy"].item() == pytest.approx(hits / 12)
        assert not output.metrics["accuracy"].requires_grad

    def test_loss_is_float32_under_autocast(self, images):
        rotation = task()
        with torch.autocast("cpu", torch.bfloat16):
            output = rotation(rotation.make_views(images, torch.Generator()))
        assert output.loss.dtype == torch.float32

    def test_gradient_reaches_the_whole_encoder(self, images):
        rotation = task(encoder=timm.create_model("resnet18", num_classes=0))
        rotation(rotation.make_views(images, torch.Generator())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in rotation.parameters())
        assert rotation.encoder.conv1.weight.grad.abs().sum() > 0

    def test_learns(self, images):
        torch.manual_seed(0)
        rotation = task()
        views = rotation.make_views(images, torch.Generator())
        optimiser = torch.optim.Adam(rotation.parameters(), lr=1e-2)
        for _ in range(30):
            optimiser.zero_grad()
            rotation(views).loss.backward()
            optimiser.step()
        output = rotation(views)
        assert output.metrics["accuracy"] == 1
        assert output.loss < F.cross_entropy(torch.zeros(1, 4), torch.tensor([0])) / 10

    def test_refuses_an_unknown_choice_of_turns(self):
        with pytest.raises(ValueError, match="'all' or 'one'"):
            RotationConfig(turns="some")
