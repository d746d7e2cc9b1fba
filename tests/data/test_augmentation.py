from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sslkit.data.augmentation import Augmentation, augment

Image = npt.NDArray[np.float32]
KINDS: tuple[Augmentation, ...] = get_args(Augmentation)

FLIPS: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image,
    "left-right": lambda image: image[:, :, ::-1],
    "up-down": lambda image: image[:, ::-1],
    "half turn": lambda image: image[:, ::-1, ::-1],
}
SYMMETRIES = FLIPS | {
    "transposed": lambda image: image.transpose(0, 2, 1),
    "transposed, left-right": lambda image: image.transpose(0, 2, 1)[:, :, ::-1],
    "transposed, up-down": lambda image: image.transpose(0, 2, 1)[:, ::-1],
    "transposed, half turn": lambda image: image.transpose(0, 2, 1)[:, ::-1, ::-1],
}


def pictures(number: int, size: int = 5) -> torch.Tensor:
    """The same picture, which no symmetry leaves alone, several times."""
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(7)).expand(number, -1, -1, -1).clone()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def names(before: torch.Tensor, after: torch.Tensor) -> list[str]:
    """Name the symmetry that each image has undergone, by NumPy alone."""
    found = []
    for old, new in zip(before.numpy(), after.numpy(), strict=True):
        [name] = [name for name, symmetry in SYMMETRIES.items() if np.array_equal(symmetry(old), new)]
        found.append(name)
    return found


@pytest.mark.parametrize(("kind", "expected"), [("flips-turns", SYMMETRIES), ("flips", FLIPS)])
def test_every_symmetry_occurs_as_often_as_the_others_and_no_other_does(
    kind: Augmentation, expected: dict[str, Callable[[Image], Image]]
) -> None:
    images = pictures(800)
    found = names(images, augment(images, kind, seeded()))
    assert set(found) == set(expected)
    share = 800 / len(expected)
    # Four standard deviations of a binomial count.
    assert all(abs(found.count(name) - share) < 4 * np.sqrt(share) for name in expected)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_pure_function_of_images_and_generator(kind: Augmentation) -> None:
    images = torch.rand(16, 3, 6, 6, generator=seeded(3))
    before = images.clone()
    first = augment(images, kind, seeded(1))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(augment(images, kind, seeded(1)), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    if kind != "none":
        assert not torch.equal(augment(images, kind, seeded(2)), first)


def test_none_leaves_images_and_generator_alone() -> None:
    images, generator = pictures(4), seeded()
    state = generator.get_state()
    assert augment(images, "none", generator) is images
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_shape_dtype_and_layout_are_kept(
    kind: Augmentation, memory_format: torch.memory_format, dtype: torch.dtype
) -> None:
    images = (torch.rand(9, 3, 6, 6, generator=seeded()) * 255).to(dtype).contiguous(memory_format=memory_format)
    output = augment(images, kind, seeded())
    assert (output.shape, output.dtype, output.stride()) == (images.shape, dtype, images.stride())
    assert output.is_contiguous(memory_format=memory_format)
    plain = augment(images.contiguous(), kind, seeded())
    assert torch.equal(output, plain)


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_of_one(seed: int) -> None:
    images = pictures(1)
    assert len(names(images, augment(images, "flips-turns", seeded(seed)))) == 1


def test_an_empty_batch() -> None:
    assert augment(pictures(0), "flips-turns", seeded()).shape == (0, 3, 5, 5)


def test_a_batch_that_is_not_contiguous() -> None:
    large = torch.rand(20, 3, 9, 9, generator=seeded())
    window = large[::2, :, 2:7, 1:6]
    assert not window.is_contiguous()
    output = augment(window, "flips-turns", seeded())
    assert torch.equal(output, augment(window.contiguous(), "flips-turns", seeded()))
    assert len(names(window, output)) == 10
    repeated = pictures(1).expand(6, -1, -1, -1)
    assert len(set(names(repeated, augment(repeated, "flips-turns", seeded())))) > 1


def test_flips_take_images_that_are_not_square() -> None:
    images = torch.rand(12, 3, 4, 6, generator=seeded())
    output = augment(images, "flips", seeded())
    assert set(names(images, output)) <= set(FLIPS)
