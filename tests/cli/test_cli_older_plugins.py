from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import sslkit
from studies import tiny_tables

from sslkit.config import to_toml

NOTICE = (
    "the head 'dr-grade' of sslkit {version} speaks api_version 1: it works, but a later sslkit will set it aside; "
    "ask its authors for one that speaks 2"
)


@pytest.fixture
def notice(monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of one of the plugins, once the interfaces have another version than theirs."""
    from sslkit import __version__

    monkeypatch.setattr("sslkit.registry.requirements.API_VERSION", 2)
    return NOTICE.format(version=__version__)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(to_toml(tiny_tables()))
    return path


def listed() -> dict[str, tuple[int, str | None]]:
    found = json.loads(sslkit("plugins", "list", "--json").out)["plugins"]
    classes = [plugin for plugin in found if plugin["kind"] != "observer"]
    return {plugin["name"]: (plugin["api_version"], plugin["deprecation"]) for plugin in classes}


def test_the_list_of_plugins_tells_of_older_ones(notice: str) -> None:
    assert listed()["dr-grade"] == (1, notice)
    assert f"warning: {notice}\n" in sslkit("plugins", "list").out


def test_the_list_of_plugins_tells_nothing_of_those_of_today() -> None:
    assert listed()["dr-grade"] == (1, None)
    assert "warning" not in sslkit("plugins", "list").out


def test_the_check_of_a_configuration_tells_of_older_plugins_and_passes(notice: str, config: Path) -> None:
    status, out, err = sslkit("config", "check", config)
    assert (status, out) == (0, f"{config} is a valid configuration.\n")
    assert len(err.splitlines()) == 5
    assert f"Warning: {notice}" in err.splitlines()


def test_the_check_of_a_configuration_warns_of_nothing_today(config: Path) -> None:
    assert sslkit("config", "check", config).err == ""


def test_a_newer_plugin_is_listed_as_set_aside_with_what_to_do(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setattr("sslkit.registry.requirements.API_VERSION", 0)
    monkeypatch.setattr("sslkit.registry.requirements.OLDEST_API_VERSION", 0)
    reason = "'dr-grade' speaks api_version 1; this sslkit speaks 0: upgrade sslkit"
    assert reason in [broken["reason"] for broken in json.loads(sslkit("plugins", "list", "--json").out)["broken"]]
    assert reason in sslkit("plugins", "list").out.splitlines()
    refused = sslkit("config", "check", config)
    assert refused.status == 2
    assert (
        "the dataset 'synthetic-fundus' of sslkit was set aside: 'synthetic-fundus' speaks api_version 1" in refused.err
    )
