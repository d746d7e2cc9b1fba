"""A terminal as far as rich asks for one: what stands on the screen after what was written to it."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\x1b\[\??([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """A grid of letters with a cursor; lines that leave it at the top are kept.

    Attributes:
        scrolled: the lines that have left it.
        wrapped: how often a line went over the edge.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.lines = [""] * height
        self.scrolled: list[str] = []
        self.wrapped = 0
        self._row = self._column = 0

    def write(self, text: str) -> None:
        for token in _TOKEN.finditer(text):
            numbers, command, control, letters = token.groups()
            if command:
                self._steer(command, int(numbers) if numbers.isdigit() else None)
            elif control == "\r":
                self._column = 0
            elif control == "\n":
                self._column = 0
                self._down()
            else:
                self._put(letters)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip()

    def _steer(self, command: str, number: int | None) -> None:
        if command == "A":
            self._row = max(0, self._row - (number or 1))
        elif command == "K":
            kept = {None: self._column, 0: self._column, 2: 0}[number]
            self.lines[self._row] = self.lines[self._row][:kept]
        elif command not in ("m", "h", "l"):
            raise AssertionError(f"an unexpected command of the terminal: {command}")

    def _put(self, letters: str) -> None:
        for letter in letters:
            if self._column == self.width:
                self.wrapped += 1
                self._column = 0
                self._down()
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + letter + line[self._column + 1 :]
            self._column += 1

    def _down(self) -> None:
        if self._row + 1 < self.height:
            self._row += 1
        else:
            self.scrolled.append(self.lines.pop(0).rstrip())
            self.lines.append("")
