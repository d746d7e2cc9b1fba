"""DINO: what would a slower copy of the network say of another view?

Caron, Touvron, Misra, Jégou, Mairal, Bojanowski and Joulin, "Emerging Properties in Self-Supervised Vision
Transformers", ICCV 2021, arXiv 2104.14294. A student learns to give every view of an image, large ones and small ones,
the distribution over prototypes that a teacher gives another, large view of it (equation 3). The teacher is a momentum
copy of the student. Centring its logits keeps it from one answer to everything (equation 4), and a low temperature from
an even one.

Deviations from the paper:

- The views are those that other tasks here have: all are changed alike, while the paper blurs its first global view
  always, its second seldom, and solarises some. Hue moves little, and views are turned by any angle.
- There are 4 local views, not 8 or 10, and they show 5 to 40 % of the area, as the paper's first experiments do.
- BatchNorm in the head, which the paper's transformers do without (``head_norm = false``). Images of one organ are so
  much alike to an untrained network that centring leaves next to nothing of their differences without it: the task came
  to an even distribution in a hundred updates, and stayed there.
- A smaller head, for thousands of images rather than a million: 1,024 prototypes in 32 dimensions and layers of 1,024,
  in place of 65,536 in 256 and layers of 2,048. Cosines to prototypes in 256 dimensions are smaller, and distributions
  nearly even for longer than a short training lasts.
- The teacher's temperature stays at 0.04, which the authors' code advises to begin with, unless told to rise; in the
  paper it rises to 0.07.
- The momentum begins at 0.99, not 0.996: over some hundred or thousand updates, the latter would hardly move.
- Weight decay, learning rate and precision are those of the run: the decay does not rise, nor are gradients clipped.
- The teacher's dropout and stochastic depth, where a backbone has any, are the student's; the paper's teacher has none.
- Statistics of BatchNorm are the teacher's own, over its own views.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from sslkit import (
    PluginConfig,
    PretextTask,
    StepOutput,
    TaskContext,
    Views,
    ViewsConfig,
    augmented_views,
    follow,
    gather,
    hookimpl,
    momentum_copy,
    normalize,
    representation,
    rising_momentum,
)
from sslkit_dino.head import PrototypeHead
from sslkit_dino.loss import dino_loss, entropy, moved_centre, teacher_probabilities

__all__ = ["Dino", "DinoConfig", "DinoViewsConfig", "PrototypeHead", "dino_loss", "moved_centre"]

NUM_GLOBAL = 2

_LOCAL_SHARE = 3 / 7
_LOCAL_STEP = 32
"""Local views of 96 pixels beside global ones of 224, as in the paper; a multiple of most strides and patches."""


class DinoViewsConfig(ViewsConfig):
    """Options of the views.

    Attributes:
        min_area: the smallest share of an image's area that a global view shows, and the largest that a local one does.
    """

    min_area: float = Field(0.4, gt=0, le=1)


class DinoConfig(PluginConfig):
    """Options of DINO.

    Attributes:
        views: how views differ from images, and global from local ones.
        local_views: small views an image, beside two global ones; 0: none. Each costs about a fifth of a global one.
        local_size: their side in pixels. Not set: the multiple of 32 nearest to 3/7 of the image's, 32 at least.
        local_min_area: the smallest share of an image's area that a local view shows.
        num_prototypes: K, the length of the distributions that are compared.
        hidden_width: of the head's two inner layers.
        bottleneck: of the space in which the prototypes are.
        head_norm: BatchNorm before each activation of the head.
        student_temperature: of the student's distributions.
        teacher_temperature: of the teacher's, once it has risen; not above the student's, or the two agree on evenness.
            The paper has 0.07, for 100 epochs and more.
        first_teacher_temperature: where it begins.
        temperature_warmup: share of the training over which it rises: in the paper, 30 of 100 epochs.
        momentum: of the teacher at the beginning; it rises to 1.
        centre_momentum: how slowly the centre follows the teacher's logits.
        frozen: share of the training in which the prototypes stay as they began: in the paper, 1 of 100 epochs.
    """

    views: DinoViewsConfig = DinoViewsConfig()
    local_views: int = Field(4, ge=0, le=16)
    local_size: int | None = Field(None, ge=8, le=1024)
    local_min_area: float = Field(0.05, gt=0, le=1)
    num_prototypes: int = Field(1024, ge=2, le=262144)
    hidden_width: int = Field(1024, ge=8, le=8192)
    bottleneck: int = Field(32, ge=2, le=2048)
    head_norm: bool = True
    student_temperature: float = Field(0.1, gt=0, le=1)
    teacher_temperature: float = Field(0.04, gt=0, le=1)
    first_teacher_temperature: float = Field(0.04, gt=0, le=1)
    temperature_warmup: float = Field(0.3, ge=0, le=1)
    momentum: float = Field(0.99, ge=0, le=1)
    centre_momentum: float = Field(0.9, ge=0, lt=1)
    frozen: float = Field(0.01, ge=0, lt=1)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.local_views and self.local_min_area > self.views.min_area:
            raise ValueError(
                f"local_min_area = {self.local_min_area} is above views.min_area = {self.views.min_area}: local views "
                "show between the one and the other; lower the first, or raise the second"
            )
        if max(self.teacher_temperature, self.first_teacher_temperature) > self.student_temperature:
            raise ValueError(
                f"the teacher's temperatures, {self.first_teacher_temperature} to {self.teacher_temperature}, must not "
                f"be above student_temperature = {self.student_temperature}: a teacher that is less certain than its "
                "student teaches it to say the same of everything"
            )
        return self


class Dino(PretextTask[DinoConfig]):
    """Learns to give all views of an image the distribution over prototypes that a momentum copy gives another view.

    Views: ``images``, uint8 (2N, 3, H, W), the global views, row 2 i + v being view v of image i; ``local``, uint8
    (LN, 3, s, s), the L local views in the same order, where there are any. Metrics, in nats: ``target_entropy``, the
    mean entropy of the teacher's distributions; ``batch_entropy``, that of their mean, which is log K where all
    prototypes are in use, and at most ``target_entropy`` + log 2N in a small batch. A collapse shows in either way: at
    one prototype both are 0, at evenness both are log K. In between, their difference is what the teacher tells apart.

    There is nothing for the audit to probe, so that ``probe_labels`` is left as it is: no view has a label.

    State: ``teacher`` and ``teacher_head``, momentum copies of the encoder and the head; ``centre``, float32 (K,), the
    running mean of the teacher's logits; ``teacher_temperature``.

    Raises:
        ValueError: from ``forward``, if there are fewer than two images.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Dino(DinoConfig(), timm.create_model("resnet10t", num_classes=0), context)
        >>> views = task.make_views(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.Generator())
        >>> views["images"].shape, views["local"].shape, task(views).loss.shape
        (torch.Size([4, 3, 64, 64]), torch.Size([8, 3, 32, 32]), torch.Size([]))
    """

    name = "dino"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = DinoConfig
    family = "self-distillation"
    paper = "Caron et al. 2021, arXiv 2104.14294"
    min_batch_size = 2

    centre: torch.Tensor
    teacher_temperature: torch.Tensor

    def __init__(self, config: DinoConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        num_features: Any = backbone.head_hidden_size
        widths = (num_features, config.hidden_width, config.bottleneck, config.num_prototypes)
        self.head = PrototypeHead(*widths, batch_norm=config.head_norm)
        self.teacher, self.teacher_head = momentum_copy(backbone), momentum_copy(self.head)
        self.register_buffer("centre", torch.zeros(config.num_prototypes))
        # A tensor, which torch.compile need not trace anew for each value that it takes.
        self.register_buffer("teacher_temperature", torch.tensor(0.0))
        self.before_update(0.0)

    @classmethod
    def view_sizes(cls, config: DinoConfig, context: TaskContext) -> tuple[int, ...]:
        """Return the sides of the global and, where there are any, of the local views.

        Raises:
            ValueError: if local views are to be larger than images.
        """
        size = context.image_size
        if not config.local_views:
            return (size,)
        local = _local_size(config, size)
        if local > size:
            raise ValueError(
                f"local_size = {local} is larger than the images, which have {size} px: local views are to be the "
                "smaller ones; lower it, or raise images.size"
            )
        return (size, local)

    def before_update(self, progress: float) -> None:
        """Raise the teacher's temperature, and let the prototypes go once their time has come."""
        config = self.config
        first, last = config.first_teacher_temperature, config.teacher_temperature
        risen = min(progress / config.temperature_warmup, 1.0) if config.temperature_warmup else 1.0
        self.teacher_temperature.fill_(first + (last - first) * risen)
        self.prototypes_frozen = progress < config.frozen

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Make two global views of each image, and the local ones."""
        config, mask = self.config, self.context.mask
        views = {"images": augmented_views(images, generator, config.views, mask, num_views=NUM_GLOBAL)}
        if config.local_views:
            views["local"] = augmented_views(
                images,
                generator,
                config.views,
                mask,
                num_views=config.local_views,
                size=_local_size(config, images.shape[2]),
                area=(config.local_min_area, config.views.min_area),
            )
        return views

    def forward(self, views: Views) -> StepOutput:
        """Compare the student's distributions for all views with the teacher's for the global ones."""
        images = self._normalized(views["images"])
        num_images, num_local = len(images) // NUM_GLOBAL, self.config.local_views
        if num_images < self.min_batch_size:
            raise ValueError(f"DINO needs at least {self.min_batch_size} images in a batch, not {num_images}")
        with torch.no_grad():
            teacher = self.teacher_head(representation(self.teacher, images)).float()
        student = self._student(images).view(num_images, NUM_GLOBAL, -1)
        if num_local:
            local = self._student(self._normalized(views["local"])).view(num_images, num_local, -1)
            student = torch.cat([student, local], dim=1)
        with torch.autocast(student.device.type, enabled=False):
            targets = teacher_probabilities(teacher, self.centre, self.teacher_temperature)
            of_images = targets.view(num_images, NUM_GLOBAL, -1)
            loss = dino_loss(student, of_images, self.config.student_temperature)
            mean = gather(targets.mean(dim=0, keepdim=True)).mean(dim=0)
            metrics = {"target_entropy": entropy(targets).mean(), "batch_entropy": entropy(mean)}
        return StepOutput(loss, metrics, carry=teacher.mean(dim=0, keepdim=True))

    def after_update(self, output: StepOutput, progress: float) -> None:
        """Move the teacher towards the student, and the centre towards the teacher's logits in all processes."""
        momentum = rising_momentum(self.config.momentum, progress)
        follow(self.teacher, self.encoder, momentum)
        follow(self.teacher_head, self.head, momentum)
        mean = gather(output.carry).mean(dim=0)
        self.centre.copy_(moved_centre(self.centre, mean, self.config.centre_momentum))

    def _normalized(self, images: torch.Tensor) -> torch.Tensor:
        return normalize(images, self.context.mean, self.context.std)

    def _student(self, x: torch.Tensor) -> torch.Tensor:
        cosines: torch.Tensor = self.head(representation(self.encoder, x), frozen=self.prototypes_frozen)
        return cosines.float()


def _local_size(config: DinoConfig, image_size: int) -> int:
    steps = max(1, round(_LOCAL_SHARE * image_size / _LOCAL_STEP))
    return config.local_size or min(image_size, _LOCAL_STEP * steps)


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce DINO."""
    return (Dino,)
