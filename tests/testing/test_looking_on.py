"""What the kit learns by looking on: which files are opened, and how much memory is taken."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from sslkit.testing.memory import peak_memory
from sslkit.testing.openings import files_opened


def test_files_are_noticed_within_the_block_alone_in_whatever_thread(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    with files_opened() as outer:
        (tmp_path / "a").read_bytes()
        with files_opened() as inner:
            thread = threading.Thread(target=(tmp_path / "b").read_bytes)
            thread.start()
            thread.join()
    (tmp_path / "c").read_bytes()

    assert {path for path in outer if Path(path).parent == tmp_path} == {str(tmp_path / "a"), str(tmp_path / "b")}
    assert {path for path in inner if Path(path).parent == tmp_path} == {str(tmp_path / "b")}


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with files_opened() as opened:
        (tmp_path / "link").read_bytes()

    assert str(tmp_path / "file") in opened


def test_memory_is_measured_at_its_peak() -> None:
    assert 8e6 <= peak_memory(lambda: np.zeros(10**6).sum()) < 9e6
    assert peak_memory(lambda: None) < 1e4
