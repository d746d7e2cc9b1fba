"""Bytes of objects, and what is told where a store does not give them."""

from __future__ import annotations

import errno
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from object_store import SECRET, ObjectStore, read_into

from sslkit.errors import DataError
from sslkit.files import MAX_BYTES
from sslkit.storage import StorageURL, StoredObject, access, open_object, read_all, read_object

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def url(text: str) -> StorageURL:
    return StorageURL.parse(text)


def test_an_object_is_read_with_and_without_its_size(memory: Any) -> None:
    memory.pipe("/box/a #?%20ü.png", b"content")
    place = "memory://box/a #?%20ü.png"
    assert read_object(StoredObject(place, 7), {}) == b"content"
    assert read_object(StoredObject(place), {}) == b"content"
    assert read_all(url(place), {}) == b"content"
    with open_object(url(place), {}) as file:
        file.seek(3)
        assert file.read() == b"tent"


@pytest.mark.parametrize("read", [read_all, lambda place, options: read_object(StoredObject(place, 3), options)])
def test_an_object_that_is_not_there_is_named(memory: Any, read: Callable[..., bytes]) -> None:
    with pytest.raises(DataError, match=r"there is no object memory://box/gone\.png"):
        read(url("memory://box/gone.png"), {})
    with (
        pytest.raises(DataError, match=r"there is no object memory://box/gone\.png"),
        open_object(url("memory://box/gone.png"), {}),
    ):
        pass


@pytest.mark.parametrize("content", [b"longer than listed", b"s"])
def test_an_object_that_has_changed_is_tried_again(memory: Any, content: bytes) -> None:
    memory.pipe("/box/a.png", content)
    with pytest.raises(OSError, match=r"memory://box/a\.png has changed since it was listed with 7 bytes; run again"):
        read_object(StoredObject("memory://box/a.png", 7), {})


def test_a_large_object_is_refused_before_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "file_system", lambda *_: pytest.fail("asked the store"))
    message = r"s3://box/a\.tif is too large: 1,073,741,825 bytes; accepted: up to 1,073,741,824\. Save it compressed"
    with pytest.raises(DataError, match=message):
        read_object(StoredObject("s3://box/a.tif", MAX_BYTES + 1), {})


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def _strip_protocol(self, place: str) -> str:
        return place

    def cat_file(self, *_: object, **__: object) -> bytes:
        raise self.error


class NoCredentialsError(Exception):
    """Named as botocore's."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError("Access Denied"),
            r"s3://b/a may not be read: PermissionError: Access Denied; credentials come",
        ),
        (OSError(errno.EBUSY, "SlowDown"), "s3://b/a cannot be read: OSError: SlowDown$"),
        (ConnectionResetError(104, "reset"), "s3://b/a cannot be read: ConnectionResetError: reset$"),
        (RuntimeError("what\na library raises"), "s3://b/a cannot be read: RuntimeError: what a library raises$"),
        (NoCredentialsError("none"), "NoCredentialsError: none; credentials come from the environment"),
        (TimeoutError(), "s3://b/a cannot be read: TimeoutError$"),
    ],
)
def test_what_may_pass_is_an_oserror(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    monkeypatch.setattr(access, "file_system", lambda *_: Failing(error))
    with pytest.raises(OSError, match=message):
        read_object(StoredObject("s3://b/a", 3), {})


def test_want_of_memory_is_no_fault_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "file_system", lambda *_: Failing(MemoryError()))
    with pytest.raises(MemoryError):
        read_object(StoredObject("s3://b/a", 3), {})


def test_no_secret_of_the_environment_is_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(access, "file_system", lambda *_: Failing(RuntimeError(f"signed by {SECRET}")))
    with pytest.raises(OSError, match=r"signed by \*\*\*$"):
        read_object(StoredObject("s3://b/a", 3), {})


@pytest.mark.parametrize(("scheme", "package"), [("s3", r"'sslkit\[storage\]'"), ("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, scheme: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DataError, match=rf"{scheme}:// needs another package: pip install {package}"):
        read_all(url(f"{scheme}://bucket/a"), {})


def test_options_that_do_not_fit_are_told_by_their_names() -> None:
    pytest.importorskip("s3fs")
    with pytest.raises(DataError, match=r"s3:// cannot be used: ValueError: max_concurrency.*given: max_concurrency$"):
        read_all(url("s3://bucket/a"), {"max_concurrency": 0})


def test_s3(object_store: ObjectStore, capfd: pytest.CaptureFixture[str]) -> None:
    object_store.put("access", {"a b#?%20ü.png": b"content", "empty.png": b""})
    place, options = "s3://access/a b#?%20ü.png", object_store.options
    assert read_all(url(place), options) == read_object(StoredObject(place, 7), options) == b"content"
    assert read_all(url("s3://access/empty.png"), options) == b""
    with pytest.raises(DataError, match=r"there is no object s3://access/gone\.png"):
        read_object(StoredObject("s3://access/gone.png", 3), options)
    with pytest.raises(DataError, match=r"there is no object s3://no-such-bucket/a"):
        read_object(StoredObject("s3://no-such-bucket/a", 3), options)
    assert capfd.readouterr().out == ""


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, object_store: ObjectStore) -> None:
    options = {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 0}}}
    with pytest.raises(OSError, match="s3://access/a cannot be read: EndpointConnectionError: Could not connect"):
        read_object(StoredObject("s3://access/a", 3), options)


def test_without_credentials(monkeypatch: pytest.MonkeyPatch, object_store: ObjectStore) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    options = {**object_store.options, "max_concurrency": 7}  # a file system that has no credentials yet
    with pytest.raises(OSError, match="credentials come from the environment"):
        read_object(StoredObject("s3://access/a", 3), options)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_process_started_by_one_that_has_read_reads_too(object_store: ObjectStore, method: str) -> None:
    object_store.put("processes", {"a.png": b"content"})
    place, options = url("s3://processes/a.png"), object_store.options
    assert read_all(place, options) == b"content"
    context: Any = get_context(method)
    queue = context.Queue()
    process = context.Process(target=read_into, args=(queue, str(place), options), daemon=True)
    process.start()
    try:
        assert queue.get(timeout=60) == b"content"
    finally:
        process.kill()
        process.join()


def test_what_is_pickled_holds_no_connection(object_store: ObjectStore, tmp_path: Path) -> None:
    from sslkit_image_folder import ImageFolder, ImageFolderConfig

    object_store.put("pickles", {f"{n}.png": b"x" for n in range(50)})
    options = {"path": "s3://pickles", "storage_options": object_store.options}
    data = ImageFolder(ImageFolderConfig.model_validate(options))
    records = data.records()
    assert data.read(records[0]) == b"x"
    sent = pickle.dumps(data)
    assert len(sent) < 2000
    assert SECRET.encode() not in sent
    assert pickle.loads(sent).read(records[-1]) == b"x"
