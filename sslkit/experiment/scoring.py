"""A head's logits on test images: decoded, scored, written and read again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sslkit.engine.heads import decode
from sslkit.experiment.nearest import NearestNeighbours
from sslkit.files import write_csv
from sslkit.interfaces import DownstreamHead
from sslkit.metrics import evaluate, youden_threshold
from sslkit.types import Prediction

Decoder = DownstreamHead[Any] | NearestNeighbours
"""What turns logits into classes."""


@dataclass(frozen=True)
class ScoredImages:
    """What predictions.csv holds of the images of a test fold.

    Attributes:
        ids: the images.
        groups: their groups.
        targets: int64 (N,), their grades.
        predicted: int64 (N,), the grades that were predicted.
        logits: float32 (N, L), the head's output.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    targets: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    logits: torch.Tensor


def score(
    head: Decoder, logits: torch.Tensor, targets: npt.NDArray[np.int64], threshold: float | None = None
) -> dict[str, float | None]:
    """Return every metric of logits (N, L) against grades (N,), the referable ones at a threshold; None: undefined."""
    prediction = _decode(head, logits)
    return evaluate(
        targets,
        prediction.classes.numpy(),
        prediction.probabilities.numpy(),
        positive_from=head.positive_from,
        num_classes=head.num_classes,
        threshold=threshold,
    )


def fit_threshold(head: Decoder, logits: torch.Tensor, targets: npt.NDArray[np.int64]) -> float | None:
    """Return where to call an image positive, fitted to logits (M, L) and grades (M,); None where it is undefined."""
    if head.positive_from is None or not len(targets):
        return None
    probabilities = _decode(head, logits).probabilities.numpy()
    positive = probabilities[:, head.positive_from :].sum(axis=1, dtype=np.float64)
    return youden_threshold(targets >= head.positive_from, positive)


def write_predictions(
    path: Path,
    head: Decoder,
    logits: torch.Tensor,
    ids: Sequence[str],
    groups: Sequence[str],
    targets: npt.NDArray[np.int64],
) -> None:
    """Write predictions.csv: image, group, target, predicted, a probability a class, the logits."""
    prediction = _decode(head, logits)
    probabilities = [f"p_{k}" for k in range(head.num_classes)]
    outputs = [f"logit_{j}" for j in range(logits.shape[1])]
    rows = (
        {
            "image": name,
            "group": group,
            "target": target,
            "predicted": predicted,
            **dict(zip(probabilities, map(_shortest, shares), strict=True)),
            **dict(zip(outputs, map(_shortest, output), strict=True)),
        }
        for name, group, target, predicted, shares, output in zip(
            ids,
            groups,
            targets.tolist(),
            prediction.classes.tolist(),
            prediction.probabilities.numpy(),
            logits.numpy(),
            strict=True,
        )
    )
    write_csv(path, ["image", "group", "target", "predicted", *probabilities, *outputs], rows)


def read_predictions(path: Path) -> ScoredImages:
    """Read what [write_predictions][sslkit.experiment.scoring.write_predictions] wrote; float32 survives exactly."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    outputs = [column for column in rows[0] if column.startswith("logit_")]
    logits = np.array([[row[column] for column in outputs] for row in rows], dtype=np.float32)
    return ScoredImages(
        tuple(row["image"] for row in rows),
        tuple(row["group"] for row in rows),
        np.array([int(row["target"]) for row in rows], dtype=np.int64),
        np.array([int(row["predicted"]) for row in rows], dtype=np.int64),
        torch.from_numpy(logits),
    )


def _decode(head: Decoder, logits: torch.Tensor) -> Prediction:
    return head.predict(logits) if isinstance(head, NearestNeighbours) else decode(head, logits)


def _shortest(value: np.float32) -> str:
    """Return the shortest decimal that reads back as the same float32."""
    return str(value)
