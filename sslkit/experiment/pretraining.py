"""One pretraining: a pretext task trains the backbone on images without their labels."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import nn

from sslkit.engine.networks import call_with_seed, load_batch, to_compute
from sslkit.engine.optimisation import make_optimizer
from sslkit.engine.seeding import derive_seed, make_generator, shuffled_rows
from sslkit.engine.trainer import Schedule, train
from sslkit.errors import RunError
from sslkit.experiment.recipe import Configured, Recipe, digest, task_context
from sslkit.files import write_atomically, write_json, write_text
from sslkit.interfaces import PretextTask, Reporter
from sslkit.types import StepOutput, Views

VIEW_CHUNK = 8
"""Images that ``make_views`` is called on at a time: a constant of the seeding, not of speed."""

_MAX_FIT_IMAGES = 2000
"""Images that a task's ``fit`` is given at most, evenly drawn: memory does not grow with the data set."""

_CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class PretrainingJob:
    """A pretext task's pretraining for one fold, or on all images.

    Attributes:
        recipe: what all jobs share.
        task: the pretext task.
        fold: the fold whose test images it must not see; None: all images.
        rows: the images that it sees.
    """

    recipe: Recipe
    task: Configured
    fold: int | None
    rows: npt.NDArray[np.int64]
    after: tuple[str, ...] = ()

    @cached_property
    def identity(self) -> str:
        """A digest of all that the weights depend on."""
        return digest(
            {
                **self.recipe.common_identity(),
                "task": self.task.identity(),
                "pretraining": self.recipe.pretraining.model_dump(mode="json", exclude={"images"}),
                "fold": self.fold,
                "rows": self.rows,
            }
        )

    @property
    def id(self) -> str:
        """The job's name in the run."""
        return f"pretraining/{self.task.info.name}/{self.folder.name}"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.recipe.directory.pretraining(self.task.info.name, self.fold)

    @property
    def done(self) -> bool:
        """Whether its weights stand, and are the weights of this very job."""
        path = self.folder / "config.json"
        return path.exists() and json.loads(path.read_text())["sslkit"]["job"] == self.identity

    def execute(self, report: Reporter) -> None:
        """Pretrain, from the last checkpoint where there is one, and write the backbone's weights."""
        self.recipe.compute.make_deterministic()
        _Pretraining(self, report).run()


