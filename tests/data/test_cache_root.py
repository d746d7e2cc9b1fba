from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.data.cache_root import default_cache_root, local_root
from sslkit.errors import ConfigError


def test_where_caches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", "/tmp/given")
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/xdg")
    assert default_cache_root() == Path("/tmp/given")
    monkeypatch.setenv("SSLKIT_CACHE", "")
    assert default_cache_root() == Path("/tmp/xdg/sslkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_cache_root() == Path("/home/ann/.cache/sslkit")
    monkeypatch.delenv("SSLKIT_CACHE_LOCAL", raising=False)
    monkeypatch.setenv("SSLKIT_CACHE", "s3://bucket/cache/")
    assert default_cache_root() == "s3://bucket/cache"
    assert local_root("s3://bucket/cache") == Path("/home/ann/.cache/sslkit")
    monkeypatch.setenv("SSLKIT_CACHE_LOCAL", "/scratch/cache")
    assert local_root("s3://bucket/cache") == Path("/scratch/cache")
    assert local_root(Path("/data/cache")) == Path("/data/cache")


@pytest.mark.parametrize(
    ("given", "problem"), [("s3:///", "names no bucket"), ("ftp://ann:x@host/c", "holds credentials")]
)
def test_a_url_of_a_cache_that_is_none(monkeypatch: pytest.MonkeyPatch, given: str, problem: str) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", given)
    with pytest.raises(ConfigError, match=rf"^SSLKIT_CACHE: .*{problem}"):
        default_cache_root()
