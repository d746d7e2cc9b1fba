"""The plugins that are installed, found by their kinds and names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sslkit.blame import Provenance, blame
from sslkit.config.base import PluginConfig
from sslkit.config.loading import validate
from sslkit.errors import PluginError, did_you_mean
from sslkit.printable import shown
from sslkit.registry.known import KINDS, BrokenPlugin, Kind, ObserverInfo, PluginInfo


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


def _where(plugin: PluginInfo) -> str:
    return f"{plugin.cls.__module__}.{plugin.cls.__qualname__} of {plugin.origin}"
