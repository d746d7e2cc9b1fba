"""A table and its images in a store, or one of the two."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore, parquet, photographs

from sslkit import Record
from sslkit.config.loading import validate
from sslkit.errors import ConfigError, DataError
from sslkit_csv import EXTENSIONS, Csv, CsvConfig

IMAGES = {"a.png": b"a", "b.png": b"b", "c.JPG": b"c", "right eye/d #?%20ü.png": b"d"}


@pytest.fixture
def bucket(object_store: ObjectStore, request: pytest.FixtureRequest) -> str:
    name = f"csv-{abs(hash(request.node.name))}"
    object_store.put(name, {f"images/{key}": content for key, content in IMAGES.items()})
    return name


def dataset(store: ObjectStore, **options: Any) -> Csv:
    return Csv(validate(CsvConfig, {**options, "storage_options": store.options}, root=Path("/"), key="dataset"))


def remote(store: ObjectStore, bucket: str, text: str, **options: Any) -> Csv:
    store.put(bucket, {"images/labels.csv": text.encode()})
    return dataset(store, table=f"s3://{bucket}/images/labels.csv", **options)


def test_images_are_beside_the_table(object_store: ObjectStore, bucket: str) -> None:
    data = remote(object_store, bucket, "image,label,p\na.png,2,x\nright eye\\d #?%20ü.png,,\n", group_column="p")
    first, second = data.records()
    assert (first.id, first.label, first.group, first.path) == ("a.png", "2", "x", None)
    assert (second.id, second.label, second.group) == ("right eye/d #?%20ü.png", None, None)
    assert first.source == "labels.csv, line 2"
    assert [data.read(record) for record in (first, second)] == [b"a", b"d"]
    assert data.fingerprint(first) != data.fingerprint(second)
    assert data.unlisted(data.records()) == ["b.png", "c.JPG"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_local_table_of_images_in_a_store(
    object_store: ObjectStore, bucket: str, tmp_path: Path, ending: str
) -> None:
    names, labels = [f"s3://{bucket}/images/a.png", "./b.png", "c"], [3, None, 1]
    table = tmp_path / f"labels.{ending}"
    if ending == "csv":
        table.write_text(
            "image,label\n" + "".join(f"{n},{'' if v is None else v}\n" for n, v in zip(names, labels, strict=True))
        )
    else:
        table.write_bytes(parquet(image=names, label=labels))
    records = dataset(object_store, table=str(table), images=f"s3://{bucket}/images/").records()
    assert [(record.id, record.label) for record in records] == [("a.png", "3"), ("b.png", None), ("c", "1")]
    assert [record.stored.url for record in records if record.stored] == [
        f"s3://{bucket}/images/{name}" for name in ("a.png", "b.png", "c.JPG")
    ]


def test_a_table_in_a_store_of_local_images(object_store: ObjectStore, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"local")
    data = remote(object_store, bucket, "image,label\na.png,1\n", images=str(tmp_path))
    assert data.records() == [Record("a.png", tmp_path / "a.png", "1")]
    assert data.read(data.records()[0]) == b"local"


def test_a_parquet_table_names_its_rows(object_store: ObjectStore, bucket: str) -> None:
    table = parquet(image=["a.png", "./a.png"], label=[1, 2])
    object_store.put(bucket, {"images/labels.parquet": table})
    data = dataset(object_store, table=f"s3://{bucket}/images/labels.parquet")
    message = (
        r"labels\.parquet, row 2: the image 'a\.png' stands in row 1 already, with the label '1' there and '2' here"
    )
    with pytest.raises(DataError, match=message):
        data.records()
    object_store.put(bucket, {"images/labels.parquet": parquet(image=["a.png"], label=[1])})
    assert data.records()[0].source == "labels.parquet, row 1"


@pytest.mark.parametrize(
    "name",
    [
        *("../a.png", "images/../../a.png", "..", ".", "/a.png", "s3://{bucket}/a.png", "s3://other/images/a.png"),
        *("s3://{bucket}/images/../a.png", "gs://{bucket}/images/a.png", "s3://{bucket}/images-private/a.png"),
        *("file:///etc/passwd", "memory://a.png", "s3://{bucket}/images/"),
    ],
)
def test_a_name_that_leads_out_of_the_images_folder_is_refused(
    object_store: ObjectStore, bucket: str, name: str
) -> None:
    object_store.put(bucket, {"a.png": b"secret", "images-private/a.png": b"secret"})
    data = remote(object_store, bucket, f"image,label\n{name.format(bucket=bucket)},1\n")
    with pytest.raises(DataError, match=r"labels\.csv, line 2: .* leaves the images folder s3://csv-\d+/images; set"):
        data.records()


@pytest.mark.parametrize("name", ["s3://bucket/a.png", "https://host/a.png", "file:///etc/passwd"])
def test_a_url_in_a_table_of_local_images_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "labels.csv").write_text(f"image,label\n{name},1\n")
    with pytest.raises(DataError, match=r"leaves the images folder /.*; set images to a folder .*, or to its URL"):
        Csv(CsvConfig(table=tmp_path / "labels.csv")).records()


def test_missing_and_ambiguous_images_are_told(object_store: ObjectStore, bucket: str) -> None:
    with pytest.raises(
        DataError, match=r"2 of the 3 images in s3://.*: 'x\.png' \(line 3\), 'gone/y' \(line 4\); look"
    ):
        remote(object_store, bucket, "image,label\na.png,1\nx.png,2\ngone/y,0\n").records()
    object_store.put(bucket, {"images/a.tif": b"", "images/a.tif/b.png": b""})
    with pytest.raises(DataError, match=r"line 2: 'a' may be any of a\.png, a\.tif; set extension"):
        remote(object_store, bucket, "image,label\na,1\n").records()
    assert remote(object_store, bucket, "image,label\na,1\n", extension="png").records()[0].stored is not None


def test_nothing_is_asked_an_image(object_store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    calls: list[str] = []
    call = S3FileSystem._call_s3

    async def counted(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        calls.append(method)
        return await call(self, method, *args, **kwargs)

    object_store.put(bucket, {f"images/many/{n}.png": b"x" for n in range(40)})
    data = remote(object_store, bucket, "image,label\n" + "".join(f"many/{n}.png,1\n" for n in range(40)))
    monkeypatch.setattr(S3FileSystem, "_call_s3", counted)
    records = data.records()
    assert [data.fingerprint(record) for record in records]
    assert sorted(calls) == ["get_object", "head_object", "list_objects_v2"]  # two of the table, and one listing
    data.read(records[0])
    assert calls[3:] == ["get_object"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "a.parquet", "delimiter": ";"}, "delimiter parts the cells of text, and a Parquet table has none"),
        ({"table": "a.csv", "storage_options": {"anon": True}}, "storage_options are for URLs, and neither table nor"),
        (
            {"table": "s3://b/a.csv", "storage_options": {"secret": "x"}},
            r"\.storage_options: 'secret' may hold a secret",
        ),
        ({"table": "s33://b/a.csv"}, r"dataset\.table: unknown scheme 's33'; did you mean"),
    ],
)
def test_options_without_effect_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(CsvConfig, options, root=Path("/"), key="dataset")


def test_every_usual_extension_is_tried(object_store: ObjectStore) -> None:
    endings = [*EXTENSIONS, *(ending.upper() for ending in EXTENSIONS)]
    object_store.put("endings", {f"{n}{ending}": b"" for n, ending in enumerate(endings)})
    object_store.put(
        "endings", {"t.csv": ("image,label\n" + "".join(f"{n},0\n" for n in range(len(endings)))).encode()}
    )
    records = dataset(object_store, table="s3://endings/t.csv").records()
    assert [record.stored.url.partition("endings/")[2] for record in records if record.stored] == [
        f"{n}{ending}" for n, ending in enumerate(endings)
    ]


def test_memory_keeps_no_checksums_so_that_content_is_read() -> None:
    fsspec = pytest.importorskip("fsspec")
    files = photographs(2)
    system = fsspec.filesystem("memory")
    system.pipe({"/csv/a.png": files[0], "/csv/b.png": files[1], "/csv/t.csv": b"image,label\na.png,0\nb.png,1\n"})
    data = Csv(validate(CsvConfig, {"table": "memory://csv/t.csv"}, root=Path("/")))
    first, second = data.records()
    before = data.fingerprint(first)
    assert before != data.fingerprint(second)
    system.pipe("/csv/a.png", files[1])
    assert data.fingerprint(data.records()[0]) == data.fingerprint(second)
    system.store.clear()


def test_local_files_need_no_library_of_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    (tmp_path / "a.png").write_bytes(b"local")
    (tmp_path / "labels.csv").write_text("image,label\na.png,1\n")
    data = Csv(validate(CsvConfig, {"table": "labels.csv"}, root=tmp_path))
    assert [data.read(record) for record in data.records()] == [b"local"]
    there = Csv(validate(CsvConfig, {"table": "s3://bucket/labels.csv"}, root=tmp_path))
    with pytest.raises(DataError, match=r"s3:// needs another package: pip install 'sslkit\[storage\]'"):
        there.records()
