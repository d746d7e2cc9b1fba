"""What others would write, to hold our speed against: the same work without the toolkit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2


def bare_updates(size: int, views: int, precision: str) -> Iterator[int]:
    """Train DenseNet121 on one batch that is in memory already; yield the views of each update."""
    model = timm.create_model("densenet121", num_classes=4).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    images = torch.randn(views, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 4, (views,))
    while True:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield views


class _Rotations(Dataset[Any]):
    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths = paths
        self.transform = v2.Compose(
            [
                v2.ToImage(),
                v2.CenterCrop(384),
                v2.Resize((size, size), antialias=True),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = self.transform(Image.open(self.paths[index]).convert("RGB"))
        return torch.stack([torch.rot90(image, k, (1, 2)) for k in range(4)]), torch.arange(4)


def plain_updates(paths: Sequence[Path], size: int, images: int) -> Iterator[int]:
    """Pretrain as a careful user would by hand, with a DataLoader, in fp32; yield the views of each update."""
    loader = DataLoader(_Rotations(paths, size), images, shuffle=True, num_workers=2, drop_last=True)
    model = timm.create_model("densenet121", num_classes=4).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    while True:
        for views, labels in loader:
            loss = torch.nn.functional.cross_entropy(model(views.flatten(0, 1)), labels.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield labels.numel()


def rate_of(updates: Iterator[int], seconds: float, warm: int = 2) -> float:
    """Return the views a second of a training that yields the views of each update."""
    for _ in range(warm):
        next(updates)
    started, views = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        views += next(updates)
    return views / (time.perf_counter() - started)


def decode_with_pillow(path: Path, size: int) -> Image.Image:
    """Decode a whole image and resize it."""
    return Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
