"""Plugins that speak an older version of the interfaces: they work, and whoever uses them is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from studies import tiny_config

import sslkit
from sslkit.experiment.observation import Silent
from sslkit.experiment.running import RunResult, examine

USED = (
    *("dataset 'synthetic-fundus'", "backbone 'timm'", "pretext task 'rotation'"),
    *("head 'dr-grade'", "executor 'local'"),
)


class Listener(Silent):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def stage(self, name: str, total: int) -> None:
        self.heard.append(name)

    def warned(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said of the plugins of a run, once the interfaces have another version than theirs."""
    monkeypatch.setattr("sslkit.registry.requirements.API_VERSION", 2)
    return [
        f"the {plugin} of sslkit {sslkit.__version__} speaks api_version 1: it works, but a later sslkit will set it "
        "aside; ask its authors for one that speaks 2"
        for plugin in USED
    ]


def test_a_run_with_older_plugins_works_and_tells_of_each_once_before_it_begins(
    notices: list[str], tmp_path: Path
) -> None:
    listener = Listener()
    config = tiny_config(evaluation={"arms": ["pretrained"], "label_fractions": [1.0]}, pretraining={"epochs": 1})
    result = sslkit.run(config, tmp_path / "run", observer=listener)
    assert [row["arm"] for row in result.summary] == ["pretrained"]
    assert listener.heard == [*notices, "ingest", "jobs"]
    (session,) = json.loads(result.directory.run.read_text())["sessions"]
    assert session["warnings"] == notices


def test_an_audit_with_older_plugins_tells_too(notices: list[str]) -> None:
    listener = Listener()
    examine(tiny_config(), sslkit.build_registry(), listener)
    assert listener.heard == [*notices, "ingest"]


def test_a_run_with_plugins_of_today_warns_of_nothing(tiny_run: RunResult) -> None:
    assert [session["warnings"] for session in json.loads(tiny_run.directory.run.read_text())["sessions"]] == [[]]
