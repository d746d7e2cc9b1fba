"""What a shell completes, asked as shells ask, and in a bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete, get_completion_class

from sslkit.cli import cli
from sslkit.cli.completing import plugins as sources
from sslkit.cli.completing import script_for
from sslkit.cli.completing.shells import VARIABLE
from sslkit.config.schema import Arm
from sslkit.experiment.running import RunResult
from sslkit.registry import KINDS, build_registry

EXAMPLES = Path(__file__).parents[2] / "examples"
Complete = Callable[..., list[str]]


@pytest.fixture
def complete() -> Complete:
    """Return what the words so far, the last of them unfinished, may go on with."""

    def ask(*words: str | Path) -> list[str]:
        *before, last = map(str, words)
        completer = ShellComplete(cli, {}, "sslkit", VARIABLE)
        return [item.value for item in completer.get_completions(before, last)]

    return ask


def test_commands_and_options(complete: Complete) -> None:
    assert complete("co") == ["completion", "config"]
    assert complete("plugins", "") == ["check", "list", "new"]
    assert complete("run", "x.toml", "--qu") == ["--quiet"]
    assert complete("plugins", "check", "x", "--kind", "ba") == ["backbone"]
    assert complete("completion", "") == ["bash", "zsh", "fish"]


def test_configurations_and_the_folders_on_the_way(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my study.toml", "notes.txt", ".hidden.toml", "new\nline.toml"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.toml").touch()
    for command in (("run",), ("doctor",), ("bench",), ("config", "check")):
        assert complete(*command, "") == ["more/", "my study.toml"]
        assert complete(*command, "more/") == ["more/a.toml"]
        assert complete(*command, tmp_path / "m") == [f"{tmp_path}/more/", f"{tmp_path}/my study.toml"]
    assert complete("run", ".h") == [".hidden.toml"]
    assert complete("run", "nowhere/") == []


def test_run_directories_and_what_is_in_them(complete: Complete, tiny_run: RunResult) -> None:
    root = tiny_run.directory.root
    for command in ("report", "predict"):
        assert complete(command, f"{root.parent}/") == [str(root)]
    assert complete("predict", root, "--arm", "") == ["pretrained", "scratch", "frozen"]  # of knn no model is kept
    assert complete("predict", root, "--pretext", "r") == ["rotation"]
    assert complete("predict", root.parent, "--pretext", "") == []
    assert complete("predict", "--arm", "im") == ["imagenet"]


def test_arms_are_those_of_the_schema() -> None:
    from typing import get_args

    from sslkit.cli.completing.trained import _ARMS

    assert get_args(Arm) == _ARMS


def test_keys_of_a_configuration_and_their_values(complete: Complete, tmp_path: Path) -> None:
    keys = complete("run", "x.toml", "--set", "")
    assert {"seed=", "pretraining.epochs=", "backbone.name=", "compute.compile=", "card.intended_use="} <= set(keys)
    assert all(key.endswith("=") for key in keys)
    assert complete("run", "x.toml", "--set", "pretraining.ep") == ["pretraining.epochs="]
    assert complete("run", "x.toml", "--set", "compute.compile=") == ["compute.compile=true", "compute.compile=false"]
    assert complete("run", "x.toml", "--set", "images.crop=f") == ["images.crop=fundus"]
    assert complete("run", "x.toml", "--set", "compute.workers=") == ["compute.workers=auto"]
    assert complete("doctor", "x.toml", "--set", "pretext.name=rot") == [
        "pretext.name=rotation",
        "pretext.name=rotation-invariant",
    ]
    assert complete("bench", "x.toml", "--set", "compute.executor=l") == ["compute.executor=local"]
    assert complete("run", "x.toml", "--set", "observers=") == ["observers=mlflow", "observers=tensorboard"]
    assert complete("run", "x.toml", "--set", "no.key=") == []


def test_options_of_the_plugins_that_a_configuration_names(complete: Complete, tmp_path: Path) -> None:
    example = EXAMPLES / "dr_rotation.toml"
    assert complete("run", example, "--set", "pretext.t") == ["pretext.turns="]
    assert "dataset.patients=" in complete("config", "check", example, "--set", "dataset.")
    (tmp_path / "broken.toml").write_text("[dataset")
    assert complete("run", tmp_path / "broken.toml", "--set", "pretext.t") == []


def test_plugins_that_can_be_checked(complete: Complete) -> None:
    assert complete("plugins", "check", "dense") == ["densenet121"]
    assert complete("plugins", "check", "--kind", "head", "") == ["dr-grade"]
    assert complete("plugins", "check", "timm", "--set", "mo") == ["model="]
    assert "tensorboard" not in complete("plugins", "check", "")


def test_names_read_from_the_source_are_those_of_the_registry() -> None:
    registry = build_registry()
    for kind in KINDS:
        assert sources.names_of(kind) == registry.names(kind)
    assert sources.names_of("observer") == [observer.name for observer in registry.observers]
    for plugin in registry.plugins:
        assert set(sources.options_of(plugin.name)) <= set(plugin.cls.Config.model_fields)


def test_every_configuration_run_and_key_on_a_command_line_is_completed() -> None:
    """For an argument CONFIG or RUN and an option --set: give it shell_complete of sslkit.cli.completing."""

    def parameters(group: click.Group) -> list[tuple[str, click.Parameter]]:
        found = []
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                found += [(f"{name} {inner}", parameter) for inner, parameter in parameters(command)]
            else:
                found += [(name, parameter) for parameter in command.params]
        return found

    lacking = [
        (name, parameter.name)
        for name, parameter in parameters(cli)
        if (parameter.metavar in ("RUN", "CONFIG") or parameter.name in ("config", "overrides", "arm", "pretext"))
        and parameter._custom_shell_complete is None
    ]
    assert lacking == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_what_the_shell_is_given(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from command_line import sslkit

    printed = sslkit("completion", shell)
    assert (printed.status, printed.err) == (0, "")
    assert printed.out == script_for(shell, cli) + "\n"
    assert f"{VARIABLE}={shell}_complete" in printed.out
    assert get_completion_class(shell) is not None


@pytest.fixture
def bash(tmp_path: Path) -> Complete:
    """Return what bash has to offer for a command line, which readline has divided into words."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    program = tmp_path / "bin" / "sslkit"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sslkit "$@"\n')
    program.chmod(0o755)

    def ask(*words: str) -> list[str]:
        line = "".join(
            f" {word}" if place and word != "=" and words[place - 1] != "=" else word
            for place, word in enumerate(words)
        )
        quoted = " ".join(f"'{word}'" for word in words)
        script = (
            'eval "$(sslkit completion bash)"\n'
            'compopt() { echo "compopt $1 $2"; }\n'
            f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE='{line} --rest' COMP_POINT={len(line)}\n"
            '_sslkit_completion sslkit\nprintf "%s\\n" "${COMPREPLY[@]}"'
        )
        environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
        found = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment)
        assert found.stderr == ""
        return found.stdout.splitlines()

    return ask


