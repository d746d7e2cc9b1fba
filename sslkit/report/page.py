"""The frame of every page that is made of a run: one file that loads nothing and runs nothing."""

from __future__ import annotations

from sslkit.report.markup import Markup, element, join
from sslkit.report.theme import STYLE_SHEET

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy: the page loads nothing and runs nothing, whatever a class or a file is called; pictures
stand in the page itself."""


def page(title: str, header: Markup, main: Markup, footer: str | Markup) -> str:
    """Return a whole HTML page in the style of the report."""
    head = join(
        [
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name_="color-scheme", content="light dark"),
            element("title", title),
            element("style", Markup(STYLE_SHEET)),
        ],
        "\n",
    )
    body = [element("header", header), element("main", main), element("footer", footer)]
    html = element("html", element("head", head), "\n", element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{html}\n"
