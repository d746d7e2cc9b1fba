"""Finds plugins, one entry point at a time, so that a broken one disturbs no other."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

import pluggy

from sslkit import hookspecs
from sslkit.blame import Provenance, blame, watched
from sslkit.config.base import PluginConfig
from sslkit.config.loading import validate
from sslkit.errors import PluginError, did_you_mean
from sslkit.interfaces import API_VERSION, FAMILIES, Backbone, Dataset, DownstreamHead, Executor, Plugin, PretextTask
from sslkit.interfaces.own_classes import module_for, source_digest, why_out_of_reach
from sslkit.interfaces.plugin import OLDEST_API_VERSION
from sslkit.printable import shown

ENTRY_POINT_GROUP = "sslkit"

Kind = Literal["pretext-task", "backbone", "head", "dataset", "executor"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a plugin may be called: the name of a pretext task is that of a folder, too."""

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


@dataclass(frozen=True)
class PluginInfo:
    """A plugin class and where it came from."""

    kind: Kind
    name: str
    cls: type[Any]
    distribution: str
    version: str

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def family(self) -> str:
        """What kind of pretext task it is, one of ``FAMILIES``; of other plugins "other"."""
        family = getattr(self.cls, "family", "other")
        return family if family in FAMILIES else "other"

    @property
    def paper(self) -> str:
        """The source of a pretext task's method; empty where none is stated."""
        return str(getattr(self.cls, "paper", ""))

    @property
    def origin(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}"

    @property
    def provenance(self) -> Provenance:
        """Who it is and where it comes from, for messages."""
        kind = self.kind.replace("-", " ")
        return Provenance(f"the {kind} {self.name!r} of {self.origin}", self.cls.__module__.partition(".")[0])

    @property
    def deprecation(self) -> str | None:
        """That a later sslkit will set it aside, and what to do; None where it speaks the newest interfaces."""
        if self.cls.api_version == API_VERSION:
            return None
        return (
            f"{self.provenance.described} speaks api_version {self.cls.api_version}: it works, but a later sslkit will "
            f"set it aside; ask its authors for one that speaks {API_VERSION}"
        )


