"""Help texts: every command has one, with an example, and says what each option does."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from command_line import sslkit

from sslkit.cli import cli
from sslkit.cli.groups import SECTIONS


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*words, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))


COMMANDS = [pytest.param(words, command, id=" ".join(words)) for words, command in commands(cli)]


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_every_command_has_a_help_text_and_an_example(words: tuple[str, ...], command: click.Command) -> None:
    printed = sslkit(*words, "--help")
    assert (printed.status, printed.err) == (0, "")
    first = (command.help or "").splitlines()[0]
    assert first.endswith(".")
    assert command.epilog is not None
    assert command.epilog.startswith("Example: ")
    example = shlex.split(command.epilog.removeprefix("Example: ").replace('"$(', "").replace(')"', ""))
    start = example.index("sslkit") + 1
    assert tuple(example[start : start + len(words)]) == words
    assert "Example: " in printed.out
    for option in command.params:
        if isinstance(option, click.Option):
            assert (option.help or "").endswith("."), option.name


def test_no_command_is_described_by_half_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    groups = [(), *(words for words, command in commands(cli) if isinstance(command, click.Group))]
    for words in groups:
        assert "..." not in sslkit(*words, "--help").out.replace("[ARGS]...", "")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_commands_stand_under_what_they_are_for(arguments: tuple[str, ...]) -> None:
    printed = sslkit(*arguments)
    text = printed.out + printed.err
    assert "sslkit run examples/dr_rotation.toml --output runs/dr" in text
    places = [text.index(f"\n{title}:\n") for title in SECTIONS]
    assert places == sorted(places)
    for title, names in SECTIONS.items():
        section = text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        shown = [line.split()[0] for line in section.splitlines() if line.startswith("  ")]
        assert shown == [name for name in names if name in cli.commands]


def test_every_command_has_a_place() -> None:
    assert set(cli.commands) <= {name for names in SECTIONS.values() for name in names}


def test_a_command_without_a_place_stands_at_the_end() -> None:
    group = type(cli)("sslkit", commands={"run": cli.commands["run"], "new": click.Command("new", help="It is new.")})
    text = group.get_help(click.Context(group))
    assert text.index("A study:") < text.index("Others:\n  new  It is new.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rnu",), "No such command 'rnu'; did you mean 'run'? There are: bench, "),
        (("xyzzy",), "No such command 'xyzzy'. There are: bench, "),
        (("plugins", "chek"), "No such command 'chek'; did you mean 'check'? There are: check, list, new."),
        (("run", "a.toml", "--outptu", "x"), "No such option '--outptu'. Did you mean '--output'?"),
        (("--versoin",), "No such option '--versoin'. Did you mean '--version'?"),
    ],
)
def test_what_there_is_not_is_answered_by_the_nearest(arguments: tuple[str, ...], message: str) -> None:
    printed = sslkit(*arguments)
    assert printed.status == 2
    assert printed.out == ""
    assert message in printed.err
