from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sslkit import checksums
from sslkit.checksums import SUMS, flaws, read_sums, require, seal, successor
from sslkit.errors import RunDirectoryError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "b").write_bytes(b"second")
    seal(tmp_path, ["a", "b"])
    return tmp_path


def replace_both(folder: Path) -> None:
    successor(folder / "a").write_bytes(b"other first")
    successor(folder / "b").write_bytes(b"other second")
    seal(folder, ["a", "b"])


def test_a_sealed_folder_has_no_flaw(folder: Path) -> None:
    assert flaws(folder) == flaws(folder, ["a"]) == []
    require(folder, "a", "b")
    assert sorted(path.name for path in folder.iterdir()) == [SUMS, "a", "b"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils are not installed")
def test_sha256sum_understands_it(folder: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "a: OK\nb: OK\n")


def test_what_is_wrong_is_named(folder: Path) -> None:
    (folder / "a").write_bytes(b"firsT")
    (folder / "b").unlink()
    assert flaws(folder) == ["a does not fit its checksum", "b is missing"]
    assert flaws(folder, ["c"]) == [f"c has no checksum in {SUMS}"]
    with pytest.raises(
        RunDirectoryError, match=r"a does not fit its checksum; b is missing\. It was changed or damaged"
    ):
        require(folder, "a", "b")
    (folder / SUMS).unlink()
    assert flaws(folder, ["a"]) == [f"{SUMS} is missing"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"nonsense", b"a\nb\n"])
def test_checksums_that_make_no_sense_vouch_for_nothing(folder: Path, content: bytes) -> None:
    (folder / SUMS).write_bytes(content)
    assert flaws(folder, ["a"]) == [f"a has no checksum in {SUMS}"]


def test_what_was_vouched_for_before_stays_so(folder: Path) -> None:
    (folder / "c").write_bytes(b"third")
    seal(folder, ["c"], without=["b"])
    assert list(read_sums(folder)) == ["a", "c"]
    assert not (folder / "b").exists()
    assert flaws(folder) == []


def test_successors_take_their_places(folder: Path) -> None:
    replace_both(folder)
    assert flaws(folder) == []
    assert [(folder / name).read_bytes() for name in "ab"] == [b"other first", b"other second"]
    assert sorted(path.name for path in folder.iterdir()) == [SUMS, "a", "b"]


@pytest.mark.parametrize("step", range(5))
def test_files_are_replaced_together_or_not_at_all_wherever_it_is_broken_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Every change of a name is made by os.replace: of the checksums first, then of each file."""
    steps = 0

    def replace(source: object, target: object) -> None:
        nonlocal steps
        if steps == step:
            raise KeyboardInterrupt
        steps += 1
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "replace", replace)
    if step < 3:
        with pytest.raises(KeyboardInterrupt):
            replace_both(folder)
    else:
        replace_both(folder)
    monkeypatch.undo()

    assert flaws(folder) == []

    new = step > 0
    expected = [b"other first", b"other second"] if new else [b"first", b"second"]
    assert [(folder / name).read_bytes() for name in "ab"] == expected


def test_a_file_is_read_once_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flaws(folder)
    monkeypatch.setattr(checksums.hashlib, "file_digest", None)
    assert flaws(folder) == []
    monkeypatch.undo()
    (folder / "a").write_bytes(b"longer than it was")
    assert flaws(folder) == ["a does not fit its checksum"]
