"""Colours that tell lines apart for every reader, on light and on dark ground, and how each line is drawn.

The colours are those of Okabe and Ito (2008, "Color Universal Design"), without yellow, which white ground swallows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sslkit.report.comparison import SCRATCH
from sslkit.report.tables import Line

GROUND = "#ffffff"
INK = "#1b1f24"
MUTED = "#59636e"
GRID = "#dde1e6"
BASELINE = "#6e7781"
HEAT = "#0071b2"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
RAMP = (
    "#e56a5d",
    "#d5536f",
    "#c33d80",
    "#ad2793",
    "#9410a2",
    "#7701a8",
    "#5801a4",
    "#370499",
    "#0d0887",
)
"""From the lowest grade to the highest: matplotlib's "plasma", whose lightness alone tells its order, as far as white
ground shows it (3 to 1); on dark ground the page takes its other end."""
MARKERS = ("o", "^", "D", "v", "P", "X")
_DASHES = ("solid", (0, (6, 2)), (0, (1, 1.5)))

VARIABLES = {
    GROUND: "var(--ground)",
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BASELINE: "var(--baseline)",
    HEAT: "var(--heat)",
    **{colour: f"var(--series-{index})" for index, colour in enumerate(SERIES)},
    **{colour: f"var(--ramp-{index})" for index, colour in enumerate(RAMP)},
}
"""What each colour becomes inside a page, so that the page's light or dark theme decides."""


@dataclass(frozen=True)
class LineStyle:
    """How a line is drawn; marker and dash tell it apart where colour cannot."""

    colour: str
    marker: str
    dash: str | tuple[int, tuple[float, ...]]


def line_styles(lines: Sequence[Line]) -> dict[Line, LineStyle]:
    """Return a style for each line: grey and dashed for training from scratch, a colour each for the others."""
    styles = {SCRATCH: LineStyle(BASELINE, "s", (0, (4, 2)))}
    for index, line in enumerate(line for line in lines if line != SCRATCH):
        turn, place = divmod(index, len(SERIES))
        styles[line] = LineStyle(SERIES[place], MARKERS[place], _DASHES[turn % len(_DASHES)])
    return {line: styles[line] for line in lines}
