from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from studies import prepare_tiny, save_backbone

import sslkit
from sslkit.engine.networks import call_with_seed
from sslkit.engine.precision import Compute
from sslkit.engine.seeding import derive_seed
from sslkit.experiment.cell import CellJob
from sslkit.experiment.preparation import Prepared
from sslkit.experiment.run_directory import RunDirectory


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare_tiny(tmp_path / "run")


def scratch_cell(prepared: Prepared) -> CellJob:
    return next(cell for cell in prepared.jobs.cells if cell.arm == "scratch" and cell.fraction == 1.0)


def pretrained_twin(prepared: Prepared, weights: Path) -> CellJob:
    """Return the pretrained cell of the same fold and labels, whose pretrained weights stand in a folder."""
    scratch = scratch_cell(prepared)
    cell = next(
        cell
        for cell in prepared.jobs.cells
        if (cell.arm, cell.fraction, cell.fold) == ("pretrained", scratch.fraction, scratch.fold)
    )
    return replace(cell, weights=(weights, "any"))


def initial_encoder(cell: CellJob) -> dict[str, torch.Tensor]:
    seed = derive_seed(cell.recipe.seed, "encoder", cell.fold, cell.repetition)
    network = call_with_seed(seed, cell.recipe.backbone.make().build)
    return dict(network.state_dict())


def test_arms_differ_in_the_initial_encoder_and_nothing_else(prepared: Prepared, tmp_path: Path) -> None:
    # Given scratch's own initial weights as "pretrained" ones, the pretrained arm must end exactly where scratch does:
    # the same images in the same order, augmentation, updates, schedule and head.
    scratch = scratch_cell(prepared)
    save_backbone(initial_encoder(scratch), tmp_path)
    twin = pretrained_twin(prepared, tmp_path)

    scratch.execute(lambda values: None)
    twin.execute(lambda values: None)

    for name in ("predictions.csv", "metrics.jsonl", "model.safetensors"):
        assert (twin.folder / name).read_bytes() == (scratch.folder / name).read_bytes()


def test_other_initial_weights_end_elsewhere(prepared: Prepared, tmp_path: Path) -> None:
    scratch = scratch_cell(prepared)
    weights = initial_encoder(scratch)
    weights["conv1.0.weight"] = weights["conv1.0.weight"] * 1.5
    save_backbone(weights, tmp_path)
    twin = pretrained_twin(prepared, tmp_path)

    scratch.execute(lambda values: None)
    twin.execute(lambda values: None)

    assert (twin.folder / "predictions.csv").read_bytes() != (scratch.folder / "predictions.csv").read_bytes()


def test_the_frozen_arm_keeps_its_encoder_bit_for_bit(prepared: Prepared, tmp_path: Path) -> None:
    weights = initial_encoder(scratch_cell(prepared))
    save_backbone(weights, tmp_path)
    cell = next(cell for cell in prepared.jobs.cells if cell.arm == "frozen" and cell.keep_model)

    replace(prepared.jobs.features[0], folder=tmp_path).execute(lambda values: None)
    replace(cell, weights=(tmp_path, "any")).execute(lambda values: None)

    folder = replace(cell, weights=(tmp_path, "any")).folder
    kept = load_file(folder / "model.safetensors")
    assert all(torch.equal(kept[f"encoder.{name}"], value) for name, value in weights.items())


def test_pretrained_weights_that_do_not_fit_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    weights = initial_encoder(scratch_cell(prepared))
    weights.pop("conv1.0.weight")
    save_backbone(weights, tmp_path)

    with pytest.raises(sslkit.errors.WeightsError, match=r"1 missing: conv1\.0\.weight"):
        pretrained_twin(prepared, tmp_path).execute(lambda values: None)


def test_a_cell_is_named_by_its_inputs(prepared: Prepared) -> None:
    cell = scratch_cell(prepared)
    recipe = cell.recipe

    assert replace(cell, keep_model=not cell.keep_model).cell_id == cell.cell_id
    others = [
        replace(cell, fraction=0.9),
        replace(cell, repetition=1),
        replace(cell, training_rows=cell.training_rows[:-1]),
        replace(cell, weights=(Path("x"), "y")),
        replace(cell, recipe=replace(recipe, seed=1)),
        replace(cell, recipe=replace(recipe, compute=Compute("cpu", "bf16"))),
        replace(cell, recipe=replace(recipe, finetuning=recipe.finetuning.model_copy(update={"updates": 9}))),
    ]
    assert len({cell.cell_id, *(other.cell_id for other in others)}) == len(others) + 1
    assert replace(cell, recipe=replace(recipe, directory=RunDirectory(Path("/elsewhere")))).cell_id == cell.cell_id
