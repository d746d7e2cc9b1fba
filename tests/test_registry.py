from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import sslkit
from sslkit import Backbone, ConfigPath, Dataset, Executor, PluginConfig, PretextTask, Record, hookimpl
from sslkit.errors import ConfigError, PluginError
from sslkit.registry import KINDS, Registry, build_registry

# Fake entry points


@dataclass(frozen=True)
class Distribution:
    name: str
    version: str = "1.0"


@dataclass
class FakeEntryPoint:
    name: str
    load: Callable[[], Any]
    dist: Distribution | None = field(default_factory=lambda: Distribution("acme"))
    value: str = "acme"


class FolderConfig(PluginConfig):
    path: ConfigPath
    size: int = 3


class Folder(Dataset[FolderConfig]):
    """Images in a folder.

    More about them.
    """

    name = "acme-folder"
    Config = FolderConfig

    def records(self) -> list[Record]:
        return [Record("a")]


class Net(Backbone[PluginConfig]):
    name = "acme-net"

    def build(self, *, pretrained: bool = False) -> nn.Module:
        return nn.Identity()


def module(name: str = "plugin", **hooks: Callable[..., Any]) -> types.ModuleType:
    made = types.ModuleType(name)
    for hook, function in hooks.items():
        setattr(made, hook, hookimpl(function))
    return made


def datasets(*classes: object) -> types.ModuleType:
    return module(sslkit_datasets=lambda: classes)


def entry(plugin: Any, name: str = "acme", dist: Distribution | None = Distribution("acme")) -> FakeEntryPoint:
    return FakeEntryPoint(name, lambda: plugin, dist)


GOOD = entry(datasets(Folder), "good", Distribution("good", "2.1"))


def other(name: str = "acme-folder", **attributes: Any) -> type[Folder]:
    return type("Other", (Folder,), {"name": name, **attributes})


# What is found


def test_a_plugin_is_found_with_its_distribution_and_version() -> None:
    info = build_registry([GOOD]).find("dataset", "acme-folder")
    assert (info.cls, info.kind, info.distribution, info.version) == (Folder, "dataset", "good", "2.1")
    assert (info.summary, info.origin) == ("Images in a folder.", "good 2.1")


def test_one_module_may_bring_several_kinds() -> None:
    both = module(sslkit_datasets=lambda: iter([Folder]), sslkit_backbones=lambda: [Net])
    registry = build_registry([entry(both)])
    assert [(plugin.kind, plugin.name) for plugin in registry.plugins] == [
        ("backbone", "acme-net"),
        ("dataset", "acme-folder"),
    ]
    assert {kind: registry.names(kind) for kind in KINDS} == {
        "pretext-task": [],
        "backbone": ["acme-net"],
        "head": [],
        "dataset": ["acme-folder"],
        "executor": [],
    }
    assert registry.broken == ()


def test_an_entry_point_without_a_distribution() -> None:
    info = build_registry([entry(datasets(Folder), dist=None)]).find("dataset", "acme-folder")
    assert (info.distribution, info.version) == ("unknown", "")


def test_the_reference_plugins_are_found_by_their_entry_points() -> None:
    registry = build_registry()
    assert (registry.broken, registry.conflicts()) == ((), [])
    assert {"csv", "image-folder", "npz", "synthetic-fundus"} <= set(registry.names("dataset"))
    info = registry.find("pretext-task", "rotation")
    assert (info.distribution, info.version) == ("sslkit", sslkit.__version__)


def test_observers_of_a_run_hear_of_it() -> None:
    heard: list[Any] = []
    plugin = module(sslkit_epoch_finished=lambda job, metrics: heard.append((job, metrics)))
    build_registry([entry(plugin), GOOD]).hooks.sslkit_epoch_finished(job="a", epoch=1, metrics={"loss": 2.0})
    assert heard == [("a", {"loss": 2.0})]


def test_modules_that_hear_of_runs_are_observers() -> None:
    plugin = module(sslkit_cell_finished=lambda result: None, sslkit_run_started=lambda config: None)
    plugin.__doc__ = "Keeps a diary.\n\nMore about it."
    (told,) = build_registry([entry(plugin, "diary"), GOOD]).observers
    assert (told.kind, told.name, told.origin, told.summary) == ("observer", "diary", "acme 1.0", "Keeps a diary.")
    assert told.hears == ("sslkit_run_started", "sslkit_cell_finished")
    assert (told.on_request, told.lacks) == (False, None)


