"""What is asked of a pretext task, and whether the answers are what its interface promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from sslkit.blame import blame, refuse
from sslkit.engine.heads import check_loss, in_words
from sslkit.interfaces import PretextTask
from sslkit.types import StepOutput, Views


def make_views(task: PretextTask[Any], images: torch.Tensor, generator: torch.Generator) -> Views:
    """Return a task's views of images, uint8 (N, 3, H, W).

    Raises:
        PluginError: if the task fails, or returns something else than tensors with a whole number of rows an image.
    """
    with blame(task.provenance, "make_views()"):
        views = task.make_views(images, generator)
    return _checked(views, task, "make_views()", len(images))


def show_views(task: PretextTask[Any], views: Views, num_images: int) -> Views:
    """Return a task's views of so many images as they are to be looked at.

    Raises:
        PluginError: if the task fails, or returns something else than tensors with a whole number of rows an image.
    """
    with blame(task.provenance, "show_views()"):
        shown = task.show_views(views)
    return _checked(shown, task, "show_views()", num_images)


def views_an_image(views: Views, num_images: int) -> float:
    """Return how many images a task makes of one: rows of uint8 (N, 3, H, W), of whatever size, among its views.

    What is called ``targets`` is to be predicted, and is no view of the encoder's. Where there are no such images, the
    rows of the first view count.

    Args:
        views: what a task's ``make_views`` returned.
        num_images: of how many images.

    Example:
        >>> images = torch.zeros(8, 3, 4, 4, dtype=torch.uint8)
        >>> views_an_image({"images": images, "targets": images, "labels": torch.zeros(8)}, 2)
        4.0
    """
    shown = [
        view
        for name, view in views.items()
        if view.ndim == 4 and view.shape[1] == 3 and view.dtype == torch.uint8 and not name.endswith("targets")
    ]
    return sum(map(len, shown or list(views.values())[:1])) / num_images


def take_step(task: PretextTask[Any], views: Views, call: Callable[[Views], Any] | None = None) -> StepOutput:
    """Return what a forward pass of a task yields.

    Args:
        task: the task.
        views: a batch of its views.
        call: what computes the pass, if it is not the task itself but something around it.

    Raises:
        PluginError: if the task fails, or returns something else than a loss and metrics.
    """
    with blame(task.provenance, "forward()"):
        output = (call or task)(views)
    if not isinstance(output, StepOutput):
        raise refuse(task.provenance, "forward()", in_words(output), "a StepOutput")
    check_loss(output.loss, task, "forward()")
    for name, value in output.metrics.items():
        if not isinstance(value, torch.Tensor) or value.ndim:
            raise refuse(
                task.provenance, "forward()", f"the metric {name!r} as {in_words(value)}", "0-d tensors by name"
            )
    return output


def _checked(views: Views, task: PretextTask[Any], call: str, num_images: int) -> Views:
    wrong = next(_wrong_views(views, num_images), None)
    if wrong is not None:
        wanted = f"tensors by name, each with a whole number of rows for each of the {num_images} images"
        raise refuse(task.provenance, call, wrong, wanted)
    return views


def _wrong_views(views: object, num_images: int) -> Iterator[str]:
    """Yield what is wrong with views, in words."""
    if not isinstance(views, dict):
        yield in_words(views)
        return
    if not views:
        yield "no view"
    for name, view in views.items():
        if not isinstance(view, torch.Tensor) or view.ndim == 0 or len(view) == 0 or len(view) % num_images:
            yield f"{name!r} as {in_words(view)}"
