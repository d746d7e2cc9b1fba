"""Plugins of strangers: whatever they do, it is said who did it and where; who does not use them never knows."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import strangers
from strangers import StrangeBackbone, StrangeConfig, StrangeHead, StrangeTask, announced, observer, spoil
from studies import prepare_tiny, tiny_config, tiny_tables

import sslkit
from sslkit.cli import main
from sslkit.config import to_toml
from sslkit.errors import JobError, PluginError
from sslkit.experiment.cross_fitting import cross_fit
from sslkit.experiment.observation import Hooks
from sslkit.experiment.preparation import Prepared
from sslkit.experiment.recipe import Configured
from sslkit.experiment.study import resolve
from sslkit.registry import Kind, PluginInfo, Registry, build_registry

OWN = tuple(metadata.entry_points(group="sslkit"))
SCRATCH = {"arms": ["scratch"], "folds": 2, "label_fractions": [1.0]}
MISTAKE = "ZeroDivisionError: a stranger's mistake in"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry([*OWN, announced(strangers)])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_tiny(tmp_path_factory.mktemp("strangers"), pretraining={"epochs": 1})


def configured(kind: Kind, cls: type[Any], how: str) -> Configured:
    return Configured(PluginInfo(kind, cls.name, cls, "acme", "1.2"), StrangeConfig(how=how))


def changes(kind: str, how: str, **more: Any) -> dict[str, Any]:
    return {kind: {"name": "strange", "how": how}, **more}


# In a job: a pretext task


TASK = "the pretext task 'strange' of acme 1.2"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("the constructor", rf"^{TASK} failed in its constructor: {MISTAKE} the constructor\n"),
        ("fit", rf"^{TASK} failed in fit\(\): {MISTAKE} fit\n"),
        ("before_update", rf"^{TASK} failed in before_update\(\): {MISTAKE} before_update\n"),
        ("make_views", rf"^{TASK} failed in make_views\(\): {MISTAKE} make_views\n"),
        ("forward", rf"^{TASK} failed in forward\(\): {MISTAKE} forward\n"),
        ("after_update", rf"^{TASK} failed in after_update\(\): {MISTAKE} after_update\n"),
        ("exit in make_views", rf"^{TASK} failed in make_views\(\): SystemExit: no licence for make_views\n"),
        ("views in a list", rf"^make_views\(\) of {TASK} returned list; its interface asks for tensors by name"),
        ("no views", rf"^make_views\(\) of {TASK} returned no view; "),
        (
            "views too few",
            rf"^make_views\(\) of {TASK} returned 'labels' as a tensor int64 \(7,\); .* each of the 8 images",
        ),
        ("views that are lists", rf"^make_views\(\) of {TASK} returned 'labels' as list; "),
        ("views without rows", rf"^make_views\(\) of {TASK} returned 'labels' as a tensor float32 \(0,\); "),
        (
            "views of other names",
            rf"^{TASK} failed in make_views\(\), whose views of one batch do not fit together: KeyErr",
        ),
        ("a tuple", rf"^forward\(\) of {TASK} returned tuple; its interface asks for a StepOutput"),
        ("a loss for each view", rf"^forward\(\) of {TASK} returned a tensor float32 \(2,\); .* 0-d tensor"),
        (
            "a loss without a gradient",
            rf"^forward\(\) of {TASK} returned a tensor float32 \(\), detached from the param",
        ),
        (
            "a loss that is a number",
            rf"^forward\(\) of {TASK} returned float; its interface asks for a loss that is one",
        ),
        ("a loss of whole numbers", rf"^forward\(\) of {TASK} returned a tensor int64 \(\), detached"),
        ("metrics in lists", rf"^forward\(\) of {TASK} returned the metric 'accuracy' as list; "),
    ],
)
def test_a_pretext_task_that_fails_is_named(prepared: Prepared, how: str, message: str) -> None:
    job = replace(prepared.jobs.pretrainings[0], task=configured("pretext-task", StrangeTask, how))
    with pytest.raises(PluginError, match=message) as failure:
        job.execute(lambda values: None)
    if MISTAKE in message:
        assert 'strangers.py", line' in str(failure.value)


def test_a_pretext_task_that_wants_memory_is_noted(prepared: Prepared) -> None:
    task = configured("pretext-task", StrangeTask, "want of memory in forward")
    with pytest.raises(MemoryError) as failure:
        replace(prepared.jobs.pretrainings[0], task=task).execute(lambda values: None)
    assert failure.value.__notes__ == [f"in forward() of {TASK}"]


def test_a_pretext_task_that_does_what_it_should(prepared: Prepared) -> None:
    job = replace(prepared.jobs.pretrainings[0], task=configured("pretext-task", StrangeTask, ""))
    job.execute(lambda values: None)
    assert job.done


# In a job: a head, a backbone


HEAD = "the head 'strange' of acme 1.2"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("the constructor", rf"^{HEAD} failed in its constructor: {MISTAKE} the constructor\n"),
        ("forward", rf"^{HEAD} failed in forward\(\): {MISTAKE} forward\n"),
        ("loss", rf"^{HEAD} failed in loss\(\): {MISTAKE} loss\n"),
        ("predict", rf"^{HEAD} failed in predict\(\): {MISTAKE} predict\n"),
        ("logits in a row", rf"^forward\(\) of {HEAD} returned a tensor float32 \(\d+,\); .* logits \(8, anything\)"),
        ("a loss for each image", rf"^loss\(\) of {HEAD} returned a tensor float32 \(8,\); .* 0-d tensor"),
        ("a tuple", rf"^predict\(\) of {HEAD} returned tuple; its interface asks for a Prediction"),
        ("classes beyond", rf"^predict\(\) of {HEAD} returned classes a tensor int64 .* each in 0\.\.4"),
        ("classes that are floats", rf"^predict\(\) of {HEAD} returned classes a tensor float32 "),
        (
            "too few probabilities",
            rf"^predict\(\) of {HEAD} returned classes .* and probabilities a tensor float32 \(\d+, 2\)",
        ),
    ],
)
def test_a_head_that_fails_is_named(prepared: Prepared, how: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        _cell(prepared, head=configured("head", StrangeHead, how)).execute(lambda values: None)


BACKBONE = "the backbone 'strange' of acme 1.2"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("build", rf"^{BACKBONE} failed in build\(\): {MISTAKE} build\n"),
        ("the network", rf"^{BACKBONE} failed in the forward pass of its network: {MISTAKE} the network\n"),
        (
            "too wide",
            rf"^the forward pass of the network of {BACKBONE} returned representations \(\d+, 6\); .* \(\d+, 3\)",
        ),
        ("no network", rf"^build\(\) of {BACKBONE} returned str without forward_features; .* a torch\.nn\.Module with"),
        ("no encoder", rf"^build\(\) of {BACKBONE} returned Linear without forward_features; "),
    ],
)
def test_a_backbone_that_fails_is_named(prepared: Prepared, how: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        _cell(prepared, backbone=configured("backbone", StrangeBackbone, how)).execute(lambda values: None)


def _cell(prepared: Prepared, **plugins: Configured) -> Any:
    cell = next(cell for cell in prepared.jobs.cells if cell.arm == "scratch")
    return replace(cell, recipe=replace(cell.recipe, **plugins))


# Beside the jobs


DATASET = "the dataset 'strange' of acme 1.2"


@pytest.mark.parametrize(
    ("kind", "how", "message"),
    [
        (
            "dataset",
            "validation",
            rf"^{DATASET} failed in the validation of its options: ZeroDivisionError: in the val",
        ),
        ("dataset", "the constructor", rf"^{DATASET} failed in its constructor: {MISTAKE} the constructor\n"),
        ("dataset", "records", rf"^{DATASET} failed in records\(\): {MISTAKE} records\n"),
        ("dataset", "exit in records", rf"^{DATASET} failed in records\(\): SystemExit: no licence for records\n"),
        ("dataset", "no records", rf"^{DATASET} failed in records\(\): TypeError: 'NoneType' object is not iterable"),
        (
            "dataset",
            "records that are names",
            rf"^records\(\) of {DATASET} returned '007' among its records; .*sslkit\.Rec",
        ),
        (
            "dataset",
            "records with numbers for ids",
            rf"^records\(\) of {DATASET} returned Record\(id=7, .* texts as id",
        ),
        ("head", "the constructor", rf"^{HEAD} failed in its constructor: {MISTAKE} the constructor\n"),
        ("head", "grade", rf"^{HEAD} failed in grade\(\): {MISTAKE} grade\n"),
        ("head", "a grade beyond", rf"^grade\(\) of {HEAD} returned 7; its interface asks for a class in 0\.\.4"),
        ("head", "a grade in words", rf"^grade\(\) of {HEAD} returned 'mild'; "),
        (
            "head",
            "one class",
            rf"^class_names of {HEAD} returned \('a',\); its interface asks for a tuple of two or more",
        ),
        ("head", "classes in a text", rf"^class_names of {HEAD} returned 'abcde'; "),
        ("backbone", "supports", rf"^{BACKBONE} failed in supports\(\): {MISTAKE} supports\n"),
        ("pretext", "view_sizes", rf"^{TASK} failed in view_sizes\(\): {MISTAKE} view_sizes\n"),
        ("pretext", "sizes that are texts", rf"^{TASK} failed in view_sizes\(\): TypeError: 'str' object cannot be"),
    ],
)
def test_a_plugin_that_fails_at_planning_is_named(registry: Registry, kind: str, how: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        sslkit.plan(tiny_config(**changes(kind, how)), registry=registry)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("read", rf"^{DATASET} failed in read\(\): {MISTAKE} read\n"),
        ("fingerprint", rf"^{DATASET} failed in fingerprint\(\): {MISTAKE} fingerprint\n"),
        ("unlisted", rf"^{DATASET} failed in unlisted\(\): {MISTAKE} unlisted\n"),
        (
            "a text for an image",
            rf"^read\(\) of {DATASET} returned str for the image '0\d\d'; .* the bytes of an image",
        ),
    ],
)
def test_a_data_set_that_fails_while_it_is_read_is_named(registry: Registry, how: str, message: str) -> None:
    config = tiny_config(**changes("dataset", how, images={"crop": "center"}, evaluation=SCRATCH))
    with pytest.raises(PluginError, match=message):
        sslkit.doctor(config, registry=registry)


def test_a_head_that_fails_while_it_is_fitted_is_named(prepared: Prepared, registry: Registry) -> None:
    study = resolve(tiny_config(**changes("head", "fit")), registry)
    cells = [cell for cell in prepared.jobs.cells if cell.arm == "scratch"]
    cells = [replace(cell, recipe=replace(cell.recipe, head=configured("head", StrangeHead, ""))) for cell in cells]
    for cell in cells:
        cell.execute(lambda values: None)
    with pytest.raises(PluginError, match=rf"^{HEAD} failed in fit\(\): {MISTAKE} fit\n"):
        cross_fit(study, cells)


def test_a_failure_in_a_process_of_its_own_tells_who_it_was_and_the_others_go_on(
    registry: Registry, tmp_path: Path
) -> None:
    evaluation = {"arms": ["pretrained", "scratch"], "folds": 2, "label_fractions": [1.0]}
    config = tiny_config(**changes("pretext", "forward", evaluation=evaluation))
    with pytest.raises(JobError, match=rf"(?s)4 jobs failed.*pretraining/strange/0: {TASK} failed in forward\(\): "):
        sslkit.run(config, tmp_path / "run", registry=registry)
    failed = json.loads((tmp_path / "run" / "run.json").read_text())["failed_jobs"]
    told = [job["reason"] for job in failed if job["job"].startswith("pretraining/")]
    assert len(told) == 2
    assert all('strangers.py", line' in reason for reason in told)
    assert (tmp_path / "run" / "results.csv").read_text().count(",scratch,") == 2


@pytest.mark.parametrize(
    ("executor", "error", "message"),
    [
        ("failing", PluginError, rf"^the executor 'failing' of acme 1\.2 failed in run\(\): {MISTAKE} run\n"),
        ("idle", JobError, r"(?s)2 jobs failed.*no time.*the executor 'idle' of acme 1\.2 left it undone"),
    ],
)
def test_an_executor_that_fails_or_does_nothing_is_named(
    registry: Registry, tmp_path: Path, executor: str, error: type[Exception], message: str
) -> None:
    config = tiny_config(evaluation=SCRATCH, compute={"executor": executor})
    with pytest.raises(error, match=message):
        sslkit.run(config, tmp_path / "run", registry=registry)


# Observers


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), SystemExit("mine"), KeyError("mine")])
def test_an_observer_that_fails_is_named_and_the_others_hear(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []
    good = SimpleNamespace(sslkit_cell_finished=sslkit.hookimpl(lambda result: heard.append(result)))
    bad = strangers.observer(sslkit_cell_finished=lambda result: _raise(error))
    bad.value = __name__
    hooks = Hooks(build_registry([bad, announced(good, "good")]))
    hooks.cell_finished({"qwk": 1.0})
    assert heard == [{"qwk": 1.0}]
    [record] = caplog.records
    assert (
        record.message == "the plugin 'observer' of acme 1.2 failed in its hook sslkit_cell_finished; the run goes on"
    )


def test_an_observer_on_request_hears_only_what_names_it() -> None:
    heard: list[str] = []

    def told(name: str) -> Any:
        module = SimpleNamespace(
            sslkit_on_request=sslkit.hookimpl(lambda: None),
            sslkit_cell_finished=sslkit.hookimpl(lambda result: heard.append(name)),
        )
        return announced(module, name)

    registry = build_registry([told("a"), told("b"), observer(sslkit_cell_finished=lambda result: heard.append("c"))])
    Hooks(registry).cell_finished({})
    assert heard == ["c"]
    heard.clear()
    Hooks(registry, ["b"]).cell_finished({})
    assert sorted(heard) == ["b", "c"]


def test_an_interrupt_within_an_observer_is_the_users() -> None:
    hooks = Hooks(build_registry([observer(sslkit_cell_finished=lambda result: _raise(KeyboardInterrupt()))]))
    with pytest.raises(KeyboardInterrupt):
        hooks.cell_finished({})


def test_an_observer_cannot_change_what_it_is_told() -> None:
    result = {"qwk": 1.0}
    Hooks(build_registry([observer(sslkit_cell_finished=spoil)])).cell_finished(result)
    assert result == {"qwk": 1.0}


def test_a_slow_observer_is_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("sslkit.blame.PATIENCE", 0.05)
    Hooks(build_registry([observer(sslkit_cell_finished=lambda result: time.sleep(0.3))])).cell_finished({})
    assert [record.message for record in caplog.records] == [
        "the plugin 'observer' of acme 1.2 has been in its hook sslkit_cell_finished for 0.05 s; still waiting for it"
    ]


# Discovery


@pytest.mark.parametrize("where", ["its import", "its hooks"])
def test_a_plugin_that_takes_long_to_be_found_is_named(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sslkit.blame.PATIENCE", 0.05)
    slow = announced(SimpleNamespace(sslkit_datasets=sslkit.hookimpl(lambda: time.sleep(0.3) or [])))
    if where == "its import":
        quick = SimpleNamespace(sslkit_datasets=sslkit.hookimpl(lambda: []))
        slow.load = lambda: time.sleep(0.3) or quick
    with caplog.at_level(logging.WARNING, "sslkit"):
        assert build_registry([slow]).broken == ()
    assert [record.message for record in caplog.records] == [
        f"the plugin 'acme' of acme 1.2 has been in {where} for 0.05 s; still waiting for it"
    ]


class PanicError(BaseException):
    """What extensions written in Rust raise."""


@pytest.mark.parametrize("error", [PanicError("rust"), SystemExit(3), GeneratorExit()])
def test_whatever_an_import_raises_sets_the_plugin_aside(error: BaseException) -> None:
    bad = announced(None)
    bad.load = lambda: _raise(error)
    registry = build_registry([*OWN, bad])
    assert [broken.reason for broken in registry.broken] == [f"{type(error).__name__}: {error}"]
    assert "rotation" in registry.names("pretext-task")


def test_an_interrupt_of_an_import_is_the_users() -> None:
    bad = announced(None)
    bad.load = lambda: _raise(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        build_registry([bad])


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/b", "a\\b", "..", ".hidden", "/etc", "two words", "\x1b[2J", "a\n", "x" * 65, "[bold]x[/]", "ü"],
)
def test_a_name_that_could_not_be_a_folders_is_refused(name: str) -> None:
    cls = type("Named", (StrangeTask,), {"name": name})
    plugin = announced(SimpleNamespace(sslkit_pretext_tasks=sslkit.hookimpl(lambda: [cls])))
    registry = build_registry([plugin])
    assert registry.plugins == ()
    assert [broken.reason for broken in registry.broken] == [
        f"{name!r} is no name: a plugin is called by letters, digits, dots, hyphens and underscores"
    ]


class Meta(type):
    """Its classes cannot even be looked at."""

    @property
    def api_version(cls) -> int:
        raise ZeroDivisionError("do not look")


def test_a_class_that_fails_as_it_is_looked_at_is_set_aside() -> None:
    cls: Any = Meta("Shy", (), {})
    plugin = announced(SimpleNamespace(sslkit_datasets=sslkit.hookimpl(lambda: [cls])))
    assert "is not a subclass of sslkit.Dataset" in build_registry([plugin]).broken[0].reason


def test_a_run_that_does_not_use_a_broken_plugin_is_not_disturbed(registry: Registry) -> None:
    bad = announced(None, "bad")
    bad.load = lambda: _raise(SystemExit("no licence"))
    assert sslkit.plan(tiny_config(), registry=build_registry([*OWN, announced(strangers), bad])).num_images == 48


# The command line


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution whose data set fails."""
    site = tmp_path / "site"
    (site / "acme-1.2.dist-info").mkdir(parents=True)
    (site / "acme-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    (site / "acme-1.2.dist-info" / "entry_points.txt").write_text("[sslkit]\nacme = acme_scans\n")
    (site / "acme_scans.py").write_text(
        "from sslkit import Dataset, PluginConfig, hookimpl\n"
        "class Scans(Dataset[PluginConfig]):\n"
        "    name = 'acme'\n"
        "    def records(self):\n"
        "        return self.absent\n"
        "@hookimpl\n"
        "def sslkit_datasets():\n"
        "    return [Scans]\n"
    )
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("acme_scans", None)


@pytest.mark.parametrize("command", [["run", "--dry-run"], ["doctor"]])
def test_the_command_line_says_whose_mistake_it_was(
    acme: Path, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(to_toml({**tiny_tables(), "dataset": {"name": "acme"}}))
    name, *flags = command
    monkeypatch.setattr(sys, "argv", ["sslkit", name, str(path), *flags])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "Error: the dataset 'acme' of acme 1.2 failed in records(): AttributeError: 'Scans' object has no" in said
    assert f'File "{acme}/acme_scans.py", line 5, in records' in said
    assert "Traceback" not in said
