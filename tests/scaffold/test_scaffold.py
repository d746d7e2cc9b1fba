from __future__ import annotations

import ast
import errno
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import sslkit
from distributions import announce
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from sslkit.errors import StorageError, UsageError
from sslkit.interfaces import API_VERSION
from sslkit.registry import KINDS, Registry, build_registry
from sslkit.scaffold import NEW_KINDS, Names, NewKind, new_plugin
from sslkit.scaffold.naming import MAX_LENGTH
from sslkit.scaffold.rendering import clashing_class, render

ROOT = Path(__file__).resolve().parents[2]
NOTHING = Registry([], [], None, {})
COSTLY = "not elsewhere and not compiles"
"""Leaves out the checks of the kit that take seconds each; they have tests of their own."""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new plugin of each kind, called ``new-`` and the kind."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in NEW_KINDS:
        made = new_plugin(f"new-{kind}", kind, folder / kind, registry=NOTHING)
        announce(made.folder, made.folder)
    return folder


@pytest.fixture
def installed(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, on the path."""
    for kind in NEW_KINDS:
        monkeypatch.syspath_prepend(plugins / kind)
    before = set(sys.modules)
    yield plugins
    for name in set(sys.modules) - before:
        if name.startswith("sslkit_new_"):
            del sys.modules[name]


def python(*arguments: str | Path, plugins: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder, with the plugins on the path."""
    path = os.pathsep.join([*(str(plugins / kind) for kind in NEW_KINDS), *sys.path])
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=plugins, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_there_is_a_template_of_each_kind_but_executors() -> None:
    assert tuple(kind for kind in KINDS if kind != "executor") == NEW_KINDS


@pytest.mark.parametrize("kind", NEW_KINDS)
def test_a_distribution_is_complete(kind: NewKind, tmp_path: Path) -> None:
    made = new_plugin("upside-down", kind, tmp_path / "mine", registry=NOTHING)

    assert made.folder == tmp_path / "mine"
    assert {name for name in files_of(made.folder) if not name.startswith("samples/")} == {
        ".github/workflows/tests.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "sslkit_upside_down.py",
        "tests/test_upside_down.py",
        "try.toml",
    }
    assert (made.folder / "samples").exists() == (kind == "dataset")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    project = tomllib.loads((made.folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "sslkit-upside-down"
    assert project["dependencies"] == ["sslkit"]
    assert project["optional-dependencies"] == {"test": ["sslkit[testing]"]}
    assert project["entry-points"]["sslkit"] == {"upside-down": "sslkit_upside_down"}
    assert made.commands[2] in (made.folder / "README.md").read_text()
    assert f"- run: {made.commands[2]}\n" in (made.folder / ".github" / "workflows" / "tests.yml").read_text()


def test_by_default_the_folder_is_called_as_the_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert new_plugin("blurred", "head", registry=NOTHING).folder == Path("sslkit-blurred")
    assert (tmp_path / "sslkit-blurred" / "sslkit_blurred.py").is_file()


@pytest.mark.parametrize("kind", NEW_KINDS)
def test_a_new_plugin_is_found_and_states_its_version(kind: NewKind, installed: Path) -> None:
    plugin = build_registry().find(kind, f"new-{kind}")
    assert plugin.origin == f"sslkit-new-{kind} 0.1.0"
    assert vars(plugin.cls)["api_version"] == API_VERSION
    assert plugin.cls.__name__ == Names(f"new-{kind}").class_name


@pytest.mark.parametrize("kind", NEW_KINDS)
def test_its_configuration_is_valid(kind: NewKind, installed: Path) -> None:
    outcome = sslkit("config", "check", installed / kind / "try.toml")
    assert (outcome.status, outcome.err) == (0, "")


def test_their_own_tests_and_the_kit_pass(plugins: Path) -> None:
    done = python("-m", "pytest", "-q", "--import-mode=importlib", "-k", COSTLY, *NEW_KINDS, plugins=plugins)
    assert done.returncode == 0, done.stdout
    assert "check_is_usable" in python("-m", "pytest", "--collect-only", "-q", *NEW_KINDS, plugins=plugins).stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", NEW_KINDS)
def test_the_whole_kit_passes(kind: NewKind, plugins: Path) -> None:
    options = ["--set", f"path={plugins / kind / 'samples'}"] if kind == "dataset" else []
    done = python("-m", "sslkit", "plugins", "check", f"new-{kind}", *options, plugins=plugins)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "opted out" not in done.stdout


@pytest.mark.parametrize(
    "kind", [kind if kind == "dataset" else pytest.param(kind, marks=pytest.mark.slow) for kind in NEW_KINDS]
)
def test_its_run_ends_with_a_report(kind: NewKind, plugins: Path, tmp_path: Path) -> None:
    configuration = plugins / kind / "try.toml"
    less = ["--set", "evaluation.label_fractions=[1.0]"] if kind == "dataset" else []
    done = python("-m", "sslkit", "run", configuration, "--output", tmp_path / "run", *less, plugins=plugins)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    assert len((tmp_path / "run" / "results.csv").read_text().splitlines()) == (5 if less else 9)


def test_their_sources_are_clean(plugins: Path, tmp_path: Path) -> None:
    for length in (1, MAX_LENGTH):
        for kind in NEW_KINDS:
            new_plugin("a" * length, kind, tmp_path / f"{kind}-{length}", registry=NOTHING)
    for folder in (plugins, tmp_path):
        for command in (["check", "."], ["format", "--check", "."]):
            done = python("-m", "ruff", *command, plugins=folder)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", NEW_KINDS)
def test_their_types_are_right(kind: NewKind, plugins: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy"],
        cwd=plugins / kind,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_samples_are_distinct_images_of_five_grades(tmp_path: Path) -> None:
    folder = new_plugin("scans", "dataset", tmp_path / "scans", registry=NOTHING).folder
    paths = sorted((folder / "samples").iterdir())
    pixels = {np.asarray(Image.open(path)).tobytes() for path in paths}
    assert len(pixels) == len(paths) == 40
    assert {path.stem.rpartition("_")[2] for path in paths} == set("01234")
    assert np.asarray(Image.open(paths[0])).shape == (48, 48, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' cannot be a plugin's name: a name is written in lower case"),
        ("UpsideDown", "'UpsideDown' cannot be a plugin's name.*; did you mean 'upsidedown'?"),
        ("Upside Down", "; did you mean 'upside-down'?"),
        ("upside_down", "; did you mean 'upside-down'?"),
        ("upside--down", "; did you mean 'upside-down'?"),
        ("-down", "; did you mean 'down'?"),
        ("sslkit_down", "; did you mean 'down'?"),
        (
            "3d",
            "'3d' cannot be a plugin's name: .* a to z first, then letters, digits and single hyphens between them$",
        ),
        ("größe", "cannot be a plugin's name"),
        ("a/b", "cannot be a plugin's name"),
        ("../up", "cannot be a plugin's name"),
        ("up\n", r"'up\\n' cannot be a plugin's name"),
        ("a" * 31, "has 31 characters; a plugin's name has up to 30 here"),
        ("class", "'class' is a keyword of Python, which no class can be called after; take another"),
        ("none", "'none' is a keyword of Python"),
        ("views", "a plugin 'views' would have a class Views, which is the name of another class"),
        ("plugin", "a plugin 'plugin' would have a class PluginConfig, which is the name of another class"),
        ("value-error", "would have a class ValueError.*take another name, such as 'value-error-2'"),
        ("testing", None),
        ("a-1", None),
    ],
)
def test_names_that_cannot_be_are_refused(name: str, message: str | None, tmp_path: Path) -> None:
    if message is None:
        assert new_plugin(name, "pretext-task", tmp_path / "x", registry=NOTHING).names.plugin == name
        return
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        new_plugin(name, "pretext-task", tmp_path / "x", registry=NOTHING)
    assert list(tmp_path.iterdir()) == []


def refusal(name: str) -> str:
    try:
        Names(name)
    except UsageError as error:
        return str(error)
    return ""


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(st.text(max_size=40), st.from_regex(r"[a-z][a-z0-9-]{0,32}", fullmatch=True)), st.sampled_from(NEW_KINDS)
)
@example("type", "head")
@example("str", "head")
@example("a" * MAX_LENGTH, "backbone")
@example("network", "backbone")
@example("-".join("a" * 15), "dataset")
def test_any_name_is_refused_or_gives_files_that_parse(name: str, kind: NewKind) -> None:
    if refused := refusal(name):
        assert re.search("cannot be a plugin's name|has .* characters|is a keyword", refused)
        return
    names = Names(name)
    files = render(names, kind)
    if clash := clashing_class(names, files):
        assert clash.removesuffix("Config").removesuffix("Network") == names.class_name
        return
    for path, text in files.items():
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert "$" not in text
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert max(map(len, text.splitlines())) <= 120
        elif path.endswith(".toml"):
            tomllib.loads(text)
    assert names.class_name in {
        node.name for node in ast.parse(files[f"{names.module}.py"]).body if isinstance(node, ast.ClassDef)
    }


def test_a_plugin_that_is_installed_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"there is a pretext task 'rotation' already, of sslkit .*; take another name"
    ):
        new_plugin("rotation", "pretext-task", tmp_path / "x", registry=build_registry())
    with pytest.raises(UsageError, match="there is a module sslkit_rotation already"):
        new_plugin("rotation", "head", tmp_path / "x", registry=build_registry())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["a folder", "an empty folder", "a file", "a link to nothing"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    match there:
        case "a folder":
            place.mkdir()
            (place / "notes.txt").write_text("mine")
        case "an empty folder":
            place.mkdir()
        case "a file":
            place.write_text("mine")
        case _:
            place.symlink_to("nothing")
    before = files_of(tmp_path), list(tmp_path.iterdir())
    with pytest.raises(
        UsageError, match=f"{place} is there already, and nothing is overwritten; choose another by --output"
    ):
        new_plugin("blurred", "head", place, registry=NOTHING)
    assert (files_of(tmp_path), list(tmp_path.iterdir())) == before


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("missing/mine", "there is no folder .*missing to put 'mine' into; make it first"),
        ("file/mine", "there is no folder .*file to put 'mine' into"),
        ("a" * 256, "no folder can be at .*: a name has up to 255 bytes"),
        ("loop/mine", "no folder can be at .*: Symlink loop"),
    ],
)
def test_places_that_cannot_be_are_refused(output: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=message):
        new_plugin("blurred", "head", tmp_path / output, registry=NOTHING)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


@pytest.mark.parametrize("call", ["write_bytes", "rename"])
def test_a_folder_that_cannot_be_finished_is_not_begun(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, *_: object) -> None:
        assert list(tmp_path.iterdir())  # something was there
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, call, fail)
    with pytest.raises(StorageError, match=r"cannot write .*mine: No space left on device; free some space\."):
        new_plugin("blurred", "dataset", tmp_path / "mine", registry=NOTHING)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_begun_by_one_who_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Path, _: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        new_plugin("blurred", "head", tmp_path / "mine", registry=NOTHING)
    assert list(tmp_path.iterdir()) == []


def test_the_commands_lead_into_the_folder(tmp_path: Path) -> None:
    made = new_plugin("blurred", "dataset", tmp_path / "my plugin", registry=NOTHING)
    assert made.commands == (
        f"cd '{tmp_path}/my plugin'",
        "pip install --editable '.[test]'",
        "sslkit plugins check blurred --set path=samples",
        "pytest",
        "sslkit run try.toml",
    )
