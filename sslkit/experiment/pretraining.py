"""One pretraining: a pretext task trains the backbone on images without their labels."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import nn

from sslkit.blame import blame
from sslkit.checksums import flaws, seal
from sslkit.engine.networks import Encoder, encode_rows, to_compute
from sslkit.engine.optimisation import make_optimizer
from sslkit.engine.tasks import take_step, views_an_image
from sslkit.engine.trainer import Schedule, check_update, train
from sslkit.engine.weights import load_state
from sslkit.experiment.checkpoint import read_checkpoint, write_checkpoint
from sslkit.experiment.collapse_watch import CollapseWatch
from sslkit.experiment.epoch_log import metrics_of
from sslkit.experiment.memory import peak_memory
from sslkit.experiment.recipe import Configured, Recipe, digest
from sslkit.experiment.representation_probe import MAX_PROBE_IMAGES, evenly_drawn, probe_representation
from sslkit.experiment.view_stream import ViewStream
from sslkit.files import make_folder, write_atomically, write_json, write_json_lines
from sslkit.interfaces import PretextTask, Reporter
from sslkit.types import StepOutput, Views

_FILES = ("backbone.safetensors", "config.json", "metrics.jsonl")
"""What a finished pretraining vouches for."""


@dataclass(frozen=True)
class PretrainingJob:
    """A pretext task's pretraining for one fold, or on all images.

    Attributes:
        recipe: what all jobs share.
        task: the pretext task.
        fold: the fold whose test images it must not see; None: all images.
        rows: the images that it sees.
        probe_rows: the labelled images that probe its representation: those of the smallest share of labels.
    """

    recipe: Recipe
    task: Configured
    fold: int | None
    rows: npt.NDArray[np.int64]
    probe_rows: npt.NDArray[np.int64]
    after: tuple[str, ...] = ()

    @cached_property
    def identity(self) -> str:
        """A digest of all that the weights depend on."""
        recipe, settings = self.recipe, self.recipe.pretraining
        parts = {
            **recipe.common_identity(),
            "task": self.task.identity(),
            "pretraining": settings.model_dump(mode="json", exclude={"images", "probe_every", "keep"}),
            "fold": self.fold,
            "rows": self.rows,
        }
        if settings.keep == "best":
            groups = [recipe.groups[row] for row in self.probe_rows]
            parts["kept"] = [settings.probe_every, self.probe_rows, recipe.grades[self.probe_rows], groups]
        return digest(parts)

    @property
    def id(self) -> str:
        """The job's name in the run."""
        return f"pretraining/{self.task.info.name}/{self.folder.name}"

    @property
    def views(self) -> ViewStream:
        """What the task is shown, update by update."""
        return ViewStream(self.recipe, self.task, self.fold, self.rows)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.recipe.directory.pretraining(self.task.info.name, self.fold)

    @property
    def log(self) -> Path:
        """One line an epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def cost(self) -> float:
        """Images through a forward and a backward pass, which counts two; how many views a task makes is left out."""
        return 3.0 * self.recipe.pretraining.epochs * len(self.rows)

    @property
    def places(self) -> tuple[Path, ...]:
        """What a machine that carries it out must see."""
        return self.recipe.places

    @property
    def processes(self) -> int:
        """It computes in one process."""
        return 1

    @property
    def done(self) -> bool:
        """Whether its weights stand as they were written, and are the weights of this very job."""
        if self.flaws():
            return False
        try:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
            return bool(config["sslkit"]["job"] == self.identity)
        except (ValueError, RecursionError, TypeError, KeyError):  # sealed by somebody else
            return False

    def flaws(self) -> list[str]:
        """Return what is wrong with its folder, a sentence each."""
        return flaws(self.folder, _FILES)

    def execute(self, report: Reporter) -> None:
        """Pretrain, from the last checkpoint where there is one, and write the backbone's weights."""
        self.recipe.directory.require()
        make_folder(self.folder)
        self.recipe.compute.prepare_process()
        _Pretraining(self, report).run()


