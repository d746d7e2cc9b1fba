"""Paths in a configuration lead where the manual says, wherever the command is called from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from command_line import sslkit as command
from studies import tiny_tables

import sslkit
from sslkit.config import RunConfig, to_toml
from sslkit.experiment.study import resolve

OPTIONS: dict[tuple[str, str, str], dict[str, Any]] = {
    ("dataset", "csv", "table"): {},
    ("dataset", "csv", "images"): {"table": "labels.csv"},
    ("dataset", "dicom", "path"): {},
    ("dataset", "dicom", "labels"): {"path": "."},
    ("dataset", "image-folder", "path"): {},
    ("dataset", "npz", "path"): {},
    ("backbone", "densenet121", "weights"): {},
    ("backbone", "timm", "weights"): {"model": "test_resnet"},
}
"""Each option of a reference plugin that is a path, with what else its plugin requires."""


def names_of_paths(model: Any) -> set[str]:
    return {name for name, field in model.model_fields.items() if "pathlib.Path" in repr(field.annotation)}


def test_every_path_of_the_configuration_is_tried_here() -> None:
    plugins = {
        (plugin.kind, plugin.name, name)
        for plugin in sslkit.build_registry().plugins
        if plugin.distribution == "sslkit"
        for name in names_of_paths(plugin.cls.Config)
    }
    tables = {
        (table, name)
        for table, field in RunConfig.model_fields.items()
        if hasattr(field.annotation, "model_fields")
        for name in names_of_paths(field.annotation)
    }
    assert plugins == OPTIONS.keys() | {("executor", "slurm", "folder")}
    assert tables == {("images", "cache")}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study's TOML file; the command is called from another one."""
    for name in ("study", "elsewhere", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "study"


def written(folder: Path, option: tuple[str, str, str], value: str | None) -> Path:
    table, plugin, name = option
    given = {} if value is None else {name: value}
    path = folder / "study.toml"
    path.write_text(to_toml(tiny_tables(**{table: {"name": plugin, **OPTIONS[option], **given}})))
    return path


def meant_by(path: Path, option: tuple[str, str, str], *overrides: str) -> Path:
    """Return where an option leads, as the command tells it when the run directory belongs to another run."""
    Path("other").mkdir()
    Path("other", "config.toml").write_text("")
    outcome = command("run", path, "--output", "other", *overrides)
    assert outcome.status == 2
    (line,) = (line for line in outcome.err.splitlines() if line.startswith(f"  {option[0]}.{option[2]}: "))
    told = re.fullmatch(r".*: None there, '(.*)' here", line)
    assert told is not None
    return Path(told[1])


@pytest.mark.parametrize("option", OPTIONS, ids=".".join)
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("there/it", "study/there/it"),
        ("./it", "study/it"),
        (".", "study"),
        ("../it", "it"),
        ("there/../it", "study/it"),
        ("~/it", "home/it"),
        ("{root}/it", "it"),
        ("$HOME/it", "study/$HOME/it"),
    ],
)
@pytest.mark.parametrize("where", ["file", "set"])
def test_a_relative_path_is_relative_to_the_file(
    study: Path, option: tuple[str, str, str], given: str, meant: str, where: str
) -> None:
    given = given.format(root=study.parent)
    overrides = [] if where == "file" else ["--set", f"{option[0]}.{option[2]}={given}"]
    path = written(study, option, given if where == "file" else None)
    assert meant_by(Path("..", "study", path.name), option, *overrides) == study.parent / meant


@pytest.mark.parametrize("option", OPTIONS, ids=".".join)
def test_of_a_link_to_a_file_it_is_the_links_own_folder(study: Path, option: tuple[str, str, str]) -> None:
    links = study.parent / "links"
    links.mkdir()
    (links / "study.toml").symlink_to(written(study, option, "there/it"))
    assert meant_by(Path("../links/study.toml"), option) == links / "there" / "it"


def test_so_is_the_folder_of_an_executor(study: Path) -> None:
    path = study / "study.toml"
    path.write_text(to_toml(tiny_tables(compute={"executor": "slurm"}, executor={"folder": "there/it"})))
    resolved = resolve(sslkit.load_config(path), sslkit.build_registry()).resolved()
    assert resolved["executor"]["folder"] == str(study / "there" / "it")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["file", "set"])
def test_decoded_images_go_where_the_file_says(study: Path, where: str) -> None:
    path = study / "study.toml"
    path.write_text(to_toml(tiny_tables(images={"cache": "decoded"} if where == "file" else {})))
    overrides = [] if where == "file" else ["--set", "images.cache=decoded"]

    outcome = command("doctor", path, *overrides)

    assert outcome.status == 0, outcome.err
    assert list((study / "decoded").rglob("images.npy"))
    assert list(Path.cwd().iterdir()) == []


def test_the_run_directory_is_relative_to_where_the_command_is_called(study: Path) -> None:
    path = study / "study.toml"
    path.write_text(to_toml(tiny_tables()))
    assert re.search("^output +runs/tiny *$", command("run", path, "--dry-run").out, re.MULTILINE)


@pytest.mark.parametrize("option", OPTIONS, ids=".".join)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", r": a path is empty; leave the key out, or write '\.' for the folder of the TOML file"),
        ("a" * 256, r": 'a{79} \.\.\. a{39}' leads nowhere: a name has up to 255 bytes, a path fewer than 4096"),
        ("a/" * 2048, r": 'a/a/.* leads nowhere: a name has up to 255 bytes, a path fewer than 4096"),
        ("\0", r": '\\x00' leads nowhere: embedded null byte"),
        ("~nobody-here/a", r": '~nobody-here/a' leads nowhere: Could not determine home directory\."),
    ],
    ids=["empty", "a long name", "a long path", "a null byte", "nobody's home"],
)
def test_a_path_that_no_file_can_have(study: Path, option: tuple[str, str, str], given: str, message: str) -> None:
    outcome = command("config", "check", written(study, option, given))

    assert outcome.status == 2
    assert re.fullmatch(rf"Error: {option[0]}\.{option[2]}{message}\n", outcome.err)
