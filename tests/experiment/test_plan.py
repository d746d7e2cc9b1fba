from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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
from sslkit.registry import Registry


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


def changed_registry(kind: str, name: str, **attributes: Any) -> Any:
    """Return the installed plugins, with one of them made anew."""
    registry = sslkit.build_registry()
    plugins = [
        replace(plugin, cls=type(plugin.cls.__name__, (plugin.cls,), attributes))
        if (plugin.kind, plugin.name) == (kind, name)
        else plugin
        for plugin in registry.plugins
    ]
    return Registry(plugins, registry.broken, registry.hooks, registry.modules)


@pytest.mark.parametrize(("kind", "name"), [("pretext-task", "rotation"), ("backbone", "timm"), ("head", "dr-grade")])
def test_half_precision_is_refused_where_a_plugin_does_not_claim_it(kind: str, name: str) -> None:
    registry = changed_registry(kind, name, tags=frozenset({"compile"}))

    with pytest.raises(ConfigError, match=rf"^compute\.precision: the .*{name}.* does not claim to work in half"):
        resolve(tiny_config(compute={"precision": "bf16"}), registry)
    study = resolve(tiny_config(compute={"precision": "auto", "device": "cpu"}), registry)
    assert study.resolve_compute().precision == "fp32"


def test_compiling_is_refused_where_a_plugin_does_not_claim_it() -> None:
    registry = changed_registry("pretext-task", "rotation", tags=frozenset({"bf16"}))

    with pytest.raises(ConfigError, match=r"^compute\.compile: the pretext task 'rotation' .* choose false$"):
        resolve(tiny_config(compute={"compile": True}), registry)
    resolve(tiny_config(compute={"compile": False}), registry)


def test_a_batch_too_small_for_the_task_is_refused() -> None:
    registry = changed_registry("pretext-task", "rotation", min_batch_size=13)

    with pytest.raises(ConfigError, match=r"^pretraining\.batch_size: the task 'rotation' .* at least 13; 12 given$"):
        resolve(tiny_config(), registry)
    resolve(tiny_config(pretraining={"batch_size": 13}), registry)
    resolve(tiny_config(evaluation={"arms": ["scratch"]}), registry)


def test_a_task_that_can_make_no_views_says_why_at_planning() -> None:
    def view_sizes(cls: Any, config: Any, context: sslkit.TaskContext) -> Any:
        assert context.mask is not None
        raise ValueError(f"{context.image_size} px are too few")

    registry = changed_registry("pretext-task", "rotation", view_sizes=classmethod(view_sizes))

    with pytest.raises(ConfigError, match=r"^the pretext task 'rotation' can make no views .*: 32 px are too few$"):
        resolve(tiny_config(), registry)
