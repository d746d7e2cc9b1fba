"""What a pretext task promises to come to: it learns, and does not collapse."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sslkit.data.normalization import normalize
from sslkit.engine.networks import evaluation_mode, representation
from sslkit.experiment.collapse import COLLAPSED
from sslkit.experiment.collapse_watch import feature_spread
from sslkit.interfaces import PretextTask
from sslkit.testing.outcome import expect
from sslkit.testing.subjects import PretextTaskSubject

_FALL = 0.1
"""Share of the first loss by which a hundred updates on a few images bring it down at least."""


def check_loss_falls(subject: PretextTaskSubject) -> None:
    """A hundred updates on a dozen images bring the loss down by a tenth at least.

    What cannot be learnt there is not learnt anywhere: look at the labels, the sign of the loss, and the gradient.
    """
    losses = subject.trained.losses
    expect(bool(np.isfinite(losses).all()), "the loss did not stay finite in a hundred updates")
    first, last = float(np.mean(losses[:5])), float(np.mean(losses[-10:]))
    expect(
        first - last >= _FALL * abs(first),
        f"a hundred updates on a dozen images brought the loss from {first:.4g} to {last:.4g} only",
    )


def check_no_collapse(subject: PretextTaskSubject) -> None:
    """After these updates the encoder still tells images apart.

    A loss that sameness solves is solved so: the representation comes to be the same for every image. Negatives, a
    stop-gradient with a predictor, or a term for the spread prevent it.
    """
    images = subject.images(32, seed=9)
    untrained, trained = (_spread(task, images) for task in (subject.make(), subject.trained.task))
    expect(
        trained >= COLLAPSED * untrained,
        f"after a hundred updates the encoder says nearly the same of every image: a spread of {trained:.2g}, "
        f"untrained {untrained:.2g}",
    )


def _spread(task: PretextTask[Any], images: torch.Tensor) -> float:
    x = normalize(images, task.context.mean, task.context.std)
    with torch.no_grad():
        task.encoder.train()
        for _ in range(20):  # statistics of BatchNorm, of these images
            representation(task.encoder, x)
    with evaluation_mode(task.encoder):
        return feature_spread(representation(task.encoder, x).numpy())
