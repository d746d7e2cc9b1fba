"""A head for the five grades of diabetic retinopathy.

Three encodings of a grade, of which the first two know that the grades are ordered:

- ``ordinal``: K - 1 logits, one a threshold; grade k lights the first k (Cheng, Wang and Pollastri, "A neural network
  approach to ordinal regression", IJCNN 2008, arXiv 0704.1028). The class is the number of logits above their cut
  points, which is in 0..K-1 whatever the logits are; there is no class below "no threshold passed".
- ``regression``: one number, trained by the squared error, whose minimum is the mean grade and which weighs an error as
  quadratic weighted kappa does. The class is the number of cut points below it.
- ``softmax``: K logits and cross-entropy, for comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from pydantic import model_validator
from torch import nn
from torch.nn import functional as F

from sslkit import DownstreamHead, PluginConfig, Prediction, hookimpl
from sslkit_dr.cut_points import fit_cut_points
from sslkit_dr.labels import GRADE_NAMES, grade_of
from sslkit_dr.temperature import fit_temperature

_SPREAD = 0.5
"""Standard deviation, in grades, that is assumed of a regression's error at temperature 1."""


class DRGradeConfig(PluginConfig):
    """Options of the head for diabetic retinopathy.

    Attributes:
        encoding: how a grade is put to the network.
        cut_points: "fixed" at logit 0 (ordinal) or half-way between grades (regression); "cross-fitted": where they
            maximise quadratic weighted kappa on images that the model was not trained on.
        temperature: "fixed" at 1; "cross-fitted": where the probabilities fit such images best. It changes
            probabilities and no grade. On few images it may end at its bounds, 1/20 and 20.
    """

    encoding: Literal["ordinal", "softmax", "regression"] = "ordinal"
    cut_points: Literal["fixed", "cross-fitted"] = "fixed"
    temperature: Literal["fixed", "cross-fitted"] = "fixed"

    @model_validator(mode="after")
    def _softmax_has_no_cut_points(self) -> DRGradeConfig:
        if self.encoding == "softmax" and self.cut_points == "cross-fitted":
            raise ValueError('cut_points = "cross-fitted" needs encoding = "ordinal" or "regression"; softmax has none')
        return self