def test_in_bash_a_key_goes_on_after_its_sign_and_a_value_begins_there(bash: Complete) -> None:
    assert bash("sslkit", "run", "x.toml", "--set", "images.s") == ["compopt -o nospace", "images.size="]
    assert bash("sslkit", "run", "x.toml", "--set", "images.crop", "=") == ["fundus", "center", "none"]
    assert bash("sslkit", "run", "x.toml", "--set", "images.crop", "=", "ce") == ["center"]


def test_in_bash_paths_are_quoted_by_the_shell(bash: Complete, tmp_path: Path) -> None:
    (tmp_path / "my study.toml").touch()
    assert bash("sslkit", "run", f"{tmp_path}/my") == ["compopt -o filenames", f"{tmp_path}/my study.toml"]


def test_completing_loads_neither_torch_nor_numpy() -> None:
    program = (
        "import sys, sslkit.cli\n"
        "from click.shell_completion import ShellComplete\n"
        "completer = ShellComplete(sslkit.cli.cli, {}, 'sslkit', '_SSLKIT_COMPLETE')\n"
        f"assert completer.get_completions(['run', {str(EXAMPLES / 'dr_rotation.toml')!r}, '--set'], '')\n"
        "assert completer.get_completions(['plugins', 'check'], '')\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "timm", "rich", "matplotlib", "sslkit_rotation"} & set(loaded)
