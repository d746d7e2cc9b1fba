from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from studies import tiny_config

import sslkit
from sslkit import Embedding
from sslkit.engine.precision import resolve_compute
from sslkit.errors import DataError, RunDirectoryError
from sslkit.experiment.embedding import prepare_output
from sslkit.experiment.embedding_images import embed_files
from sslkit.experiment.opening import open_weights
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve


@pytest.fixture(scope="module")
def root(tiny_run: RunResult) -> Path:
    return tiny_run.directory.root


@pytest.fixture(scope="module")
def embedding(root: Path) -> Embedding:
    return sslkit.embed(root, fold=1)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some images of the tiny run as lossless files, in a folder with another."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    dataset = resolve(tiny_config(), sslkit.build_registry()).make_dataset()
    for number, record in enumerate(dataset.records()):
        path = folder / ("more" if number % 2 else ".") / f"{record.id}.png"
        Image.fromarray(dataset.read(record)).save(path)  # type: ignore[arg-type]
        if number == 6:
            break
    return folder


def test_a_runs_own_images_come_with_all_that_is_known_of_them(root: Path, embedding: Embedding) -> None:
    splits = json.loads((root / "splits.json").read_text())
    dataset = resolve(tiny_config(), sslkit.build_registry()).make_dataset()
    records = {record.id: record for record in dataset.records()}
    assert embedding.features.shape == (len(records), 96)
    assert embedding.features.dtype == np.float32
    assert list(embedding.ids) == list(records)
    assert dict(zip(embedding.ids, embedding.folds.tolist(), strict=True)) == splits["fold_of"]
    assert embedding.groups == tuple(record.group for record in records.values())
    assert (embedding.grades == -1).sum() == sum(record.label is None for record in records.values()) > 0
    assert embedding.class_names[0] == "No DR"
    assert embedding.about == {
        "run": "tiny", "weights": "pretrained", "pretext": "rotation", "fold": 1, "arm": None,
    }  # fmt: skip


def test_features_are_those_of_the_encoder(root: Path, embedding: Embedding, photographs: Path) -> None:
    encoder = sslkit.load_backbone(root, fold=1)
    prepare = sslkit.Preprocessing(32, "fundus")
    backbone = resolve(tiny_config(), sslkit.build_registry()).backbone.make()
    for path in sorted(photographs.rglob("*.png")):
        pixels = torch.from_numpy(prepare.apply(path.read_bytes())).permute(2, 0, 1)[None]
        with torch.inference_mode():
            wanted = sslkit.representation(encoder, sslkit.normalize(pixels, backbone.mean, backbone.std))[0].numpy()
        row = embedding.ids.index(path.stem)
        np.testing.assert_allclose(embedding.features[row], wanted, atol=1e-4, rtol=1e-5)


def test_files_and_folders_give_the_same_features(root: Path, embedding: Embedding, photographs: Path) -> None:
    given = sslkit.embed(root, [photographs], fold=1)
    assert sorted(given.ids) == sorted(str(path) for path in photographs.rglob("*.png"))
    rows = [embedding.ids.index(Path(name).stem) for name in given.ids]
    np.testing.assert_allclose(given.features, embedding.features[rows], atol=1e-4, rtol=1e-5)
    assert (given.grades == -1).all()
    assert (given.folds == -1).all()


def test_tables_give_the_same_features(root: Path, photographs: Path, tmp_path: Path) -> None:
    files = sorted(photographs.rglob("*.png"))
    table = tmp_path / "scans.csv"
    table.write_text("file\n" + "".join(f"{file.relative_to(photographs)}\n" for file in files), encoding="utf-8")
    found = sslkit.embed(root, [table], image_column="file", root=photographs)
    assert np.array_equal(found.features, sslkit.embed(root, files).features)