def encode_ordinal(targets: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Light the first k of K-1 thresholds for grade k.

    Args:
        targets: int64 (N,) in 0..K-1.
        num_classes: K.

    Returns:
        float32 (N, K-1) of 0 and 1.

    Example:
        >>> encode_ordinal(torch.tensor([0, 2]), num_classes=4).tolist()
        [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    return (targets[:, None] > torch.arange(num_classes - 1, device=targets.device)).float()


def decode(scores: torch.Tensor, cut_points: torch.Tensor) -> torch.Tensor:
    """Count the scores above their cut points.

    Args:
        scores: float (N, K-1), or (N, 1) where one score is compared with all cut points.
        cut_points: float (K-1,).

    Returns:
        int64 (N,) in 0..K-1.

    Example:
        >>> decode(torch.tensor([[-1.0, -1.0], [2.0, -1.0]]), torch.zeros(2)).tolist()
        [0, 1]
    """
    return (scores > cut_points).sum(dim=1)


def ordinal_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Return the probability of each class, from the running minimum of the thresholds' probabilities.

    The thresholds are trained apart, so a later one can be likelier than an earlier one; without the minimum the
    difference, a probability, would be negative.

    Args:
        logits: float32 (N, K-1).

    Returns:
        float32 (N, K); each row is non-negative and sums to one.
    """
    passed = logits.sigmoid()
    # A running minimum; ONNX has no cummin.
    beyond = torch.stack([passed[:, : k + 1].amin(dim=1) for k in range(passed.shape[1])], dim=1)
    return F.pad(beyond, (1, 0), value=1.0) - F.pad(beyond, (0, 1), value=0.0)


def regression_probabilities(
    scores: torch.Tensor, cut_points: torch.Tensor, temperature: float | torch.Tensor = 1.0
) -> torch.Tensor:
    """Return a Gaussian's weight at each grade, about the predicted place on the scale.

    A score is first carried, linearly between cut points, to the scale on which they lie half-way between the grades.
    The likeliest grade is then the predicted class, up to rounding at the cut points themselves.

    Args:
        scores: float32 (N, 1).
        cut_points: float32 (K-1,), increasing.
        temperature: factor of the Gaussian's standard deviation, which is 0.5 grades at 1.

    Returns:
        float32 (N, K); each row is non-negative and sums to one.
    """
    return _log_weights(scores, cut_points, temperature).softmax(dim=1).float()


def scale_place(scores: torch.Tensor, cut_points: torch.Tensor) -> torch.Tensor:
    """Return where scores lie on the scale of grades, on which the cut points lie half-way between two grades.

    Args:
        scores: float32 (N, 1).
        cut_points: float32 (K-1,), increasing.

    Returns:
        float64 (N,), linear between cut points.

    Example:
        >>> scale_place(torch.tensor([[1.0], [4.0]]), torch.tensor([1.0, 3.0])).tolist()
        [0.5, 2.5]
    """
    num_classes = len(cut_points) + 1
    classes = decode(scores, cut_points)
    score, cuts = scores[:, 0].double(), cut_points.double()
    lower, upper = cuts[(classes - 1).clamp(min=0)], cuts[classes.clamp(max=num_classes - 2)]
    inner = classes - 0.5 + (score - lower) / (upper - lower)
    place = torch.where(classes == 0, 0.5 + score - cuts[0], inner)
    place = torch.where(classes == num_classes - 1, num_classes - 1.5 + score - cuts[-1], place)
    # Far out every grade's weight would underflow.
    return place.clamp(-num_classes, 2 * num_classes)


def _log_weights(scores: torch.Tensor, cut_points: torch.Tensor, temperature: float | torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the Gaussian's weight at each grade, up to a constant a row: float64 (N, K)."""
    distances = scale_place(scores, cut_points)[:, None] - torch.arange(len(cut_points) + 1, device=scores.device)
    return -0.5 * (distances / (_SPREAD * temperature)) ** 2


class DRGrade(DownstreamHead[DRGradeConfig]):
    """Grades diabetic retinopathy, 0 to 4; referable from grade 2.

    The linear layer starts as nearly nothing but its bias, at what holds if all grades are equally likely, so that a
    few updates are not spent on unlearning noise.

    Example:
        >>> head = DRGrade(DRGradeConfig(encoding="regression"), num_features=8)
        >>> head.predict(torch.tensor([[-7.0], [1.4], [9.0]])).classes.tolist()
        [0, 1, 4]
    """

    name = "dr-grade"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = DRGradeConfig
    class_names = GRADE_NAMES
    positive_from: ClassVar[int | None] = 2
    cut_points: torch.Tensor
    temperature: torch.Tensor

    def __init__(self, config: DRGradeConfig, num_features: int) -> None:
        super().__init__(config, num_features)
        self.cross_fitted = "cross-fitted" in (config.cut_points, config.temperature)
        thresholds = torch.arange(self.num_classes - 1)
        bias = {
            "ordinal": torch.logit(1 - (thresholds + 1) / self.num_classes),
            "softmax": torch.zeros(self.num_classes),
            "regression": torch.tensor([(self.num_classes - 1) / 2]),
        }[config.encoding]
        self.linear = nn.Linear(num_features, len(bias))
        nn.init.normal_(self.linear.weight, std=0.02 / math.sqrt(num_features))
        self.linear.bias.data.copy_(bias)
        if config.encoding != "softmax":
            self.register_buffer("cut_points", self._fixed_cut_points())
        self.register_buffer("temperature", torch.tensor(1.0))

    def grade(self, label: str | int) -> int:
        """Return the grade, 0..4, of a number, of its text, or of a grade's name.

        Raises:
            ValueError: if the label is no grade; the message lists what is accepted.
        """
        return grade_of(label)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map representations, float (N, D), to logits: (N, 4) ordinal, (N, 5) softmax, (N, 1) regression."""
        logits: torch.Tensor = self.linear(features)
        return logits

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean binary cross-entropy, cross-entropy or squared error, 0-d float32."""
        logits = logits.float()
        match self.config.encoding:
            case "ordinal":
                return F.binary_cross_entropy_with_logits(logits, encode_ordinal(targets, self.num_classes))
            case "softmax":
                return F.cross_entropy(logits, targets)
            case "regression":
                return F.mse_loss(logits[:, 0], targets.float())

    def fit(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Move cut points to where they maximise quadratic weighted kappa, then the temperature to where it fits best.

        Does nothing to what is configured as fixed.

        Args:
            logits: float32 (M, 4), (M, 5) or (M, 1), of images that the model was not trained on.
            targets: int64 (M,) in 0..4. Where all are of one grade, the fixed cut points stay.

        Raises:
            ValueError: if a logit is not finite.
        """
        logits, targets = _finite(logits).cpu(), targets.cpu()
        if self.config.cut_points == "cross-fitted":
            fitted = fit_cut_points(
                logits.expand(-1, self.num_classes - 1).numpy(),
                targets.numpy(),
                self._fixed_cut_points().numpy(),
                increasing=self.config.encoding == "regression",
            )
            self.cut_points.copy_(torch.from_numpy(fitted))
        if self.config.temperature == "cross-fitted":
            self.temperature.fill_(fit_temperature(lambda at: self._misfit(logits, targets, at)))

    def _misfit(self, logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
        """Return the mean negative log-likelihood of grades at a temperature, 0-d float64."""
        if self.config.encoding != "regression":
            scaled = logits.double() / temperature
            if self.config.encoding == "softmax":
                return F.cross_entropy(scaled, targets)
            return F.binary_cross_entropy_with_logits(scaled, encode_ordinal(targets, self.num_classes).double())
        return F.cross_entropy(_log_weights(logits, self.cut_points, temperature), targets)

    def predict(self, logits: torch.Tensor) -> Prediction:
        """Decode logits into grades, int64 (N,) in 0..4, and their probabilities, float32 (N, 5).

        Raises:
            ValueError: if a logit is not finite.
        """
        logits = _finite(logits)
        match self.config.encoding:
            case "ordinal":
                classes = decode(logits, self.cut_points)
                return Prediction(classes, ordinal_probabilities(logits / self.temperature))
            case "softmax":
                return Prediction(logits.argmax(dim=1), (logits / self.temperature).softmax(dim=1))
            case "regression":
                classes = decode(logits, self.cut_points)
                return Prediction(classes, regression_probabilities(logits, self.cut_points, self.temperature))

    def _fixed_cut_points(self) -> torch.Tensor:
        if self.config.encoding == "ordinal":
            return torch.zeros(self.num_classes - 1)
        return torch.arange(self.num_classes - 1) + 0.5


def _finite(logits: torch.Tensor) -> torch.Tensor:
    logits = logits.detach().float()
    if torch.compiler.is_compiling():  # a graph, such as ONNX's, cannot raise
        return logits
    if not torch.isfinite(logits).all():
        raise ValueError("a logit is not finite, so no grade can be read from it: the training has diverged")
    return logits


@hookimpl
def sslkit_heads() -> Iterable[type[DownstreamHead[Any]]]:
    """Announce the head for diabetic retinopathy."""
    return (DRGrade,)