@dataclass(frozen=True)
class ObserverInfo:
    """A plugin module that hears of runs, and where it came from.

    Attributes:
        name: that of its entry point.
        distribution: what brought it.
        version: of the distribution.
        summary: the first line of the module's docstring.
        hears: the run hooks that it implements.
        on_request: whether only those runs call it whose configuration names it.
        lacks: what is to be done before it works; None where it works.
        module: its name on the relay.
    """

    kind: ClassVar = "observer"
    name: str
    distribution: str
    version: str
    summary: str
    hears: tuple[str, ...]
    on_request: bool
    lacks: str | None
    module: str

    @property
    def origin(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class BrokenPlugin:
    """An entry point, or one class of it, that was set aside."""

    entry_point: str
    distribution: str
    version: str
    reason: str
    traceback: str = ""


class Registry:
    """The plugins that are installed; made by [build_registry][sslkit.registry.build_registry].

    Attributes:
        plugins: every usable plugin, by kind and name.
        broken: what was set aside, and why.
        hooks: pluggy's relay, on which a run calls its observers.
        modules: where each module on that relay comes from, by its name there.
        observers: the modules that hear of runs, by name.
    """

    def __init__(
        self,
        plugins: Iterable[PluginInfo],
        broken: Iterable[BrokenPlugin],
        hooks: Any,
        modules: Mapping[str, Provenance],
        observers: Iterable[ObserverInfo] = (),
    ) -> None:
        self.plugins = tuple(sorted(plugins, key=lambda plugin: (KINDS.index(plugin.kind), plugin.name)))
        self.broken = tuple(broken)
        self.hooks = hooks
        self.modules = modules
        self.observers = tuple(sorted(observers, key=lambda observer: observer.name))

    def names(self, kind: Kind) -> list[str]:
        """Return the names of the installed plugins of one kind."""
        return sorted({plugin.name for plugin in self.plugins if plugin.kind == kind})

    def conflicts(self) -> list[str]:
        """Return one sentence for each name that two plugins of a kind lay claim to."""
        keys = sorted({(plugin.kind, plugin.name) for plugin in self.plugins})
        claims = {key: [plugin for plugin in self.plugins if (plugin.kind, plugin.name) == key] for key in keys}
        return [
            f"two plugins are called {kind} {name!r}: {' and '.join(_where(plugin) for plugin in claimants)}; "
            "uninstall one of these distributions"
            for (kind, name), claimants in claims.items()
            if len(claimants) > 1
        ]

    def find(self, kind: Kind, name: str) -> PluginInfo:
        """Return the plugin of this kind and name.

        Raises:
            PluginError: if there is none, or more than one.
        """
        found = [plugin for plugin in self.plugins if (plugin.kind, plugin.name) == (kind, name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise PluginError(next(text for text in self.conflicts() if f"{kind} {name!r}" in text))
        words = kind.replace("-", " ")
        for broken in self.broken:
            if name == broken.entry_point:
                raise PluginError(
                    f"the {words} {shown(name)} of {broken.distribution} was set aside: {broken.reason}. "
                    "See 'sslkit plugins list'."
                )
        installed = ", ".join(self.names(kind)) or "none"
        set_aside = f" ({len(self.broken)} set aside as broken)" if self.broken else ""
        raise PluginError(
            f"unknown {words} {shown(name)}{did_you_mean(name, self.names(kind)) or '.'} "
            f"Installed: {installed}{set_aside}. See 'sslkit plugins list'."
        )

    def require_observer(self, name: str) -> None:
        """Refuse the name of an observer that is not there, or that lacks what it works with.

        Raises:
            PluginError: saying what is installed, or what to install.
        """
        found = [observer for observer in self.observers if observer.name == name]
        if not found:
            names = sorted({observer.name for observer in self.observers})
            raise PluginError(
                f"observers: unknown observer {shown(name)}{did_you_mean(name, names) or '.'} "
                f"Installed: {', '.join(names) or 'none'}. See 'sslkit plugins list'."
            )
        for observer in found:
            if observer.lacks:
                raise PluginError(f"observers: {name!r} of {observer.origin} cannot work yet: {observer.lacks}")

    def configure(
        self, kind: Kind, name: str, options: Mapping[str, Any], *, root: Path, key: str
    ) -> tuple[PluginInfo, PluginConfig]:
        """Return the plugin and its validated configuration, with absolute paths.

        Args:
            kind: the kind of plugin.
            name: its name.
            options: its table of the configuration, without the name, as plain values.
            root: the folder that relative paths are relative to.
            key: the table's path in the configuration, for messages.

        Raises:
            PluginError: if there is no such plugin, or its validation fails in another way than by refusing a value.
            ConfigError: if its options are wrong.
        """
        info = self.find(kind, name)
        with blame(info.provenance, "the validation of its options"):
            return info, validate(info.cls.Config, options, root=root, key=key)


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


def reason_to_refuse(cls: object, base: type[Plugin[Any]] = Plugin) -> str | None:
    """Return why a class is set aside, or None if it can be used.

    Args:
        cls: what a hook has returned.
        base: the interface that it must have.
    """
    if not (isinstance(cls, type) and issubclass(cls, base)):
        return f"{cls!r} is not a subclass of sslkit.{base.__name__}"
    if not (isinstance(getattr(cls, "name", None), str) and cls.name):
        return f"{cls.__name__} has no name"
    if not _NAME.fullmatch(cls.name):
        return f"{cls.name!r} is no name: a plugin is called by letters, digits, dots, hyphens and underscores"
    if advice := _refuse_version(cls.api_version):
        return f"{cls.name!r} speaks api_version {shown(cls.api_version)}{advice}"
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, PluginConfig)):
        return f"the Config of {cls.name!r} is not a subclass of sslkit.PluginConfig"
    if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"{cls.name!r} does not implement {', '.join(lacking)}"
    return None


def _refuse_version(version: object) -> str | None:
    """Return the end of the sentence that refuses a class's api_version, or None where it is spoken here."""
    spoken = " to ".join(map(str, sorted({OLDEST_API_VERSION, API_VERSION})))
    if type(version) is not int:
        return f", which is no whole number; this sslkit speaks {spoken}: correct the plugin"
    if version > API_VERSION:
        return f"; this sslkit speaks {spoken}: upgrade sslkit"
    if version < OLDEST_API_VERSION:
        return f"; this sslkit speaks {spoken}: upgrade the plugin"
    return None


def _distribution(entry_point: EntryPoint) -> tuple[str, str]:
    dist = entry_point.dist
    return ("unknown", "") if dist is None else (str(dist.name), str(dist.version))


def _where(plugin: PluginInfo) -> str:
    return f"{plugin.cls.__module__}.{plugin.cls.__qualname__} of {plugin.origin}"
