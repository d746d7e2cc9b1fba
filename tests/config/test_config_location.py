"""Options that lead to files or into a store, and what is given to the store's library."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sslkit.config import Location, PluginConfig, StorageOptions, parse_config, to_toml
from sslkit.config.loading import validate
from sslkit.errors import ConfigError
from sslkit.storage import StorageURL


class Places(PluginConfig):
    table: Location = Path("labels.csv")
    images: Location | None = None
    several: tuple[Location, ...] = ()
    storage_options: StorageOptions | None = None


def places(root: Path, **values: Any) -> Places:
    return validate(Places, values, root=root, key="dataset")


def test_a_path_is_resolved_and_a_url_stays(tmp_path: Path) -> None:
    found = places(tmp_path, table="a/../b.csv", images="s3://bucket/images/", several=["c", "gs://d", "C:/e"])
    root = tmp_path.resolve()
    assert found.table == root / "b.csv"
    assert found.images == "s3://bucket/images"
    assert isinstance(found.images, StorageURL)
    assert found.several == (root / "c", "gs://d", root / "C:/e")


def test_the_url_of_a_file_is_a_path(tmp_path: Path) -> None:
    assert places(tmp_path, table="file:///data/a b%20.csv").table == Path("/data/a b%20.csv")
    with pytest.raises(
        ConfigError, match=r"dataset\.table: 'file://scans' is no file; .* three slashes, such as 'file:"
    ):
        places(tmp_path, table="file://scans")


@pytest.mark.parametrize("value", ["/data/a.csv", "s3://bucket/a b%20#?.csv"])
def test_what_is_written_is_read_again(tmp_path: Path, value: str) -> None:
    options = {"endpoint_url": "http://minio:9000", "anon": True, "client_kwargs": {"region_name": "eu-west-1"}}
    first = places(tmp_path, table=value, storage_options=options)
    written = first.model_dump(mode="json", exclude_none=True)
    assert written["table"] == value
    assert places(Path("/elsewhere"), **tomllib.loads(to_toml(written))) == first
    assert first.storage_options == options


def test_the_schema_says_text() -> None:
    schema = json.loads(json.dumps(Places.model_json_schema()))["properties"]
    assert {key: schema["table"][key] for key in ("type", "format", "minLength")} == {
        "type": "string",
        "format": "path-or-url",
        "minLength": 1,
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", r"dataset\.table: a path is empty; leave the key out"),
        (3, r"dataset\.table: input should be a valid string; given: 3\.$"),
        ("s33://a", r"dataset\.table: unknown scheme 's33'; did you mean 's3"),
        ("s3://a/../b", r"dataset\.table: 's3://a/\.\./b' has a part"),
        ("~nobody-here/a", r"dataset\.table: '~nobody-here/a' leads nowhere"),
    ],
)
def test_what_leads_nowhere_is_told_in_one_line(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        places(tmp_path, table=value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        *({name: "hushhush"} for name in ("key", "secret", "password", "token", "username", "sas_token")),
        *({name: "hushhush"} for name in ("aws_secret_access_key", "account_key", "connection_string", "ApiKey")),
        {"client_kwargs": {"aws_access_key_id": "hushhush"}},
        {"endpoint_url": "http://user:hushhush@minio:9000"},
        {"endpoint_url": "http://user:hush@hush@minio:9000"},
        {"config_kwargs": {"proxies": {"https": "http://hushhush@proxy"}}},
        {"token": "hushhush"},
    ],
    ids=str,
)
def test_secrets_are_refused_and_not_repeated(tmp_path: Path, options: dict[str, Any]) -> None:
    message = (
        r"dataset\.storage_options: '\w+' may hold a secret, which the run would write into its config\.toml; leave"
    )
    with pytest.raises(ConfigError, match=message) as caught:
        places(tmp_path, storage_options=options)
    assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"token": "anon"}, {"anon": True, "requester_pays": True}, {"project": "p", "endpoint_url": "http://a:90"}, {}],
)
def test_other_options_are_taken(tmp_path: Path, options: dict[str, Any]) -> None:
    assert places(tmp_path, storage_options=options).storage_options == options


def test_python_may_give_them_as_they_are() -> None:
    url = StorageURL.parse("s3://bucket/a.csv")
    assert Places(table=url).table is url
    assert Places(table="s3://bucket/a.csv").table == url  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="table"):
        Places(table=b"s3://bucket")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "meant"),
    [("decoded", "/study/decoded"), ("s3:/x", "/study/s3:/x"), ("s3://bucket/x/", "s3://bucket/x")],
)
def test_decoded_images_are_in_a_folder_or_at_a_url(given: str, meant: str) -> None:
    tables = {key: {"name": "x"} for key in ("dataset", "backbone", "pretext", "head")}
    config = parse_config({**tables, "images": {"cache": given}}, root="/study")
    written = config.model_dump(mode="json", exclude_none=True)
    assert f'cache = "{meant}"' in to_toml(written)
    assert parse_config(written, root="/another").images.cache == config.images.cache


def test_the_url_of_decoded_images_holds_no_password() -> None:
    tables = {key: {"name": "x"} for key in ("dataset", "backbone", "pretext", "head")}
    with pytest.raises(
        ConfigError, match=r"^images\.cache: the URL holds credentials, which a run would write"
    ) as told:
        parse_config({**tables, "images": {"cache": "ftp://ann:word@host/x"}})
    assert "word@" not in str(told.value)
