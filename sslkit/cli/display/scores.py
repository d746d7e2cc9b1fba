"""The scores of a run that is not over yet."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from sslkit.cli.display.words import name_of, share_of

_IN_A_LINE = 6
"""The most means that one line tells."""

_NAME = 24
"""Letters that the name of an arm may take where there are many shares."""


class _Key(NamedTuple):
    pretext: str
    arm: str


class ScoresSoFar:
    """The mean of the primary metric over the cells that are done, for each pretext task, arm and share of labels.

    A cell counts where its metric is defined. What is shown is of some of the cells and says nothing yet.

    Attributes:
        metric: the column of results.csv.
    """

    def __init__(self, metric: str = "qwk") -> None:
        self.metric = metric
        self._values: dict[_Key, dict[float, list[float]]] = {}
        self._latest: dict[_Key, int] = {}
        self._count = 0

    @property
    def title(self) -> str:
        """What the figures are."""
        return f"{'QWK' if self.metric == 'qwk' else self.metric.replace('_', ' ')} so far"

    def expect(self, places: Iterable[Mapping[str, Any]]) -> None:
        """Take down the order of the plan: what has no pretext task stands last."""
        keys = dict.fromkeys(_Key(place["pretext"], place["arm"]) for place in places)
        for key in sorted(keys, key=lambda key: not key.pretext):
            self._values.setdefault(key, {})

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in a row of results.csv."""
        if row.get(self.metric) is None:
            return
        key = _Key(row["pretext"], row["arm"])
        self._values.setdefault(key, {}).setdefault(row["fraction"], []).append(row[self.metric])
        self._count += 1
        self._latest[key] = self._count

    @property
    def num_lines(self) -> int:
        """The lines of the whole table, its head included; 0 while there is none."""
        return 1 + len(self._latest) if self._latest else 0

    def table(self, width: int, num_lines: int) -> Table:
        """Return the means and, behind each, of how many cells; the lines that changed last where not all have room.

        Args:
            width: columns of the terminal.
            num_lines: what there is room for, the head included; at least 2.
        """
        room = num_lines - 1
        recent = sorted(self._latest, key=self._latest.__getitem__, reverse=True)
        chosen = set(recent if len(recent) <= room else recent[: max(1, room - 1)])
        keys = [key for key in self._values if key in chosen]
        texts = {
            (key, share): f"{statistics.fmean(values):.3f} ({len(values)})"
            for key in keys
            for share, values in self._values[key].items()
        }
        cell = max(map(len, texts.values()))
        names = max(len(self.title) + len(" (cells)"), min(_NAME, max(len(name_of(*key)) for key in keys)))
        shares = _some(sorted({share for _, share in texts}), max(1, (width - names) // (cell + 1)))
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, width=width)
        table.add_column(Text(f"{self.title} (cells)", "bold"), no_wrap=True, overflow="ellipsis", ratio=1)
        for share in shares:
            table.add_column(Text(share_of(share), "bold"), justify="right", no_wrap=True, width=cell)
        for key in keys:
            table.add_row(name_of(*key), *(texts.get((key, share), "") for share in shares))
        if len(chosen) < len(recent) and room > 1:
            table.add_row(Text(f"... and {len(recent) - len(chosen)} more", "dim"))
        return table

    def sentence(self) -> str:
        """Return the means that changed last in one line; empty while there is none."""
        if not self._latest:
            return ""
        recent = set(sorted(self._latest, key=self._latest.__getitem__, reverse=True)[:_IN_A_LINE])
        parts: list[str] = []
        told = total = 0
        for share in sorted({share for own in self._values.values() for share in own}, reverse=True):
            own = {key: values[share] for key, values in self._values.items() if share in values}
            total += len(own)
            shown = [key for key in own if key in recent][: _IN_A_LINE - told]
            told += len(shown)
            if shown:
                means = (f"{name_of(*key)} {statistics.fmean(own[key]):.3f} (n={len(own[key])})" for key in shown)
                parts.append(f"{share_of(share)} of the labels: {', '.join(means)}")
        more = f"; and {total - told} more" if told < total else ""
        return f"{self.title}: {'; '.join(parts)}{more}"


def _some(shares: list[float], most: int) -> list[float]:
    """Return the smallest shares and the largest, where there is no room for all."""
    return shares if len(shares) <= most else [*shares[: most - 1], shares[-1]]
