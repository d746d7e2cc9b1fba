"""Masked autoencoder: what is behind the patches that are hidden?

He, Chen, Xie, Li, Dollár and Girshick, "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv 2111.06377.
A vision transformer encodes the few patches of an image that it is shown; a small transformer is told the places of the
others and predicts their pixels. The loss is the squared error of these, each channel of a patch brought to mean 0 and
standard deviation 1.

Other networks cannot leave patches out. They are trained as in Xie, Zhang, Cao, Lin, Bao, Yao, Dai and Hu, "SimMIM: a
Simple Framework for Masked Image Modeling", CVPR 2022, arXiv 2111.09886: the hidden patches have one learned colour,
and a linear layer on the last map predicts pixels. SparK (Tian et al. 2023, arXiv 2301.03580), which is made for
convolutions, needs every one of them to be replaced by a sparse one, and so the network's own code.

Deviations from the papers:

- Where images have a mask, patches that lie wholly outside it are never hidden or predicted, and a transformer is not
  shown them; of patches at its rim, only pixels inside count.
- The encoder has its own positions, learned in most of timm's networks; MAE's are fixed. The decoder's are fixed.
- The decoder is smaller: 2 blocks of width 256 in place of 8 of 512, since encoders here are.
- Each channel of a patch is normalised by itself, not all together. In photographs of one hue, as of the retina, the
  difference between the channels is nearly all that a patch's three have in variance, and is the same everywhere.
- One grey level squared is added to a patch's variance, in place of 1e-6, so that noise is not made a target.
- SimMIM's token replaces a patch's embedding; a convolutional network has none, so that here it is a colour. Errors are
  squared, and patches normalised, as MAE's are; SimMIM has absolute errors of plain pixels. Patches are smaller in
  smaller images.
- Images are neither cropped nor mirrored at random, as MAE's are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from sslkit import (
    PluginConfig,
    PretextTask,
    StepOutput,
    TaskContext,
    Views,
    feature_map,
    feature_map_shape,
    gather,
    hookimpl,
    normalize,
    token_backbone,
    why_no_feature_map,
)
from sslkit_mae.decoders import LinearDecoder, TokenDecoder, at_places
from sslkit_mae.loss import normalized_patches, reconstruction_loss, restored_patches, target_variance
from sslkit_mae.patches import default_patch, num_hidden, patchify, shown_pixels, unpatchify

__all__ = ["Mae", "MaeConfig", "normalized_patches", "patchify", "reconstruct", "reconstruction_loss", "unpatchify"]

_TOKEN_RATIO, _MAP_RATIO = 0.75, 0.6

_LEAST_VARIANCE = 1e-3
"""Below it, as in images of one colour, the share that is explained is not that of anything seen."""


class MaeConfig(PluginConfig):
    """Options of the masked autoencoder.

    Attributes:
        mask_ratio: share of the patches that is hidden. Not set: 0.75 for vision transformers, as in MAE, and 0.6 for
            other networks, as in SimMIM.
        patch: side in pixels of the patches that are hidden from networks other than vision transformers, which have
            their own. Not set: the power of two nearest to a seventh of the image's side: 32 at 224, 8 at 64.
        normalize_patches: predict pixels relative to the mean and standard deviation of a channel of their patch, not
            plain ones.
        decoder_width: of the tokens of a vision transformer's decoder; a multiple of 32. Other networks have a linear
            layer.
        decoder_depth: blocks of a vision transformer's decoder. In the paper (table 1a) fine-tuning is as good with one
            as with eight.
    """

    mask_ratio: float | None = Field(None, gt=0, lt=1)
    patch: int | None = Field(None, ge=2, le=256)
    normalize_patches: bool = True
    decoder_width: int = Field(256, ge=32, le=1024, multiple_of=32)
    decoder_depth: int = Field(2, ge=1, le=12)


class Mae(PretextTask[MaeConfig]):
    """Learns to predict the pixels of hidden patches from those that are shown.

    Views: ``images``, uint8 (N, 3, H, W), whole; ``seen`` and ``hidden``, int64 (N, V) and (N, M), the numbers of the
    patches that are shown and hidden, counted row by row, in ascending order. Metrics: ``explained``, the share of the
    hidden pixels' variance that the prediction accounts for: 1 is perfect, and 0 what one colour for all would have.

    There is nothing for the audit to probe, so that ``probe_labels`` is left as it is: a view has no one answer.

    Attributes:
        tokens: how the encoder takes part of its patches; None: it cannot, and sees hidden ones in one colour.
        patch: side of the patches in pixels.
        mask_colour: that colour, float (3,), on the scale of normalised images; it begins at the mean.

    Raises:
        sslkit.errors.PluginError: if the network has neither tokens nor a feature map.
        ValueError: if the image has fewer than two patches.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Mae(MaeConfig(), timm.create_model("test_vit", num_classes=0, img_size=64), context)
        >>> views = task.make_views(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.Generator())
        >>> views["seen"].shape, views["hidden"].shape, task(views).loss.shape
        (torch.Size([2, 4]), torch.Size([2, 12]), torch.Size([]))
    """

    name = "mae"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = MaeConfig
    family = "generation"
    paper = "He et al. 2021, arXiv 2111.06377"

    shown: torch.Tensor
    decoder: TokenDecoder | LinearDecoder

    def __init__(self, config: MaeConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.tokens = token_backbone(backbone)
        self.patch = _patch_of(config, backbone, context)
        shown = shown_pixels(context.mask, context.image_size, self.patch)
        self.register_buffer("shown", shown, persistent=False)
        # No buffer: it follows from the options, and views are made on the CPU wherever the network is.
        self.places = shown.any(dim=1).nonzero().flatten()
        if len(self.places) < 2:
            raise ValueError(_too_large(self.patch, context))
        self.num_hidden = num_hidden(len(self.places), _ratio_of(config, self.tokens is not None))
        map_shape = feature_map_shape(backbone, context.image_size)
        if self.tokens is not None:
            channels, rows, columns = map_shape
            width, depth = config.decoder_width, config.decoder_depth
            self.decoder = TokenDecoder(channels, (rows, columns), width, depth, 3 * self.patch**2)
        else:
            self.mask_colour = nn.Parameter(torch.zeros(3))
            self.decoder = LinearDecoder(map_shape, context.image_size, self.patch)

    @classmethod
    def supports(cls, config: MaeConfig, backbone: nn.Module, context: TaskContext) -> str | None:
        """Return why a network cannot be trained to fill in what is hidden, or None if it can."""
        tokens = token_backbone(backbone)
        if tokens is not None and config.patch not in (None, tokens.patch_size):
            return (
                f"patch = {config.patch} is for networks without tokens; the patches of this vision transformer have "
                f"{tokens.patch_size} px: leave patch out"
            )
        patch = _patch_of(config, backbone, context)
        if shown_pixels(context.mask, context.image_size, patch).any(dim=1).sum() < 2:
            return _too_large(patch, context)
        return why_no_feature_map(backbone, context.image_size)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Draw which patches of each image are hidden."""
        order = torch.rand(len(images), len(self.places), generator=generator).argsort(dim=1)
        hidden, seen = (self.places[order[:, part]] for part in (slice(self.num_hidden), slice(self.num_hidden, None)))
        views = {"seen": seen.sort(dim=1).values, "hidden": hidden.sort(dim=1).values}
        return {"images": images, **{name: places.to(images.device) for name, places in views.items()}}

    def show_views(self, views: Views) -> Views:
        """Return the images, and beside them what is left of each for the network to see, uint8 (N, 3, H, W)."""
        images = views["images"]
        fill = (255 * torch.tensor(self.context.mean)).round().to(images).view(3, 1, 1)
        return {"images": images, "seen": torch.where(self.covered(views["hidden"]), fill, images)}

    def forward(self, views: Views) -> StepOutput:
        """Predict the hidden patches, and compare them with what was there."""
        predicted = self.predict(views)
        with torch.autocast(predicted.device.type, enabled=False):
            targets, shown = self.targets(views)
            loss = reconstruction_loss(predicted, targets, shown)
            parts = torch.stack([loss.detach(), target_variance(targets, shown)])
            of_all, variance = gather(parts[None]).mean(dim=0)
            explained = 1 - of_all / variance.clamp(min=_LEAST_VARIANCE)
        return StepOutput(loss, {"explained": explained})

    def predict(self, views: Views) -> torch.Tensor:
        """Return what the network makes of the hidden patches of views, float32 (N, M, 3 * patch * patch)."""
        x = normalize(views["images"], self.context.mean, self.context.std)
        seen, hidden = views["seen"], views["hidden"]
        if self.tokens is not None:
            encoded = self.tokens.encode_tokens(at_places(self.tokens.embed_patches(x), seen))
            predicted = self.decoder(encoded, seen, hidden)
        else:
            covered = self.covered(hidden)
            x = torch.where(covered, self.mask_colour.view(1, 3, 1, 1), x)
            predicted = self.decoder(feature_map(self.encoder, x), hidden)
        return predicted.float()  # type: ignore[no-any-return]

    def targets(self, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what hidden patches hold, float32 (N, M, 3 * patch * patch), and which pixels count, bool (N, M, P).

        Pixels are relative to their patch, or, with ``normalize_patches = false``, normalised as the network's input.
        """
        images, hidden = views["images"], views["hidden"]
        shown = self.shown[hidden]
        if self.config.normalize_patches:
            return normalized_patches(at_places(patchify(images.float(), self.patch), hidden), shown), shown
        x = normalize(images, self.context.mean, self.context.std)
        return at_places(patchify(x, self.patch), hidden), shown

    def covered(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return which pixels lie in hidden patches, int64 (N, M): bool (N, 1, H, W)."""
        patches = torch.zeros(len(hidden), len(self.shown), 1, dtype=torch.bool, device=hidden.device)
        patches = patches.scatter(1, hidden.unsqueeze(2), True).expand(-1, -1, self.patch**2)
        return unpatchify(patches, self.context.image_size, channels=1)


@torch.no_grad()
def reconstruct(task: Mae, views: Views) -> torch.Tensor:
    """Return images whose hidden patches hold what a task predicts, to look at.

    With ``normalize_patches`` a prediction lacks its patch's brightness and contrast, which are taken from the image.

    Args:
        task: in eval mode, on the views' device.
        views: from the task's ``make_views``.

    Returns:
        uint8 (N, 3, H, W).

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Mae(MaeConfig(), timm.create_model("resnet10t", num_classes=0), context)
        >>> views = task.make_views(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.Generator())
        >>> reconstruct(task.eval(), views).shape
        torch.Size([2, 3, 32, 32])
    """
    images, hidden = views["images"], views["hidden"]
    patches = patchify(images.float(), task.patch)
    predicted = task.predict(views)
    if task.config.normalize_patches:
        predicted = restored_patches(predicted, at_places(patches, hidden), task.shown[hidden])
    else:
        scale, shift = (
            torch.tensor(values, device=images.device).repeat_interleave(task.patch**2) * 255
            for values in (task.context.std, task.context.mean)
        )
        predicted = predicted * scale + shift
    shown = task.shown[hidden].repeat(1, 1, 3)
    predicted = torch.where(shown, predicted, at_places(patches, hidden))
    places = hidden.unsqueeze(2).expand_as(predicted)
    filled = unpatchify(patches.scatter(1, places, predicted), task.context.image_size)
    return filled.round().clamp(0, 255).to(torch.uint8)


def _patch_of(config: MaeConfig, backbone: nn.Module, context: TaskContext) -> int:
    tokens = token_backbone(backbone)
    return tokens.patch_size if tokens is not None else config.patch or default_patch(context.image_size)


def _ratio_of(config: MaeConfig, tokens: bool) -> float:
    return config.mask_ratio or (_TOKEN_RATIO if tokens else _MAP_RATIO)


def _too_large(patch: int, context: TaskContext) -> str:
    return (
        f"images of {context.image_size} px have fewer than two patches of {patch} px: one must be hidden, and one "
        "shown; raise images.size, or take smaller patches"
    )


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the masked autoencoder."""
    return (Mae,)
