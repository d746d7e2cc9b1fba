from __future__ import annotations

import pickle
import sys

import pytest

from sslkit.storage import StorageURL, is_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/train/", "s3://bucket/train"),
        ("S3://Bucket/Train", "s3://Bucket/Train"),
        ("gs://bucket", "gs://bucket"),
        ("memory://a b/c#d?e%20f/ü.png", "memory://a b/c#d?e%20f/ü.png"),
        ("s3://bucket/a//b", "s3://bucket/a//b"),
        ("s3://bucket/..a", "s3://bucket/..a"),
        ("sftp://host/scans", "sftp://host/scans"),
    ],
)
def test_a_url_stays_as_it_is(text: str, url: str) -> None:
    parsed = StorageURL.parse(text)
    assert parsed == url
    assert pickle.loads(pickle.dumps(parsed)) == parsed
    assert type(pickle.loads(pickle.dumps(parsed))) is StorageURL


def test_its_parts() -> None:
    url = StorageURL.parse("s3://bucket/a/b.csv")
    assert (url.scheme, url.name, url.parent, url.parent.parent) == ("s3", "b.csv", "s3://bucket/a", "s3://bucket")
    assert url.parent.parent.parent == "s3://bucket"
    assert url.parent / "c" == "s3://bucket/a/c"


@pytest.mark.parametrize("text", ["a.csv", "/a/b", "C:\\a", "C:/a", "c://a", "a:b", "://a", "", "1s3://a", "a/s3://b"])
def test_paths_are_no_urls(text: str) -> None:
    assert not is_url(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scans", "'scans' is no URL; accepted are such as 's3://bucket/folder'"),
        (
            "s33://bucket/a",
            r"unknown scheme 's33'; did you mean 's3.?'\? Accepted: abfs, file, gs, memory, s3, and what",
        ),
        ("memroy://a", r"unknown scheme 'memroy'; did you mean 'memory'\?"),
        ("qqqqqq://a", r"unknown scheme 'qqqqqq'\. Accepted: abfs"),
        ("https://host/a.csv", "https:// has no listing, .* download them, or give one of abfs, file"),
        ("s3://", "'s3://' names no bucket; accepted are such as 's3://bucket/folder'"),
        ("s3:///", "names no bucket"),
        ("s3://bucket/../other", r"has a part '\.' or '\.\.', which a store does not follow"),
        ("s3://bucket/./a", r"has a part '\.'"),
        ("simplecache::s3://bucket", "leads through several file systems; give the URL of the store alone"),
        ("s3://bucket/a?versionId=3", r"a control character or a '\?versionId='"),
        ("s3://bucket/a\0", "a control character"),
    ],
)
def test_what_is_no_url_of_a_store_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StorageURL.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIA:hushhush@bucket/a",
        "simplecache::s3://AKIA:hushhush@bucket/a",
        "zip://a.zip::ftp://ann:hushhush@host/a.zip",
        "s3://bucket/a?X-Amz-Signature=hushhush",
        "gs://bucket/a?x-goog-signature=hushhush",
        "abfs://box/a?sv=2024&sig=hushhush",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"the URL holds credentials, .*; give them in the environment") as caught:
        StorageURL.parse(text)
    assert "hushhush" not in str(caught.value)


def test_the_usual_stores_need_no_library_to_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert StorageURL.parse("s3://bucket/a") == "s3://bucket/a"
    with pytest.raises(ValueError, match="unknown scheme 'sftp'"):
        StorageURL.parse("sftp://host/a")
