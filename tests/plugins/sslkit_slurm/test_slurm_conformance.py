from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sslkit.testing import parametrize_with_checks
from sslkit_slurm import Slurm


def this_machine(folder: Path) -> dict[str, Any]:
    return {"cluster": "local", "folder": str(folder / "slurm")}


@pytest.mark.slow  # each job is a Python of its own, begun afresh: 40 seconds
@parametrize_with_checks(Slurm, options=this_machine)
def test_slurm_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
