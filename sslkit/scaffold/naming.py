"""What a new plugin, its distribution, its module and its class are called, all after one name."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from sslkit.errors import UsageError
from sslkit.printable import shown

MAX_LENGTH = 30
"""Letters of a name: the line of a test that imports the module and its classes has room for it in 120 columns."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_WRITTEN = "a name is written in lower case: a to z first, then letters, digits and single hyphens between them"


@dataclass(frozen=True)
class Names:
    """The names that follow from that of a plugin.

    Args:
        plugin: what a configuration calls it.

    Raises:
        UsageError: if no distribution, module and class can be called after it.

    Example:
        >>> names = Names("upside-down")
        >>> names.distribution, names.module, names.class_name
        ('sslkit-upside-down', 'sslkit_upside_down', 'UpsideDown')
    """

    plugin: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.plugin):
            raise UsageError(f"{shown(self.plugin)} cannot be a plugin's name: {_WRITTEN}{_likely(self.plugin)}")
        if len(self.plugin) > MAX_LENGTH:
            raise UsageError(
                f"{shown(self.plugin)} has {len(self.plugin)} characters; a plugin's name has up to {MAX_LENGTH} here"
            )
        if keyword.iskeyword(self.plugin) or keyword.iskeyword(self.class_name):
            raise UsageError(
                f"{self.plugin!r} is a keyword of Python, which no class can be called after; take another"
            )

    @property
    def distribution(self) -> str:
        """What pip calls it, and the folder."""
        return f"sslkit-{self.plugin}"

    @property
    def module(self) -> str:
        """What Python imports."""
        return f"sslkit_{self.stem}"

    @property
    def stem(self) -> str:
        """The name with underscores."""
        return self.plugin.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The name in capitalised words."""
        return "".join(word.capitalize() for word in self.plugin.split("-"))


def _likely(given: str) -> str:
    """Return ``"; did you mean 'x'?"`` for a name that is only spelt otherwise, or an empty string."""
    spelt = "-".join(re.findall(r"[a-z0-9]+", given.lower())).removeprefix("sslkit-")
    return f"; did you mean {spelt!r}?" if _NAME.fullmatch(spelt) and len(spelt) <= MAX_LENGTH else ""
