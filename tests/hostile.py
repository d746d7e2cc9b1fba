"""Names that would do harm where they are not taken as text, and what does harm where it is loaded as a pickle."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></svg><svg onload=alert(1)>",
    "javascript:alert(1)",
    "[bold red]x[/]",
    "[/]",
    "[link=http://evil.example]x[/link]",
    ":skull:",
    "\x1b[2Jx",
    "\x1b]0;owned\x07",
    "\x1b]8;;http://evil.example\x1b\\x",
    "\x9b31m",
    "safe\rError",
    "two\nlines",
    "${7*7}",
    "{{7*7}}",
    "]]>",
    "--><",
    "<![CDATA[",
    "&lt;b&gt;",
    "Größe 網膜 🐉",
    "gpj.\u202ednp",
    "\udcff.png",
    "$x_1$",
    "%s%n",
)

STEERING = frozenset("\x1b\x07\x9b\r\u202e\udcff")
"""Characters of those names that no terminal and no page must get."""


@dataclass
class Bomb:
    """Touches a file as soon as it is unpickled."""

    canary: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)
