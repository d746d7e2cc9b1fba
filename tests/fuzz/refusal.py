"""What a refusal has to be, whoever refuses."""

from __future__ import annotations

from sslkit.errors import UsageError
from sslkit.printable import printable

MOST_LINES, LONGEST_LINE = 25, 2000


def check_refusal(error: UsageError) -> None:
    """Raise if a message is empty, of no end, or commands a terminal."""
    lines = str(error).split("\n")
    assert all(lines)
    assert len(lines) <= MOST_LINES
    for line in lines:
        assert len(line) <= LONGEST_LINE
        assert printable(line) == line, line
