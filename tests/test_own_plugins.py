"""Plugin classes of the calling program, which no distribution announces."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from studies import tiny_config

import sslkit
from sslkit import Dataset, PluginConfig, build_registry
from sslkit.errors import PluginError, UsageError
from sslkit.registry import adopt

TASK = '''
from sslkit import PluginConfig
from sslkit_rotation import Rotation, RotationConfig


class TurnedConfig(RotationConfig):
    pass


class Turned(Rotation):
    """A rotation of my own."""

    name = "turned"
    Config = TurnedConfig
'''


@pytest.fixture
def turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module with a pretext task."""
    (tmp_path / "my_turned_task.py").write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)
    import my_turned_task

    yield my_turned_task
    del sys.modules["my_turned_task"]


def test_a_registry_with_one_more(turned: ModuleType) -> None:
    found = build_registry(extra=[turned.Turned]).find("pretext-task", "turned")
    assert found.cls is turned.Turned
    assert found.distribution == "the module my_turned_task"
    assert found.summary == "A rotation of my own."
    assert "turned" not in build_registry().names("pretext-task")


def test_its_version_is_that_of_its_source(turned: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = adopt(turned.Turned).version
    assert re.fullmatch("[0-9a-f]{12}", before)
    sources = {turned.Turned: "class Turned: changed", turned.TurnedConfig: "class TurnedConfig: ..."}
    monkeypatch.setattr("inspect.getsource", lambda cls: sources[cls])
    assert adopt(turned.Turned).version != before

    def lost(cls: type) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", lost)
    assert adopt(turned.Turned).version == ""


def test_a_run_with_one_more(turned: ModuleType, tmp_path: Path) -> None:
    changes = {"evaluation": {"label_fractions": [1.0], "arms": ["pretrained"]}, "pretraining": {"epochs": 1}}
    config = tiny_config(pretext={"name": "turned"}, **changes)
    with pytest.raises(PluginError, match="unknown pretext task 'turned'"):
        sslkit.plan(config, tmp_path / "run")
    assert sslkit.plan(config, tmp_path / "run", plugins=[turned.Turned]).num_pretrainings == 2
    result = sslkit.run(config, tmp_path / "run", plugins=[turned.Turned])
    assert result.summary.column("pretext") == ["turned"]
    assert (tmp_path / "run" / "pretraining" / "turned" / "0" / "backbone.safetensors").is_file()


def test_registry_and_plugins_are_not_given_both(turned: ModuleType) -> None:
    with pytest.raises(UsageError, match=re.escape("give either a registry or plugins; build_registry(extra=[...])")):
        sslkit.plan(tiny_config(), registry=build_registry(), plugins=[turned.Turned])


def test_a_name_that_is_taken(turned: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turned.Turned, "name", "rotation")
    message = "the pretext task 'rotation' of the module my_turned_task has the name of one of sslkit"
    with pytest.raises(PluginError, match=message):
        build_registry(extra=[turned.Turned])


def test_what_is_no_plugin_class(turned: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        PluginError, match=r"<class 'int'> is no plugin class; it has to be a subclass of one of sslkit.P"
    ):
        adopt(int)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="3 is no plugin class"):
        adopt(3)  # type: ignore[arg-type]
    monkeypatch.setattr(turned.Turned, "name", "")
    with pytest.raises(PluginError, match="the pretext task Turned cannot be used: Turned has no name"):
        adopt(turned.Turned)


def test_a_class_that_other_processes_cannot_find() -> None:
    class MyImages(Dataset[PluginConfig]):
        name = "my-images"
        api_version = 1
        Config = PluginConfig

        def records(self):  # type: ignore[no-untyped-def]
            return []

    message = (
        "the dataset 'my-images' cannot be used: the processes that carry out the jobs cannot import "
        "test_a_class_that_other_processes_cannot_find.<locals>.MyImages, since it is not what its module knows by "
        "that name. Write it into a file of its own, my_images.py say, and import it from there: from my_images import "
        "MyImages"
    )
    with pytest.raises(PluginError, match=re.escape(message)):
        adopt(MyImages)


PROGRAM = (
    TASK
    + """
import sslkit
from studies import tiny_config

if __name__ == "__main__":
    evaluation = {"label_fractions": [1.0], "arms": ["pretrained"]}
    config = tiny_config(pretext={"name": "turned"}, pretraining={"epochs": 1}, evaluation=evaluation)
    print(sslkit.run(config, "run", plugins=[Turned]).summary.select("pretext", "n"))
"""
)


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]  # of the module studies
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment)


def test_a_script_may_hold_its_own(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(PROGRAM)
    done = python("study.py", cwd=tmp_path)
    assert done.stdout == "pretext  n\nturned   2\n", done.stderr


def test_at_a_prompt_it_is_said_what_to_do(tmp_path: Path) -> None:
    done = python("-c", PROGRAM, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "sslkit.errors.PluginError: the pretext task 'turned' cannot be used: the processes that carry out the jobs "
        "cannot import Turned, since it is defined in a notebook or at a prompt, and in no file. Write it into a file "
        "of its own, turned.py say, and import it from there: from turned import Turned"
    )
