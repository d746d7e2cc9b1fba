from __future__ import annotations

import threading
from pathlib import Path

import pytest
from filelock import FileLock, SoftFileLock, Timeout

from sslkit.checksums import seal
from sslkit.data.claims import claim, claimed, is_sealed, remove_abandoned
from sslkit.errors import StorageError


def fill(folder: Path, text: str = "whole") -> None:
    (folder / "file").write_text(text)
    seal(folder, ["file"])


def test_one_has_a_claim_until_it_is_released(tmp_path: Path) -> None:
    first = claim(tmp_path, "abc")
    assert first is not None
    assert first.is_sure
    assert first.folder == tmp_path / "images" / "ab" / "abc"
    assert claim(tmp_path, "abc") is None
    others = [claim(tmp_path, "abd"), claim(tmp_path, "abc", "sets")]
    assert all(other is not None for other in others)
    first.release()
    again = claim(tmp_path, "abc")
    assert again is not None
    for held in (again, *others):
        assert held is not None
        held.release()


def test_what_is_made_is_put_in_place_and_what_was_begun_before_is_removed(tmp_path: Path) -> None:
    held = claim(tmp_path, "abc")
    assert held is not None
    begun = held.scratch()
    scratch = held.scratch()
    assert not begun.exists()
    fill(scratch)
    held.put_in_place(scratch)
    held.release()
    assert is_sealed(held.folder)
    assert [path.name for path in held.folder.parent.iterdir()] == ["abc"]


@pytest.mark.parametrize(("there", "kept"), [("whole", "first"), ("damaged", "second")])
def test_what_is_whole_stays_and_what_is_damaged_gives_way(tmp_path: Path, there: str, kept: str) -> None:
    held = claim(tmp_path, "abc")
    assert held is not None
    held.folder.mkdir(parents=True)
    fill(held.folder, "first")
    if there == "damaged":
        (held.folder / "file").write_text("changed")
    scratch = held.scratch()
    fill(scratch, "second")
    held.put_in_place(scratch)
    held.release()
    assert (held.folder / "file").read_text() == kept
    assert not scratch.exists()


def test_who_waits_is_told_that_another_has_made_it(tmp_path: Path) -> None:
    held = claim(tmp_path, "abc")
    assert held is not None
    found: list[object] = []

    def wait() -> None:
        with claimed(tmp_path, "abc", lambda: is_sealed(held.folder)) as own:
            found.append(own)

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    scratch = held.scratch()
    fill(scratch)
    held.put_in_place(scratch)
    held.release()
    waiting.join(10)
    assert found == [None]
    with claimed(tmp_path, "abd", lambda: False) as own:
        assert own is not None
        assert claim(tmp_path, "abd") is None
    after = claim(tmp_path, "abd")
    assert after is not None
    after.release()


@pytest.mark.parametrize("how", ["held by another", "free", "earlier filelock"])
def test_where_there_are_no_locks_every_claim_is_granted_and_nothing_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    class Soft(FileLock):
        """As a FileLock becomes where the file system knows none."""

        def acquire(self, *arguments: object, **options: object) -> None:  # type: ignore[override]
            if how == "earlier filelock":
                raise NotImplementedError("FileSystem does not appear to support flock; use SoftFileLock instead")
            self.__class__ = SoftFileLock  # type: ignore[assignment]
            if how == "held by another":
                raise Timeout(self.lock_file)

    monkeypatch.setattr("sslkit.data.claims.FileLock", Soft)
    first, second = claim(tmp_path, "abc"), claim(tmp_path, "abc")
    assert first is not None
    assert second is not None
    assert not first.is_sure
    scratches = [first.scratch(), second.scratch()]
    remove_abandoned(tmp_path)
    assert all(scratch.is_dir() for scratch in scratches)
    for held, scratch in zip((first, second), scratches, strict=True):
        fill(scratch)
        held.put_in_place(scratch)
        held.release()
    assert [path.name for path in first.folder.parent.iterdir()] == ["abc"]


def test_what_is_abandoned_is_removed(tmp_path: Path) -> None:
    held = claim(tmp_path, "abc")
    other = claim(tmp_path, "def", "sets")
    assert held is not None
    assert other is not None
    scratches = [held.scratch(), other.scratch()]
    remove_abandoned(tmp_path)
    assert all(scratch.is_dir() for scratch in scratches)
    held.release()
    remove_abandoned(tmp_path)
    assert [scratch.is_dir() for scratch in scratches] == [False, True]
    other.release()
    remove_abandoned(tmp_path)
    assert not scratches[1].exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write .*locks/images/ab: .*; what should be its folder is a file"):
        claim(tmp_path, "abc")
    (tmp_path / "other" / "locks" / "images" / "ab" / "abc.lock").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot write .*abc\.lock: Is a directory"):
        claim(tmp_path / "other", "abc")
