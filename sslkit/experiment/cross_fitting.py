"""Cut points, temperatures and thresholds, fitted to images that the model they serve was not trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from sslkit.blame import blame
from sslkit.checksums import seal, successor
from sslkit.experiment.cell import CellJob
from sslkit.experiment.nearest import NearestNeighbours
from sslkit.experiment.scoring import (
    Decoder,
    ScoredImages,
    fit_threshold,
    read_predictions,
    score,
    write_predictions,
)
from sslkit.experiment.study import Study
from sslkit.files import write_atomically, write_json

FITTED = "fitted.safetensors"
"""The file of a cell's folder that holds what was fitted across folds, where anything was."""


def cross_fit(study: Study, cells: Sequence[CellJob]) -> None:
    """Fit each cell's head and its threshold to scores of images that the cell has labels of; rewrite its results.

    Each image is scored by the cell that tested it (same task, arm, share and repetition), never by one that learnt
    from it; only images within the cell's own labels are used. Where no cell has scored any of them, the head's fixed
    decoding stays and the threshold is undefined.
    """
    head = study.make_head()
    if not head.cross_fitted and head.positive_from is None:
        return

    def key(cell: CellJob) -> tuple[str, str, float, int]:
        return cell.pretext, cell.arm, cell.fraction, cell.repetition

    for _, group in groupby(sorted((cell for cell in cells if cell.done), key=key), key=key):
        members = list(group)
        scored = [read_predictions(cell.folder / "predictions.csv") for cell in members]
        logits_of = {name: logits for images in scored for name, logits in zip(images.ids, images.logits, strict=True)}
        for cell, images in zip(members, scored, strict=True):
            rows = np.array([row for row in cell.training_rows if cell.recipe.ids[row] in logits_of], dtype=np.int64)
            targets = cell.recipe.grades[rows]
            logits = torch.stack([logits_of[cell.recipe.ids[row]] for row in rows]) if len(rows) else images.logits[:0]
            decoder, fitted = _fit(study, cell, logits, torch.from_numpy(targets))
            threshold = fit_threshold(decoder, logits, targets)
            scores = score(decoder, images.logits, images.targets, threshold)
            result = {**cell.coordinates, **scores, "cell": cell.cell_id}
            if result != json.loads((cell.folder / "result.json").read_text(encoding="utf-8")):
                _rewrite(cell, decoder, fitted, images, result)


def _fit(
    study: Study, cell: CellJob, logits: torch.Tensor, targets: torch.Tensor
) -> tuple[Decoder, dict[str, torch.Tensor]]:
    """Return what decodes a cell's logits, and those of its buffers that fitting has moved."""
    head = study.make_head()
    if cell.arm == "knn":  # votes of neighbours are decoded without the head
        return NearestNeighbours(head), {}
    before = {name: value.clone() for name, value in head.named_buffers()}
    if head.cross_fitted and len(targets):
        with blame(head.provenance, "fit()"):
            head.fit(logits, targets)
    buffers = dict(head.named_buffers())
    return head, {name: value.contiguous() for name, value in buffers.items() if not torch.equal(value, before[name])}


def _rewrite(
    cell: CellJob,
    decoder: Decoder,
    fitted: dict[str, torch.Tensor],
    images: ScoredImages,
    result: dict[str, Any],
) -> None:
    """Replace what was fitted beside the cell's weights, the predictions, and the result, all of them or none."""
    fit, predictions, scores = (cell.folder / name for name in (FITTED, "predictions.csv", "result.json"))
    if fitted:
        write_atomically(successor(fit), lambda file: file.write(save(fitted)))
    write_predictions(successor(predictions), decoder, images.logits, images.ids, images.groups, images.targets)
    write_json(successor(scores), result)
    names = [path.name for path in (predictions, scores)]
    seal(cell.folder, [*names, FITTED] if fitted else names, without=[] if fitted else [FITTED])
