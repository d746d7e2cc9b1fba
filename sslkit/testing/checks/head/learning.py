"""What a head promises to come to: it learns what there is to learn, and nothing else."""

from __future__ import annotations

import numpy as np
import torch

from sslkit.metrics import quadratic_weighted_kappa
from sslkit.testing.outcome import expect
from sslkit.testing.subjects import HeadSubject
from sslkit.types import Prediction

_FALL = 0.3
"""Share of the first loss by which training on separable representations brings it down at least."""

_LEARNT = 0.6
"""Quadratic weighted kappa on such representations that were not trained on, at least."""


def check_loss_falls(subject: HeadSubject) -> None:
    """Two hundred updates on separable representations bring the loss down by three tenths at least.

    What cannot be learnt there is not learnt anywhere: look at the sign of the loss, and at terms that never fall.
    """
    losses = subject.trained[1]
    expect(bool(np.isfinite(losses).all()), "the loss did not stay finite in two hundred updates")
    expect(
        losses[0] - losses[-1] >= _FALL * abs(losses[0]),
        f"two hundred updates brought the loss from {losses[0]:.4g} to {losses[-1]:.4g} only",
    )


def check_predictions_are_learnt(subject: HeadSubject) -> None:
    """After these updates it grades other such representations well: a quadratic weighted kappa of 0.6 at least.

    Classes are decoded in the order in which they are encoded. Look at what ``predict`` makes of the logits.
    """
    targets = subject.targets(7, seed=1)
    head = subject.trained[0]
    logits = subject.logits(head, subject.clusters(targets, seed=1))
    kappa = _kappa(subject, targets, subject.predict(head, logits))
    expect(kappa >= _LEARNT, f"on separable representations the predictions have a kappa of {kappa:.2f} only")


def check_shuffled_labels_score_at_chance(subject: HeadSubject) -> None:
    """Where labels say nothing of the images, the predictions on others score at chance, whatever has been called.

    ``predict`` is to know of the logits alone. A head that keeps the targets of the last loss, of a test set say, gets
    scores for what nobody has learnt. Keep no targets.
    """
    head, targets = subject.make(), subject.targets(30)
    subject.train(head, subject.noise(len(targets)), targets, num_updates=20)
    test_targets = subject.targets(100, seed=2)
    logits = subject.logits(head, subject.noise(len(test_targets), seed=2))
    head.loss(logits.clone(), test_targets.clone())
    kappa = _kappa(subject, test_targets, subject.predict(head, logits))
    expect(
        abs(kappa) <= 0.3,
        f"on labels that were shuffled the predictions have a kappa of {kappa:.2f}; does predict() know the targets?",
    )


def _kappa(subject: HeadSubject, targets: torch.Tensor, prediction: Prediction) -> float:
    predicted = prediction.classes.numpy()
    return quadratic_weighted_kappa(targets.numpy(), predicted, subject.num_classes) or 0.0
