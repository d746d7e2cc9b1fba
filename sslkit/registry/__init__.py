"""The plugins that are installed: how they are found, what they have to be, and who they are."""

from sslkit.registry.discovery import ENTRY_POINT_GROUP, EntryPoint, adopt, build_registry
from sslkit.registry.installed import Registry
from sslkit.registry.known import KINDS, BrokenPlugin, Kind, ObserverInfo, PluginInfo
from sslkit.registry.requirements import reason_to_refuse

__all__ = [
    "ENTRY_POINT_GROUP",
    "KINDS",
    "BrokenPlugin",
    "EntryPoint",
    "Kind",
    "ObserverInfo",
    "PluginInfo",
    "Registry",
    "adopt",
    "build_registry",
    "reason_to_refuse",
]
