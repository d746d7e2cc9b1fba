from __future__ import annotations

import csv
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslkit.errors import StorageError
from sslkit.files import (
    MAX_BYTES,
    make_scratch,
    open_file,
    read_file,
    remove_parts,
    write_atomically,
    write_csv,
    write_json,
    write_json_lines,
    write_text,
)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_who_may_read_a_file_is_the_users_own_affair(tmp_path: Path, mask: int, mode: int) -> None:
    path, before = tmp_path / "c.bin", os.umask(mask)
    try:
        write_atomically(path, lambda file: file.write(b"\x00\xff"))
    finally:
        os.umask(before)
    assert path.read_bytes() == b"\x00\xff"
    assert path.stat().st_mode & 0o777 == mode
    assert [entry.name for entry in path.parent.iterdir()] == ["c.bin"]


def test_its_folder_is_not_made(tmp_path: Path) -> None:
    message = r"cannot write .*c\.bin: No such file or directory; its folder is not there; was it taken away\?"
    with pytest.raises(StorageError, match=message):
        write_text(tmp_path / "a" / "c.bin", "text")
    assert list(tmp_path.iterdir()) == []


def test_what_was_begun_is_removed_and_nothing_else(tmp_path: Path) -> None:
    scratch = make_scratch(tmp_path / "a" / "cell")
    (scratch / "result.json").touch()
    (tmp_path / "a" / ".result.json-x1.part").touch()
    kept = [tmp_path / "a" / name for name in ("mine.part", ".hidden", "result.json")]
    for path in kept:
        path.touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a" / ".link.part").symlink_to(tmp_path / "elsewhere")
    remove_parts(tmp_path)
    assert sorted((tmp_path / "a").iterdir()) == sorted(kept)
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "result.json"
    write_text(path, "old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(error):
        write_atomically(path, fail)
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_the_file_is_not_there_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    seen = []

    def write(file: BinaryIO) -> None:
        file.write(b"whole")
        file.flush()
        seen.append(path.exists())

    write_atomically(path, write)
    assert seen == [False]
    assert path.read_text() == "whole"


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*taken: Is a directory; make it writable. Then"):
        write_text(tmp_path / "taken", "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_json_keeps_the_order_of_keys_and_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"z": 1, "a": [0.1, None, True], "Gefäß": "é"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.index('"z"') < text.index('"a"') < text.index('"Gefäß": "é"')
    assert text.endswith("}\n")
    assert json.loads(text) == {"z": 1, "a": [0.1, None, True], "Gefäß": "é"}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_that_other_programs_refuse_is_not_written(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": number})
    assert list(tmp_path.iterdir()) == []


def test_lines_of_json_read_back_and_are_json(tmp_path: Path) -> None:
    lines = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": None}]
    write_json_lines(tmp_path / "a.jsonl", lines)
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == lines
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_lines(tmp_path / "a.jsonl", [{"loss": float("nan")}])


def test_a_table(tmp_path: Path) -> None:
    rows = [{"id": 'a,"b"', "qwk": 0.1 + 0.2, "n": 3}, {"id": "c", "qwk": None}]
    write_csv(tmp_path / "a.csv", ["id", "qwk", "n"], rows)
    assert (tmp_path / "a.csv").read_bytes() == b'id,qwk,n\n"a,""b""",0.30000000000000004,3\nc,,\n'


def test_a_table_without_rows_has_a_header(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["id", "qwk"], [])
    assert (tmp_path / "a.csv").read_text() == "id,qwk\n"


def test_a_column_that_the_table_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fields not in fieldnames: 'qkw'"):
        write_csv(tmp_path / "a.csv", ["id", "qwk"], [{"id": "a", "qkw": 1}])
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), st.floats(allow_nan=False)))
)
def test_a_table_reads_back(tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, float]]) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.csv"
    write_csv(path, ["text", "number"], [{"text": text, "number": number} for text, number in values])
    with path.open(encoding="utf-8", newline="") as file:
        assert [(row["text"], float(row["number"])) for row in csv.DictReader(file)] == values


def test_what_is_no_text_is_written_as_json_escapes_it(tmp_path: Path) -> None:
    name = os.fsdecode(b"eye\xe9.png")
    write_json(tmp_path / "a.json", {"image": name})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"image": name}
    write_csv(tmp_path / "a.csv", ["image"], [{"image": name}])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "image\neye\\udce9.png\n"


@pytest.fixture
def _alarm() -> Iterator[None]:
    """Turn what would hang into an error."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def no_file(kind: str, folder: Path) -> Path:
    path = folder / "x.png"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(path))
    else:
        if not os.path.exists("/dev/zero"):
            pytest.skip("there is no /dev/zero")
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("kind", ["a folder", "a named pipe", "a socket", "a device"])
@pytest.mark.parametrize("read", [read_file, open_file])
def test_what_is_no_file_is_refused_at_once(
    read: object, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = no_file(kind, tmp_path)
    for place in (path, link_to(path)):
        with pytest.raises(OSError, match=f"not a file but {kind}: '.*x.png'$"):
            read(place)  # type: ignore[operator]


def link_to(path: Path) -> Path:
    link = path.with_name("link-to-x.png")
    link.symlink_to(path)
    return link


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("kind", ["a folder", "a named pipe", "a device"])
def test_what_takes_a_files_place_is_refused_once_open(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    status = (tmp_path / "file").stat()
    path = no_file(kind, tmp_path)
    num_open = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda *arguments, **options: status)
        with pytest.raises(OSError, match=f"not a file but {kind}|Is a directory"):
            read_file(path)
    assert len(os.listdir("/dev/fd")) == num_open


def test_a_file_is_read_whole_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x00\xff")
    assert read_file(path) == b"\x00\xff"
    with open_file(path) as file:
        assert file.read(1) == b"\x00"
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(
        OSError, match=r"too large: 1,073,741,825 bytes; accepted: up to 1,073,741,824\. Save it .*: '.*x'$"
    ):
        read_file(path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none")
