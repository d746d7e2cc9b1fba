"""Every plugin that comes with sslkit is put to the public kit, in the lines that a third party writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sslkit import build_registry
from sslkit.registry import PluginInfo

TESTS = Path(__file__).parents[1] / "plugins"
OWN = [plugin for plugin in build_registry().plugins if plugin.distribution == "sslkit"]


@pytest.mark.parametrize("plugin", OWN, ids=lambda plugin: plugin.name)
def test_a_reference_plugin_is_put_to_the_kit(plugin: PluginInfo) -> None:
    package = plugin.cls.__module__.partition(".")[0]
    text = "".join(path.read_text() for path in (TESTS / package).glob("test_*_conformance.py"))

    assert f"from {package} import {plugin.cls.__name__}" in text
    test = rf"^@parametrize_with_checks\({plugin.cls.__name__}\b.*\)\ndef test_\w+\(check.*\n    check\(\)$"
    assert re.search(test, text, re.MULTILINE)
