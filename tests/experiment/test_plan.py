from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from studies import tiny_config

import sslkit
from sslkit.errors import ConfigError, DataError, PluginError
from sslkit.experiment.environment import process_context
from sslkit.experiment.observation import Silent
from sslkit.experiment.plan import make_manifest, resolve
from sslkit.experiment.preparation import Prepared, prepare
from sslkit.experiment.run_directory import RunDirectory


def prepared_for(root: Path, **changes: object) -> Prepared:
    study = resolve(tiny_config(**changes), sslkit.build_registry())
    compute = sslkit.engine.precision.resolve_compute("cpu", "fp32", False)
    context = process_context(study.modules())
    return prepare(study, RunDirectory(root), compute, make_manifest(study), 1, context, Silent(), print)


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    found = sslkit.plan(tiny_config(), tmp_path / "run")

    assert (found.num_pretrainings, found.num_cells) == (2, 16)
    assert found.num_images == 48
    assert sum(found.class_counts.values()) + found.num_unlabelled == 48
    assert found.labels[1.0] > found.labels[0.3]
    assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_what_the_plan_holds(tmp_path: Path) -> None:
    changes = {"evaluation": {"arms": ["scratch", "frozen"], "repetitions": 3, "folds": 3}}

    found, prepared = sslkit.plan(tiny_config(**changes), tmp_path), prepared_for(tmp_path, **changes)

    assert (found.num_pretrainings, found.num_cells) == (len(prepared.jobs.pretrainings), len(prepared.jobs.cells))


def test_no_pretraining_sees_a_patient_of_its_test_fold(tmp_path: Path) -> None:
    prepared = prepared_for(tmp_path)
    groups = np.array(prepared.jobs.cells[0].recipe.groups)

    for job in prepared.jobs.pretrainings:
        tested = next(cell.test_rows for cell in prepared.jobs.cells if cell.fold == job.fold)
        assert not set(groups[job.rows]) & set(groups[tested])
        unlabelled = np.flatnonzero(prepared.manifest.grades == -1)
        assert set(unlabelled) <= set(job.rows) | set(np.flatnonzero(np.isin(groups, groups[tested])))


def test_all_images_are_pretrained_on_where_that_is_asked_for(tmp_path: Path) -> None:
    prepared = prepared_for(tmp_path, pretraining={"images": "all"})

    (job,) = prepared.jobs.pretrainings
    assert job.fold is None
    assert job.folder == tmp_path / "pretraining" / "rotation" / "all"
    assert job.rows.tolist() == list(range(48))
    assert {cell.after for cell in prepared.jobs.cells if cell.arm == "pretrained"} == {(job.id,)}


def test_arms_share_labels_and_nothing_is_pretrained_for_scratch_alone(tmp_path: Path) -> None:
    prepared = prepared_for(tmp_path)
    by_arm = {
        arm: {
            (cell.fraction, cell.fold): cell.training_rows.tolist() for cell in prepared.jobs.cells if cell.arm == arm
        }
        for arm in ("pretrained", "scratch", "frozen")
    }

    assert by_arm["pretrained"] == by_arm["scratch"] == by_arm["frozen"]
    assert not prepared_for(tmp_path, evaluation={"arms": ["scratch"]}).jobs.pretrainings


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"pretext": {"name": "rotatoin"}},
            PluginError,
            r"unknown pretext task 'rotatoin'; did you mean 'rotation'\? ",
        ),
        (
            {"head": {"name": "dr-grade", "encodin": "softmax"}},
            ConfigError,
            r"head\.encodin: unknown key; did you mean",
        ),
        ({"pretext": {"name": "rotation", "turns": "some"}}, ConfigError, r"pretext\.turns: input should be 'all' or"),
        ({"compute": {"executor": "locl"}}, PluginError, r"unknown executor 'locl'; did you mean 'local'\?"),
        (
            {"backbone": {"name": "densenet121"}, "images": {"size": 20, "crop": "center"}},
            ConfigError,
            r"images\.size: the backbone 'densenet121' cannot take 20 px: ",
        ),
        ({"evaluation": {"folds": 40}}, DataError, r"labelled groups are fewer than the 40 folds; lower"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sslkit.plan(tiny_config(**changes))
