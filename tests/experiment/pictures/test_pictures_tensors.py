"""Which views are pictures, and how they are laid out; and which rows are an image's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.experiment.pictures.sample import spread_over_grades
from sslkit.experiment.pictures.tensors import lay_together, pictures_of, strips_of
from sslkit.experiment.pictures.views import own_rows
from sslkit.types import Views


def uint8(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(2, 3, 8, 5), (2, 1, 8, 8)])
def test_bytes_are_shown_as_they_are(shape: tuple[int, ...]) -> None:
    view = uint8(*shape)
    pictures = pictures_of([view[:1], view[1:]])
    assert pictures is not None
    for shown, own in zip(pictures, view, strict=True):
        expected = own.permute(1, 2, 0).numpy()
        assert np.array_equal(shown[0], expected[..., 0] if shape[1] == 1 else expected)


def test_masks_and_maps_are_grey() -> None:
    mask = torch.tensor([[[True, False], [False, True]]])
    assert pictures_of([mask])[0][0].tolist() == [[255, 0], [0, 255]]  # type: ignore[index]
    assert pictures_of([torch.tensor([[[0.0, 0.2], [0.5, 1.0]]])])[0][0].tolist() == [[0, 51], [128, 255]]  # type: ignore[index]


def test_floats_beyond_one_are_stretched_over_all_images() -> None:
    first, second = torch.full((1, 3, 2, 2), -2.0), torch.full((1, 3, 2, 2), 2.0)
    pictures = pictures_of([first, second])
    assert pictures is not None
    assert [int(picture[0].max()) for picture in pictures] == [0, 255]
    assert pictures_of([torch.full((1, 3, 2, 2), 5.0)])[0][0].tolist() == [[[0] * 3] * 2] * 2  # type: ignore[index]


@pytest.mark.parametrize(
    "view",
    [
        torch.zeros(2),
        torch.zeros(2, 9, dtype=torch.int64),
        torch.zeros(2, 2, 8, 8),
        torch.zeros(2, 4, 8, 8, dtype=torch.uint8),
        torch.zeros(2, 3, 1, 8, dtype=torch.uint8),
        torch.zeros(2, 9, 64),
        torch.full((2, 8, 8), 1.5),
        torch.full((2, 3, 8, 8), float("nan")),
        torch.zeros(2, 8, 8, dtype=torch.int64),
        torch.zeros(2, 3, 4, 8, 8, dtype=torch.uint8),
    ],
    ids=lambda view: f"{view.dtype} {tuple(view.shape)}",
)
def test_what_is_no_picture(view: torch.Tensor) -> None:
    assert pictures_of([view]) is None


def test_many_views_are_laid_together_row_by_row() -> None:
    parts = [np.full((4, 4, 3), value, np.uint8) for value in range(9)]
    whole = lay_together(parts)
    assert whole.shape == (3 * 4 + 2, 3 * 4 + 2, 3)
    for number, part in enumerate(parts):
        row, column = divmod(number, 3)
        assert np.array_equal(whole[5 * row : 5 * row + 4, 5 * column : 5 * column + 4], part)
    assert (whole[4] == 128).all()
    assert (whole[:, 9] == 128).all()


def test_strips_have_the_labels_of_their_own_part() -> None:
    def views(shift: int) -> Views:
        return {
            "rotation.images": uint8(4, 3, 8, 8),
            "rotation.labels": torch.arange(4),
            "jigsaw.images": uint8(9, 3, 4, 4),
            "jigsaw.labels": torch.tensor([37 + shift]),
            "simclr.images": uint8(2, 3, 8, 8),
            "one": uint8(1, 3, 8, 8),
            "turn": torch.tensor([shift]),
            "vectors": torch.zeros(1, 5),
        }

    strips = list(strips_of([views(0), views(1)]))
    assert [(strip.name, strip.number, strip.parts, strip.labels) for strip in strips] == [
        ("rotation.images", None, 4, ("labels: 0, 1, 2, 3", "labels: 0, 1, 2, 3")),
        ("jigsaw.images", None, 9, ("labels: 37", "labels: 38")),
        ("simclr.images", 1, 1, ()),
        ("simclr.images", 2, 1, ()),
        ("one", None, 1, ("turn: 0", "turn: 1")),
    ]
    assert all(len(strip.pictures) == 2 for strip in strips)


def test_two_views_have_each_its_own_label() -> None:
    views = {"images": uint8(2, 3, 8, 8), "labels": torch.tensor([3, 1])}
    assert [(strip.number, strip.labels) for strip in strips_of([views])] == [(1, ("labels: 3",)), (2, ("labels: 1",))]


@pytest.mark.parametrize("order", ["by image", "by view"])
@pytest.mark.parametrize("place", range(3))
def test_an_images_rows_are_those_that_change_with_it(order: str, place: int) -> None:
    def views_of(images: torch.Tensor) -> Views:
        numbers = torch.arange(6)
        if order == "by view":
            return {"images": images.repeat(2, 1, 1, 1), "labels": numbers, "grid": images[:, :1]}
        return {"images": images.repeat_interleave(2, dim=0), "labels": numbers, "grid": images[:, :1]}

    images = uint8(3, 3, 8, 8)
    changed = images.clone()
    changed[place] = 255 - changed[place]
    own = own_rows(views_of(images), views_of(changed), place, 3)
    rows = [2 * place, 2 * place + 1] if order == "by image" else [place, place + 3]
    assert own["labels"].tolist() == rows
    assert torch.equal(own["images"], images[[place, place]])
    assert torch.equal(own["grid"], images[place : place + 1, :1])


def test_rows_that_depend_on_no_image_are_in_the_order_of_the_images() -> None:
    views = {"mask": torch.arange(6).view(6, 1)}
    assert own_rows(views, views, 1, 3)["mask"].flatten().tolist() == [2, 3]


@settings(deadline=None)  # the first call may wait for the machine
@given(st.lists(st.integers(-1, 4), max_size=30), st.integers(0, 10))
def test_sample_images_are_spread_over_the_grades(grades: list[int], count: int) -> None:
    chosen = spread_over_grades(grades, count)
    assert len(set(chosen)) == len(chosen) == min(count, len(grades))
    picked = [grades[position] for position in chosen]
    labelled = [grade for grade in picked if grade >= 0]
    assert picked == sorted(labelled) + [-1] * (len(picked) - len(labelled))
    present = sorted(set(grades) - {-1})
    if -1 in picked:
        assert len(labelled) == sum(grade >= 0 for grade in grades)
    if 2 <= count <= len(present):
        assert len(set(labelled)) == count
        assert (labelled[0], labelled[-1]) == (present[0], present[-1])
    if count >= len(present):
        for grade in present:  # no grade has two more than another that has images left
            rest = [other for other in present if labelled.count(other) < grades.count(other)]
            assert all(labelled.count(grade) <= labelled.count(other) + 1 for other in rest)
