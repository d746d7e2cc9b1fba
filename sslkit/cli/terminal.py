"""What the commands say without rich: nothing that others wrote reaches a terminal as it came."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import click

from sslkit.printable import printable


def say(text: object, *, err: bool = False, one_line: bool = False) -> None:
    """Print text; its control characters are spelt out, and so are its line breaks where it is one line."""
    click.echo(printable(str(text), keep="" if one_line else "\n\t"), err=err)


def _say_stopping() -> None:
    os.write(2, b"\nStopping at a safe point ...\n")


TELL_STOPPING: list[Callable[[], None]] = [_say_stopping]
"""The last of them tells that a run is being stopped; called by the handler of a signal, so it only notes or writes."""


class _LogHandler(logging.Handler):
    """Prints what the toolkit and its plugins log to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, as readable as any other text."""
        say(self.format(record), err=True)


LOG_HANDLER = _LogHandler()
"""The one handler of the logger ``sslkit`` while the command line is in charge."""
