from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from command_line import sslkit as command
from object_store import ObjectStore
from PIL import Image
from studies import tiny_tables

import sslkit
from sslkit.config import to_toml


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.toml"
    path.write_text(to_toml(tiny_tables()))
    return path


def test_the_images_are_decoded_once_and_found_by_what_comes_after(config: Path, tmp_path: Path) -> None:
    outcome = command("ingest", config)
    assert outcome.status == 0, outcome.err
    assert re.fullmatch(
        rf"{tmp_path}/cache: 48 images in 1 shard, 0\.1 MiB; 48 decoded now\n", outcome.out.replace("\n ", " ")
    )
    assert "Decoding images: 48 images" in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "study.toml"]

    again = json.loads(command("ingest", config, "--json").out)
    assert (again["images"], again["decoded"], again["shards"], again["unreadable"]) == (48, 0, 1, {})
    assert again["bytes"] == 48 * 32 * 32 * 3
    assert list(tmp_path.glob(f"cache/sets/*/{again['key']}"))


def test_another_folder_and_size_by_the_command_line(config: Path, tmp_path: Path) -> None:
    overrides = ("--set", "images.cache=elsewhere", "--set", "images.size=40")
    found = json.loads(command("ingest", config, *overrides, "--json").out)
    assert (found["place"], found["bytes"]) == (str(tmp_path / "elsewhere"), 48 * 40 * 40 * 3)
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (40, 40), (number, 60, 90)).save(folder / f"{number}.png")
    (folder / "bad\x1b.png").write_bytes(b"no image")
    return folder


def test_images_that_cannot_be_read_stop_it_as_they_would_a_run(config: Path, photographs: Path) -> None:
    images = {"size": 32, "crop": "none"}
    tables = tiny_tables(dataset={"name": "image-folder", "path": str(photographs)}, images=images)
    config.write_text(to_toml(tables))
    outcome = command("ingest", config)
    assert outcome.status == 2
    assert re.search(r"Error: 1 of 7 images cannot be read; mend or remove them, .*\n  bad\\x1b\.png: ", outcome.err)

    outcome = command("ingest", config, "--set", "images.on_unreadable=skip")
    assert outcome.status == 0, outcome.err
    first, last = outcome.out.splitlines()
    assert first.startswith(r"unreadable: bad\x1b.png: ")
    assert last.endswith("7 images in 1 shard, 0.0 MiB; 0 decoded now")


def test_the_library_does_the_same(config: Path) -> None:
    found = sslkit.ingest(config, overrides=["images.size=24"])
    assert (found.images, found.decoded, found.shards, found.unreadable) == (48, 48, 1, {})
    assert sslkit.ingest(config, overrides=["images.size=24"]).decoded == 0


def test_a_cache_at_a_url(
    config: Path, tmp_path: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", object_store.endpoint)
    monkeypatch.setenv("SSLKIT_CACHE_LOCAL", str(tmp_path / "local"))
    object_store.put("ingested", {})
    given = ("--set", "images.cache=s3://ingested/cache", "--json")
    found = json.loads(command("ingest", config, *given).out)
    assert (found["place"], found["decoded"]) == ("s3://ingested/cache", 48)
    assert not (tmp_path / "cache").exists()
    shutil.rmtree(tmp_path / "local")
    assert json.loads(command("ingest", config, *given).out) == {**found, "decoded": 0}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://", "images.cache: 's3://' names no bucket; accepted are such as 's3://bucket/folder'"),
        ("ftp://ann:word@host/x", "images.cache: the URL holds credentials, which a run would write down"),
        ("nonsense://b/x", "images.cache: unknown scheme 'nonsense'. Accepted: abfs, file, gs, memory, s3, and what"),
    ],
)
def test_a_url_that_is_refused(config: Path, url: str, message: str) -> None:
    outcome = command("ingest", config, "--set", f"images.cache={url}")
    assert outcome.status == 2
    assert message in outcome.err
    assert "word@" not in outcome.err


def test_a_store_that_cannot_be_used_is_one_message(
    config: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", object_store.endpoint)
    outcome = command("ingest", config, "--set", "images.cache=s3://nobodys-bucket/x")
    assert outcome.status == 1
    assert "Error: s3://nobodys-bucket/x cannot be written to: " in outcome.err
    assert "Traceback" not in outcome.err
