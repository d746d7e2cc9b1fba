"""Views, which are tensors of whatever a task likes, as pictures: which of them are, and how they are laid out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sslkit.experiment.pictures.encoding import Pixels
from sslkit.types import Views

_MOST_BESIDE = 2
"""Views of an image that are shown one below the other; more are laid into one picture, in rows and columns."""

_SMALLEST = 2
_GAP = 128
"""The grey between the parts of a picture that is laid together."""


@dataclass(frozen=True)
class Strip:
    """One view of each sample image, or all views of one name laid into one picture.

    Attributes:
        name: of the tensor.
        number: which view of the image it is, from 1; None where there is no other.
        parts: views that each picture is laid together from; 1: it is a single one.
        pictures: one a sample image.
        labels: one text a picture, such as ``"labels: 1"``; empty where the views have no labels.
    """

    name: str
    number: int | None
    parts: int
    pictures: tuple[Pixels, ...]
    labels: tuple[str, ...]


def strips_of(of_images: Sequence[Views]) -> Iterator[Strip]:
    """Yield what can be shown of views.

    Args:
        of_images: for each sample image its own rows of every tensor; the names are the same for all.
    """
    for name in of_images[0]:
        pictures = pictures_of([views[name] for views in of_images])
        if pictures is None:
            continue
        count = len(pictures[0])
        values = [labels_of(views, name, count) for views in of_images]
        if count > _MOST_BESIDE:
            labels = tuple(_in_words(own) for own in values) if values[0] else ()
            yield Strip(name, None, count, tuple(map(lay_together, pictures)), labels)
            continue
        for place in range(count):
            labels = tuple(_in_words(own, place) for own in values) if values[0] else ()
            number = place + 1 if count > 1 else None
            yield Strip(name, number, 1, tuple(parts[place] for parts in pictures), labels)


def pictures_of(tensors: Sequence[torch.Tensor]) -> list[list[Pixels]] | None:
    """Return the pictures in tensors of one name, each a list of rows; None where they are no pictures.

    Pictures are (R, 3, H, W) and (R, 1, H, W), uint8, bool or float, and square maps (R, H, H), bool or with values in
    0..1. Floats beyond 0..1 are stretched from the least to the greatest of all.

    Args:
        tensors: one a sample image, with the image's rows.
    """
    view = torch.cat([tensor.detach().cpu() for tensor in tensors])
    map_alone = view.ndim == 3 and view.shape[1] == view.shape[2]
    view = view[:, None] if map_alone else view
    if view.ndim != 4 or view.shape[1] not in (1, 3) or min(view.shape[2:]) < _SMALLEST:
        return None
    if view.dtype == torch.bool:
        view = view.to(torch.uint8) * 255
    elif view.is_floating_point():
        view = view.double()
        least, greatest = view.min(), view.max()
        if not view.isfinite().all() or (map_alone and (least < 0 or greatest > 1)):
            return None
        if least < 0 or greatest > 1:
            view = (view - least) / (greatest - least).clamp(min=1e-12)
        view = (view * 255).round().to(torch.uint8)
    if view.dtype != torch.uint8:
        return None
    pixels = view.permute(0, 2, 3, 1).contiguous().numpy()
    pixels = pixels[..., 0] if pixels.shape[3] == 1 else pixels
    ends = np.cumsum([len(tensor) for tensor in tensors])
    return [list(part) for part in np.split(pixels, ends[:-1])]


def lay_together(parts: Sequence[Pixels]) -> Pixels:
    """Return equal pictures in rows and columns, with a gap between them, row by row.

    Example:
        >>> lay_together([np.zeros((8, 8), np.uint8)] * 5).shape
        (17, 26)
    """
    height, width = parts[0].shape[:2]
    columns = math.ceil(math.sqrt(len(parts)))
    rows = math.ceil(len(parts) / columns)
    gap = max(1, round(width / 16))
    whole = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, *parts[0].shape[2:]), _GAP, dtype=np.uint8
    )
    for number, part in enumerate(parts):
        row, column = divmod(number, columns)
        top, left = row * (height + gap), column * (width + gap)
        whole[top : top + height, left : left + width] = part
    return whole


def labels_of(views: Views, name: str, count: int) -> dict[str, list[int]]:
    """Return the labels of an image's rows of a tensor, by their name: one for all of its rows, or one for each.

    Labels are whole numbers, one a row or one an image. They belong to the tensors that share their prefix up to the
    last dot, as those of one part of a combination do.

    Example:
        >>> labels_of({"0.images": torch.zeros(2, 3, 8, 8), "0.labels": torch.tensor([1, 3])}, "0.images", 2)
        {'labels': [1, 3]}
    """
    prefix = name.rpartition(".")[0]
    return {
        label.rpartition(".")[2]: [int(value) for value in view]
        for label, view in views.items()
        if is_label(view) and label.rpartition(".")[0] == prefix and len(view) in (1, count)
    }


def is_label(view: torch.Tensor) -> bool:
    """Return whether a tensor holds whole numbers, one a row."""
    return view.ndim == 1 and not view.is_floating_point() and not view.is_complex()


def _in_words(labels: Mapping[str, Sequence[int]], place: int | None = None) -> str:
    """Return labels as text, those of one place among an image's rows or all of them."""
    chosen = {name: values if place is None or len(values) == 1 else [values[place]] for name, values in labels.items()}
    return "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in chosen.items())
