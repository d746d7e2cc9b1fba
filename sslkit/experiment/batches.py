"""Whether the batches of a pretraining suit its tasks and the processes that share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslkit.errors import ConfigError
from sslkit.experiment.view_stream import VIEW_CHUNK, why_no_parts

if TYPE_CHECKING:
    from sslkit.experiment.study import Study


def check_batch_size(study: Study) -> None:
    """Refuse batches of fewer images than a task needs.

    Raises:
        ConfigError: naming the task.
    """
    batch_size = study.config.pretraining.batch_size
    for task in study.tasks_with_parts():
        if batch_size < (least := task.info.cls.min_batch_size):
            raise ConfigError(
                f"pretraining.batch_size: the task {task.info.name!r} tells images of a batch from one another, and "
                f"needs at least {least}; {batch_size} given"
            )


def check_processes(study: Study) -> None:
    """Refuse what so many processes cannot share: a device, or the batches.

    Raises:
        ConfigError: with what would do.
    """
    settings, processes = study.config.compute, study.processes
    if settings.processes not in (1, processes):
        raise ConfigError(
            f"compute.processes: {settings.processes} are asked for, and torchrun has started {processes}; leave the "
            "key out, or give torchrun that number"
        )
    if processes == 1:
        return
    if settings.device == "mps" or ":" in settings.device:
        raise ConfigError(
            f"compute.processes: {processes} processes train on as many devices, and {settings.device!r} is one; "
            "choose 'cuda', 'cpu' or 'auto', or one process"
        )
    batch_size = study.config.pretraining.batch_size
    if reason := why_no_parts(batch_size, processes):
        raise ConfigError(f"pretraining.batch_size: {reason}")
    for task in study.tasks_with_parts():
        if batch_size // processes < (least := task.info.cls.min_batch_size):
            raise ConfigError(
                f"pretraining.batch_size: the task {task.info.name!r} needs at least {least} images in each process; "
                f"{batch_size} are {batch_size // processes} for each of {processes}"
            )


def check_parts(study: Study, fold: int | None, images: int) -> None:
    """Refuse a pretraining whose images are fewer than a batch, and make no batch that its processes can share.

    Args:
        study: what to run.
        fold: that is pretrained for; None: all.
        images: that the pretraining sees.

    Raises:
        ConfigError: with what would do.
    """
    batch_size, processes = study.config.pretraining.batch_size, study.processes
    if images >= batch_size or why_no_parts(images, processes) is None:
        return
    step = VIEW_CHUNK * processes
    largest = images // step * step
    advice = f"set it to {largest}" if largest else f"take {max(1, images // VIEW_CHUNK)} processes at most"
    raise ConfigError(
        f"pretraining.batch_size: {'the pretraining' if fold is None else f'fold {fold}'} has {images} images, fewer "
        f"than the batch of {batch_size}, and {processes} processes share batches of a multiple of {step}; {advice}"
    )
