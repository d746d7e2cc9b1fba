"""The loop of a pretraining: updates, epochs, checkpoints, and the weights at its end."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sslkit.blame import blame
from sslkit.checksums import seal
from sslkit.engine.distributed import Team, synchronise_batch_norm
from sslkit.engine.networks import Encoder, encode_rows, to_compute
from sslkit.engine.optimisation import make_optimizer
from sslkit.engine.tasks import take_step, views_an_image
from sslkit.engine.trainer import Schedule, check_update, train
from sslkit.engine.weights import load_state
from sslkit.errors import RunError, TrainingDivergedError
from sslkit.experiment.backbone_file import save_backbone
from sslkit.experiment.checkpoint import read_checkpoint, write_checkpoint
from sslkit.experiment.collapse_watch import CollapseWatch
from sslkit.experiment.epoch_log import metrics_of
from sslkit.experiment.memory import peak_memory
from sslkit.experiment.representation_probe import MAX_PROBE_IMAGES, evenly_drawn, probe_representation
from sslkit.files import write_json_lines
from sslkit.interfaces import PretextTask, Reporter
from sslkit.types import StepOutput, Views

if TYPE_CHECKING:
    from sslkit.experiment.pretraining import PretrainingJob

FILES = ("backbone.safetensors", "config.json", "metrics.jsonl")
"""What a finished pretraining vouches for."""


class PretrainingLoop:
    """The updates of one pretraining in one of its processes, its epochs, and what is kept of it.

    Args:
        job: the pretraining.
        report: takes its progress.
    """

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
        self.team = Team.present()
        self.task = self._make_task()
        self.optimizer = make_optimizer([self.task], settings.learning_rate, settings.weight_decay)
        self.scaler = self.recipe.compute.make_scaler()
        self.watch = self._watch()
        self.parallel_task: nn.Module = self.task
        self.log: list[dict[str, Any]] = []
        self.epoch_metrics: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.data_seconds = self.views_an_image = 0.0
        self.saved_at = self.epoch_started = time.monotonic()
        self.best_weights: dict[str, torch.Tensor] | None = None

    def run(self) -> None:
        """Train from the last checkpoint on, and write the weights."""
        first_update = self._resume()
        self.task.train()
        if self.recipe.sync_batchnorm and self.team.size > 1:
            synchronise_batch_norm(self.task)
        self.parallel_task = self.team.parallel(self.task)
        train(
            self._step,
            self.optimizer,
            self.schedule,
            seed=self.team.own_seed(*self.seed),
            scaler=self.scaler,
            first_update=first_update,
            on_update=self._after_update,
        )
        if self.team.leads:
            self._save_checkpoint(self.schedule.num_updates, finished=True)
            self._write_log()
            self._save_backbone()
            seal(self.job.folder, FILES)

    def _watch(self) -> CollapseWatch | None:
        """Return what looks for a collapse, in the process that writes."""
        if not self.team.leads:
            return None
        return CollapseWatch(self.task, self.images, self.job.rows, self.recipe.pretraining, self.recipe.compute)

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
            return self.team.averaged(take_step(self.task, views, self.parallel_task))

    def _views(self, update: int) -> Views:
        views = self.stream.views(self.task, update, self.team.rank, self.team.size)
        self.views_an_image = views_an_image(views, self.batch_size // self.team.size)
        return {name: self.recipe.compute.send(view) for name, view in views.items()}

    def _after_update(self, update: int, output: StepOutput) -> None:
        with blame(self.task.provenance, "after_update()"):
            self.task.after_update(output, (update + 1) / self.schedule.num_updates)
        for name, value in {"loss": output.loss.detach(), **output.metrics}.items():
            self.epoch_metrics[name].append(value)
        if (update + 1) % self.updates_per_epoch == 0:
            self.team.raise_together(partial(self._check_and_tell, update, output), TrainingDivergedError)
        if self.team.leads and time.monotonic() - self.saved_at > self.recipe.checkpoint_seconds:
            self._save_checkpoint(update + 1)
        try:
            self.report({"done": update + 1, "total": self.schedule.num_updates})
        except SystemExit:  # the run is being stopped, and here everything is of one update
            if self.team.leads:
                self._save_checkpoint(update + 1)
            raise

    def _check_and_tell(self, update: int, output: StepOutput) -> None:
        check_update(update, output.loss, [self.task], self.schedule)
        if self.team.leads:
            self._end_epoch((update + 1) // self.updates_per_epoch, update + 1)
        self.epoch_metrics.clear()

    def _end_epoch(self, epoch: int, updates_done: int) -> None:
        means = {name: _mean(torch.stack(values).tolist()) for name, values in self.epoch_metrics.items()}
        seconds = time.monotonic() - self.epoch_started
        rate = self.schedule.rate(updates_done - 1)
        line: dict[str, Any] = {"epoch": epoch, "update": updates_done, "learning_rate": rate, **means}
        line |= {"seconds": round(seconds, 3), "data_seconds": round(self.data_seconds, 4)}
        line["views"] = round(self.views_an_image * self.updates_per_epoch * self.batch_size)
        line["peak_memory"] = peak_memory(self.recipe.compute.family)
        line |= {"processes": self.team.size} if self.team.size > 1 else {}
        every = self.recipe.pretraining.probe_every
        if every and epoch % every == 0:
            line["probe_qwk"] = self._probe()
        assert self.watch is not None, "an epoch is told by the process that watches"
        if looked := self.watch.due(epoch, updates_done):
            line |= self.watch.look()
        self.log.append(line)
        if looked and (warning := self.watch.warning(self.log)):
            self.report({"warning": warning})
        if self.recipe.pretraining.keep == "best" and self._best_epoch() == epoch:
            self.best_weights = {name: value.clone() for name, value in self.task.encoder.state_dict().items()}
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
        write_checkpoint(self.job.checkpoint, state)
        self.saved_at = time.monotonic()

    def _resume(self) -> int:
        """Return the update to go on at, everything being as it was there; every process reads the same file."""
        state = self._usable_checkpoint()
        update = 0 if state is None else int(state["update"])
        if not self.team.agree(update):
            raise RunError(
                f"process {self.team.rank} of {self.team.size} found another checkpoint in {self.job.folder} than the "
                "others; the processes of a run need one file system that shows all of them the same"
            )
        if state is None:
            return 0
        load_state(self.task, state["task"], source=str(self.job.checkpoint))
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
        self.log = json.loads(state["log"])
        self.epoch_metrics.update(state["epoch"]["metrics"])
        self.data_seconds = state["epoch"]["data_seconds"]
        self.epoch_started = time.monotonic() - state["epoch"]["seconds"]
        self.best_weights = state["best"]
        return update

    def _usable_checkpoint(self) -> dict[str, Any] | None:
        path = self.job.checkpoint
        if not path.is_file():
            return None
        state = read_checkpoint(path, self.recipe.compute.device)
        if state is None:
            self.report({"warning": f"the checkpoint {path} is damaged and not used; this pretraining begins anew"})
        elif state["job"] != self.job.identity:
            said = "is of other images, options or versions, and not used; this pretraining begins anew"
            self.report({"warning": f"the checkpoint {path} {said}"})
            return None
        return state

    def _save_backbone(self) -> None:
        best = self._best_epoch() if self.best_weights is not None else None
        epoch = best or self.recipe.pretraining.epochs
        about = {"job": self.job.identity, "pretext": self.job.task.info.name, "fold": self.job.fold, "epoch": epoch}
        save_backbone(self.job.folder, self.task, self.recipe, self.best_weights, about)


def _mean(values: list[float]) -> float | None:
    """Return the mean of a metric over an epoch; None where it is not finite at every update."""
    return fmean(values) if all(map(math.isfinite, values)) else None
