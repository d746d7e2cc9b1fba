"""Images below a URL: their classes are the first folders, as on a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore

from sslkit.config.loading import validate
from sslkit.errors import ConfigError, DataError
from sslkit_image_folder import ImageFolder, ImageFolderConfig

NAMES = [
    *("18_left.jpeg", "Mild/17_left.png", "Mild/left/deep/24.TIFF", "No DR/#?%20ü '\".jpg", "No_DR/17.png"),
    *(
        "[a-z]*/x.png",
        "..b/c.png",
        ".hidden.png",
        ".git/objects/a.png",
        "Mild/.thumbs/a.png",
        "notes.txt",
        "Mild/a.png/",
    ),
]


def dataset(path: str, **options: Any) -> ImageFolder:
    return ImageFolder(validate(ImageFolderConfig, {"path": path, **options}, root=Path("/"), key="dataset"))


def test_it_lists_what_it_would_on_a_disk(object_store: ObjectStore, tmp_path: Path) -> None:
    object_store.put("folder", {f"train/{name}": name.encode() for name in NAMES})
    object_store.put("folder", {"train-private/x.png": b"", "y.png": b""})
    for name in NAMES[:-1]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    local = dataset(str(tmp_path), group_pattern=r"^(.)")
    remote = dataset("s3://folder/train/", group_pattern=r"^(.)", storage_options=object_store.options)
    found, wanted = remote.records(), local.records()
    assert [(r.id, r.label, r.group) for r in found] == [(r.id, r.label, r.group) for r in wanted]
    assert [r.id for r in found] == sorted(NAMES[:6])
    assert [remote.read(record) for record in found] == [local.read(record) for record in wanted]
    assert len({remote.fingerprint(record) for record in found}) == len(found)


def test_a_whole_bucket(object_store: ObjectStore) -> None:
    object_store.put("whole", {"a/1.png": b"", "2.png": b""})
    records = dataset("s3://whole", storage_options=object_store.options).records()
    assert [(record.id, record.label) for record in records] == [("2.png", None), ("a/1.png", "a")]


@pytest.mark.parametrize("path", ["s3://folder/train/none", "s3://there-is-no-such-bucket", "s3://folder/notes"])
def test_no_image_is_told(object_store: ObjectStore, path: str) -> None:
    object_store.put("folder", {"notes/notes.txt": b""})
    with pytest.raises(DataError, match=f"no image in {path} or in any folder below it; looked for .bmp"):
        dataset(path, storage_options=object_store.options).records()


def test_options_without_effect_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"storage_options are for a URL, and path is none; leave them out"):
        dataset("scans", storage_options={"anon": True})
    with pytest.raises(ConfigError, match=r"dataset\.path: unknown scheme 's33'"):
        dataset("s33://a")
