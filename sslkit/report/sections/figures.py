"""How figures stand on the page."""

from __future__ import annotations

from collections.abc import Sequence

from sslkit.report.figures import Drawing
from sslkit.report.markup import Markup, element, join

FEW = 5
"""Lines, or tasks, whose details stand open; those of more are folded away, a click each."""


def figure(drawing: Drawing) -> Markup:
    """Return a figure as wide as the page, with what narrow screens see of it."""
    if not drawing.narrow:
        return element("figure", element("figcaption", drawing.title), drawing.inline)
    both = (element("div", drawing.inline, class_="wide"), element("div", drawing.narrow, class_="narrow"))
    return element("figure", element("figcaption", drawing.title), *both)


def panels(drawings: Sequence[Drawing]) -> Markup:
    """Return small figures side by side, as many as fit."""
    return element(
        "div", *(element("figure", element("figcaption", d.title), d.inline) for d in drawings), class_="panels"
    )


def foldable(title: object, *content: object, folded: bool) -> Markup:
    """Return a part of a section under its heading, or folded away behind it."""
    if folded:
        return element("details", element("summary", title), *content, class_="part")
    return join([element("h3", title), *content])
