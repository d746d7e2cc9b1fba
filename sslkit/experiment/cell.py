"""One cell: labels train an initialised network, and the test fold scores it."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import nn

from sslkit.data.augmentation import augment
from sslkit.engine.networks import (
    Encoder,
    batches_of,
    call_with_seed,
    evaluation_mode,
    load_batch,
    reestimate_batch_statistics,
    to_compute,
)
from sslkit.engine.optimisation import make_optimizer
from sslkit.engine.seeding import derive_seed, make_generator, shuffled_rows
from sslkit.engine.trainer import Schedule, train
from sslkit.engine.weights import load_weights
from sslkit.errors import TrainingDivergedError
from sslkit.experiment.nearest import NearestNeighbours
from sslkit.experiment.recipe import Configured, Recipe, digest
from sslkit.experiment.scoring import Decoder, score, write_predictions
from sslkit.files import write_atomically, write_json, write_text
from sslkit.interfaces import DownstreamHead, Reporter
from sslkit.types import StepOutput

PRETRAINED_ARMS = frozenset({"pretrained", "frozen", "knn"})
"""Arms that start from a pretext task's weights; ``frozen`` and ``knn`` keep them as they are."""

_STATISTICS_BATCHES = 8
"""Batches of labelled images that BatchNorm's statistics are averaged over, at most."""


@dataclass(frozen=True)
class CellJob:
    """One point of the evaluation.

    Attributes:
        recipe: what all jobs share.
        task: the pretext task whose weights it starts from; None for an arm that uses none.
        arm: ``"pretrained"``, ``"scratch"``, ``"frozen"``, ``"knn"`` or ``"imagenet"``.
        fraction: share of the fold's labels.
        fold: the fold that tests it.
        repetition: which order of labels, and which seeds.
        training_rows: the labelled images it learns from.
        test_rows: the labelled images that score it.
        weights: folder and identity of the pretraining it starts from.
        after: id of that pretraining's job.
        keep_model: whether its weights are kept.
    """

    recipe: Recipe
    task: Configured | None
    arm: str
    fraction: float
    fold: int
    repetition: int
    training_rows: npt.NDArray[np.int64]
    test_rows: npt.NDArray[np.int64]
    weights: tuple[Path, str] | None = None
    after: tuple[str, ...] = ()
    keep_model: bool = False

    @cached_property
    def cell_id(self) -> str:
        """A digest of all that the result depends on; the name of the cell's folder."""
        recipe = self.recipe
        return digest(
            {
                **recipe.common_identity(),
                "head": recipe.head.identity(),
                "finetuning": recipe.finetuning.model_dump(mode="json"),
                "arm": self.arm,
                "weights": None if self.weights is None else self.weights[1],
                "fraction": self.fraction,
                "fold": self.fold,
                "repetition": self.repetition,
                "training": [self.training_rows, recipe.grades[self.training_rows]],
                "test": [self.test_rows, recipe.grades[self.test_rows]],
                "names": [[recipe.ids[row], recipe.groups[row]] for row in self.test_rows],
            }
        )

    @property
    def pretext(self) -> str:
        """The pretext task's name, empty for an arm that uses none."""
        return "" if self.task is None else self.task.info.name

    @property
    def id(self) -> str:
        """The job's name in the run."""
        return f"cells/{self.cell_id}"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.recipe.directory.cell(self.cell_id)

    @property
    def done(self) -> bool:
        """Whether its result stands, and its model where that is kept."""
        wanted = ["result.json", *(["model.safetensors"] if self.keeps_model else [])]
        return all((self.folder / name).exists() for name in wanted)

    @property
    def keeps_model(self) -> bool:
        """Whether there is a model to keep, and it is asked for."""
        return self.keep_model and self.arm != "knn"

    @property
    def coordinates(self) -> dict[str, Any]:
        """What names the cell in results.csv."""
        return {
            "pretext": self.pretext,
            "arm": self.arm,
            "fraction": self.fraction,
            "fold": self.fold,
            "repetition": self.repetition,
            "labels": len(self.training_rows),
            "test_images": len(self.test_rows),
        }

    def execute(self, report: Reporter) -> None:
        """Train, score, and write the cell's folder in one move."""
        self.recipe.compute.make_deterministic()
        _Cell(self, report).run()


