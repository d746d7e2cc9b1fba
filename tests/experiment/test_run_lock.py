from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from studies import tiny_config

import sslkit
from sslkit.errors import RunDirectoryError, StorageError
from sslkit.experiment import run_directory
from sslkit.experiment.run_directory import RunDirectory, this_machine
from sslkit.experiment.run_lock import locked

HOLD = """
import sys
from pathlib import Path
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.run_lock import locked

with locked(RunDirectory(Path(sys.argv[1]))):
    print("locked", flush=True)
    sys.stdin.read()
"""


def hold(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_run_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with hold(root) as other:
        message = rf"run is in use by process {other.pid} on \S+ since 20\S+; wait until it has ended, or give another"
        with pytest.raises(RunDirectoryError, match=message):
            sslkit.run(tiny_config(), root)
        assert sorted(path.name for path in root.iterdir()) == [".lock", ".locked-by"]
        other.kill()


def test_a_crash_leaves_no_lock_behind(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with hold(directory.root) as other:
        other.kill()
        other.wait()
    assert (directory.root / ".lock").exists()

    with locked(directory):
        assert f"process {os.getpid()} " in (directory.root / ".locked-by").read_text()


def test_two_runs_of_one_process_are_two(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with locked(directory), pytest.raises(RunDirectoryError, match="is in use by process"), locked(directory):
        pass
    with locked(directory):
        pass


def test_folders_that_nothing_came_of_are_removed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    directory = RunDirectory(tmp_path / "there" / "new" / "run")
    with locked(directory):
        assert directory.root.is_dir()
    assert list((tmp_path / "there").iterdir()) == []


def test_a_run_that_began_keeps_its_folder(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with locked(directory):
        directory.config.touch()
    assert directory.config.exists()


@pytest.mark.parametrize("again", [False, True])
def test_a_directory_that_is_taken_away_or_replaced_is_noticed(tmp_path: Path, again: bool) -> None:
    directory = RunDirectory(tmp_path / "run")
    with locked(directory) as ours:
        ours.require()
        directory.config.touch()
        shutil.rmtree(directory.root)
        if again:
            directory.root.mkdir()
            (directory.root / ".lock").touch()
        with pytest.raises(StorageError, match=r"run was taken away or replaced while the run was under way"):
            ours.require()


class TestFromAnotherMachine:
    """Which numbers the devices of a network file system in its own way."""

    @pytest.fixture
    def _elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run_directory, "this_machine", lambda: "node-2")
        monkeypatch.setattr(run_directory, "identity", lambda path: (77, 7))

    @pytest.mark.usefixtures("_elsewhere")
    @pytest.mark.parametrize("again", [False, True])
    def test_the_directory_is_known_by_its_holder(self, tmp_path: Path, again: bool) -> None:
        directory = RunDirectory(tmp_path / "run")
        with locked(directory) as ours:
            assert ours.lock is not None
            there = replace(ours, lock=replace(ours.lock, machine="node-1"))
            there.require()
            directory.config.touch()
            shutil.rmtree(directory.root)
            if again:
                with locked(directory) as others:
                    others.require()
                    with pytest.raises(StorageError, match=r"was taken away or replaced while"):
                        there.require()
            with pytest.raises(StorageError, match=r"was taken away or replaced while"):
                there.require()

    def test_a_copy_is_another_directory_on_the_machine_itself(self, tmp_path: Path) -> None:
        directory = RunDirectory(tmp_path / "run")
        with locked(directory) as ours:
            directory.config.touch()
            directory.root.rename(tmp_path / "away")
            shutil.copytree(tmp_path / "away", directory.root)
            with pytest.raises(StorageError, match=r"was taken away or replaced while"):
                ours.require()

    def test_machines_of_one_name_are_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = this_machine()
        monkeypatch.setattr(Path, "read_text", lambda path, encoding: "another boot")
        assert this_machine() != one
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        assert this_machine() == "elsewhere another boot"


def test_a_run_whose_directory_another_has_by_now_leaves_it_alone(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with locked(directory):
        shutil.rmtree(directory.root)
        other = hold(directory.root)
    with other, pytest.raises(RunDirectoryError, match=rf"is in use by process {other.pid} "), locked(directory):
        pass


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_where_a_file_system_knows_no_locks_the_file_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    directory = RunDirectory(tmp_path / "run")
    message = re.escape(f"; if that runs no more, delete {directory.root / '.lock'}")
    with locked(directory), pytest.raises(RunDirectoryError, match=message), locked(directory):
        pass
    with locked(directory):
        pass
