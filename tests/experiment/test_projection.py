from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from sslkit import Embedding
from sslkit.errors import DataError, PluginError, RunDirectoryError
from sslkit.experiment import projection
from sslkit.experiment.projection import keep_projection, pca, umap


def features_of(count: int, width: int = 6) -> Any:
    generator = np.random.default_rng(1)
    return (generator.normal(size=(count, width)) * np.arange(1, width + 1) + 5).astype(np.float32)


def embedding_of(count: int, **changes: Any) -> Embedding:
    values: dict[str, Any] = {
        "ids": tuple(f"i{number}" for number in range(count)),
        "features": features_of(count),
        "grades": np.arange(count) % 3 - 1,
        "groups": ("",) * count,
        "folds": np.arange(count) % 2,
        "class_names": ("a", "b"),
        "about": {"weights": "pretrained", "pretext": "rotation", "fold": 1, "arm": None},
    }
    return Embedding(**{**values, **changes})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("shape", [(50, 6), (4, 6), (2500, 3)])
def test_pca_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    features = features_of(*shape)
    found = pca(features)
    oracle = PCA(2, svd_solver="full").fit(features.astype(np.float64))
    wanted = oracle.transform(features.astype(np.float64))
    signs = np.sign((wanted * found.points).sum(axis=0))
    np.testing.assert_allclose(found.points, wanted * signs, atol=1e-6)
    assert found.shares == pytest.approx(tuple(oracle.explained_variance_ratio_), abs=1e-6)


def test_features_without_a_second_direction_lie_on_a_line() -> None:
    one = pca(np.array([[1.0], [2.0], [4.0]], dtype=np.float32))
    assert one.points[:, 1].tolist() == [0, 0, 0]
    assert one.shares == (1.0, 0.0)
    none = pca(np.ones((4, 3), dtype=np.float32))
    assert none.shares == (0.0, 0.0)
    assert np.abs(none.points).max() == 0


def test_what_is_drawn_is_kept(run: Path) -> None:
    embedding = embedding_of(12)
    path = keep_projection(run, embedding)
    kept = json.loads(path.read_text())
    assert path == run / "representation.json"
    assert (kept["method"], kept["images"], kept["fold"], kept["pretext"]) == ("pca", 12, 1, "rotation")
    points = pca(embedding.features).points
    np.testing.assert_allclose(np.array([kept["x"], kept["y"]]).T, points / np.abs(points).max(), atol=6e-5)
    assert kept["grades"] == embedding.grades.tolist()
    assert kept["folds"] == embedding.folds.tolist()
    first = path.read_bytes()
    assert keep_projection(run, embedding).read_bytes() == first


def test_grades_without_names_are_called_by_their_numbers(run: Path) -> None:
    assert json.loads(keep_projection(run, embedding_of(6, class_names=())).read_text())["class_names"] == ["0", "1"]
    unknown = embedding_of(6, class_names=(), grades=np.full(6, -1))
    assert json.loads(keep_projection(run, unknown).read_text())["class_names"] == []


def test_of_many_images_some_are_drawn_evenly(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MAX_POINTS", 5)
    kept = json.loads(keep_projection(run, embedding_of(21)).read_text())
    assert kept["images"] == 21
    assert kept["folds"] == [0, 1, 0, 1, 0]
    assert len(kept["x"]) == 5


def test_too_few_images_and_folders_without_a_run(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 images are too few to be drawn; give the features of 3 or more"):
        keep_projection(run, embedding_of(2))
    with pytest.raises(RunDirectoryError, match=r"holds no run \(no run\.json\)"):
        keep_projection(tmp_path / "absent", embedding_of(12))
    assert not (run / "representation.json").exists()


def test_without_umap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "umap":
            raise ModuleNotFoundError("No module named 'umap'", name="umap")
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(PluginError, match=r"needs umap, which is not installed: pip install 'sslkit\[umap\]', or take"):
        umap(features_of(20))


@pytest.mark.slow
def test_umap_is_the_same_each_time_and_keeps_clusters_apart() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed (extra: umap)")
    features = features_of(60)
    features[30:] += 200
    first, second = umap(features), umap(features)
    np.testing.assert_array_equal(first.points, second.points)
    assert first.shares is None
    near, far = (first.points[part].mean(axis=0) for part in (slice(30), slice(30, None)))
    spread = max(first.points[:30].std(axis=0).max(), first.points[30:].std(axis=0).max())
    assert np.abs(near - far).max() > 3 * spread
    assert umap(features_of(5)).points.shape == (5, 2)