def test_an_exported_directory_gives_the_same_features(root: Path, photographs: Path, tmp_path: Path) -> None:
    sslkit.export(root, tmp_path / "out", fold=1, weights="finetuned")
    ours = sslkit.embed(root, [photographs], fold=1, weights="finetuned")
    theirs = sslkit.embed(tmp_path / "out", [photographs])
    np.testing.assert_array_equal(ours.features, theirs.features)
    assert ours.about == theirs.about
    with pytest.raises(RunDirectoryError, match="was exported and knows no images; give some, or a run directory"):
        sslkit.embed(tmp_path / "out")


def test_images_that_cannot_be_read_are_named_and_the_others_kept(
    root: Path, photographs: Path, tmp_path: Path
) -> None:
    good = next(photographs.glob("*.png"))
    (tmp_path / "text.png").write_text("hello")
    given = sslkit.embed(root, [tmp_path / "text.png", good, tmp_path / "absent.png", good])
    assert given.ids == (str(good), str(good))
    assert given.features.shape == (2, 96)
    np.testing.assert_array_equal(given.features[0], given.features[1])
    assert list(given.unreadable) == [str(tmp_path / "text.png"), str(tmp_path / "absent.png")]
    with pytest.raises(DataError, match=r"none of the 1 images can be read; the first: .*text\.png: not an image"):
        sslkit.embed(root, [tmp_path / "text.png"])
    with pytest.raises(DataError, match="no image in the folder"):
        sslkit.embed(root, [shutil.copytree(tmp_path, tmp_path / "x", ignore=lambda *_: ["text.png", "x"])])
    found = open_weights(root, sslkit.build_registry(), resolve_compute("cpu", "fp32", False))
    with pytest.raises(DataError, match="there is no image to embed; give files"):
        embed_files(found, [], lambda *_: None)


def test_progress_is_told(root: Path, photographs: Path) -> None:
    told: list[tuple[str, int, int]] = []
    sslkit.embed(root, told=lambda *what: told.append(what))
    assert [told[0][0], told[-1]] == ["decoding", ("embedding", 48, 48)]
    told.clear()
    sslkit.embed(root, [photographs], told=lambda *what: told.append(what))
    assert told == [("embedding", 7, 7)]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_is_saved_is_read_again(embedding: Embedding, tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra: parquet)")
    path = embedding.save(tmp_path / "new" / f"features{suffix}")
    again = Embedding.load(path)
    assert (again.ids, again.groups, again.class_names) == (embedding.ids, embedding.groups, embedding.class_names)
    for name in ("features", "grades", "folds"):
        np.testing.assert_array_equal(getattr(again, name), getattr(embedding, name))
        assert getattr(again, name).dtype == getattr(embedding, name).dtype
    assert again.about == embedding.about
    first = path.read_bytes()
    embedding.save(path)
    assert path.read_bytes() == first


def test_npz_opens_with_numpy_alone(embedding: Embedding, tmp_path: Path) -> None:
    with np.load(embedding.save(tmp_path / "features.npz"), allow_pickle=False) as arrays:
        assert set(arrays) == {"ids", "features", "labels", "groups", "folds", "class_names", "about"}
        np.testing.assert_array_equal(arrays["labels"], embedding.grades)
        assert json.loads(str(arrays["about"]))["fold"] == 1


def test_parquet_has_nulls_where_nothing_is_known(embedding: Embedding, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra: parquet)")
    table = parquet.read_table(embedding.save(tmp_path / "features.parquet"))
    assert table.column_names == ["id", "label", "group", "fold", "features"]
    rows = table.to_pylist()
    unlabelled = int(np.flatnonzero(embedding.grades == -1)[0])
    assert rows[unlabelled]["label"] is None
    assert rows[0]["features"] == pytest.approx(embedding.features[0].tolist())


