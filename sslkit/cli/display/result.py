"""What ``sslkit run`` shows at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sslkit.cli.display.console import line, make_console
from sslkit.cli.display.shell import next_commands
from sslkit.cli.display.words import name_of, share_of

if TYPE_CHECKING:
    from sslkit.experiment.run_result import RunResult

_STYLES = {"benefit": "green", "harm": "red"}


def show_result(result: RunResult, commands: Iterable[str] = ()) -> None:
    """Print the table of a run, what it shows, and what may be done next.

    Args:
        result: of the run.
        commands: the names of the commands that there are.
    """
    console = make_console()
    if result.summary:
        console.print(_table(result.summary), "", sep="\n")
    for sentence in (*result.conclusions, *result.notices):
        console.print(line(sentence), end="\n\n")
    console.print(f"Report: {line(result.report)}", soft_wrap=True)
    following = [] if result.failures else next_commands(result.directory.root, commands)
    for number, command in enumerate(following):
        console.print(f"{'Next:' if number == 0 else '':<7} {command}", soft_wrap=True)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the means by share of the labels, since there arms are compared; a line each, so that many arms fit."""
    compared = any(row.get("verdict") for row in rows)
    table = Table(
        title="Quadratic weighted kappa on test folds",
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=0,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("", overflow="fold", min_width=12)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("min..max", justify="right", no_wrap=True)
    if compared:
        table.add_column("difference", justify="right", no_wrap=True)
        table.add_column("to scratch", no_wrap=True)
    shares = sorted({row["fraction"] for row in rows})
    for place, share in enumerate(shares):
        own = sorted((row for row in rows if row["fraction"] == share), key=lambda row: not row["pretext"])
        labels = max(row["labels"] for row in own)
        table.add_row(Text(f"{share_of(share)}, {labels:.0f} labels", "bold"))
        for row in own:
            name = Padding(name_of(row["pretext"], row["arm"]), (0, 0, 0, 1))
            cells: list[RenderableType] = [name, _number(row["qwk_mean"]), _spread(row)]
            table.add_row(
                *cells, *(_difference(row) if compared else ()), end_section=row is own[-1] and place < len(shares) - 1
            )
    return table


def _spread(row: Mapping[str, Any]) -> str:
    return "" if row["qwk_mean"] is None else f"{_number(row['qwk_min'])}..{_number(row['qwk_max'])}"


def _difference(row: Mapping[str, Any]) -> tuple[str, Text]:
    delta, verdict = row.get("delta"), line(row.get("verdict") or "")
    return "" if delta is None else f"{delta:+.3f}", Text(verdict, _STYLES.get(verdict, "dim"))


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
