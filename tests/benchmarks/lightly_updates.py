"""SimCLR and BYOL as lightly's documentation builds them, to hold our speed against."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import timm
import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead, SimCLRProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import BYOLTransform, SimCLRTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

Method = Literal["simclr", "byol"]


class _Photographs(Dataset[Any]):
    """Photographs that are decoded and resized already: nothing is left to do but their views."""

    def __init__(self, images: npt.NDArray[np.uint8], transform: Callable[[Image.Image], list[torch.Tensor]]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        return self.transform(Image.fromarray(self.images[index]))


def lightly_updates(
    method: Method, images: npt.NDArray[np.uint8], batch_size: int, precision: str, workers: int
) -> Iterator[int]:
    """Pretrain ResNet-18 on photographs, uint8 (M, H, W, 3); yield the views of each update."""
    size = images.shape[1]
    if method == "simclr":
        transform: Any = SimCLRTransform(input_size=size)
    else:
        transform = BYOLTransform(BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size))
    loader = DataLoader(
        _Photographs(images, transform),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    model = _SimCLR() if method == "simclr" else _BYOL()
    model = model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4, fused=True)
    while True:
        for first, second in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = model(*(view.to(memory_format=torch.channels_last) for view in (first, second)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield 2 * len(first)


class _SimCLR(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("resnet18", num_classes=0)
        self.head = SimCLRProjectionHead(512, 512, 128)
        self.loss = NTXentLoss(temperature=0.1)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        projections = [self.head(self.backbone(view)) for view in (first, second)]
        loss: torch.Tensor = self.loss(*projections)
        return loss


class _BYOL(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("resnet18", num_classes=0)
        self.projection, self.prediction = BYOLProjectionHead(512, 1024, 256), BYOLPredictionHead(256, 1024, 256)
        self.slow_backbone, self.slow_projection = copy.deepcopy(self.backbone), copy.deepcopy(self.projection)
        for slow in (self.slow_backbone, self.slow_projection):
            deactivate_requires_grad(slow)
        self.loss = NegativeCosineSimilarity()

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        update_momentum(self.backbone, self.slow_backbone, m=0.99)
        update_momentum(self.projection, self.slow_projection, m=0.99)
        predicted = [self.prediction(self.projection(self.backbone(view))) for view in (first, second)]
        with torch.no_grad():
            targets = [self.slow_projection(self.slow_backbone(view)) for view in (first, second)]
        loss: torch.Tensor = (self.loss(predicted[0], targets[1]) + self.loss(predicted[1], targets[0])) / 2
        return loss
