"""Pretext tasks that break one promise each."""

from __future__ import annotations

import copy
import functools
import random
import threading
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field, field_validator
from torch import nn
from torch.nn import functional as F

from sslkit import PluginConfig, PretextTask, StepOutput, TaskContext, Views, normalize


class SoundConfig(PluginConfig):
    """Options of a sound task."""

    share: float = Field(0.5, gt=0, lt=1, description="Share of the images that are turned.")


class _Flip(PretextTask[Any]):
    """Learns whether an image was turned on its head."""

    name = "sound"
    Config: ClassVar[type[PluginConfig]] = SoundConfig

    def __init__(self, config: SoundConfig, backbone: Any, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.classifier = nn.Linear(backbone.head_hidden_size, 2)

    def fit(self, images: torch.Tensor) -> None:
        """Has no prior; here so that what overrides it has something to call."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        turned = torch.rand(len(images), generator=generator) < self.config.share
        views = torch.where(turned.view(-1, 1, 1, 1), images.flip(2, 3), images)
        return {"images": views, "labels": turned.long()}

    def probe_labels(self, views: Views) -> torch.Tensor | None:
        return views["labels"]

    def represent(self, views: Views) -> torch.Tensor:
        encoder: Any = self.encoder
        x = normalize(views["images"], self.context.mean, self.context.std)
        h: torch.Tensor = encoder.forward_head(encoder.forward_features(x), pre_logits=True)
        return h

    def forward(self, views: Views) -> StepOutput:
        logits = self.classifier(self.represent(views)).float()
        accuracy = (logits.detach().argmax(dim=1) == views["labels"]).float().mean()
        return StepOutput(F.cross_entropy(logits, views["labels"]), {"accuracy": accuracy})


class Sound(_Flip):
    """Learns whether an image was turned on its head."""

    api_version = 1


SOUND = Sound


class NamedWithABlank(Sound):
    """Cannot be written where a name is wanted."""

    name = "up side down"


class Versionless(_Flip):
    """Inherits its version from whatever sslkit is installed."""


class UndescribedConfig(PluginConfig):
    share: float = 0.5


class Undescribed(Sound):
    """Has an option of which nothing is said."""

    Config = UndescribedConfig


class DegreesConfig(SoundConfig):
    """Turns an option into another unit, whenever it is read."""

    angle: float = Field(180.0, description="In degrees; kept in radians.")

    @field_validator("angle")
    @classmethod
    def _to_radians(cls, angle: float) -> float:
        return angle * np.pi / 180


class Degrees(Sound):
    """Takes 180 degrees for 3.14 when its options are read again."""

    Config = DegreesConfig


class LaxConfig(SoundConfig):
    """Takes any option."""

    model_config = ConfigDict(extra="ignore")


class Lax(Sound):
    """Is deaf to slips of the pen."""

    Config = LaxConfig


class ThawedConfig(SoundConfig):
    """Can be changed."""

    model_config = ConfigDict(frozen=False)


class Thawed(Sound):
    """Shares with others what it may change."""

    Config = ThawedConfig


class Boastful(Sound):
    """Claims what nobody has heard of."""

    tags = frozenset({"bf16", "compile", "quantum"})


class Evasive(Sound):
    """Opts out of a check without a reason."""

    opt_outs: ClassVar[dict[str, str]] = {"check_compiles": "no"}


class Unseeded(Sound):
    """Begins from weights that numpy's generator has drawn."""

    def __init__(self, config: SoundConfig, backbone: Any, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.classifier.bias.data = torch.from_numpy(np.random.normal(0, 0.01, 2).astype(np.float32))


class Squatter(Sound):
    """Keeps a parameter of its own on the encoder."""

    def __init__(self, config: SoundConfig, backbone: Any, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.encoder.scale = nn.Parameter(torch.ones(()))

    def represent(self, views: Views) -> torch.Tensor:
        scale: Any = self.encoder.scale
        h: torch.Tensor = super().represent(views) * scale
        return h


class Counting(Sound):
    """Draws the turns of every third batch from a generator of its own."""

    calls = 0

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        self.calls += 1
        return super().make_views(images, torch.Generator() if self.calls % 3 == 0 else generator)


class Scribbling(Sound):
    """Turns images where they lie."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        views = super().make_views(images, generator)
        images[:, :, 30, 30] = 7
        return views


class Spendthrift(Sound):
    """Draws a number that it does not use."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        random.random()
        return super().make_views(images, generator)


class Padding(Sound):
    """Has one more column for each chunk of three."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        views = super().make_views(images, generator)
        return {**views, "notes": torch.zeros(len(images), 4 + (len(images) == 3))}


class Undeclared(Sound):
    """Shows the backbone half of each image, and does not say so."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        views = super().make_views(images, generator)
        return {**views, "images": views["images"][:, :, ::2, ::2]}


class Salted(Sound):
    """Turns images by the hash of a text, which differs between processes."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        views = super().make_views(images, generator)
        return {**views, "notes": torch.full((len(images),), hash(self.name) % 2**31)}


class Masked(Sound):
    """Takes a mask for granted."""

    def represent(self, views: Views) -> torch.Tensor:
        mask: Any = self.context.mask
        return super().represent({**views, "images": views["images"] * mask.to(views["images"].device)})


class Mislabelled(Sound):
    """Gives the probe one label a batch."""

    def probe_labels(self, views: Views) -> torch.Tensor | None:
        return views["labels"][:1]


class Annotating(Sound):
    """Counts in its views how often they were seen."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        return {**super().make_views(images, generator), "seen": torch.zeros(len(images))}

    def forward(self, views: Views) -> StepOutput:
        views["seen"] += 1
        return super().forward(views)


class Unforeseeable(Sound):
    """Perturbs its loss by numpy's generator."""

    def forward(self, views: Views) -> StepOutput:
        output = super().forward(views)
        return StepOutput(output.loss * (1 + 1e-3 * np.random.random()), output.metrics)


class Dividing(Sound):
    """Divides by the spread of each image."""

    def represent(self, views: Views) -> torch.Tensor:
        spread = views["images"].float().flatten(1).std(dim=1, keepdim=True)
        return super().represent(views) / spread * spread


class Attached(Sound):
    """Gives a metric with a gradient."""

    def forward(self, views: Views) -> StepOutput:
        output = super().forward(views)
        return StepOutput(output.loss, {"doubled": 2 * output.loss})


class Crowded(Sound):
    """Needs two images, and says nothing of it."""

    def represent(self, views: Views) -> torch.Tensor:
        h = super().represent(views)
        return h if len(h) > 1 else h / 0


class Frozen(Sound):
    """Keeps the first layer as it began."""

    def __init__(self, config: SoundConfig, backbone: Any, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        next(self.encoder.parameters()).requires_grad_(False)


class Doubled(Sound):
    """Keeps a momentum encoder that the optimiser trains as well."""

    def __init__(self, config: SoundConfig, backbone: Any, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.momentum_encoder = copy.deepcopy(self.encoder)


class Coarse(Sound):
    """Leaves its loss in the precision of its logits."""

    def forward(self, views: Views) -> StepOutput:
        logits = self.classifier(self.represent(views))
        right = F.one_hot(views["labels"], 2).to(logits.dtype)
        return StepOutput((logits.exp().sum(dim=1).log() - (logits * right).sum(dim=1)).mean())


class Shortcut(Sound):
    """Leaves a term out when it is compiled."""

    def forward(self, views: Views) -> StepOutput:
        output = super().forward(views)
        if torch.compiler.is_compiling():
            return output
        return StepOutput(output.loss + self.classifier.weight.square().sum(), output.metrics)


class Forgetful(Sound):
    """Keeps the mean of its losses where no checkpoint looks."""

    centre = 1.0

    def forward(self, views: Views) -> StepOutput:
        output = super().forward(views)
        return StepOutput(output.loss * self.centre, output.metrics, carry=output.loss.item())

    def after_update(self, output: StepOutput, progress: float) -> None:
        self.centre = 0.99 * self.centre + 0.01 * output.carry


class Locked(Sound):
    """Holds a lock."""

    def __init__(self, config: SoundConfig, backbone: Any, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.lock = threading.Lock()


class Hoarding(Sound):
    """Keeps every loss, and its graph with it."""

    def __init__(self, config: SoundConfig, backbone: Any, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.history: list[torch.Tensor] = []

    def after_update(self, output: StepOutput, progress: float) -> None:
        self.history.append(output.loss.detach())


class Remembered(Sound):
    """Is kept by the cache of one of its methods."""

    def represent(self, views: Views) -> torch.Tensor:
        return super().represent(views) * self.scale()

    @functools.cache  # noqa: B019
    def scale(self) -> float:
        return 1.0


class Guessing(Sound):
    """Draws its labels anew for every update."""

    def forward(self, views: Views) -> StepOutput:
        return super().forward({**views, "labels": torch.randint(2, views["labels"].shape)})


class Levelling(Sound):
    """Rewards sameness."""

    def forward(self, views: Views) -> StepOutput:
        h = F.normalize(self.represent(views).float(), dim=1)
        return StepOutput((h - h.mean(dim=0)).square().sum(dim=1).mean().sqrt())


BROKEN: dict[str, type[PretextTask[Any]]] = {
    "check_is_usable": NamedWithABlank,
    "check_api_version_is_stated": Versionless,
    "check_is_documented": Undescribed,
    "check_options_round_trip": Degrees,
    "check_unknown_options_are_refused": Lax,
    "check_options_are_frozen": Thawed,
    "check_tags_are_known": Boastful,
    "check_opt_outs_have_reasons": Evasive,
    "check_construction_is_seeded": Unseeded,
    "check_encoder_is_the_backbone": Squatter,
    "check_views_are_pure": Counting,
    "check_images_are_left_alone": Scribbling,
    "check_global_generators_are_left_alone": Spendthrift,
    "check_views_fit_together": Padding,
    "check_view_sizes_are_declared": Undeclared,
    "check_views_are_the_same_elsewhere": Salted,
    "check_mask_is_optional": Masked,
    "check_probe_labels": Mislabelled,
    "check_views_are_left_alone": Annotating,
    "check_forward_is_seeded": Unforeseeable,
    "check_loss": Dividing,
    "check_metrics": Attached,
    "check_smallest_batch": Crowded,
    "check_gradient_reaches_the_backbone": Frozen,
    "check_momentum_copies_are_frozen": Doubled,
    "check_half_precision": Coarse,
    "check_compiles": Shortcut,
    "check_state_round_trips": Forgetful,
    "check_copies_and_pickles": Locked,
    "check_memory_does_not_grow": Hoarding,
    "check_memory_is_freed": Remembered,
    "check_loss_falls": Guessing,
    "check_no_collapse": Levelling,
}
