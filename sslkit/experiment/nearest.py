"""k-NN evaluation: grades by the nearest labelled images, with nothing trained."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from sslkit.interfaces import DownstreamHead
from sslkit.types import Prediction

_NEIGHBOURS = 20
_TEMPERATURE = 0.07


class NearestNeighbours:
    """Decodes votes into classes; stands where a head would.

    Wu, Xiong, Yu and Lin 2018 (arXiv 1805.01978), with the neighbours and temperature that Caron et al. 2021
    (arXiv 2104.14294) evaluate with: each of the 20 nearest labelled images votes for its class with weight
    exp(cosine similarity / 0.07).

    Args:
        head: whose classes are voted for.
    """

    def __init__(self, head: DownstreamHead[Any]) -> None:
        self.num_classes, self.positive_from = head.num_classes, head.positive_from

    def votes(self, features: torch.Tensor, targets: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Return each class's share of the votes.

        Args:
            features: float (M, D), of the labelled images.
            targets: int64 (M,), their classes.
            queries: float (N, D), of the images to grade.

        Returns:
            float32 (N, K); each row sums to one.
        """
        similarity = F.normalize(queries.float(), dim=1) @ F.normalize(features.float(), dim=1).T
        nearest = similarity.topk(min(_NEIGHBOURS, len(features)), dim=1)
        weights = (nearest.values / _TEMPERATURE).softmax(dim=1)
        votes = torch.zeros(len(queries), self.num_classes, device=weights.device)
        return votes.scatter_add_(1, targets.to(weights.device)[nearest.indices], weights)

    def predict(self, votes: torch.Tensor) -> Prediction:
        """Return the class with the most votes, and the shares as probabilities."""
        return Prediction(votes.argmax(dim=1), votes)
