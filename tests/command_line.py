"""Calls the command line in this process, as a shell would."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from sslkit.cli import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def sslkit(*arguments: str | Path) -> Outcome:
    """Return what a command came to; whatever it raises beyond its exit status goes through."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["sslkit", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stopped:
            return Outcome(int(stopped.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("the command line ended without an exit status")
