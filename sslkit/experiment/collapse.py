"""What a pretraining's log says of collapse: whether the backbone has come to say the same of every image.

How that is measured is told in [collapse_watch][sslkit.experiment.collapse_watch].
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLLAPSED = 0.1
"""Share of the untrained network's spread below which a representation is called collapsed.

Measured on computed photographs of 32 and 64 pixels, with residual, dense, ConvNeXt and vision-transformer backbones:
tasks that had learnt something ended at 0.24 of it and more (rotation, SimCLR and SimSiam; learning rates of 1e-5 to
1e-2; up to 120 epochs), tasks that reward sameness, once they had learnt it, at 0.05 and less.
"""


def looks_of(log: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines of a pretraining's log at which the representation was looked at."""
    return [line for line in log if {"feature_spread", "untrained_spread"} <= line.keys()]


def is_collapsed(look: Mapping[str, Any]) -> bool:
    """Return whether the representation was collapsed at such a line."""
    return bool(look["feature_spread"] < COLLAPSED * look["untrained_spread"])


def ended_collapsed(log: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the representation was collapsed when a pretraining's log last looked at it."""
    return any(map(is_collapsed, looks_of(log)[-1:]))


def collapse_warning(line: Mapping[str, Any]) -> str:
    """Return what to say at once of a line of the log at which the representation is collapsed."""
    return (
        f"the representation is collapsed at epoch {line['epoch']}: the backbone says nearly the same of every image "
        f"(spread {line['feature_spread']:.2g}, untrained {line['untrained_spread']:.2g}). The run goes on; if this "
        "stays so, try a lower pretraining.learning_rate, or a pretext task that sameness does not solve"
    )


def collapse_sentence(task: str, folds: Sequence[str]) -> str:
    """Return what to say of a pretext task wherever the scores of its arms are shown."""
    where = "on all images" if list(folds) == ["all"] else f"fold{'s' * (len(folds) > 1)} {', '.join(folds)}"
    return (
        f"The representation of the pretext task {task!r} has collapsed ({where}): the backbone says nearly the same "
        "of every image. Scores of the arms that start from it say nothing of what pretraining could be worth."
    )


def collapse_notices(pretrainings: Iterable[tuple[str, Path]]) -> list[str]:
    """Return one sentence a pretext task of which a pretraining ended collapsed.

    Args:
        pretrainings: the task and the folder of each.
    """
    folds: dict[str, list[str]] = {}
    for task, folder in pretrainings:
        path = folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if ended_collapsed(map(json.loads, lines)):
            folds.setdefault(task, []).append(folder.name)
    return [collapse_sentence(task, found) for task, found in folds.items()]
