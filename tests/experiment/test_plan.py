from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import tiny_config

import sslkit
from sslkit.engine.networks import build_network
from sslkit.errors import ConfigError, DataError, PluginError
from sslkit.experiment.environment import process_context
from sslkit.experiment.observation import Silent
from sslkit.experiment.plan import make_manifest
from sslkit.experiment.preparation import Prepared, prepare
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import resolve
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
            {"executor": {"partition": "gpu"}},
            ConfigError,
            r"^executor\.partition: unknown key.*\n\[executor\] holds the options of compute\.executor, .* 'local'$",
        ),
        ({"executor": {"name": "ray"}}, ConfigError, r"options alone; compute\.executor names the executor$"),
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


COMBINED = {"name": "combine", "parts": [{"name": "rotation"}, {"name": "colorization", "weight": 0.5}]}


@pytest.mark.parametrize(
    ("attributes", "changes", "message"),
    [
        (
            {"tags": frozenset({"compile"})},
            {"compute": {"precision": "bf16"}},
            r"^compute\.precision: .*'colorization'",
        ),
        ({"tags": frozenset({"bf16"})}, {"compute": {"compile": True}}, r"^compute\.compile: .*'colorization'"),
        ({"min_batch_size": 13}, {}, r"^pretraining\.batch_size: the task 'colorization' .* at least 13; 12 given$"),
    ],
)
def test_what_a_part_does_not_claim_is_refused_of_the_whole(
    attributes: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    resolve(tiny_config(pretext=COMBINED, **changes), sslkit.build_registry())
    with pytest.raises(ConfigError, match=message):
        resolve(
            tiny_config(pretext=COMBINED, **changes), changed_registry("pretext-task", "colorization", **attributes)
        )


def test_a_network_that_a_task_cannot_train_is_refused_at_planning() -> None:
    flat = {"name": "timm", "model": "coat_lite_tiny", "options": {"img_size": 32}}
    with pytest.raises(
        ConfigError, match=r"^pretext: the task 'colorization' cannot train the backbone 'timm': no feat"
    ):
        resolve(tiny_config(backbone=flat, pretext={"name": "colorization"}), sslkit.build_registry())
    with pytest.raises(
        ConfigError, match=r"the task 'combine' cannot .*: its part 'colorization' cannot: no feature map"
    ):
        resolve(tiny_config(backbone=flat, pretext=COMBINED), sslkit.build_registry())
    resolve(tiny_config(backbone=flat), sslkit.build_registry())


def test_the_options_of_parts_are_written_out_and_their_versions_are_part_of_the_whole() -> None:
    study = resolve(tiny_config(pretext=COMBINED), sslkit.build_registry())
    (task,) = study.tasks
    assert study.resolved()["pretext"][0]["parts"][0] == {"name": "rotation", "weight": 1.0, "turns": "all"}
    assert sslkit.parse_config(study.resolved(), root=Path.cwd()).pretext[0].name == "combine"
    newer = replace(task.parts[1], info=replace(task.parts[1].info, version="99"))
    assert replace(task, parts=(task.parts[0], newer)).identity() != task.identity()
    assert {"sslkit_combine", "sslkit_rotation", "sslkit_colorization"} <= set(study.modules())
    assert [plugin.name for plugin in study.plugins()][2:5] == ["combine", "rotation", "colorization"]


def test_each_part_is_probed_for_shortcuts(tmp_path: Path) -> None:
    prepared = prepared_for(tmp_path, pretext={**COMBINED, "parts": [{"name": "rotation"}, {"name": "jigsaw"}]})
    assert set(prepared.audit.pretext_probes) == {"rotation", "jigsaw"}


TILES = {"pretext": {"name": "jigsaw"}, "images": {"size": 64, "crop": "fundus"}}
"""Tiles of 12 pixels, of which a ResNet has a map of one pixel before its last stage."""


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [(TILES, "fp32"), ({**TILES, "pretext": {"name": "jigsaw", "tile_size": 32}}, "bf16"), ({}, "bf16")],
    ids=["tiles-of-12-px", "tiles-of-32-px", "whole-images"],
)
def test_maps_of_one_pixel_are_not_trained_in_bf16_on_a_cpu(
    changes: dict[str, Any], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslkit.engine.precision._has_bf16", lambda family: True)
    compute = {"device": "cpu", "precision": "auto"}
    study = resolve(tiny_config(**changes, compute=compute), sslkit.build_registry())
    assert study.resolve_compute().precision == wanted


def test_bf16_is_refused_where_a_cpu_gets_it_wrong() -> None:
    study = resolve(tiny_config(**TILES, compute={"device": "cpu", "precision": "bf16"}), sslkit.build_registry())
    with pytest.raises(
        ConfigError, match=r"^compute\.precision: with images of 12 px the backbone 'timm' convolves maps"
    ):
        study.resolve_compute()


def test_one_network_is_built_for_all_tasks_that_ask_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []

    def build(*arguments: Any, **options: Any) -> Any:
        built.append(build_network(*arguments, **options))
        return built[-1]

    monkeypatch.setattr("sslkit.experiment.study.build_network", build)
    resolve(
        tiny_config(pretext=[{"name": name} for name in ("colorization", "inpainting", "rotation")]),
        sslkit.build_registry(),
    )
    assert len(built) == 1
    resolve(tiny_config(pretext={"name": "rotation"}), sslkit.build_registry())
    assert len(built) == 1
