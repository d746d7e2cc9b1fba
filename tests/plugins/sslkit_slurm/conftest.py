"""What the processes of a scheduler, which start afresh, find of these tests."""

from __future__ import annotations

import os
import sys

import pytest


@pytest.fixture(autouse=True)
def _modules_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let them import the modules that the jobs of tests are in, as pytest lets this process."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