@pytest.mark.parametrize(("answer", "lacks"), [(None, None), ("", None), ("pip install acme", "pip install acme")])
def test_an_observer_may_wait_to_be_named_and_say_what_it_lacks(answer: str | None, lacks: str | None) -> None:
    plugin = module(sslkit_cell_finished=lambda result: None, sslkit_on_request=lambda: answer)
    (told,) = build_registry([entry(plugin)]).observers
    assert (told.on_request, told.lacks) == (True, lacks)


def test_an_observer_that_cannot_say_whether_it_works_is_set_aside() -> None:
    plugin = module(sslkit_cell_finished=lambda result: None, sslkit_on_request=lambda: 1 // 0)
    registry = build_registry([entry(plugin)])
    assert registry.observers == ()
    assert [broken.reason for broken in registry.broken] == ["ZeroDivisionError: integer division or modulo by zero"]
    assert registry.hooks.sslkit_cell_finished.get_hookimpls() == []


def test_observers_that_cannot_be_called_are_refused() -> None:
    idle = module(sslkit_cell_finished=lambda result: None, sslkit_on_request=lambda: "pip install acme")
    registry = build_registry([entry(idle, "idle"), entry(module(sslkit_cell_finished=lambda result: None), "diary")])
    registry.require_observer("diary")
    with pytest.raises(PluginError, match=r"observers: 'idle' of acme 1\.0 cannot work yet: pip install acme"):
        registry.require_observer("idle")
    unknown = r"unknown observer 'dairy'; did you mean 'diary'\? Installed: diary, idle\. See 'sslkit plugins list'"
    with pytest.raises(PluginError, match=unknown):
        registry.require_observer("dairy")


def test_two_registries_are_independent() -> None:
    heard: list[str] = []
    plugin = module(sslkit_datasets=lambda: [Folder], sslkit_cell_finished=lambda result: heard.append("once"))
    first, second, empty = build_registry([entry(plugin)]), build_registry([entry(plugin)]), build_registry([])
    assert first.names("dataset") == second.names("dataset") == ["acme-folder"]
    assert empty.plugins == ()
    first.hooks.sslkit_cell_finished(result={})
    empty.hooks.sslkit_cell_finished(result={})
    assert heard == ["once"]


# What is set aside


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


class Lonely(PretextTask[PluginConfig]):
    name = "lonely"


BROKEN = {
    "a failed import": (
        FakeEntryPoint("bad", failing(ModuleNotFoundError("No module named 'absent'"))),
        "ModuleNotFoundError: No module named 'absent'",
    ),
    "an exit at import": (FakeEntryPoint("bad", failing(SystemExit("licence expired"))), "SystemExit: licence expired"),
    "a hook that raises": (
        entry(module(sslkit_datasets=failing(KeyError("HOME"))), "bad"),
        "KeyError: 'HOME'",
    ),
    "a hook that returns nothing": (
        entry(module(sslkit_datasets=lambda: None), "bad"),
        "TypeError: 'NoneType' object is not iterable",
    ),
    "an unknown hook": (
        entry(module("bad_plugin", sslkit_datasets=lambda: [Net], sslkit_dataset=lambda: [Folder]), "bad"),
        "PluginValidationError: unknown hook 'sslkit_dataset' in plugin <module 'bad_plugin'>",
    ),
    "a hook with an unknown argument": (
        entry(module(sslkit_cell_finished=lambda score: None), "bad"),
        "PluginValidationError: Plugin 'acme:bad' for hook 'sslkit_cell_finished'\n"
        "hookimpl definition: <lambda>(score)\n"
        "Argument(s) {'score'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "another interface version": (
        entry(datasets(other("newer", api_version=2)), "bad"),
        "'newer' speaks api_version 2; this sslkit speaks 1: upgrade sslkit",
    ),
    "another kind of class": (
        entry(datasets(Net), "bad"),
        f"{Net!r} is not a subclass of sslkit.Dataset",
    ),
    "an instance": (entry(datasets("acme-folder"), "bad"), "'acme-folder' is not a subclass of sslkit.Dataset"),
    "no name": (
        entry(module(sslkit_executors=lambda: [Executor]), "bad"),
        "Executor has no name",
    ),
    "an empty name": (entry(datasets(other("")), "bad"), "Other has no name"),
    "a config of another kind": (
        entry(datasets(other("odd", Config=dict)), "bad"),
        "the Config of 'odd' is not a subclass of sslkit.PluginConfig",
    ),
    "a config that is no class": (
        entry(datasets(other("odd", Config={})), "bad"),
        "the Config of 'odd' is not a subclass of sslkit.PluginConfig",
    ),
    "an unfinished class": (
        entry(module(sslkit_pretext_tasks=lambda: [Lonely]), "bad"),
        "'lonely' does not implement forward, make_views",
    ),
}


@pytest.mark.parametrize(("bad", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_set_aside_and_the_rest_work(bad: FakeEntryPoint, reason: str) -> None:
    registry = build_registry([bad, GOOD])
    assert [plugin.name for plugin in registry.plugins] == ["acme-folder"]
    [broken] = registry.broken
    assert (broken.entry_point, broken.distribution, broken.version, broken.reason) == ("bad", "acme", "1.0", reason)
    if reason.partition(":")[0].endswith(("Error", "Exit")):
        assert broken.traceback.startswith("Traceback")
        assert broken.traceback.rstrip().endswith(reason.splitlines()[-1])
    else:
        assert broken.traceback == ""


def test_the_good_classes_of_a_plugin_work_beside_a_bad_one() -> None:
    registry = build_registry([entry(datasets(Folder, Net))])
    assert [plugin.cls for plugin in registry.plugins] == [Folder]
    assert [broken.reason for broken in registry.broken] == [f"{Net!r} is not a subclass of sslkit.Dataset"]


def test_a_broken_plugin_observes_nothing() -> None:
    heard: list[str] = []
    bad = module(
        sslkit_cell_finished=lambda result: heard.append("bad"), sslkit_datasets=failing(RuntimeError("no licence"))
    )
    build_registry([entry(bad), GOOD]).hooks.sslkit_cell_finished(result={})
    assert heard == []


def test_one_module_announced_twice_works_once() -> None:
    heard: list[str] = []
    plugin = module(sslkit_datasets=lambda: [Folder], sslkit_cell_finished=lambda result: heard.append("once"))
    registry = build_registry([entry(plugin, "a"), entry(plugin, "b")])
    assert registry.names("dataset") == ["acme-folder"]
    assert [broken.entry_point for broken in registry.broken] == ["b"]
    assert "already registered" in registry.broken[0].reason
    registry.hooks.sslkit_cell_finished(result={})
    assert heard == ["once"]


# What speaks another version of the interfaces


@pytest.fixture
def _two_and_three_are_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslkit.registry.requirements.OLDEST_API_VERSION", 2)
    monkeypatch.setattr("sslkit.registry.requirements.API_VERSION", 3)


@pytest.mark.usefixtures("_two_and_three_are_spoken")
def test_an_older_version_that_is_still_spoken_is_loaded_with_a_notice() -> None:
    registry = build_registry([entry(datasets(other("older", api_version=2), other("newest", api_version=3)))])
    assert registry.broken == ()
    assert registry.find("dataset", "newest").deprecation is None
    assert registry.find("dataset", "older").deprecation == (
        "the dataset 'older' of acme 1.0 speaks api_version 2: it works, but a later sslkit will set it aside; "
        "ask its authors for one that speaks 3"
    )


@pytest.mark.usefixtures("_two_and_three_are_spoken")
@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (4, "4; this sslkit speaks 2 to 3: upgrade sslkit"),
        (1, "1; this sslkit speaks 2 to 3: upgrade the plugin"),
        (-1, "-1; this sslkit speaks 2 to 3: upgrade the plugin"),
        (True, "True, which is no whole number; this sslkit speaks 2 to 3: correct the plugin"),
        ("2", "'2', which is no whole number; this sslkit speaks 2 to 3: correct the plugin"),
        (2.0, "2.0, which is no whole number; this sslkit speaks 2 to 3: correct the plugin"),
        (None, "None, which is no whole number; this sslkit speaks 2 to 3: correct the plugin"),
    ],
)
def test_a_version_that_is_not_spoken_is_set_aside(version: object, reason: str) -> None:
    registry = build_registry([entry(datasets(other("odd", api_version=version), other("even", api_version=2)))])
    assert registry.names("dataset") == ["even"]
    assert [broken.reason for broken in registry.broken] == [f"'odd' speaks api_version {reason}"]


def test_the_reference_plugins_state_the_newest_version_themselves() -> None:
    own = [plugin for plugin in build_registry().plugins if plugin.distribution == "sslkit"]
    assert {plugin.name: vars(plugin.cls).get("api_version") for plugin in own} == {
        plugin.name: sslkit.API_VERSION for plugin in own
    }
    assert all(plugin.deprecation is None for plugin in own)


# What is asked for


@pytest.fixture
def registry() -> Registry:
    return build_registry([GOOD, entry(datasets(other("npz"))), entry(module(sslkit_backbones=lambda: [Net]), "net")])


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "dataset",
            "acme-floder",
            r"^unknown dataset 'acme-floder'; did you mean 'acme-folder'\? Installed: acme-folder, npz\. "
            r"See 'sslkit plugins list'\.$",
        ),
        ("dataset", "qq", r"^unknown dataset 'qq'\. Installed: acme-folder, npz\. See 'sslkit plugins list'\.$"),
        ("dataset", "acme-net", r"^unknown dataset 'acme-net'"),
        ("pretext-task", "rotation", r"^unknown pretext task 'rotation'\. Installed: none\. See"),
    ],
)
def test_an_unknown_name(registry: Registry, kind: Any, name: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        registry.find(kind, name)


def test_an_unknown_name_while_some_are_broken() -> None:
    registry = build_registry([GOOD, FakeEntryPoint("bad", failing(ImportError("x")))])
    with pytest.raises(
        PluginError, match=r"^unknown dataset 'missing'\. Installed: acme-folder \(1 set aside as broken\)\."
    ):
        registry.find("dataset", "missing")


def test_two_plugins_of_one_name_and_kind() -> None:
    rival = other()
    registry = build_registry([GOOD, entry(datasets(rival, other("npz")), "rival", Distribution("rival", "0.3"))])
    message = (
        r"^two plugins are called dataset 'acme-folder': .*\.Folder of good 2\.1 and .*\.Other of rival 0\.3; "
        r"uninstall one of these distributions$"
    )
    with pytest.raises(PluginError, match=message):
        registry.find("dataset", "acme-folder")
    assert len(registry.conflicts()) == 1
    assert registry.find("dataset", "npz").distribution == "rival"


def test_one_name_of_two_kinds_is_no_conflict() -> None:
    net = type("Named", (Net,), {"name": "acme-folder"})
    registry = build_registry([GOOD, entry(module(sslkit_backbones=lambda: [net]))])
    assert registry.conflicts() == []
    assert registry.find("backbone", "acme-folder").cls is net
    assert registry.find("dataset", "acme-folder").cls is Folder


def test_options_become_a_configuration(registry: Registry, tmp_path: Path) -> None:
    info, config = registry.configure("dataset", "acme-folder", {"path": "images"}, root=tmp_path, key="dataset")
    assert info.cls is Folder
    assert config == FolderConfig(path=tmp_path.resolve() / "images", size=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"^dataset\.path: is required and missing\.$"),
        ({"path": 3}, r"^dataset\.path: input should be a valid string; given: 3\.$"),
        (
            {"path": "a", "sise": 1, "size": "big"},
            r"^dataset\.size: input should be a valid integer; given: 'big'\.\n"
            r"dataset\.sise: unknown key; did you mean 'size'\? Accepted here: path, size\.$",
        ),
    ],
)
def test_wrong_options_are_told_under_their_table(
    registry: Registry, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.configure("dataset", "acme-folder", options, root=tmp_path, key="dataset")


def test_a_module_whose_hooks_are_not_marked_is_set_aside_with_what_is_missing() -> None:
    unmarked = types.SimpleNamespace(sslkit_pretext_tasks=list)
    (broken,) = build_registry([FakeEntryPoint("acme", lambda: unmarked)]).broken
    assert broken.reason == (
        "the entry point 'acme' announces acme, which implements no hook; "
        "is @hookimpl missing above sslkit_pretext_tasks()?"
    )
    assert broken.traceback == ""


def test_what_was_set_aside_is_told_of_where_its_name_is_asked_for() -> None:
    registry = build_registry([FakeEntryPoint("acme", types.SimpleNamespace)])
    with pytest.raises(PluginError, match=r"^the head 'acme' of acme was set aside: .* no hook; see 'The hooks'"):
        registry.find("head", "acme")