def arrays_of(**changes: Any) -> dict[str, Any]:
    return {
        "ids": np.array(["a", "b"]),
        "features": np.zeros((2, 3), np.float32),
        "labels": np.array([0, -1]),
        "groups": np.array(["", ""]),
        "folds": np.array([0, 1]),
        "class_names": np.array(["x"]),
        "about": np.array("{}"),
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": np.zeros((2, 3))}, r"features are float64 \(2, 3\), not float32"),
        ({"features": np.zeros((3, 3), np.float32)}, "2 ids and 3 features"),
        ({"features": np.full((2, 3), np.nan, np.float32)}, "a feature is not finite"),
        ({"labels": np.array([0, 5])}, "a value of labels is none"),
        ({"folds": np.array([0.5, 1])}, r"folds are float64 \(2,\), not whole numbers"),
        ({"about": np.array("[]")}, "about is no table"),
        ({"about": np.array([{}], dtype=object)}, "Object arrays cannot be loaded"),
    ],
)
def test_files_that_are_no_features_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "f.npz", **arrays_of(**changes))
    with pytest.raises(DataError, match=f"(?s)no file of features as 'sslkit embed' writes them: .*{message}"):
        Embedding.load(tmp_path / "f.npz")


def test_arrays_that_do_not_fit_are_not_saved(embedding: Embedding, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no table of features, and .*f\.npz was not written: 48 ids and 2 folds"):
        replace(embedding, folds=np.array([0, 1])).save(tmp_path / "f.npz")
    assert list(tmp_path.iterdir()) == []
    assert Embedding.load(replace(embedding, class_names=()).save(tmp_path / "f.npz")).class_names == ()


def test_names_and_files_that_are_none(tmp_path: Path, embedding: Embedding) -> None:
    with pytest.raises(DataError, match=r"says not how to write features: give a name that ends in \.npz or"):
        embedding.save(tmp_path / "features.csv")
    with pytest.raises(DataError, match=r"there is no file of features .*absent\.npz"):
        Embedding.load(tmp_path / "absent.npz")
    for name in ("text.npz", "text.parquet"):
        (tmp_path / name).write_text("hello")
        with pytest.raises(DataError, match="is no file of features"):
            Embedding.load(tmp_path / name)
    with pytest.raises(DataError, match=r"text\.npz .*: it is no archive of arrays, or was cut off"):
        Embedding.load(tmp_path / "text.npz")
    np.savez(tmp_path / "f.npz", ids=np.array(["a"]))
    with pytest.raises(DataError, match=r"is no file of features .*features"):
        Embedding.load(tmp_path / "f.npz")


def test_a_place_for_features_is_made_or_refused_before_they_are_computed(tmp_path: Path) -> None:
    prepare_output(tmp_path / "new" / "features.NPZ")
    assert (tmp_path / "new").is_dir()
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match=r"folder\.npz is a folder; give the path of a file"):
        prepare_output(tmp_path / "folder.npz")
    with pytest.raises(DataError, match="says not how to write features"):
        prepare_output(tmp_path / "features.csv")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_names_that_are_no_text_are_saved(embedding: Embedding, tmp_path: Path, suffix: str) -> None:
    ids = ("\udcff.png", *embedding.ids[1:])
    saved = Embedding.load(replace(embedding, ids=ids).save(tmp_path / f"f{suffix}"))
    assert saved.ids[0].encode(errors="backslashreplace") == rb"\udcff.png"
    assert saved.ids[1:] == ids[1:]


def test_without_pyarrow_it_says_what_to_install(
    embedding: Embedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"needs pyarrow, which is not installed: pip install 'sslkit\[parquet\]'"):
        embedding.save(tmp_path / "features.parquet")


def test_a_data_set_that_has_lost_images_is_refused(root: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(root, tmp_path / "run"))
    splits = json.loads((folder / "splits.json").read_text())
    splits["fold_of"]["gone"] = 0
    (folder / "splits.json").write_text(json.dumps(splits))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(RunDirectoryError, match=r"is not what it was: 1 of its 49 images are gone .* such as 'gone'"):
        sslkit.embed(folder)
    (folder / "splits.json").write_text("[]")
    with pytest.raises(RunDirectoryError, match=r"splits\.json cannot be read"):
        sslkit.embed(folder)
