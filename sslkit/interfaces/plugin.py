"""What all plugin classes share: a name, an interface version and a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

from sslkit.blame import Provenance
from sslkit.config.base import PluginConfig

API_VERSION = 1
"""The version of the interfaces in this package; a plugin that speaks a newer one is set aside."""

OLDEST_API_VERSION = 1
"""The oldest version that still works here, with a notice; a plugin that speaks one before it is set aside."""

PROVENANCE = "_sslkit_provenance"
"""The attribute of an instance that holds its provenance."""

ConfigT = TypeVar("ConfigT", bound=PluginConfig)


class Plugin(Generic[ConfigT]):
    """The contract that every kind of plugin class starts with.

    Attributes:
        name: what a configuration calls it: lower case, words joined by hyphens. At most 64 letters, digits, dots,
            hyphens and underscores, since it names folders, too.
        api_version: the version of the interfaces that it was written for. State it: what is inherited is the version
            of whichever sslkit it meets, and so says nothing.
        Config: its options; a subclass of [sslkit.PluginConfig][].
        tags: what it claims beyond its interface. ``"bf16"``: its forward pass may run in half precision;
            ``"compile"``: it may go through ``torch.compile``. A run that asks for more than is claimed is refused.
        opt_outs: checks of [the kit][sslkit.testing.check_plugin] that do not apply to it, by name, each with the
            reason.
    """

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[PluginConfig]] = PluginConfig
    tags: ClassVar[frozenset[str]] = frozenset()
    opt_outs: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(self, config: ConfigT, *args: Any) -> None:
        self.config = config

    @property
    def provenance(self) -> Provenance:
        """Who it is, for messages; the toolkit tells each instance that it makes where it comes from."""
        known: Provenance | None = self.__dict__.get(PROVENANCE)
        return known or Provenance(f"the plugin {self.name!r}", type(self).__module__.partition(".")[0])
