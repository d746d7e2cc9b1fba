"""A million images are listed, split and planned in a minute and 2 GB: ``pytest -m slow``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_million_images_are_planned_in_a_minute_and_two_gigabytes() -> None:
    program, example = ROOT / "tests" / "benchmarks" / "planning.py", ROOT / "examples" / "dr_rotation.toml"
    command = [sys.executable, str(program), str(example), "1000000"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(told)
    assert told["images"] == 1_000_000
    assert told["jobs"] == 5 + 5 + 75
    assert told["missing"] == []
    assert told["seconds"] < 60
    assert told["bytes"] < 2e9
