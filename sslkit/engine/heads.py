"""What is asked of a downstream head, and whether the answers are what its interface promises."""

from __future__ import annotations

from typing import Any

import torch

from sslkit.blame import blame, refuse
from sslkit.interfaces import DownstreamHead
from sslkit.types import Prediction


def check_classes(head: DownstreamHead[Any]) -> None:
    """Refuse a head whose classes are not two or more names.

    Raises:
        PluginError: naming the head.
    """
    with blame(head.provenance, "class_names"):
        names = list(head.class_names)
    if isinstance(head.class_names, str) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise refuse(head.provenance, "class_names", repr(head.class_names), "a tuple of two or more names")


def grade_of(head: DownstreamHead[Any], label: str | int) -> int:
    """Return the class of a label.

    Raises:
        ValueError: if the label is none of the head's classes.
        PluginError: if the head fails, or answers with no class.
    """
    with blame(head.provenance, "grade()", contract=(ValueError,)):
        grade = head.grade(label)
    if not isinstance(grade, int) or not 0 <= grade < head.num_classes:
        raise refuse(head.provenance, "grade()", repr(grade), f"a class in 0..{head.num_classes - 1}, or a ValueError")
    return grade


def loss_of(head: DownstreamHead[Any], features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of representations, float (N, D), against their classes, int64 (N,).

    Raises:
        PluginError: if the head fails, or its loss is none.
    """
    with blame(head.provenance, "loss()"):
        loss = head.loss(logits_of(head, features), targets)
    check_loss(loss, head, "loss()")
    return loss


def logits_of(head: DownstreamHead[Any], features: torch.Tensor) -> torch.Tensor:
    """Return the logits, float (N, anything), of representations, float (N, D).

    Raises:
        PluginError: if the head fails, or returns something else.
    """
    with blame(head.provenance, "forward()"):
        logits = head(features)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(features):
        raise refuse(head.provenance, "forward()", in_words(logits), f"logits ({len(features)}, anything)")
    return logits


def decode(head: DownstreamHead[Any], logits: torch.Tensor) -> Prediction:
    """Return classes and probabilities of float32 logits on the CPU.

    Raises:
        PluginError: if the head fails, or returns something else.
    """
    with blame(head.provenance, "predict()"):
        prediction = head.predict(logits)
    count, size = len(logits), head.num_classes
    if not _is_prediction(prediction, count, size):
        given = in_words(prediction)
        if isinstance(prediction, Prediction):
            given = f"classes {in_words(prediction.classes)} and probabilities {in_words(prediction.probabilities)}"
        wanted = f"a Prediction: classes int64 ({count},), each in 0..{size - 1}, and probabilities ({count}, {size})"
        raise refuse(head.provenance, "predict()", given, wanted)
    return prediction


def _is_prediction(value: object, count: int, size: int) -> bool:
    if not isinstance(value, Prediction):
        return False
    classes, shares = value.classes, value.probabilities
    return (
        isinstance(classes, torch.Tensor)
        and isinstance(shares, torch.Tensor)
        and (classes.dtype, tuple(classes.shape), tuple(shares.shape)) == (torch.int64, (count,), (count, size))
        and bool(((classes >= 0) & (classes < size)).all())
    )


def check_loss(loss: object, plugin: Any, call: str) -> None:
    """Refuse a loss that is not one differentiable number.

    Raises:
        PluginError: naming the plugin.
    """
    if not (isinstance(loss, torch.Tensor) and loss.ndim == 0 and loss.is_floating_point() and loss.requires_grad):
        fixed = ", detached from the parameters" if isinstance(loss, torch.Tensor) and not loss.requires_grad else ""
        wanted = "a loss that is one floating-point number: a 0-d tensor with a gradient"
        raise refuse(plugin.provenance, call, in_words(loss) + fixed, wanted)


def in_words(value: object) -> str:
    """Return what a value is, for messages: a tensor's dtype and shape, or a type's name."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__
