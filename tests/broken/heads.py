"""Heads that are broken in one way each."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sslkit import DownstreamHead, PluginConfig, Prediction


class Sound(DownstreamHead[PluginConfig]):
    """Three classes by cross-entropy, and an offset that is fitted to how frequent each of them is."""

    name = "sound"
    api_version = 1
    class_names = ("none", "some", "much")
    positive_from: ClassVar[int | None] = 1
    cross_fitted = True

    def __init__(self, config: PluginConfig, num_features: int) -> None:
        super().__init__(config, num_features)
        self.linear = nn.Linear(num_features, self.num_classes)
        self.register_buffer("offset", torch.zeros(self.num_classes))

    def grade(self, label: str | int) -> int:
        if label not in self.class_names:
            raise ValueError(f"the label {label!r} is no class; accepted: {', '.join(self.class_names)}")
        return self.class_names.index(label)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits.float(), targets)

    def fit(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        self.offset.copy_(self.excess(logits, targets))

    def excess(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """By how much each class is more frequent than expected, in logarithms; one image of each added."""
        counts = torch.bincount(targets, minlength=self.num_classes)
        return ((counts + 1) / (logits.softmax(dim=1).sum(dim=0) + 1)).log()

    def predict(self, logits: torch.Tensor) -> Prediction:
        probabilities = (logits + self.offset).softmax(dim=1)
        return Prediction(probabilities.argmax(dim=1), probabilities)


class TwoClassesOfOneName(Sound):
    """Two of its classes cannot be told apart by name."""

    class_names = ("none", "some", "some")


class GradesByTheAlphabet(Sound):
    """Its grades are in the order in which folders are listed."""

    def grade(self, label):
        super().grade(label)
        return sorted(self.class_names).index(label)


class GradesWhateverItIs(Sound):
    """It takes any label, and most of them for the lowest class."""

    def grade(self, label):
        return self.class_names.index(label) if label in self.class_names else 0


class UnknownMetric(Sound):
    """It leads with a column that results.csv does not have."""

    primary_metric = "kappa"


class NothingIsNegative(Sound):
    """It counts every class as positive."""

    positive_from = 0


class DrawsFromNumpy(Sound):
    """Some of its weights come from another generator."""

    def __init__(self, config, num_features):
        super().__init__(config, num_features)
        nn.init.constant_(self.linear.bias, np.random.normal(0, 0.1))


class FixedWidth(Sound):
    """It takes representations of 16 numbers, whatever it is told."""

    def __init__(self, config, num_features):
        super().__init__(config, 16)


class CentresItsBatch(Sound):
    """It takes the mean of the batch off, in eval mode too."""

    def forward(self, features):
        return self.linear(features - features.mean(dim=0))


class LossOfOneRow(Sound):
    """Its loss is a list of one."""

    def loss(self, logits, targets):
        return super().loss(logits, targets)[None]


class MeansOverClasses(Sound):
    """Its loss is the mean over classes, and over none of an absent one."""

    def loss(self, logits, targets):
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
        return torch.stack([losses[targets == k].mean() for k in range(self.num_classes)]).mean()


class LogarithmOfSoftmax(Sound):
    """Its loss takes the logarithm of a probability that may be zero."""

    def loss(self, logits, targets):
        return F.nll_loss(logits.float().softmax(dim=1).log(), targets)


class UnusedParameter(Sound):
    """One of its parameters is left over."""

    def __init__(self, config, num_features):
        super().__init__(config, num_features)
        self.scale = nn.Parameter(torch.ones(1))


class ChangesItsLogits(Sound):
    """It fits in place."""

    def fit(self, logits, targets):
        super().fit(logits.sub_(logits.max(dim=1, keepdim=True).values), targets)


class MultipliesMatricesInItsLoss(Sound):
    """Autocast makes its loss one of half precision."""

    def loss(self, logits, targets):
        likelihood = logits.float().log_softmax(dim=1) @ F.one_hot(targets, self.num_classes).float().T
        return -likelihood.diagonal().mean()


class HasATermThatNeverFalls(Sound):
    """Most of its loss is a constant."""

    def loss(self, logits, targets):
        return super().loss(logits, targets) + 100


class DecodesBackwards(Sound):
    """It decodes the classes in the other direction."""

    def predict(self, logits):
        found = super().predict(logits)
        return Prediction(self.num_classes - 1 - found.classes, found.probabilities.flip(1))


class KeepsTheTargets(Sound):
    """It answers with the targets that its loss was last given."""

    def loss(self, logits, targets):
        self.known = targets
        return super().loss(logits, targets)

    def predict(self, logits):
        known = getattr(self, "known", ())
        if len(known) != len(logits):
            return super().predict(logits)
        return Prediction(known, F.one_hot(known, self.num_classes).float())


class ExponentialOverflows(Sound):
    """Its probabilities of large logits are no numbers."""

    def predict(self, logits):
        weights = (logits + self.offset).exp()
        probabilities = weights / weights.sum(dim=1, keepdim=True)
        return Prediction(probabilities.argmax(dim=1), probabilities)


class RanksWithinItsBatch(Sound):
    """It compares each image with the others of the batch."""

    def predict(self, logits):
        return super().predict(logits - logits.mean(dim=0))


class BreaksTiesByChance(Sound):
    """It draws lots."""

    def predict(self, logits):
        return super().predict(logits + 1e-6 * torch.rand_like(logits))


class PredictsByAParameter(Sound):
    """It decodes by what was trained."""

    def __init__(self, config, num_features):
        super().__init__(config, num_features)
        self.scale = nn.Parameter(torch.ones(1))

    def loss(self, logits, targets):
        return super().loss(logits * self.scale, targets)

    def predict(self, logits):
        return super().predict(logits * self.scale.detach())


class AsksForAGradient(Sound):
    """It asks for a gradient where there can be none."""

    def predict(self, logits):
        found = super().predict(logits.requires_grad_())
        return Prediction(found.classes, found.probabilities.detach())


class FitsAParameter(Sound):
    """It fits a weight."""

    def fit(self, logits, targets):
        super().fit(logits, targets)
        with torch.no_grad():
            self.linear.bias.add_(self.offset)


class FitsByChance(Sound):
    """It fits something else each time."""

    def fit(self, logits, targets):
        super().fit(logits, targets)
        self.offset.add_(0.01 * torch.rand(self.num_classes))


class FitsAnAttribute(Sound):
    """What it fits is in no buffer."""

    cut = 0.0

    def fit(self, logits, targets):
        self.cut = self.excess(logits, targets)

    def predict(self, logits):
        return super().predict(logits + self.cut)


class HoldsALambda(Sound):
    """It holds what cannot be pickled."""

    def __init__(self, config, num_features):
        super().__init__(config, num_features)
        self.link = lambda logits: logits


class KeepsEveryBatch(Sound):
    """It keeps a list of all logits that it has seen."""

    def __init__(self, config, num_features):
        super().__init__(config, num_features)
        self.seen = []

    def loss(self, logits, targets):
        self.seen.append(logits.detach())
        return super().loss(logits, targets)


BROKEN: dict[str, Any] = {
    "check_classes": TwoClassesOfOneName,
    "check_grades": GradesByTheAlphabet,
    "check_unknown_labels_are_refused": GradesWhateverItIs,
    "check_primary_metric": UnknownMetric,
    "check_positive_from": NothingIsNegative,
    "check_construction_is_seeded": DrawsFromNumpy,
    "check_any_width": FixedWidth,
    "check_rows_stand_alone": CentresItsBatch,
    "check_loss": LossOfOneRow,
    "check_absent_classes": MeansOverClasses,
    "check_huge_logits": LogarithmOfSoftmax,
    "check_gradient_reaches_every_parameter": UnusedParameter,
    "check_inputs_are_left_alone": ChangesItsLogits,
    "check_half_precision": MultipliesMatricesInItsLoss,
    "check_loss_falls": HasATermThatNeverFalls,
    "check_predictions_are_learnt": DecodesBackwards,
    "check_shuffled_labels_score_at_chance": KeepsTheTargets,
    "check_predictions": ExponentialOverflows,
    "check_rows_are_predicted_alone": RanksWithinItsBatch,
    "check_predict_is_repeatable": BreaksTiesByChance,
    "check_predict_uses_no_parameter": PredictsByAParameter,
    "check_predict_takes_logits_of_inference": AsksForAGradient,
    "check_fit_changes_buffers_alone": FitsAParameter,
    "check_fit_is_repeatable": FitsByChance,
    "check_state_round_trips": FitsAnAttribute,
    "check_copies_and_pickles": HoldsALambda,
    "check_memory_does_not_grow": KeepsEveryBatch,
}
SOUND = Sound
