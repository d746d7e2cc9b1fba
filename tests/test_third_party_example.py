"""The distribution in examples/third_party_plugin, beside this sslkit, into whose environment it is never installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import sslkit
from distributions import announce

from sslkit.registry import build_registry
from sslkit.scaffold import Names
from sslkit.scaffold.rendering import render

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "third_party_plugin"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    announce(EXAMPLE, tmp_path)
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("sslkit_relative_scale", None)


def test_it_is_no_part_of_sslkit() -> None:
    assert "relative-scale" not in build_registry().names("pretext-task")


def test_it_is_found_once_it_is_installed(installed: None) -> None:
    assert build_registry().find("pretext-task", "relative-scale").origin == "sslkit-relative-scale 0.1.0"
    assert sslkit("config", "check", EXAMPLE / "try.toml") == (
        0,
        f"{EXAMPLE / 'try.toml'} is a valid configuration.\n",
        "",
    )


def test_wrong_scales_are_refused_by_their_key(installed: None) -> None:
    outcome = sslkit("config", "check", EXAMPLE / "try.toml", "--set", "pretext.scales=[0.5, 1.0]")
    assert outcome.status == 2
    assert "pretext.scales: got [0.5, 1.0]; give distinct shares above 0 and up to 1, largest first" in outcome.err


@pytest.mark.parametrize("checks", ["not elsewhere and not compiles", pytest.param("promises", marks=pytest.mark.slow)])
def test_its_own_tests_pass(checks: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", checks],
        cwd=EXAMPLE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLE), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_it_is_what_the_scaffold_writes_filled_in() -> None:
    written = render(Names("relative-scale"), "pretext-task")
    missing = {path for path in written if not (EXAMPLE / path).exists()}
    assert missing == {".github/workflows/tests.yml"}  # .ci/run does its work
    settings = (EXAMPLE / "pyproject.toml").read_text().partition("dependencies = ")[2]
    assert settings == written["pyproject.toml"].partition("dependencies = ")[2]
