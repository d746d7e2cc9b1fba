"""Measures whether a representation has collapsed: whether the backbone says the same of every image.

A pretext task can be solved so, or a learning rate can end so, while the loss looks as good as ever. Two figures that
do not depend on the scale of the representation are followed through a pretraining:

- the *spread* of its directions, after Chen and He 2021 (arXiv 2011.10566, section 4.1): the standard deviation of the
  l2-normalised representation in each dimension, over what it would be if no direction were preferred;
- their *effective rank*, after RankMe (Garrido, Balestriero, Najman and LeCun 2023, arXiv 2210.02885): how many
  dimensions they fill.

The spread is compared with that of the untrained network: photographs of one kind look much alike to it, to some
architectures more than to others.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sslkit.config.schema import PretrainingConfig
from sslkit.data.sharded_images import Images
from sslkit.engine.networks import Encoder, batches_of, encode_rows, load_batch, reestimate_batch_statistics
from sslkit.engine.precision import Compute
from sslkit.experiment.collapse import collapse_warning, is_collapsed, looks_of
from sslkit.experiment.representation_probe import evenly_drawn
from sslkit.interfaces import PretextTask

MAX_IMAGES = 128
"""Images that are looked at, at most."""

_MOST_LOOKS = 20
_MOST_COST = 0.03
"""Share of a pretraining's computation that looking may take, beyond what one look takes."""

_INITIAL_SHARE = 0.05
"""Share of BatchNorm's statistics that the initial ones may still have when the encoder is looked at."""

_ROUNDING = 1e-6
"""Spread that float32 makes of nothing."""


def feature_spread(features: npt.NDArray[np.floating[Any]]) -> float:
    """Return how far the directions of representations lie apart, from 0 (one direction) to 1 (none is preferred).

    The standard deviation of the l2-normalised representation, by the root of its mean square over dimensions, times
    the root of D.

    Args:
        features: (M, D).

    Example:
        >>> feature_spread(np.ones((4, 3))), feature_spread(np.concatenate([np.eye(3), -np.eye(3)]))
        (0.0, 1.0)
    """
    directions = _directions(features)
    spread = math.sqrt(np.square(directions - directions.mean(axis=0)).sum(axis=1).mean())
    return spread if spread > _ROUNDING else 0.0


def effective_rank(features: npt.NDArray[np.floating[Any]]) -> float:
    """Return how many dimensions the directions of representations fill.

    The exponential of the entropy of the singular values' shares (Roy and Vetterli 2007, "The effective rank"). The
    mean is not taken off: what float32 leaves around it once everything else is gone has full rank.

    Args:
        features: (M, D).

    Returns:
        1 (all the same) to the smaller of M and D; 0 where every representation is zero.

    Example:
        >>> round(effective_rank(np.ones((4, 3))), 3), round(effective_rank(np.eye(3)), 3)
        (1.0, 3.0)
    """
    values = np.linalg.svd(_directions(features), compute_uv=False)
    shares = values[values > 0] / values.sum()
    return math.exp(-(shares * np.log(shares)).sum()) if len(shares) else 0.0


def _directions(features: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return representations of length one; one that is zero has no direction, and stays."""
    wide = features.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    directions: npt.NDArray[np.float64] = wide / np.where(lengths > 0, lengths, 1)
    return directions


class CollapseWatch:
    """Looks now and then, in float32, at what a task's encoder says of the same few images; training notices nothing.

    The encoder is looked at as it would be kept, BatchNorm's running statistics included: estimated anew on the images
    they would blow up whatever differences are left. The untrained encoder has none yet, and they are estimated for it.

    Args:
        task: the pretext task, untrained as yet.
        images: uint8 (M, H, W, 3), the cache.
        rows: the images of the pretraining.
        settings: its budget.
        compute: what it is trained on.
    """

    def __init__(
        self,
        task: PretextTask[Any],
        images: Images,
        rows: npt.NDArray[np.int64],
        settings: PretrainingConfig,
        compute: Compute,
    ) -> None:
        self._task, self._images = task, images
        self._rows = evenly_drawn(rows, MAX_IMAGES)
        self._compute = replace(compute, precision="fp32")
        self._epochs, self._every = settings.epochs, epochs_between(settings.epochs, len(rows), len(self._rows))
        self._settled = updates_to_settle(task.encoder)
        untrained = self._encoder(copy.deepcopy(task.encoder))
        reestimate_batch_statistics(untrained, self._batches(settings.batch_size))
        self._untrained_spread = feature_spread(self._features(untrained))
        self._warned = False

    def due(self, epoch: int, updates_done: int) -> bool:
        """Return whether to look at the end of an epoch: at even distances, and at the last in any case."""
        return (epoch % self._every == 0 or epoch == self._epochs) and updates_done >= self._settled

    def look(self) -> dict[str, float]:
        """Return what goes into the log: ``feature_spread``, ``untrained_spread`` and ``effective_rank``.

        Raises:
            TrainingDivergedError: if the representation is not finite.
        """
        features = self._features(self._encoder(self._task.encoder))
        return {
            "feature_spread": feature_spread(features),
            "untrained_spread": self._untrained_spread,
            "effective_rank": effective_rank(features),
        }

    def warning(self, log: Sequence[Mapping[str, Any]]) -> str | None:
        """Return what to say at once of a log, the first time that it gives reason to.

        One look in the first epochs gives none: while the learning rate rises a representation may pass through this.
        """
        looks = looks_of(log)
        needed = 1 if looks[-1]["epoch"] == self._epochs else 2
        lately = looks[-needed:]
        if self._warned or len(lately) < needed or not all(map(is_collapsed, lately)):
            return None
        self._warned = True
        return collapse_warning(looks[-1])

    def _encoder(self, backbone: nn.Module) -> Encoder:
        return Encoder(backbone, self._task.context.mean, self._task.context.std, self._compute)

    def _batches(self, size: int) -> list[torch.Tensor]:
        size = min(size, len(self._rows))
        whole = self._rows[: len(self._rows) // size * size]  # a short batch would weigh as much as the others
        parts = batches_of(whole, size)
        return [self._compute.send(load_batch(self._images, part)) for part in parts if len(part) > 1]

    def _features(self, encoder: Encoder) -> npt.NDArray[np.float32]:
        features: npt.NDArray[np.float32] = encode_rows(encoder, self._images, self._rows).cpu().numpy()
        return features


def epochs_between(epochs: int, num_images: int, num_watched: int) -> int:
    """Return how many epochs lie between two looks, so that they cost little.

    A look takes a forward pass of the images watched, the one before training two; an epoch takes at least a forward
    and a backward pass, which counts two, of all images.

    Example:
        >>> epochs_between(200, 2900, 128), epochs_between(20, 480, 120), epochs_between(2, 40, 40)
        (10, 4, 2)
    """
    affordable = int(_MOST_COST * 3 * epochs * num_images / num_watched) - 2
    return math.ceil(epochs / min(max(affordable, 1), _MOST_LOOKS))


def updates_to_settle(encoder: nn.Module) -> int:
    """Return after how many updates BatchNorm's running statistics have all but forgotten the initial ones.

    Example:
        >>> updates_to_settle(nn.BatchNorm1d(4)), updates_to_settle(nn.LayerNorm(4))
        (29, 0)
    """
    layers = [layer for layer in encoder.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    slowest = min((layer.momentum for layer in layers if layer.momentum is not None), default=1.0)
    return math.ceil(math.log(_INITIAL_SHARE) / math.log1p(-slowest)) if slowest < 1 else 0
