from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from sslkit import TaskContext
from sslkit.testing import TinyNetwork, parametrize_with_checks

from sslkit_relative_scale import RelativeScale, RelativeScaleConfig, crop, margin_of, resize

SIZE = 32


@parametrize_with_checks(RelativeScale)
def test_it_keeps_the_promises_of_its_interface(check: Callable[[], None]) -> None:
    check()


def disc(size: int) -> torch.Tensor:
    """Return a mask as crop = "fundus" makes them, bool (H, H)."""
    offsets = torch.arange(size) + 0.5 - size / 2
    return offsets[:, None] ** 2 + offsets**2 <= (size / 2) ** 2


def make_task(*scales: float, mask: torch.Tensor | None = None) -> RelativeScale:
    context = TaskContext(image_size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), mask=mask)
    return RelativeScale(RelativeScaleConfig(scales=scales), TinyNetwork(), context)


def test_a_ramp_is_as_steep_as_its_scale_and_lies_where_it_was_cut_out() -> None:
    ramp = torch.arange(0, 8 * SIZE, 8, dtype=torch.uint8).expand(40, 3, SIZE, SIZE)
    views = make_task(1.0, 0.5, 0.25).make_views(ramp, torch.Generator().manual_seed(0))
    inner = views["images"].float()[:, 0, SIZE // 2, 8:-8]
    steepness = (inner[:, -1] - inner[:, 0]) / (8 * (inner.shape[1] - 1))
    wanted = torch.tensor([1.0, 0.5, 0.25])[views["labels"]]
    torch.testing.assert_close(steepness, wanted, atol=0.02, rtol=0)
    assert set(views["labels"].tolist()) == {0, 1, 2}
    starts = set(views["images"][views["labels"] == 2][:, 0, 0, 0].tolist())
    assert len(starts) > 3
    assert max(starts) <= 8 * (SIZE - SIZE // 4)


def test_no_view_shows_what_the_mask_hides() -> None:
    mask = disc(SIZE)
    images = torch.where(mask, 200, 0).to(torch.uint8).expand(30, 3, SIZE, SIZE)
    views = make_task(1.0, 0.6, mask=mask).make_views(images, torch.Generator().manual_seed(0))
    assert bool((views["images"] == 200).all())


@pytest.mark.parametrize("size", [8, 9, 32, 63, 224])
def test_the_square_in_a_disc_is_the_largest(size: int) -> None:
    margin, mask = margin_of(disc(size)), disc(size)
    assert mask[margin : size - margin, margin : size - margin].all()
    assert not mask[margin - 1, margin - 1]
    assert size - 2 * margin == pytest.approx(size / 2**0.5, abs=2)


def test_squares_are_cut_out_each_at_its_own_place() -> None:
    images = torch.randint(256, (5, 3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    lefts, tops = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([4, 0, 3, 1, 2])
    for cut, image, left, top in zip(crop(images, 5, lefts, tops), images, lefts, tops, strict=True):
        assert torch.equal(cut, image[:, top : top + 5, left : left + 5])


def test_resizing_to_the_same_side_changes_nothing_and_to_half_takes_means() -> None:
    images = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(resize(images, 8), images)
    columns = torch.tensor([0, 255] * 4, dtype=torch.uint8).expand(1, 3, 8, 8)
    assert 100 <= int(resize(columns, 4).min()) <= int(resize(columns, 4).max()) <= 155


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ((1.0,), "got 1 scales; give two at least"),
        ((0.5, 1.0), "give distinct shares above 0 and up to 1, largest first"),
        ((1.0, 1.0), "give distinct shares"),
        ((1.5, 1.0), "give distinct shares"),
        ((1.0, 0.0), "give distinct shares"),
    ],
)
def test_scales_that_cannot_be_are_refused(scales: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RelativeScaleConfig(scales=scales)
