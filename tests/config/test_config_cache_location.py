from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.config import parse_config, to_toml
from sslkit.errors import ConfigError


def cache_of(given: str) -> Path | str | None:
    tables = {key: {"name": "x"} for key in ("dataset", "backbone", "pretext", "head")}
    config = parse_config({**tables, "images": {"cache": given}}, root="/study")
    written = config.model_dump(mode="json", exclude_none=True)
    assert f'cache = "{config.images.cache}"' in to_toml(written)
    assert parse_config(written, root="/another").images.cache == config.images.cache
    return config.images.cache


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("decoded", Path("/study/decoded")),
        ("/data/x", Path("/data/x")),
        ("s3:/x", Path("/study/s3:/x")),
        ("s3://bucket/x/", "s3://bucket/x"),
        ("s3://bucket", "s3://bucket"),
        ("memory://x", "memory://x"),
        ("file:///data/x", "file:///data/x"),
        ("abfs://container@account/x", "abfs://container@account/x"),
    ],
)
def test_a_folder_is_a_path_and_a_url_stays_a_text(given: str, meant: Path | str) -> None:
    found = cache_of(given)
    assert (found, type(found)) == (meant, type(meant))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("s3://", r"'s3://' names no folder; write it as in 's3://bucket/folder'"),
        ("s3:////", r"'s3:////' names no folder"),
        ("ftp://ann:word@host/x", r"the URL holds a password before its '@', which would be written into"),
        ("", r"a path is empty"),
    ],
)
def test_what_is_no_place_is_refused(given: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"^images\.cache: {problem}") as told:
        cache_of(given)
    assert "word@" not in str(told.value)
