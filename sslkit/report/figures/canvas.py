"""From a drawing function to SVG: the same bytes each time, coloured by the page's theme or standing alone."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from sslkit.report.figures.palette import GRID, INK, MUTED, VARIABLES
from sslkit.report.markup import NOTHING, Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the layout is the same on every machine
    "font.size": 11,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$5"
    "xtick.color": MUTED,
    "xtick.labelsize": 11,
    "ytick.color": MUTED,
    "ytick.labelsize": 11,
    "ytick.major.size": 0,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, ready for a page and for a file.

    Attributes:
        name: the file's name without ``.svg``; unique in a report.
        title: what the figure shows, for its caption.
        description: the same at length, for those who cannot see it.
        inline: SVG for a page, coloured by the page's CSS variables.
        standalone: SVG for a file, with colours and ground of its own.
        narrow: as ``inline``, for narrow screens; empty where ``inline`` fits them.
    """

    name: str
    title: str
    description: str
    inline: Markup
    standalone: str
    narrow: Markup = NOTHING


def draw_svg(draw: Callable[[Figure], None], name: str, width: int, height: int) -> str:
    """Return the SVG of a figure that ``draw`` fills, width and height in SVG units (a screen's pixels).

    Ids are salted with ``name``. The user's own settings of matplotlib neither matter nor change.
    """
    import warnings

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text stays text, which the reader's own fonts draw; a label beyond all measure leaves no room for the axes.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["svg.hashsalt"] = name
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing, facecolor="none", edgecolor="none")
    return buffer.getvalue()


def inline(svg: str, name: str, description: str) -> Markup:
    """Return an SVG as part of a page: themed colours, ids that no other figure has, scaled by its container."""
    root = _parse(svg)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag == f"{{{_SVG}}}style"]:
            parent.remove(child)  # it would style the whole page
    links = f"{{{_XLINK}}}href"
    for node in root.iter():
        if "id" in node.attrib:
            node.set("id", f"{name}-{node.attrib['id']}")
        if links in node.attrib:
            node.set("href", f"#{name}-{node.attrib.pop(links)[1:]}")
        for key, value in list(node.attrib.items()):
            if "url(#" in value:
                node.set(key, value.replace("url(#", f"url(#{name}-"))
        if "style" in node.attrib:
            node.set("style", re.sub(r"#[0-9a-f]{6}\b", lambda m: VARIABLES.get(m[0], m[0]), node.attrib["style"]))
    root.attrib.update({"role": "img", "aria-label": description, "class": "chart"})
    return Markup(_serialise(root))


def standalone(svg: str, description: str) -> str:
    """Return an SVG that stands alone: on white, with its description and a system font."""
    root = _parse(svg)
    root.attrib.update({"role": "img", "aria-label": description, "style": f"font-family: {_FONTS}"})
    ground = ElementTree.Element(f"{{{_SVG}}}rect", {"width": "100%", "height": "100%", "style": "fill: #ffffff"})
    root.insert(0, ground)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{_serialise(root)}\n'


def slug(*parts: str) -> str:
    """Return texts as one part of a file name and of an id: lower-case letters, digits and hyphens.

    What cannot be kept as it is leaves a digest behind, so that two texts never share a name.

    Example:
        >>> slug("rotation", "pretrained"), slug("C:/rotation")
        ('rotation-pretrained', 'c-rotation-f9b6b9')
    """
    return "-".join(map(_slug, parts))


_LONGEST = 60
"""Letters of a text that a file's name takes: systems end names at 255 bytes."""


def _slug(text: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if plain == text and len(text) <= _LONGEST:
        return plain
    return f"{plain[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("-")


def _parse(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    for side in ("width", "height"):
        root.set(side, root.attrib[side].removesuffix("pt"))  # one SVG unit a pixel
    for node in root.iter():
        style = node.attrib.get("style", "")
        if "font:" in style:
            # The family is left to the surroundings: matplotlib's own is seldom on the reader's machine.
            node.set("style", re.sub(r"font:(?: (\w+))?(?: (\w+))? ([\d.]+px)[^;]*", r"font-size: \3", style))
    return root


def _serialise(root: ElementTree.Element) -> str:
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")
