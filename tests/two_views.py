"""What the tests of pretext tasks have in common that compare two views of each image."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import settings

from sslkit import PretextTask, StepOutput, TaskContext, Views, ViewsConfig, normalize
from sslkit.data.cropping import circular_mask
from sslkit.engine.optimisation import make_optimizer

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
UNCHANGED = ViewsConfig(min_area=1.0, flips=False, turns="none", recoloured=0.0, grey=0.0, blurred=0.0)
few = settings(deadline=None, max_examples=40)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def context(masked: bool = True) -> TaskContext:
    return TaskContext(32, MEAN, STD, torch.from_numpy(circular_mask(32)) if masked else None)


def photographs(num_images: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (num_images, 3, 32, 32), generator=seeded(seed)).byte()


def projections(num_images: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_images, width, generator=seeded(seed))


def projections_by_hand(pretext: Any, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """The projections of the first and of the second views, float64, from a copy of the networks."""
    wide = copy.deepcopy(pretext).double()
    z = wide.projector(wide.encoder(normalize(views["images"], MEAN, STD).double())).detach()
    return z[0::2], z[1::2]


def naive_spread(z: torch.Tensor) -> float:
    """The root of the mean square distance of unit vectors from their mean."""
    directions = [[x / math.hypot(*row) for x in row] for row in z.double().tolist()]
    means = [sum(column) / len(directions) for column in zip(*directions, strict=True)]
    return math.sqrt(sum((x - m) ** 2 for row in directions for x, m in zip(row, means, strict=True)) / len(directions))


def trained(pretext: PretextTask[Any], num_updates: int = 60) -> list[StepOutput]:
    """Train on sixteen coarse images, and return what each update gave."""
    pretext.train()
    images = torch.randint(256, (16, 3, 4, 4), generator=seeded()).byte()
    images = images.repeat_interleave(8, 2).repeat_interleave(8, 3)
    optimizer = make_optimizer([pretext], 3e-3, 0.0)
    outputs = []
    for update in range(num_updates):
        output = pretext(pretext.make_views(images, seeded(update)))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        pretext.after_update(output, (update + 1) / num_updates)
        outputs.append(output)
    return outputs


class ViewsOfTwo:
    """Tests of a task's views, for a class to inherit that says how the task is made."""

    task: ClassVar[Callable[..., Any]]
    """Takes whether there is a mask, and options of the task by name."""

    @pytest.mark.parametrize("masked", [False, True])
    def test_are_two_an_image_side_by_side(self, masked):
        pretext = self.task(masked, views=ViewsConfig(recoloured=0.0, grey=0.0))
        images = torch.arange(1, 6, dtype=torch.uint8).mul(40).view(5, 1, 1, 1).expand(5, 3, 32, 32)
        views = pretext.make_views(images, seeded())["images"]
        assert views.shape == (10, 3, 32, 32)
        assert views.dtype == torch.uint8
        assert views[:, 0, 16, 16].tolist() == [40, 40, 80, 80, 120, 120, 160, 160, 200, 200]

    def test_differ_between_the_two_of_an_image(self):
        views = self.task().make_views(photographs(4), seeded())["images"]
        assert all(not torch.equal(first, second) for first, second in views.unflatten(0, (4, 2)))

    def test_options_of_views_are_heeded(self):
        images = photographs(3)
        views = self.task(masked=False, views=UNCHANGED).make_views(images, seeded())["images"]
        assert torch.equal(views, images.repeat_interleave(2, dim=0))
