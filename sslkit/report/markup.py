"""HTML that cannot be written unescaped: text is escaped unless it is [Markup][sslkit.report.markup.Markup]."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"meta", "br", "hr", "col", "img"})


class Markup(str):
    """A string that is HTML already; any other string is text, and is escaped where it meets HTML."""

    __slots__ = ()


NOTHING = Markup("")
"""No HTML at all."""


def escape(text: object) -> Markup:
    """Return text as HTML, for content and attribute values alike; markup comes back as it is.

    Example:
        >>> escape('<b> & "c"')
        '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return text if isinstance(text, Markup) else Markup(html.escape(str(text), quote=True))


def join(parts: Iterable[object], separator: str = "") -> Markup:
    """Return the parts, each escaped unless it is markup, one after another."""
    return Markup(escape(separator).join(escape(part) for part in parts))


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Return an HTML element.

    Args:
        name: the tag.
        children: text (escaped) or markup, in order.
        attributes: a trailing underscore is dropped (``class_``), others become hyphens; None leaves one out.

    Example:
        >>> element("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    opening = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{opening}>" if name in VOID else f"<{name}{opening}>{join(children)}</{name}>")
