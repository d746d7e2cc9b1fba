"""Contrastive predictive coding: which patch comes further down?

Van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, arXiv 1807.03748, and
Hénaff et al., "Data-Efficient Image Recognition with Contrastive Predictive Coding", 2019, arXiv 1905.09272. An image
is cut into a grid of overlapping patches, each of which the encoder makes a vector of. A network that sees a patch's
own row and the rows above predicts, by one linear map for each distance, the vectors of the patches further down in the
same column. They are to be told from those of all other patches of the batch (InfoNCE, equation 4).

Deviations from the papers:

- By default no patch that is predicted shares a pixel with those that the prediction is made from: predictions begin
  two rows further down (``first_step``), and the overlap of neighbours is rounded down.
- The encoder is any backbone, and keeps its BatchNorm. Hénaff et al. found that its statistics tell of the patches to
  be predicted, and took LayerNorm. Here the rows go through the encoder one after the other, and every row has
  statistics of its own, over the images and columns: nothing of a row below reaches a context.
- A LayerNorm stands on the representation, so that the losses are alike for all backbones.
- The grid is 5 by 5 and not 7 by 7, for small images; ``grid = 7`` at 256 pixels gives the papers' patches of 64.
- Patches come from the square inscribed in the images' mask: one with a piece of the mask would tell its place.
- A patch lies at random in its cell, as the first paper's subcrop of 60 in 64 pixels, but is not padded back.
- Dropping colour shows one channel in the place of all three, where the second paper sets two to zero; the factor of
  brightness stands for its further changes of a patch. The whole image is not cropped.
- Predictions run downwards alone, as in the first paper; the second has them in four directions.
- The loss is the mean over places and steps, not the sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from sslkit import (
    PluginConfig,
    PretextTask,
    StepOutput,
    TaskContext,
    Views,
    cut_squares,
    gather,
    hookimpl,
    normalize,
    representation,
)
from sslkit_cpc.context import RowCausalNetwork
from sslkit_cpc.loss import info_nce
from sslkit_cpc.patches import PatchGrid, alter_patches, make_patch_grid

__all__ = ["ContrastivePredictiveCoding", "CpcConfig", "RowCausalNetwork", "info_nce"]

WIDTH = 256
TARGET_FEATURES = 64
CONTEXT_BLOCKS = 5
PREDICTION_SCALE = 0.1
"""Factor of the products with the targets. These four numbers are those of the appendix of Hénaff et al. 2019."""


class CpcConfig(PluginConfig):
    """Options of contrastive predictive coding.

    Attributes:
        grid: rows of patches, and as many columns. The papers have 7, of images of 256 pixels.
        overlap: what neighbouring patches share, as a share of their side. Half, as in the papers.
        first_step: how many rows below its context the nearest patch lies that is predicted. At an overlap of a half,
            those one row below share pixels with the context.
        last_step: the same of the farthest one. Not set: down to the lowest row.
        jitter: how much larger a cell of the grid is than its patch, which lies in it at random, as a share of the
            cell's side; at least one pixel unless 0.
        one_channel: share of patches that are shown without colour: one channel of them, drawn each time, in the place
            of all three.
        flip: share of patches that are mirrored, left and right.
        brightness: factors of a patch's brightness are 1 - brightness to 1 + brightness; 0 leaves it.
        patch_size: side in pixels to which patches are resized (bilinear, antialiased), where a backbone takes no
            images as small as they are. Not set: patches are as they are cut, and no pixel is resampled.
    """

    grid: int = Field(5, ge=3, le=9)
    overlap: float = Field(0.5, ge=0, le=0.75)
    first_step: int = Field(2, ge=1, le=8)
    last_step: int | None = Field(None, ge=1, le=8)
    jitter: float = Field(0.0625, ge=0, le=0.5)
    one_channel: float = Field(0.5, ge=0, le=1)
    flip: float = Field(0.5, ge=0, le=1)
    brightness: float = Field(0.2, ge=0, le=1)
    patch_size: int | None = Field(None, ge=8, le=1024)

    @property
    def steps(self) -> range:
        """How many rows below its context each predicted patch lies."""
        return range(self.first_step, 1 + (self.grid - 1 if self.last_step is None else self.last_step))

    @model_validator(mode="after")
    def _steps_fit_the_grid(self) -> Self:
        if self.last_step is not None and self.last_step < self.first_step:
            raise ValueError(
                f"last_step = {self.last_step} lies above first_step = {self.first_step}; give as much or more"
            )
        farthest = max(self.first_step, self.last_step or 0)
        if farthest >= self.grid:
            raise ValueError(
                f"a grid of {self.grid} rows has none that lies {farthest} below another; give steps of "
                f"{self.grid - 1} or less, or grid = {farthest + 1} or more"
            )
        return self


class ContrastivePredictiveCoding(PretextTask[CpcConfig]):
    """Learns to tell the patches further down an image, from those above them, among all patches of the batch.

    Views: ``images``, uint8 (G N, 3, p, p) with G = grid * grid, whose row G i + grid r + c is the patch of image i in
    row r and column c. Metrics: ``accuracy``, 0..1, how often the right patch is the likeliest, a mean over the steps;
    ``chance``, what guessing comes to, 1 / (G N).

    Attributes:
        grid: where the patches are cut.

    Raises:
        ValueError: if the images are too small for the patches.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=96, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> backbone = timm.create_model("resnet18", num_classes=0)
        >>> task = ContrastivePredictiveCoding(CpcConfig(), backbone, context)
        >>> views = task.make_views(torch.zeros(2, 3, 96, 96, dtype=torch.uint8), torch.Generator())
        >>> views["images"].shape, task(views).loss.shape
        (torch.Size([50, 3, 30, 30]), torch.Size([]))
    """

    name = "cpc"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = CpcConfig
    family = "contrast"
    paper = "van den Oord, Li and Vinyals 2018, arXiv 1807.03748"

    def __init__(self, config: CpcConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.grid = _grid_of(config, context)
        width: int = backbone.head_hidden_size  # type: ignore[assignment]
        self.vector_layer = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, WIDTH))
        self.context_network = RowCausalNetwork(WIDTH, CONTEXT_BLOCKS)
        self.target_layer = nn.Conv2d(WIDTH, TARGET_FEATURES, 1)
        self.predictors = nn.ModuleList(nn.Conv2d(WIDTH, TARGET_FEATURES, 1, bias=False) for _ in config.steps)

    @classmethod
    def view_sizes(cls, config: CpcConfig, context: TaskContext) -> tuple[int, ...]:
        """Return the side of a patch, as it is cut or resized."""
        grid = _grid_of(config, context)
        return (config.patch_size or grid.patch,)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Cut the patches out of each image, and change each by itself."""
        grid, config = self.grid, self.config
        offsets = torch.randint(grid.jitter + 1, (len(images), grid.rows**2, 2), generator=generator)
        corners = grid.corners() + offsets
        patches = alter_patches(
            cut_squares(images, corners, grid.patch),
            generator,
            one_channel=config.one_channel,
            flip=config.flip,
            brightness=config.brightness,
        )
        if config.patch_size is not None:
            patches = F.interpolate(patches, config.patch_size, mode="bilinear", antialias=True)
        return {"images": patches}

    def probe_labels(self, views: Views) -> torch.Tensor:
        """Return the place of each patch, 0..grid * grid - 1, which a piece of frame would tell."""
        places = torch.arange(self.grid.rows**2, device=views["images"].device)
        return places.repeat(len(views["images"]) // len(places))

    def forward(self, views: Views) -> StepOutput:
        """Predict patches from those above them, and find them among all."""
        vectors = self.vectors(views["images"])
        contexts, targets = gather(self.context_network(vectors)), gather(self.target_layer(vectors))
        predictions = [
            predictor(contexts[:, :, :-step])
            for step, predictor in zip(self.config.steps, self.predictors, strict=True)
        ]
        with torch.autocast(targets.device.type, enabled=False):
            loss, accuracy = info_nce(
                [prediction.float() for prediction in predictions],
                targets.float(),
                self.config.steps,
                PREDICTION_SCALE,
            )
        candidates = targets.shape[0] * targets.shape[2] * targets.shape[3]
        return StepOutput(loss, {"accuracy": accuracy, "chance": torch.full_like(accuracy, 1 / candidates)})

    def vectors(self, patches: torch.Tensor) -> torch.Tensor:
        """Return the patches' vectors, (N, 256, rows, columns), of uint8 (N * rows * columns, 3, p, p).

        The rows go through the encoder one by one: statistics of BatchNorm over all of them would tell a context of the
        patches below it.
        """
        side = self.grid.rows
        grids = patches.view(-1, side, side, *patches.shape[1:])
        vectors = []
        for row in range(side):
            images = grids[:, row].flatten(0, 1).contiguous(memory_format=torch.channels_last)
            h = representation(self.encoder, normalize(images, self.context.mean, self.context.std))
            vectors.append(self.vector_layer(h).reshape(-1, side, WIDTH))
        return torch.stack(vectors, dim=1).permute(0, 3, 1, 2)


def _grid_of(config: CpcConfig, context: TaskContext) -> PatchGrid:
    return make_patch_grid(context.image_size, context.mask, config.grid, config.overlap, config.jitter)


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce contrastive predictive coding."""
    return (ContrastivePredictiveCoding,)
