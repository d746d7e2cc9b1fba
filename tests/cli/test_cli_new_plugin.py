from __future__ import annotations

from pathlib import Path

import pytest
from command_line import sslkit


def test_a_new_plugin_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = sslkit("plugins", "new", "upside-down", "--kind", "pretext-task")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == (
        "sslkit-upside-down holds the pretext task 'upside-down': sslkit_upside_down.py is the file to change.\n"
        "It works as it is:\n\n"
        "  cd sslkit-upside-down\n"
        "  pip install --editable '.[test]'\n"
        "  sslkit plugins check upside-down\n"
        "  pytest\n"
        "  sslkit run try.toml\n\n"
    )
    assert (tmp_path / "sslkit-upside-down" / "sslkit_upside_down.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up", "--kind", "pretext"], "'pretext' is not one of 'pretext-task', 'backbone', 'head', 'dataset'"),
        (["up", "--kind", "executor"], "'executor' is not one of"),
        (["up"], "Missing option '--kind'"),
        (["--kind", "head"], "Missing argument 'NAME'"),
        (["Up", "--kind", "head"], "'Up' cannot be a plugin's name"),
        (["dr-grade", "--kind", "head"], "there is a head 'dr-grade' already, of sslkit"),
        (["up", "--kind", "head", "--output", "no/up"], "there is no folder no to put 'up' into"),
        (["up", "--kind", "head", "--output", "."], ". is there already"),
        (["\x1b[2J", "--kind", "head"], r"'\x1b[2J' cannot be a plugin's name"),
        (["up", "--kind", "head", "--output", "\x1b[2J/up"], r"there is no folder \x1b[2J to put 'up' into"),
    ],
)
def test_what_cannot_be_is_one_message_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = sslkit("plugins", "new", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []
