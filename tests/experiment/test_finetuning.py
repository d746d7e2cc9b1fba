from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from studies import prepare_tiny

from sslkit.data.augmentation import augment
from sslkit.engine import networks
from sslkit.engine.networks import Encoder, load_batch
from sslkit.engine.seeding import make_generator
from sslkit.experiment import finetuning
from sslkit.experiment.cell import CellJob


class CountingEncoder(Encoder):
    """Counts the images of every forward pass, and those that a backward pass follows."""

    forwards: list[int]
    with_gradient: list[int]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = super().forward(images)
        CountingEncoder.forwards.append(len(images))
        if features.requires_grad:
            CountingEncoder.with_gradient.append(len(images))
        return features


@pytest.fixture
def _counting(monkeypatch: pytest.MonkeyPatch) -> None:
    CountingEncoder.forwards, CountingEncoder.with_gradient = [], []
    monkeypatch.setattr(networks, "Encoder", CountingEncoder)


def scratch_cell(root: Path, **finetuning: Any) -> CellJob:
    cells = prepare_tiny(root, finetuning=finetuning).jobs.cells
    return next(cell for cell in cells if (cell.arm, cell.fraction) == ("scratch", 0.3))


@pytest.mark.usefixtures("_counting")
@pytest.mark.parametrize(("kind", "symmetries"), [("none", 1), ("flips", 4), ("flips-turns", 8)])
def test_while_the_head_is_trained_the_encoder_sees_each_image_once_under_each_symmetry(
    tmp_path: Path, kind: str, symmetries: int
) -> None:
    cell = scratch_cell(tmp_path, augment=kind, updates=200, head_updates=200, batch_size=8, evaluations=1)
    training = finetuning._Training(cell, lambda values: None)
    training._train_head()
    # The last of the forward passes are those of the test images.
    tested = len(cell.test_rows)
    assert sum(CountingEncoder.forwards) - tested == symmetries * len(cell.training_rows)
    assert sum(CountingEncoder.forwards) < 200 * 8
    assert not CountingEncoder.with_gradient
    assert all(parameter.grad is None for parameter in training.encoder.parameters())


@pytest.mark.usefixtures("_counting")
def test_afterwards_each_update_is_one_forward_pass_and_one_backward_pass(tmp_path: Path) -> None:
    cell = scratch_cell(tmp_path, updates=5, head_updates=0, batch_size=8, evaluations=1)
    finetuning._Training(cell, lambda values: None)._train_everything()
    assert CountingEncoder.with_gradient == [8] * 5
    assert sum(CountingEncoder.forwards) == 5 * 8 + len(cell.test_rows)


def test_the_head_learns_from_what_the_encoder_says_of_each_augmented_image(tmp_path: Path) -> None:
    cell = scratch_cell(tmp_path, updates=7, head_updates=7, batch_size=8)
    training = finetuning._Training(cell, lambda values: None)
    training.encoder.eval()
    batches = [training._draw(update) for update in range(7)]
    known = training._represent(batches)
    for update, (rows, symmetries) in enumerate(batches):
        generator = make_generator(*training.seed, "augmentation", update)
        images = augment(load_batch(training.images, rows), "flips-turns", generator)
        with torch.inference_mode():
            expected = training.encoder(images)
        torch.testing.assert_close(known.of((rows, symmetries)), expected, rtol=1e-4, atol=1e-5)


def test_a_long_phase_is_done_in_stretches_that_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = []
    for stretch in (finetuning._STRETCH, 16):
        monkeypatch.setattr(finetuning, "_STRETCH", stretch)
        cell = scratch_cell(tmp_path, updates=9, head_updates=9, batch_size=8, evaluations=1)
        logits.append(finetuning.train_cell(replace(cell), lambda values: None).logits)
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-5)