class _Pretraining:
    def __init__(self, job: PretrainingJob, report: Reporter) -> None:
        self.job, self.report, self.recipe = job, report, job.recipe
        settings = self.recipe.pretraining
        self.stream = job.views
        self.images = self.stream.images
        self.batch_size, self.updates_per_epoch = self.stream.batch_size, self.stream.updates_per_epoch
        self.schedule = Schedule(
            self.stream.num_updates,
            settings.learning_rate,
            settings.warmup,
            "pretraining.learning_rate",
        )
        self.seed = self.stream.seed
        self.task = self._make_task()
        self.optimizer = make_optimizer([self.task], settings.learning_rate, settings.weight_decay)
        self.scaler = self.recipe.compute.make_scaler()
        self.watch = CollapseWatch(self.task, self.images, job.rows, settings, self.recipe.compute)
        self.log: list[dict[str, Any]] = []
        self.epoch_metrics: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.data_seconds = self.views_an_image = 0.0
        self.saved_at = self.epoch_started = time.monotonic()
        self.best_weights: dict[str, torch.Tensor] | None = None

    def run(self) -> None:
        first_update = self._resume()
        self.task.train()
        train(
            self._step,
            self.optimizer,
            self.schedule,
            seed=self.seed,
            scaler=self.scaler,
            first_update=first_update,
            on_update=self._after_update,
        )
        self._save_checkpoint(self.schedule.num_updates, finished=True)
        self._write_log()
        self._save_backbone()
        seal(self.job.folder, _FILES)

    def _make_task(self) -> PretextTask[Any]:
        task = self.stream.make_task()
        to_compute(task, self.recipe.compute)
        if self.recipe.compute.compile:
            task.compile()
        return task

    def _step(self, update: int) -> StepOutput:
        with blame(self.task.provenance, "before_update()"):
            self.task.before_update(update / self.schedule.num_updates)
        started = time.monotonic()
        views = self._views(update)
        self.data_seconds += time.monotonic() - started
        with self.recipe.compute.autocast():
            return take_step(self.task, views)

    def _views(self, update: int) -> Views:
        views = self.stream.views(self.task, update)
        self.views_an_image = views_an_image(views, self.batch_size)
        return {name: self.recipe.compute.send(view) for name, view in views.items()}

    def _after_update(self, update: int, output: StepOutput) -> None:
        with blame(self.task.provenance, "after_update()"):
            self.task.after_update(output, (update + 1) / self.schedule.num_updates)
        for name, value in {"loss": output.loss.detach(), **output.metrics}.items():
            self.epoch_metrics[name].append(value)
        epoch, position = divmod(update + 1, self.updates_per_epoch)
        if position == 0:
            check_update(update, output.loss, [self.task], self.schedule)
            self._end_epoch(epoch, update + 1)
        if time.monotonic() - self.saved_at > self.recipe.checkpoint_seconds:
            self._save_checkpoint(update + 1)
        try:
            self.report({"done": update + 1, "total": self.schedule.num_updates})
        except SystemExit:  # the run is being stopped, and here everything is of one update
            self._save_checkpoint(update + 1)
            raise

    def _end_epoch(self, epoch: int, updates_done: int) -> None:
        means = {name: _mean(torch.stack(values).tolist()) for name, values in self.epoch_metrics.items()}
        seconds = time.monotonic() - self.epoch_started
        rate = self.schedule.rate(updates_done - 1)
        line: dict[str, Any] = {"epoch": epoch, "update": updates_done, "learning_rate": rate, **means}
        line |= {"seconds": round(seconds, 3), "data_seconds": round(self.data_seconds, 4)}
        line["views"] = round(self.views_an_image * self.updates_per_epoch * self.batch_size)
        line["peak_memory"] = peak_memory(self.recipe.compute.family)
        every = self.recipe.pretraining.probe_every
        if every and epoch % every == 0:
            line["probe_qwk"] = self._probe()
        if looked := self.watch.due(epoch, updates_done):
            line |= self.watch.look()
        self.log.append(line)
        if looked and (warning := self.watch.warning(self.log)):
            self.report({"warning": warning})
        if self.recipe.pretraining.keep == "best" and self._best_epoch() == epoch:
            self.best_weights = {name: value.clone() for name, value in self.task.encoder.state_dict().items()}
        self.epoch_metrics.clear()
        self.data_seconds = 0.0
        self._write_log()
        self.report({"epoch": epoch, "metrics": metrics_of(line)})
        self.epoch_started = time.monotonic()

    def _write_log(self) -> None:
        write_json_lines(self.job.log, self.log)

    def _probe(self) -> float | None:
        """Return how well the labels of the smallest share are told apart in the present representation."""
        job, recipe = self.job, self.recipe
        rows = evenly_drawn(job.probe_rows, MAX_PROBE_IMAGES)
        encoder = Encoder(self.task.encoder, self.task.context.mean, self.task.context.std, recipe.compute)
        features = encode_rows(encoder, self.images, rows).cpu().numpy()
        return probe_representation(features, recipe.grades[rows], [recipe.groups[row] for row in rows])

    def _best_epoch(self) -> int | None:
        """Return the epoch with the best probe so far, the earliest of several; None where no probe is defined."""
        probed = [line for line in self.log if line.get("probe_qwk") is not None]
        return max(probed, key=lambda line: line["probe_qwk"])["epoch"] if probed else None

    def _save_checkpoint(self, updates_done: int, *, finished: bool = False) -> None:
        state = {
            "job": self.job.identity,
            "update": updates_done,
            "task": self.task.state_dict(),
            "optimizer": None if finished else self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "log": json.dumps(self.log),
            "epoch": {
                "metrics": dict(self.epoch_metrics),
                "seconds": time.monotonic() - self.epoch_started,
                "data_seconds": self.data_seconds,
            },
            "best": self.best_weights,
        }
        write_checkpoint(self.job.folder / "last.ckpt", state)
        self.saved_at = time.monotonic()

    def _resume(self) -> int:
        path = self.job.folder / "last.ckpt"
        if not path.is_file():
            return 0
        state = read_checkpoint(path, self.recipe.compute.device)
        if state is None:
            self.report({"warning": f"the checkpoint {path} is damaged and not used; this pretraining begins anew"})
            return 0
        if state["job"] != self.job.identity:
            said = "is of other images, options or versions, and not used; this pretraining begins anew"
            self.report({"warning": f"the checkpoint {path} {said}"})
            return 0
        load_state(self.task, state["task"], source=str(path))
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
        self.log = json.loads(state["log"])
        self.epoch_metrics.update(state["epoch"]["metrics"])
        self.data_seconds = state["epoch"]["data_seconds"]
        self.epoch_started = time.monotonic() - state["epoch"]["seconds"]
        self.best_weights = state["best"]
        return int(state["update"])

    def _save_backbone(self) -> None:
        encoder: nn.Module = self.task.encoder
        best = self._best_epoch() if self.best_weights is not None else None
        kept = {
            name: value.detach().cpu().contiguous()
            for name, value in (self.best_weights or encoder.state_dict()).items()
        }
        write_atomically(self.job.folder / "backbone.safetensors", lambda file: file.write(save(kept)))
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
                "epoch": best or self.recipe.pretraining.epochs,
                "preprocessing": {"size": size, "crop": recipe.preprocessing.crop},
            },
        }
        write_json(self.job.folder / "config.json", config)


def _mean(values: list[float]) -> float | None:
    """Return the mean of a metric over an epoch; None where it is not finite at every update."""
    return fmean(values) if all(map(math.isfinite, values)) else None
