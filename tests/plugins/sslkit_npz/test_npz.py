from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sslkit import Record
from sslkit.errors import DataError
from sslkit_npz import Npz, NpzConfig, sslkit_datasets

RNG = np.random.default_rng(0)
SIZES = {"train": 5, "val": 2, "test": 3}


def arrays(colour: bool = True) -> dict[str, np.ndarray]:
    shape = (8, 9, 3) if colour else (8, 9)
    images = {f"{split}_images": RNG.integers(0, 256, (m, *shape), dtype=np.uint8) for split, m in SIZES.items()}
    labels = {f"{split}_labels": RNG.integers(0, 5, (m, 1)) for split, m in SIZES.items()}
    return images | labels


def dataset(folder: Path, content: dict[str, np.ndarray], *, compressed: bool = False, **options: object) -> Npz:
    (np.savez_compressed if compressed else np.savez)(folder / "x.npz", **content)
    return Npz(NpzConfig(path=folder / "x.npz", **options))


def test_the_hook_returns_the_class() -> None:
    assert list(sslkit_datasets()) == [Npz]
    assert Npz.name == "npz"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("colour", [False, True])
def test_records_and_images(tmp_path: Path, colour: bool, compressed: bool) -> None:
    content = arrays(colour)
    data = dataset(tmp_path, content, compressed=compressed)
    records = data.records()
    assert [record.id for record in records] == [f"{s}/{row:06d}" for s, m in SIZES.items() for row in range(m)]
    assert [record.label for record in records] == np.concatenate([content[f"{s}_labels"] for s in SIZES])[
        :, 0
    ].tolist()
    assert all(type(record.label) is int and record.path is None and record.group is None for record in records)
    images = np.concatenate([content[f"{split}_images"] for split in SIZES])
    for record, expected in zip(records, images, strict=True):
        np.testing.assert_array_equal(data.read(record), expected)


def test_flat_labels_of_any_integer_type(tmp_path: Path) -> None:
    content = arrays()
    content["val_labels"] = np.array([3, 1], np.uint8)
    assert [record.label for record in dataset(tmp_path, content, splits=("val",)).records()] == [3, 1]


def test_splits_are_taken_in_the_given_order_and_others_not_needed(tmp_path: Path) -> None:
    content = {name: array for name, array in arrays().items() if not name.startswith("val")}
    ids = [record.id for record in dataset(tmp_path, content, splits=("test", "train")).records()]
    assert ids[:4] == ["test/000000", "test/000001", "test/000002", "train/000000"]


def test_listing_reads_no_pixels_and_reading_reads_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(tmp_path, arrays())
    loaded = []
    load = Npz._load
    monkeypatch.setattr(Npz, "_load", lambda self, array: loaded.append(array) or load(self, array))
    records = data.records()
    assert loaded == ["train_labels", "val_labels", "test_labels"]
    for record in records[:5]:
        data.read(record)
    assert loaded[3:] == ["train_images"]


def test_images_do_not_travel_by_pickle(tmp_path: Path) -> None:
    content = arrays() | {"train_images": np.zeros((5, 300, 300, 3), np.uint8)}
    data = dataset(tmp_path, content)
    record = data.records()[0]
    pixels = data.read(record)
    assert not pixels.flags.writeable
    assert len(pickle.dumps(data)) < 2000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data)).read(record), pixels)
    assert data.read(record).base is pixels.base


