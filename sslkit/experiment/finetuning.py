"""Trains the network of one cell, head first, or a head on what a frozen encoder says."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sslkit.data.augmentation import NUM_SYMMETRIES, apply_symmetries, draw_symmetries
from sslkit.engine.heads import logits_of, loss_of
from sslkit.engine.networks import (
    Encoder,
    batches_of,
    build_encoder,
    call_with_seed,
    encode_rows,
    evaluation_mode,
    load_batch,
    reestimate_batch_statistics,
)
from sslkit.engine.seeding import derive_seed, make_generator, shuffled_rows
from sslkit.engine.weights import load_weights
from sslkit.experiment.convergence import Convergence
from sslkit.experiment.features import read_features
from sslkit.experiment.nearest import NearestNeighbours
from sslkit.experiment.scoring import Decoder
from sslkit.interfaces import DownstreamHead, Reporter
from sslkit.types import StepOutput

if TYPE_CHECKING:
    from sslkit.experiment.cell import CellJob

Batch = tuple[npt.NDArray[np.int64], torch.Tensor]
"""Rows of a batch and the symmetry that each image is shown under."""

_STATISTICS_BATCHES = 8
"""Batches of labelled images that BatchNorm's statistics are averaged over, at most."""

_STRETCH = 32768
"""Images of the head's updates whose representations are held in memory at a time."""


@dataclass(frozen=True)
class TrainedCell:
    """What the training of a cell has come to.

    Attributes:
        decoder: what turns the logits into classes.
        logits: float32 (N, L), of the test images.
        curve: the points of the convergence curve.
        encoder: the network without its head.
        head: the head.
    """

    decoder: Decoder
    logits: torch.Tensor
    curve: list[dict[str, Any]]
    encoder: nn.Module
    head: DownstreamHead[Any]


def train_cell(job: CellJob, report: Reporter) -> TrainedCell:
    """Train the network of a cell as its arm says, and apply it to the test images."""
    return _Training(job, report).run()


