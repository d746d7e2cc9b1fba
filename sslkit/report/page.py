"""The frame of every page that is made of a run: one file that loads nothing and runs nothing."""

from __future__ import annotations

from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.theme import STYLE_SHEET

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy: the page loads nothing and runs nothing, whatever a class or a file is called; pictures
stand in the page itself."""

GENERATOR = element("meta", name_="generator", content="sslkit")
"""What tells a page of ours from anybody else's, before it is replaced."""


def page(title: str, header: Markup, main: Markup, footer: str | Markup, links: Markup = NOTHING) -> str:
    """Return a whole HTML page in the style of the report.

    Args:
        title: of the window.
        header: what stands on top.
        main: the sections.
        footer: what stands below.
        links: list items with a link to each section, beside them or above them as the screen allows; none for a
            short page.
    """
    head = join(
        [
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            GENERATOR,
            element("meta", name_="color-scheme", content="light dark"),
            element("title", title),
            element("style", Markup(STYLE_SHEET)),
        ],
        "\n",
    )
    navigation = element("nav", element("ul", links), aria_label="Sections") if links else NOTHING
    body = [
        element("a", "Skip to the content", href="#main", class_="skip"),
        element("header", header),
        navigation,
        element("main", main, id_="main", tabindex="-1"),
        element("footer", footer),
    ]
    class_ = "with-links" if links else None
    html = element("html", element("head", head), "\n", element("body", *body, class_=class_), lang="en")
    return f"<!DOCTYPE html>\n{html}\n"