def test_fingerprints_change_with_the_file_and_the_image_and_decode_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = arrays()
    data = dataset(tmp_path, content)
    records = data.records()
    monkeypatch.setattr(Npz, "_load", lambda self, array: pytest.fail("an array was read"))
    prints = [data.fingerprint(record) for record in records]
    assert len(set(prints)) == len(records)
    digest = hashlib.sha256((tmp_path / "x.npz").read_bytes()).hexdigest()
    assert prints[0] == hashlib.sha256(f"{digest}/train/000000".encode()).hexdigest()
    assert pickle.loads(pickle.dumps(data)).fingerprint(records[0]) == prints[0]
    content["test_labels"] = content["test_labels"] + 1
    assert dataset(tmp_path, content).fingerprint(records[0]) != prints[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"val_images": None},
            r"x\.npz lacks val_images; did you mean '\w+_images'.; its arrays: train_images, .*Set splits",
        ),
        ({"val_images": None, "val_labels": None}, r"lacks val_images, val_labels"),
        (
            {"train_images": np.zeros((5, 8, 8), np.float32)},
            r"train_images is float32 \(5, 8, 8\); accepted: uint8 of shape",
        ),
        ({"train_images": np.zeros((5, 8, 8, 1), np.uint8)}, r"train_images is uint8 \(5, 8, 8, 1\); accepted"),
        ({"train_images": np.zeros((5, 8, 8, 8), np.uint8)}, r"volumes are not images: slice them first"),
        ({"train_images": np.zeros((5, 8), np.uint8)}, r"train_images is uint8 \(5, 8\); accepted"),
        ({"train_images": np.array([None] * 5)}, "train_images holds Python objects, which are never loaded"),
        ({"train_labels": np.array(["a"] * 5, object)}, "train_labels holds Python objects, which are never loaded"),
        (
            {"train_labels": np.zeros((5, 14), np.int64)},
            r"train_labels is \(5, 14\): 14 labels an image. Only one grade",
        ),
        (
            {"train_labels": np.zeros(5)},
            r"train_labels is float64 \(5,\); accepted: integers of shape \(M,\) or \(M, 1\)",
        ),
        ({"train_labels": np.array(3)}, r"train_labels is int64 \(\); accepted: integers"),
        ({"train_labels": np.zeros(4, int)}, "train_labels has 4 rows, and there are 5 images; each needs one"),
    ],
)
def test_every_fault_of_a_file_is_named(tmp_path: Path, changes: dict[str, np.ndarray | None], message: str) -> None:
    content = {name: array for name, array in (arrays() | changes).items() if array is not None}
    with pytest.raises(DataError, match=message):
        dataset(tmp_path, content).records()


def test_a_file_without_images(tmp_path: Path) -> None:
    empty = {"val_images": np.zeros((0, 8, 8), np.uint8), "val_labels": np.zeros(0, int)}
    with pytest.raises(DataError, match=r"x\.npz holds no image in val"):
        dataset(tmp_path, empty, splits=("val",)).records()


def test_what_is_no_archive(tmp_path: Path) -> None:
    dataset(tmp_path, arrays())
    with pytest.raises(DataError, match=r"no file at .*y\.npz; did you mean 'x\.npz'"):
        Npz(NpzConfig(path=tmp_path / "y.npz")).records()
    (tmp_path / "z.npz").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"z\.npz is not a \.npz file, or a damaged one: File is not a zip file"):
        Npz(NpzConfig(path=tmp_path / "z.npz")).records()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        Npz(NpzConfig(path=tmp_path)).records()


def test_damage_is_an_error_where_it_is_met(tmp_path: Path) -> None:
    data = dataset(
        tmp_path,
        {"val_images": np.full((5000, 2, 2), 170, np.uint8), "val_labels": np.zeros(5000, int)},
        splits=("val",),
    )
    record: Record = data.records()[0]
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole.replace(b"\xaa" * 100, b"\xab" * 100, 1))
    with pytest.raises(OSError, match=r"x\.npz: val_images is damaged: Bad CRC-32"):
        data.read(record)
    labels = whole.rfind(bytes(16))
    (tmp_path / "x.npz").write_bytes(whole[:labels] + b"\x01" * 16 + whole[labels + 16 :])
    with pytest.raises(DataError, match=r"x\.npz: val_labels is damaged: Bad CRC-32"):
        data.records()


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([], "must name at least one split, and each once"),
        (["val", "val"], "each once"),
        (["dev"], "'train', 'val' or 'test'"),
    ],
)
def test_impossible_splits_are_refused(tmp_path: Path, splits: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NpzConfig.model_validate_json(json.dumps({"path": "x.npz", "splits": splits}), context={"root": tmp_path})