class _Training:
    def __init__(self, job: CellJob, report: Reporter) -> None:
        self.job, self.report, self.recipe = job, report, job.recipe
        self.settings = self.recipe.finetuning
        self.images = self.recipe.cache.open()
        self.targets = torch.from_numpy(self.recipe.grades)
        # No seed depends on the arm: arms differ in the encoder's initial weights and nothing else.
        self.seed = (self.recipe.seed, "cell", job.fold, job.repetition, str(job.fraction))
        self.encoder = self._make_encoder()
        self.head: DownstreamHead[Any] = call_with_seed(
            derive_seed(*self.seed, "head"),
            lambda: self.recipe.head.make(self.encoder.backbone.head_hidden_size),
        )
        self.head.to(self.recipe.compute.device)
        targets = self.recipe.grades[job.test_rows]
        self.convergence = Convergence(self.settings, self._test, targets, self.recipe.compute, report)

    def run(self) -> TrainedCell:
        if self.job.arm == "knn":
            return self._vote()
        if self.job.arm == "frozen":
            self._train_linear_probe()
        else:
            self._reestimate_statistics()
            self._train_head()
            self._train_everything()
        found = self.convergence
        return TrainedCell(found.decoder, found.logits, found.curve, self.encoder.backbone, self.head)

    def _make_encoder(self) -> Encoder:
        recipe, job = self.recipe, self.job
        seed = derive_seed(recipe.seed, "encoder", job.fold, job.repetition)
        encoder = build_encoder(recipe.backbone.make(), recipe.compute, seed=seed, pretrained=job.arm == "imagenet")
        if job.weights is not None:
            load_weights(encoder.backbone, job.weights[0] / "backbone.safetensors")
        return encoder

    def _load(self, rows: npt.NDArray[np.int64], symmetries: torch.Tensor | None = None) -> torch.Tensor:
        images = load_batch(self.images, rows)
        if symmetries is not None:
            images = apply_symmetries(images, symmetries)
        return self.recipe.compute.send(images)

    def _targets(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        return self.recipe.compute.send(self.targets[rows])

    def _draw(self, update: int) -> Batch:
        size = self.settings.batch_size
        rows = shuffled_rows(self.job.training_rows, update * size, size, *self.seed, "order")
        generator = make_generator(*self.seed, "augmentation", update)
        return rows, draw_symmetries(size, self.settings.augment, generator)

    def _loss(self, features: torch.Tensor, targets: torch.Tensor) -> StepOutput:
        return StepOutput(loss_of(self.head, features, targets))

    def _reestimate_statistics(self) -> None:
        rows, size = self.job.training_rows, self.settings.batch_size
        # A short last batch would weigh as much as a whole one; it stands only where there is no other.
        whole = min(len(rows) // size, _STATISTICS_BATCHES) * size
        batches = batches_of(rows[: whole or len(rows)], size)
        reestimate_batch_statistics(self.encoder, [self._load(part) for part in batches if len(part) > 1])

    def _train_head(self) -> None:
        """Train the head alone: the encoder, in eval mode, sees each image once under each symmetry."""
        self.encoder.eval()
        self.head.train()
        stretch = max(1, _STRETCH // self.settings.batch_size)
        known: dict[int, _Representations] = {}

        def step(update: int) -> StepOutput:
            start = update // stretch * stretch
            if start not in known:
                known.clear()
                updates = range(start, min(start + stretch, self.settings.head_updates))
                known[start] = self._represent([self._draw(number) for number in updates])
            batch = self._draw(update)
            return self._loss(known[start].of(batch), self._targets(batch[0]))

        settings = self.settings
        self._phase("head", step, [self.head], settings.head_updates, settings.head_learning_rate)

    def _represent(self, batches: list[Batch]) -> _Representations:
        keys = np.unique(np.concatenate([_keys(batch) for batch in batches]))
        with evaluation_mode(self.encoder):
            parts = [
                self.encoder(self._load(part // NUM_SYMMETRIES, torch.from_numpy(part % NUM_SYMMETRIES)))
                for part in batches_of(keys)
            ]
        return _Representations(keys, torch.cat(parts))

    def _train_everything(self) -> None:
        self.encoder.train()
        self.head.train()
        settings = self.settings

        def step(update: int) -> StepOutput:
            rows, symmetries = self._draw(settings.head_updates + update)
            return self._loss(self.encoder(self._load(rows, symmetries)), self._targets(rows))

        rest = settings.updates - settings.head_updates
        self._phase("all", step, [self.encoder, self.head], rest, settings.learning_rate)

    def _train_linear_probe(self) -> None:
        """Train the head alone, all the way, on features of the images as they are."""
        rows = self.job.training_rows
        features, self.test_features = self._frozen_features(rows), self._frozen_features(self.job.test_rows)
        place = {row: number for number, row in enumerate(rows.tolist())}
        self.head.train()

        def step(update: int) -> StepOutput:
            drawn = self._draw(update)[0]
            return self._loss(features[[place[row] for row in drawn.tolist()]], self._targets(drawn))

        self._phase("head", step, [self.head], self.settings.updates, self.settings.head_learning_rate)

    def _vote(self) -> TrainedCell:
        """Grade the test images by their nearest labelled ones; the head lends its classes and nothing else."""
        rows = self.job.training_rows
        decoder = NearestNeighbours(self.head)
        votes = decoder.votes(
            self._frozen_features(rows), self.targets[rows], self._frozen_features(self.job.test_rows)
        )
        self.report({"done": 1, "total": 1})
        return TrainedCell(decoder, votes.cpu(), [], self.encoder.backbone, self.head)

    def _frozen_features(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        assert self.job.weights is not None, "an arm that keeps an encoder frozen has one"
        return read_features(self.job.weights[0], rows).to(self.recipe.compute.device)

    def _phase(self, name: str, step: Any, modules: list[nn.Module], num_updates: int, learning_rate: float) -> None:
        self.convergence.train(name, step, modules, num_updates, learning_rate, self.seed)

    def _test(self) -> tuple[Decoder, torch.Tensor]:
        if self.job.arm == "frozen":
            features = self.test_features
        else:
            features = encode_rows(self.encoder, self.images, self.job.test_rows)
        with evaluation_mode(self.head):
            logits = logits_of(self.head, features).float().cpu()
        return copy.deepcopy(self.head).cpu(), logits


@dataclass(frozen=True)
class _Representations:
    """What an encoder says of images under symmetries: float32 (R, D), in the order of their ascending keys."""

    keys: npt.NDArray[np.int64]
    features: torch.Tensor

    def of(self, batch: Batch) -> torch.Tensor:
        return self.features[torch.from_numpy(np.searchsorted(self.keys, _keys(batch)))]


def _keys(batch: Batch) -> npt.NDArray[np.int64]:
    rows, symmetries = batch
    keys: npt.NDArray[np.int64] = rows * NUM_SYMMETRIES + symmetries.numpy()
    return keys
