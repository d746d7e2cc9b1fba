"""The axis of shares of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslkit.report.text import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def finish_shares(axes: Axes, fractions: Sequence[float], labels: Sequence[str] = ()) -> None:
    """Make the x axis one of shares of the labels: logarithmic, a tick at each share that was measured.

    Args:
        axes: what was drawn.
        fractions: the shares, ascending, at least one.
        labels: how many labels each share is, to stand below it; empty texts and none are left out.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(list(fractions)))
    below = [f"\n{label}" for label in labels] or [""] * len(fractions)
    axes.set_xticks(list(fractions), [f"{share(f)}{text}" for f, text in zip(fractions, below, strict=True)])
    margin = 1.15 if len(fractions) > 1 else 1.5
    axes.set_xlim(fractions[0] / margin, fractions[-1] * margin)
    axes.set_xlabel("share of the labels, and labelled images" if labels else "share of the labels")
