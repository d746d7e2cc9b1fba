"""The head between representations and prototypes."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F


class PrototypeHead(nn.Module):
    """Three linear layers, a point on the sphere, and its cosine to each prototype (Caron et al. 2021, appendix C).

    The prototypes are the rows of the last layer, brought to length one in each pass. That is weight normalisation
    (Salimans and Kingma 2016, arXiv 1602.07868) with a fixed scale of one, and leaves nothing in the module but a
    parameter.

    Args:
        num_features: D, of the representation.
        hidden_width: of the two layers between.
        bottleneck: of the sphere's space.
        num_prototypes: K.
        batch_norm: put BatchNorm before each GELU; in training mode it needs two rows at least.

    Example:
        >>> head = PrototypeHead(512, hidden_width=64, bottleneck=16, num_prototypes=10)
        >>> cosines = head(torch.randn(4, 512))
        >>> cosines.shape, bool((cosines.abs() <= 1.001).all())
        (torch.Size([4, 10]), True)
    """

    def __init__(
        self, num_features: int, hidden_width: int, bottleneck: int, num_prototypes: int, *, batch_norm: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, following in itertools.pairwise((num_features, hidden_width, hidden_width)):
            layers.append(nn.Linear(width, following, bias=not batch_norm))
            layers += [nn.BatchNorm1d(following), nn.GELU()] if batch_norm else [nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_width, bottleneck))
        self.prototypes = nn.Parameter(torch.empty(num_prototypes, bottleneck))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                # So that what tells images apart is not lost beside the biases, which AdamW moves as fast as weights.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(self.prototypes)

    def forward(self, h: torch.Tensor, *, frozen: bool = False) -> torch.Tensor:
        """Return the cosines of representations, (N, D), to the prototypes: (N, K).

        Args:
            h: the representations.
            frozen: give the prototypes no gradient, so that no optimiser moves them.
        """
        z = F.normalize(self.layers(h), dim=1)
        prototypes = self.prototypes.detach() if frozen else self.prototypes
        return F.linear(z, F.normalize(prototypes, dim=1))