class _Pretraining:
    def __init__(self, job: PretrainingJob, report: Reporter) -> None:
        self.job, self.report, self.recipe = job, report, job.recipe
        settings = self.recipe.pretraining
        self.images = self.recipe.cache.open()
        self.batch_size = min(settings.batch_size, len(job.rows))
        self.updates_per_epoch = len(job.rows) // self.batch_size
        self.schedule = Schedule(settings.epochs * self.updates_per_epoch, settings.learning_rate, settings.warmup)
        self.seed = (self.recipe.seed, "pretraining", -1 if job.fold is None else job.fold)
        self.task = self._make_task()
        self.optimizer = make_optimizer([self.task], settings.learning_rate, settings.weight_decay)
        self.log: list[dict[str, Any]] = []
        self.sums: dict[str, float] = defaultdict(float)
        self.saved_at = self.epoch_started = time.monotonic()

    def run(self) -> None:
        first_update = self._resume()
        self.task.train()
        train(
            self._step,
            self.optimizer,
            self.schedule,
            seed=self.seed,
            first_update=first_update,
            on_update=self._after_update,
        )
        self._save_checkpoint(self.schedule.num_updates, finished=True)
        self._save_backbone()

    def _make_task(self) -> PretextTask[Any]:
        recipe = self.recipe
        backbone = recipe.backbone.make()
        context = task_context(backbone, recipe.preprocessing)

        def make() -> PretextTask[Any]:
            task: PretextTask[Any] = self.job.task.make(backbone.build(), context)
            if type(task).fit is not PretextTask.fit:
                stride = -(-len(self.job.rows) // _MAX_FIT_IMAGES)
                task.fit(load_batch(self.images, self.job.rows[::stride]))
            return task

        task: PretextTask[Any] = call_with_seed(derive_seed(*self.seed, "initial"), make)
        to_compute(task, recipe.compute)
        if recipe.compute.compile:
            task.compile()
        return task

    def _step(self, update: int) -> StepOutput:
        self.task.before_update(update / self.schedule.num_updates)
        views = self._views(update)
        with self.recipe.compute.autocast():
            output: StepOutput = self.task(views)
        return output

    def _views(self, update: int) -> Views:
        epoch, position = divmod(update, self.updates_per_epoch)
        start = epoch * len(self.job.rows) + position * self.batch_size  # what is left of an epoch is dropped
        rows = shuffled_rows(self.job.rows, start, self.batch_size, *self.seed, "order")
        images = load_batch(self.images, rows)
        chunks_per_batch = -(-self.batch_size // VIEW_CHUNK)
        chunks = [
            self.task.make_views(
                images[start : start + VIEW_CHUNK],
                make_generator(*self.seed, "views", epoch, position * chunks_per_batch + number),
            )
            for number, start in enumerate(range(0, len(images), VIEW_CHUNK))
        ]
        return {
            name: torch.cat([chunk[name] for chunk in chunks]).to(self.recipe.compute.device, non_blocking=True)
            for name in chunks[0]
        }

    def _after_update(self, update: int, output: StepOutput) -> None:
        self.task.after_update(output, (update + 1) / self.schedule.num_updates)
        for name, value in {"loss": output.loss.detach(), **output.metrics}.items():
            self.sums[name] += float(value)
        epoch, position = divmod(update + 1, self.updates_per_epoch)
        self.report({"done": update + 1, "total": self.schedule.num_updates})
        if position == 0:
            self._end_epoch(epoch, update + 1)

    def _end_epoch(self, epoch: int, updates_done: int) -> None:
        metrics = {name: total / self.updates_per_epoch for name, total in self.sums.items()}
        seconds = time.monotonic() - self.epoch_started
        rate = self.schedule.rate(updates_done - 1)
        self.log.append(
            {"epoch": epoch, "update": updates_done, "learning_rate": rate, **metrics, "seconds": round(seconds, 3)}
        )
        self.sums.clear()
        write_text(self.job.folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in self.log))
        self.report({"epoch": epoch, "metrics": metrics})
        if time.monotonic() - self.saved_at > _CHECKPOINT_SECONDS:
            self._save_checkpoint(updates_done)
            self.saved_at = time.monotonic()
        self.epoch_started = time.monotonic()

    def _save_checkpoint(self, updates_done: int, *, finished: bool = False) -> None:
        state = {
            "job": self.job.identity,
            "update": updates_done,
            "task": self.task.state_dict(),
            "optimizer": None if finished else self.optimizer.state_dict(),
            "log": json.dumps(self.log),
        }
        write_atomically(self.job.folder / "last.ckpt", lambda file: torch.save(state, file))

    def _resume(self) -> int:
        path = self.job.folder / "last.ckpt"
        if not path.exists():
            return 0
        try:
            state = torch.load(path, map_location=self.recipe.compute.device, weights_only=True)
        except Exception as error:  # torch raises whatever a damaged archive makes its parsers raise
            raise RunError(f"the checkpoint {path} is damaged; delete it to start this pretraining anew") from error
        if state["job"] != self.job.identity:
            return 0
        self.task.load_state_dict(state["task"])
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.log = json.loads(state["log"])
        return int(state["update"])

    def _save_backbone(self) -> None:
        encoder: nn.Module = self.task.encoder
        weights = {name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()}
        write_atomically(self.job.folder / "backbone.safetensors", lambda file: file.write(save(weights)))
        published = getattr(encoder, "pretrained_cfg", None) or {}
        recipe = self.recipe
        size = recipe.preprocessing.size
        config = {
            "architecture": published.get("architecture", recipe.backbone.info.name),
            "num_classes": 0,
            "num_features": encoder.head_hidden_size,
            "pretrained_cfg": {
                "input_size": [3, size, size],
                "mean": list(self.task.context.mean),
                "std": list(self.task.context.std),
                "num_classes": 0,
            },
            "sslkit": {
                "job": self.job.identity,
                "pretext": self.job.task.info.name,
                "fold": self.job.fold,
                "preprocessing": {"size": size, "crop": recipe.preprocessing.crop},
            },
        }
        write_json(self.job.folder / "config.json", config)
