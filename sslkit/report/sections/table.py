"""The parts that tables are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sslkit.report.figures.palette import VARIABLES, line_styles
from sslkit.report.markup import Markup, element, join
from sslkit.report.tables import Line, Run


def scroll(*children: object, label: str) -> Markup:
    """Return a box that scrolls sideways where its content is wider than the screen, by keyboard too."""
    return element("div", *children, class_="scroll", role="region", aria_label=label, tabindex="0")


def table(label: str, head: Markup, *bodies: Markup, class_: str | None = None) -> Markup:
    """Return a table in a box that scrolls; its label is its caption, for those who do not see what stands around."""
    caption = element("caption", label, class_="unseen")
    return scroll(element("table", caption, head, *bodies, class_=class_), label=label)


def head(*columns: Markup) -> Markup:
    """Return the head of a table."""
    return element("thead", element("tr", *columns))


def column(name: object, class_: str | None = None) -> Markup:
    """Return the head of a column."""
    return element("th", name, scope="col", class_=class_)


def group(name: object, width: int) -> Markup:
    """Return the row that names the rows below it, in a table of ``width`` columns."""
    return element("tr", element("th", name, scope="rowgroup", colspan=width))


def row(name: object, values: Sequence[object], class_: str | None = None) -> Markup:
    """Return a row of values behind its name."""
    return element("tr", element("th", name, scope="row"), *(element("td", value) for value in values), class_=class_)


def line_name(run: Run, line: Line, label: str | None = None) -> Markup:
    """Return a line's label, or another one for it, behind a sample of its colour."""
    style = line_styles(run.lines)[line]
    dashed = "swatch" if style.dash == "solid" else "swatch dashed"
    sample = element("span", class_=dashed, style=f"color: {VARIABLES[style.colour]}", aria_hidden="true")
    return join([sample, label or line.label])


def legend(run: Run) -> Markup:
    """Return the key of line colours."""
    return element("ul", *(element("li", line_name(run, line)) for line in run.lines), class_="legend")


def pairs_table(pairs: Iterable[tuple[str, object]], label: str) -> Markup:
    """Return a table of names and values."""
    rows = (element("tr", element("th", name, scope="row"), element("td", value)) for name, value in pairs)
    caption = element("caption", label, class_="unseen")
    return element("div", element("table", caption, element("tbody", *rows), class_="pairs"), class_="scroll")
