"""Jigsaw: where does each of nine shuffled tiles belong?

Noroozi and Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", ECCV 2016, arXiv
1603.09246. Nine tiles of an image are shuffled by one of a fixed set of permutations. Each goes through the encoder by
itself; a head that sees the nine representations learns by cross-entropy which permutation it was.

Against shortcuts there are, as in the paper: a random place of each tile in its cell, each tile's own mean and standard
deviation, and grey images among the coloured ones. Deviations from the paper:

- A gap that no tile enters lies between the cells; in the paper they touch, and tiles may.
- Tiles come from the square inscribed in the images' mask: a tile with a piece of the mask would tell its place.
- Colour channels are not shifted against each other: two pixels are much of a small tile.
- The head is smaller: 128 features a tile and 512 in all, not 512 and 4096.
- The encoder is any backbone, with all its strides and its BatchNorm, not AlexNet with a smaller first stride.
- Tiles can be resized (``tile_size``), for small images and backbones that do not take small ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from sslkit import PluginConfig, PretextTask, StepOutput, TaskContext, Views, cut_squares, hookimpl
from sslkit_jigsaw.permutations import choose_permutations
from sslkit_jigsaw.tiles import NUM_TILES, Grid, make_grid

TILE_FEATURES = 128
PUZZLE_FEATURES = 512

_LUMA = (77, 150, 29)
"""Weights of red, green and blue in brightness, of 256 (ITU-R BT.601)."""


class JigsawConfig(PluginConfig):
    """Options of the jigsaw task.

    Attributes:
        num_permutations: how many permutations there are to tell apart. The paper has 1000, and found fewer to be
            easier and to teach less.
        gap: pixels between neighbouring cells, which no tile enters, as a share of a third of the square that holds the
            nine; at least one pixel unless 0.
        jitter: how much larger a cell is than its tile, which lies in it at random, as a share of the same; at least
            one pixel unless 0. The paper's last version has 0.25, and no gap.
        grey: share of images whose tiles are shown without colour.
        tile_size: side in pixels to which tiles are resized (bilinear, antialiased), where a backbone takes no images
            as small as they are. Not set: tiles are as they are cut, and no pixel is resampled.
    """

    num_permutations: int = Field(100, ge=2, le=1000)
    gap: float = Field(0.1, ge=0, le=0.3)
    jitter: float = Field(0.15, ge=0, le=0.5)
    grey: float = Field(0.3, ge=0, le=1)
    tile_size: int | None = Field(None, ge=8, le=1024)


def standardize_tiles(tiles: torch.Tensor) -> torch.Tensor:
    """Bring each channel of each tile to mean 0 and standard deviation 1, so that brightness tells no neighbours.

    Args:
        tiles: uint8 (N, C, H, W).

    Returns:
        ``(tiles - mean) / sqrt(variance + 1)``, float32 of the same shape and in the same memory format. The one grey
        level squared keeps a tile of one colour finite, and the noise of a nearly even one small.

    Example:
        >>> standardize_tiles(torch.tensor([[[[0, 200]], [[7, 7]]]], dtype=torch.uint8)).round(decimals=3).tolist()
        [[[[-1.0, 1.0]], [[0.0, 0.0]]]]
    """
    pixels = tiles.float()
    variance, mean = torch.var_mean(pixels, dim=(2, 3), correction=0, keepdim=True)
    return (pixels - mean) * (variance + 1).rsqrt()


def grey_tiles(tiles: torch.Tensor) -> torch.Tensor:
    """Return the brightness of tiles in all three channels.

    Args:
        tiles: uint8 (N, 3, H, W).

    Returns:
        uint8 of the same shape.

    Example:
        >>> grey_tiles(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)).flatten().tolist()
        [77, 77, 77]
    """
    red, green, blue = (weight * channel for weight, channel in zip(_LUMA, tiles.int().unbind(dim=1), strict=True))
    brightness = (red + green + blue + 128) >> 8
    return brightness.to(torch.uint8).unsqueeze(1).expand_as(tiles)


class Jigsaw(PretextTask[JigsawConfig]):
    """Learns by which permutation the nine tiles of an image were shuffled.

    Views: ``images``, uint8 (9N, 3, t, t), whose row 9 i + p is the tile that image i shows at place p, counted row by
    row; and ``labels``, int64 (N,), the number of the permutation: the tile at place p comes from place
    ``permutations[label][p]``. Metrics: ``accuracy``, 0..1; chance is 1 / num_permutations.

    Attributes:
        permutations: uint8 (num_permutations, 9), from `choose_permutations`.

    Raises:
        ValueError: if the images are too small for nine tiles.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=96, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Jigsaw(JigsawConfig(), timm.create_model("resnet18", num_classes=0), context)
        >>> views = task.make_views(torch.zeros(2, 3, 96, 96, dtype=torch.uint8), torch.Generator())
        >>> views["images"].shape, task(views).loss.shape
        (torch.Size([18, 3, 25, 25]), torch.Size([]))
    """

    name = "jigsaw"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = JigsawConfig
    family = "context"
    paper = "Noroozi and Favaro 2016, arXiv 1603.09246"

    def __init__(self, config: JigsawConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        # No buffer: it follows from the options, and views are made on the CPU wherever the network is.
        self.permutations = torch.tensor(choose_permutations(config.num_permutations, NUM_TILES))
        self.grid = _grid_of(config, context)
        self.tile_layer = nn.Linear(backbone.head_hidden_size, TILE_FEATURES)  # type: ignore[arg-type]
        self.classifier = nn.Sequential(
            nn.Linear(NUM_TILES * TILE_FEATURES, PUZZLE_FEATURES),
            nn.ReLU(),
            nn.Linear(PUZZLE_FEATURES, config.num_permutations),
        )

    @classmethod
    def view_sizes(cls, config: JigsawConfig, context: TaskContext) -> tuple[int, ...]:
        """Return the side of a tile, as it is cut or resized."""
        grid = _grid_of(config, context)
        return (config.tile_size or grid.tile,)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Cut nine tiles out of each image and shuffle them."""
        num_images = len(images)
        labels = torch.randint(len(self.permutations), (num_images,), generator=generator)
        offsets = torch.randint(self.grid.jitter + 1, (num_images, NUM_TILES, 2), generator=generator)
        grey = torch.rand(num_images, generator=generator) < self.config.grey
        corners = self.grid.corners()[self._places(labels)] + offsets
        tiles = cut_squares(images, corners, self.grid.tile)
        rows = grey.repeat_interleave(NUM_TILES).to(images.device)
        tiles[rows] = grey_tiles(tiles[rows])
        if self.config.tile_size is not None:
            tiles = F.interpolate(tiles, self.config.tile_size, mode="bilinear", antialias=True)
        return {"images": tiles, "labels": labels.to(images.device)}

    def probe_labels(self, views: Views) -> torch.Tensor:
        """Return the place that each tile comes from, 0..8, which its colours or a piece of frame would tell."""
        return self._places(views["labels"]).flatten()

    def forward(self, views: Views) -> StepOutput:
        """Classify the permutations by cross-entropy."""
        encoder: Any = self.encoder
        tiles = standardize_tiles(views["images"])
        h = encoder.forward_head(encoder.forward_features(tiles), pre_logits=True)
        of_tiles = self.tile_layer(h).relu()
        logits = self.classifier(of_tiles.view(-1, NUM_TILES * TILE_FEATURES)).float()
        loss = F.cross_entropy(logits, views["labels"])
        accuracy = (logits.detach().argmax(dim=1) == views["labels"]).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})

    def _places(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the place that each shown tile comes from, int64 (N, 9)."""
        return self.permutations.to(labels.device)[labels].long()


def _grid_of(config: JigsawConfig, context: TaskContext) -> Grid:
    return make_grid(context.image_size, context.mask, config.gap, config.jitter)


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the jigsaw task."""
    return (Jigsaw,)
