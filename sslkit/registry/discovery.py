"""Finds plugins, one entry point at a time, so that a broken one disturbs no other."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable
from importlib import metadata
from typing import Any, Protocol

import pluggy

from sslkit import hookspecs
from sslkit.blame import Provenance, watched
from sslkit.errors import PluginError
from sslkit.interfaces import Backbone, Dataset, DownstreamHead, Executor, Plugin, PretextTask
from sslkit.interfaces.own_classes import module_for, source_digest, why_out_of_reach
from sslkit.printable import shown
from sslkit.registry.installed import Registry
from sslkit.registry.known import BrokenPlugin, Kind, ObserverInfo, PluginInfo
from sslkit.registry.requirements import reason_to_refuse

ENTRY_POINT_GROUP = "sslkit"

_HOOKS: dict[str, tuple[Kind, type[Plugin[Any]]]] = {
    "sslkit_pretext_tasks": ("pretext-task", PretextTask),
    "sslkit_backbones": ("backbone", Backbone),
    "sslkit_heads": ("head", DownstreamHead),
    "sslkit_datasets": ("dataset", Dataset),
    "sslkit_executors": ("executor", Executor),
}

_RUN_HOOKS = ("sslkit_run_started", "sslkit_epoch_finished", "sslkit_cell_finished", "sslkit_run_finished")
"""The hooks that observers implement."""


class EntryPoint(Protocol):
    """The part of [importlib.metadata.EntryPoint][] that discovery uses."""

    name: str
    value: str

    @property
    def dist(self) -> Any:
        """The distribution that announced it."""

    def load(self) -> Any:
        """Import what it points to."""


def build_registry(
    entry_points: Iterable[EntryPoint] | None = None, *, extra: Iterable[type[Plugin[Any]]] = ()
) -> Registry:
    """Discover the installed plugins.

    Args:
        entry_points: what to look at; by default all installed entry points of the group ``sslkit``.
        extra: plugin classes of the program itself, which no distribution announces: a pretext task that a notebook
            tries out, say.

    Raises:
        PluginError: if a class of ``extra`` cannot be used, or not in the processes that carry out the jobs.
    """
    manager = pluggy.PluginManager("sslkit")
    manager.add_hookspecs(hookspecs)
    plugins: list[PluginInfo] = []
    broken: list[BrokenPlugin] = []
    modules: dict[str, Provenance] = {}
    observers: list[ObserverInfo] = []
    found = metadata.entry_points(group=ENTRY_POINT_GROUP) if entry_points is None else entry_points
    for entry_point in sorted(found, key=lambda entry: (_distribution(entry), entry.name)):
        _load(entry_point, manager, plugins, broken, modules, observers)
    for adopted in map(adopt, extra):
        for plugin in plugins:
            if (plugin.kind, plugin.name) == (adopted.kind, adopted.name):
                raise PluginError(
                    f"the {adopted.kind.replace('-', ' ')} {adopted.name!r} of {adopted.distribution} has the name of "
                    f"one of {plugin.origin}; give it another"
                )
        plugins.append(adopted)
    return Registry(plugins, broken, manager.hook, modules, observers)


def adopt(cls: type[Plugin[Any]]) -> PluginInfo:
    """Return what the registry knows of a plugin class of the program itself.

    Its version is a digest of the source of the class and of its Config: where that is changed, a run does anew what
    depends on it.

    Raises:
        PluginError: if it cannot be used, or not in the processes that carry out the jobs.
    """
    kinds = [(kind, base) for kind, base in _HOOKS.values() if isinstance(cls, type) and issubclass(cls, base)]
    if not kinds:
        bases = ", ".join(f"sslkit.{base.__name__}" for _, base in _HOOKS.values())
        raise PluginError(f"{shown(cls)} is no plugin class; it has to be a subclass of one of {bases}")
    kind, base = kinds[0]
    if reason := reason_to_refuse(cls, base):
        raise PluginError(f"the {kind.replace('-', ' ')} {cls.__name__} cannot be used: {reason}")
    if reason := why_out_of_reach(cls):
        module = module_for(cls)
        raise PluginError(
            f"the {kind.replace('-', ' ')} {cls.name!r} cannot be used: the processes that carry out the jobs cannot "
            f"import {cls.__qualname__}, since {reason}. Write it into a file of its own, {module}.py say, and import "
            f"it from there: from {module} import {cls.__name__}"
        )
    return PluginInfo(kind, cls.name, cls, f"the module {cls.__module__}", source_digest(cls))


def _load(
    entry_point: EntryPoint,
    manager: pluggy.PluginManager,
    plugins: list[PluginInfo],
    broken: list[BrokenPlugin],
    modules: dict[str, Provenance],
    observers: list[ObserverInfo],
) -> None:
    distribution, version = _distribution(entry_point)

    def set_aside(reason: str, trace: str = "") -> None:
        broken.append(BrokenPlugin(entry_point.name, distribution, version, reason, trace))

    name = f"{distribution}:{entry_point.name}"
    described = f"the plugin {entry_point.name!r} of {distribution} {version}".rstrip()
    owner = Provenance(described, entry_point.value.partition(":")[0].partition(".")[0])
    try:
        with watched(owner, "its import"):
            module = entry_point.load()
        manager.register(module, name=name)
        manager.check_pending()
        with watched(owner, "its hooks"):
            offered = [
                (kind, cls, reason_to_refuse(cls, base))
                for hook, (kind, base) in _HOOKS.items()
                for implementation in getattr(manager.hook, hook).get_hookimpls()
                if implementation.plugin is module
                for cls in implementation.function()
            ]
            observer = _observer(manager, module, name, entry_point)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a stranger's module raises is that plugin's alone, an exit too
        if manager.has_plugin(name):
            manager.unregister(name=name)
        set_aside(f"{type(error).__name__}: {error}", traceback.format_exc())
        return
    if not manager.get_hookcallers(module):
        manager.unregister(name=name)
        set_aside(_without_hooks(module, entry_point))
        return
    modules[name] = owner
    if observer is not None:
        observers.append(observer)
    for kind, cls, reason in offered:
        if reason:
            set_aside(reason)
        else:
            plugins.append(PluginInfo(kind, cls.name, cls, distribution, version))


def _without_hooks(module: object, entry_point: EntryPoint) -> str:
    """Return what to say of a module in which no function is a hook."""
    unmarked = [name for name in dir(module) if name in vars(hookspecs) and name.startswith("sslkit_")]
    advice = f"is @hookimpl missing above {unmarked[0]}()?" if unmarked else "see 'The hooks' in the manual"
    return f"the entry point {entry_point.name!r} announces {entry_point.value}, which implements no hook; {advice}"


def _observer(manager: pluggy.PluginManager, module: object, name: str, entry_point: EntryPoint) -> ObserverInfo | None:
    """Return what is to be known of a module that implements run hooks; None where it implements none."""
    own = {caller.name for caller in manager.get_hookcallers(module) or ()}
    hears = tuple(hook for hook in _RUN_HOOKS if hook in own)
    if not hears:
        return None
    answers = [
        implementation.function()
        for implementation in manager.hook.sslkit_on_request.get_hookimpls()
        if implementation.plugin is module
    ]
    summary = (inspect.getdoc(module) or "").partition("\n")[0]
    lacks = str(answers[0]) if answers and answers[0] else None
    return ObserverInfo(entry_point.name, *_distribution(entry_point), summary, hears, bool(answers), lacks, name)


def _distribution(entry_point: EntryPoint) -> tuple[str, str]:
    dist = entry_point.dist
    return ("unknown", "") if dist is None else (str(dist.name), str(dist.version))
