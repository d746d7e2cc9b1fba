"""From a drawing function to SVG and PNG: the same bytes each time, coloured by the page's theme or standing alone."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from sslkit.report.figures.palette import VARIABLES
from sslkit.report.figures.style import FONTS, STYLE
from sslkit.report.markup import NOTHING, Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_SHARPNESS = 2
"""Pixels of a PNG to a unit of its SVG, as screens of two pixels to the point show it."""


@dataclass(frozen=True)
class Drawing:
    """A figure, ready for a page and for a file.

    Attributes:
        name: the files' name without ``.svg`` and ``.png``; unique in a report.
        title: what the figure shows, for its caption.
        description: the same at length, for those who cannot see it.
        inline: SVG for a page, coloured by the page's CSS variables.
        standalone: SVG for a file, with colours and ground of its own.
        narrow: as ``inline``, for narrow screens; empty where ``inline`` fits them.
        png: the standalone figure as PNG, twice as many pixels wide as the SVG has units; empty where there is none.
    """

    name: str
    title: str
    description: str
    inline: Markup
    standalone: str
    narrow: Markup = NOTHING
    png: bytes = b""


@dataclass(frozen=True)
class Sketch:
    """What is to be drawn, and how large: ``draw`` fills a figure of a width and a height in SVG units (pixels)."""

    draw: Callable[[Figure], None]
    width: int
    height: int


def make_drawing(
    name: str,
    title: str,
    description: str,
    page: Sketch,
    file: Sketch | None = None,
    narrow: Sketch | None = None,
    *,
    png: bool = True,
) -> Drawing:
    """Draw a figure for a page, for a file and for narrow screens.

    Args:
        name: of the files; unique in a report.
        title: for the caption.
        description: what the figure shows, for those who cannot see it.
        page: how it is drawn for a page.
        file: how it is drawn for a file; by default as for a page.
        narrow: how it is drawn for narrow screens, where ``page`` does not fit them.
        png: whether the figure is one for slides, and so wanted as PNG too.
    """
    svg, pixels = _render(file or page, name, png=png)
    shown = _render(page, name)[0] if file else svg
    thin = f"{name}-narrow"
    return Drawing(
        name=name,
        title=title,
        description=description,
        inline=inline(shown, name, description),
        standalone=standalone(svg, description),
        narrow=inline(_render(narrow, thin)[0], thin, description) if narrow else NOTHING,
        png=pixels,
    )


def _render(sketch: Sketch, name: str, *, png: bool = False) -> tuple[str, bytes]:
    """Return a figure as SVG, and as PNG if one is asked for; it is laid out once.

    Ids are salted with ``name``. The user's own settings of matplotlib neither matter nor change.
    """
    import warnings

    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text stays text, which the reader's own fonts draw; a label beyond all measure leaves no room for the axes.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        matplotlib.rcParams["svg.hashsalt"] = name
        figure = Figure(figsize=(sketch.width / 72, sketch.height / 72), dpi=72)
        sketch.draw(figure)
        svg = io.StringIO()
        # savefig draws every figure twice, the first time to lay it out, which drawing does by itself.
        vectors: Any = FigureCanvasSVG(figure)
        vectors.print_svg(svg, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        pixels = io.BytesIO()
        if png:
            figure.set_layout_engine("none")
            figure.set(dpi=72 * _SHARPNESS, facecolor="white")
            raster: Any = FigureCanvasAgg(figure)
            raster.print_png(pixels, metadata={"Software": None})
    return svg.getvalue(), pixels.getvalue()


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
    root.attrib.update({"role": "img", "aria-label": description, "style": f"font-family: {FONTS}"})
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