class _Cell:
    def __init__(self, job: CellJob, report: Reporter) -> None:
        self.job, self.report, self.recipe = job, report, job.recipe
        self.images = self.recipe.cache.open()
        # No seed depends on the arm: arms differ in the encoder's initial weights and nothing else.
        self.seed = (self.recipe.seed, "cell", job.fold, job.repetition, str(job.fraction))
        self.encoder = self._make_encoder()
        self.head: DownstreamHead[Any] = call_with_seed(
            derive_seed(*self.seed, "head"),
            lambda: self.recipe.head.make(self.encoder.backbone.head_hidden_size),
        )
        self.head.to(self.recipe.compute.device)
        self.decoder: Decoder = self.head
        self.targets = torch.from_numpy(self.recipe.grades)
        settings = self.recipe.finetuning
        self.head_updates = settings.updates if job.arm == "frozen" else settings.head_updates
        # The last of these is the last update, whose logits are the cell's result.
        points = np.linspace(0, settings.updates, settings.evaluations + 1).round().astype(int)[1:]
        self.evaluation_points = frozenset(points.tolist())
        self.curve: list[dict[str, Any]] = []
        self.losses: list[float] = []

    def run(self) -> None:
        if self.job.arm == "knn":
            self._vote()
        elif self.job.arm == "frozen":
            self._train_on_frozen_features()
        else:
            self._reestimate_statistics()
            self._train_head()
            self._train_everything()
        self._write(self.test_logits)

    def _make_encoder(self) -> Encoder:
        recipe, job = self.recipe, self.job
        plugin = recipe.backbone.make()
        seed = derive_seed(recipe.seed, "encoder", job.fold, job.repetition)
        network: nn.Module = call_with_seed(seed, lambda: plugin.build(pretrained=job.arm == "imagenet"))
        if job.weights is not None:
            load_weights(network, job.weights[0] / "backbone.safetensors")
        to_compute(network, recipe.compute)
        return Encoder(network, plugin.mean, plugin.std, recipe.compute)

    def _load(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        return load_batch(self.images, rows).to(self.recipe.compute.device, non_blocking=True)

    def _rows_of(self, update: int) -> npt.NDArray[np.int64]:
        size = self.recipe.finetuning.batch_size
        return shuffled_rows(self.job.training_rows, update * size, size, *self.seed, "order")

    def _batch(self, update: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self._rows_of(update)
        generator = make_generator(*self.seed, "augmentation", update)
        images = augment(load_batch(self.images, rows), self.recipe.finetuning.augment, generator)
        device = self.recipe.compute.device
        return images.to(device, non_blocking=True), self.targets[rows].to(device, non_blocking=True)

    def _loss(self, features: torch.Tensor, targets: torch.Tensor) -> StepOutput:
        return StepOutput(self.head.loss(self.head(features), targets))

    def _reestimate_statistics(self) -> None:
        rows, size = self.job.training_rows, self.recipe.finetuning.batch_size
        # A short last batch would weigh as much as a whole one; it stands only where there is no other.
        whole = min(len(rows) // size, _STATISTICS_BATCHES) * size
        batches = batches_of(rows[: whole or len(rows)], size)
        reestimate_batch_statistics(self.encoder, [self._load(part) for part in batches if len(part) > 1])

    def _train_head(self) -> None:
        """Train the head alone, the encoder in eval mode and without a backward pass."""
        self.encoder.eval()
        self.head.train()

        def step(update: int) -> StepOutput:
            images, targets = self._batch(update)
            with torch.no_grad():
                features = self.encoder(images)
            return self._loss(features, targets)

        self._phase("head", step, [self.head], self.head_updates, self.recipe.finetuning.head_learning_rate, 0)

    def _train_everything(self) -> None:
        self.encoder.train()
        self.head.train()

        def step(update: int) -> StepOutput:
            images, targets = self._batch(self.head_updates + update)
            return self._loss(self.encoder(images), targets)

        settings = self.recipe.finetuning
        rest = settings.updates - self.head_updates
        self._phase("all", step, [self.encoder, self.head], rest, settings.learning_rate, self.head_updates)

    def _train_on_frozen_features(self) -> None:
        """Train a linear probe: the encoder sees each image once, as it is."""
        rows = self.job.training_rows
        features = self._features(rows).clone()
        place = {row: number for number, row in enumerate(rows.tolist())}
        self.test_features = self._features(self.job.test_rows)
        self.head.train()

        def step(update: int) -> StepOutput:
            drawn = self._rows_of(update)
            chosen = features[[place[row] for row in drawn.tolist()]]
            return self._loss(chosen, self.targets[drawn].to(chosen.device))

        self._phase("head", step, [self.head], self.head_updates, self.recipe.finetuning.head_learning_rate, 0)

    def _vote(self) -> None:
        """Grade the test images by their nearest labelled ones; the head lends its classes and nothing else."""
        rows = self.job.training_rows
        self.decoder = NearestNeighbours(self.head)
        features, queries = self._features(rows), self._features(self.job.test_rows)
        self.test_logits = self.decoder.votes(features, self.targets[rows], queries).cpu()
        self.report({"done": 1, "total": 1})

    def _phase(
        self, name: str, step: Any, modules: list[nn.Module], updates: int, learning_rate: float, offset: int
    ) -> None:
        settings = self.recipe.finetuning

        def on_update(update: int, output: StepOutput) -> None:
            done = offset + update + 1
            self.losses.append(float(output.loss.detach()))
            self.report({"done": done, "total": settings.updates})
            if done in self.evaluation_points:
                self._evaluate(done, name, schedule.rate(update))

        if not updates:
            return
        schedule = Schedule(updates, learning_rate, settings.warmup)
        optimizer = make_optimizer(modules, learning_rate, settings.weight_decay)
        train(step, optimizer, schedule, seed=(*self.seed, name), on_update=on_update)

    def _evaluate(self, done: int, phase: str, learning_rate: float) -> None:
        self.test_logits = self._test_logits()
        self.decoder = copy.deepcopy(self.head).cpu()
        scores = score(self.decoder, self.test_logits, self.recipe.grades[self.job.test_rows])
        point = {"phase": phase, "loss": float(np.mean(self.losses)), "learning_rate": learning_rate}
        self.curve.append({"update": done, **point, "qwk": scores["qwk"], "accuracy": scores["accuracy"]})
        self.losses.clear()

    def _features(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        with evaluation_mode(self.encoder):
            return torch.cat([self.encoder(self._load(part)) for part in batches_of(rows)])

    def _test_logits(self) -> torch.Tensor:
        features = self.test_features if self.job.arm == "frozen" else self._features(self.job.test_rows)
        with evaluation_mode(self.head):
            logits: torch.Tensor = self.head(features).float().cpu()
        if not torch.isfinite(logits).all():
            raise TrainingDivergedError(
                "the network's output on the test images is no longer finite; "
                "try a lower finetuning.learning_rate, a longer warmup, or compute.precision='fp32'"
            )
        return logits

    def _write(self, logits: torch.Tensor) -> None:
        job, recipe = self.job, self.recipe
        targets = recipe.grades[job.test_rows]
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{job.cell_id}-", dir=job.folder.parent))
        try:
            ids = [recipe.ids[row] for row in job.test_rows]
            groups = [recipe.groups[row] for row in job.test_rows]
            write_predictions(scratch / "predictions.csv", self.decoder, logits, ids, groups, targets)
            write_text(scratch / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in self.curve))
            if job.keeps_model:
                parts = {"encoder": self.encoder.backbone, "head": self.head}
                weights = {
                    f"{part}.{name}": value.detach().cpu().contiguous()
                    for part, module in parts.items()
                    for name, value in module.state_dict().items()
                }
                write_atomically(scratch / "model.safetensors", lambda file: file.write(save(weights)))
            result = {**job.coordinates, **score(self.decoder, logits, targets), "cell": job.cell_id}
            write_json(scratch / "result.json", result)
            scratch.chmod(0o755)
            self._move_into_place(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _move_into_place(self, scratch: Path) -> None:
        try:
            scratch.rename(self.job.folder)
        except OSError:
            if self.job.done:  # another run of the same command was first: its results are the same
                return
            shutil.rmtree(self.job.folder)  # what is left of a cell whose result is gone
            scratch.rename(self.job.folder)
