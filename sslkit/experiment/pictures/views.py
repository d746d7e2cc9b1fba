"""What a pretext task sees of some training images: the very views that the first epoch trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sslkit.blame import blame
from sslkit.engine.networks import load_batch
from sslkit.engine.tasks import make_views, show_views
from sslkit.experiment.pictures.sample import SampleImage
from sslkit.experiment.pictures.tensors import Strip, is_label, strips_of
from sslkit.experiment.view_stream import VIEW_CHUNK, ViewStream
from sslkit.interfaces import PretextTask
from sslkit.types import Views


@dataclass(frozen=True)
class SeenViews:
    """What a task sees.

    Attributes:
        strips: its views that are pictures.
        unchanged: names of tensors that show the images as they are, and are not among the strips.
        unseen: names of tensors that are neither pictures nor their labels.
    """

    strips: tuple[Strip, ...]
    unchanged: tuple[str, ...]
    unseen: tuple[str, ...]


def seen_views(stream: ViewStream, sample: Sequence[SampleImage]) -> SeenViews:
    """Return what a pretext task sees of images in the first epoch, bit for bit.

    Args:
        stream: what a pretraining of the task is shown.
        sample: the images, at least one.

    Raises:
        PluginError: if the task fails, or its views are not what its interface promises.
    """
    task = stream.make_task()
    of_images = [_own_views(stream, task, image) for image in sample]
    images = load_batch(stream.images, np.array([image.row for image in sample]))
    unchanged = tuple(
        name
        for name in of_images[0]
        if all(torch.equal(views[name], images[place : place + 1]) for place, views in enumerate(of_images))
    )
    shown = [{name: view for name, view in views.items() if name not in unchanged} for views in of_images]
    strips = tuple(strips_of(shown))
    pictures = {strip.name for strip in strips} | set(unchanged)
    unseen = tuple(name for name, view in of_images[0].items() if name not in pictures and not is_label(view))
    return SeenViews(strips, unchanged, unseen)


def _own_views(stream: ViewStream, task: PretextTask[Any], image: SampleImage) -> Views:
    """Return an image's own rows of the views of its chunk."""
    with blame(task.provenance, "before_update()"):
        task.before_update(image.update / stream.num_updates)
    rows = stream.rows_of(image.update)[VIEW_CHUNK * image.chunk :][:VIEW_CHUNK]
    images = load_batch(stream.images, rows)

    def views_of(images: torch.Tensor) -> Views:
        views = make_views(task, images, stream.generator(image.update, image.chunk))
        return show_views(task, views, len(images))

    views = views_of(images)
    changed = images.clone()
    changed[image.place] = 255 - changed[image.place]
    return own_rows(views, views_of(changed), image.place, len(images))


def own_rows(views: Views, changed: Views, place: int, num_images: int) -> Views:
    """Return the rows of views that show one image.

    Most tasks put the views of an image one after another, some all first views before all second ones. Which rows are
    an image's is told by those that change with it; rows that depend on no image, such as labels, are ordered as
    those of another tensor with as many.

    Args:
        views: of ``num_images`` images.
        changed: the same, drawn in the same way, when the image at ``place`` is another one.
        place: of the image.
        num_images: in the chunk.
    """
    found: dict[int, torch.Tensor] = {}
    for name, view in views.items():
        other = changed.get(name)
        if other is None or other.shape != view.shape:
            continue
        rows = (view != other).flatten(1).any(dim=1).nonzero().flatten() if view.ndim > 1 else view[:0]
        if len(rows) * num_images == len(view):
            found.setdefault(len(view), rows)
    in_order = {len(view): torch.arange(len(view)).view(num_images, -1)[place] for view in views.values()}
    return {name: view[found.get(len(view), in_order[len(view)])] for name, view in views.items()}
