"""What is known of a plugin: which kind it is of, what it is called, and where it came from."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from sslkit.blame import Provenance
from sslkit.interfaces import FAMILIES
from sslkit.registry.requirements import deprecation_of

Kind = Literal["pretext-task", "backbone", "head", "dataset", "executor"]
KINDS: tuple[Kind, ...] = get_args(Kind)


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
        return deprecation_of(self.provenance.described, self.cls.api_version)


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
