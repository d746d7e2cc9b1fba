"""Projects features onto a plane, and keeps the few numbers that the report draws."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sslkit.errors import DataError, PluginError, RunDirectoryError
from sslkit.experiment.embedding import Embedding
from sslkit.experiment.run_directory import RunDirectory
from sslkit.files import write_json

Method = Literal["pca", "umap"]

PROJECTION = "representation.json"
"""The file of a run directory that holds the last projection."""

MAX_POINTS = 3000
"""Drawn at most, evenly over the images: an SVG holds every one of them."""

_CHUNK = 1024
_DIGITS = 4
_LEAST_IMAGES = 3
_NEIGHBOURS = 15


@dataclass(frozen=True, eq=False)
class Projection:
    """Features on a plane.

    Attributes:
        points: float64 (M, 2).
        shares: of PCA: the share of the features' variance along each axis; None of UMAP.
    """

    points: npt.NDArray[np.float64]
    shares: tuple[float, float] | None


def pca(features: npt.NDArray[np.float32]) -> Projection:
    """Return the first two principal components of features (M, D); each points where its largest loading is positive.

    Jolliffe, "Principal Component Analysis", 2nd edition, Springer 2002. Memory beyond the features is D x D.

    Example:
        >>> line = np.array([[0, 0, 1], [1, 1, 1], [2, 2, 1]], dtype=np.float32)
        >>> pca(line).points[:, 0].round(3).tolist(), pca(line).shares
        ([-1.414, 0.0, 1.414], (1.0, 0.0))
    """
    mean = features.mean(axis=0, dtype=np.float64)
    width = features.shape[1]
    covariance = np.zeros((width, width))
    for start in range(0, len(features), _CHUNK):
        centred = features[start : start + _CHUNK] - mean
        covariance += centred.T @ centred
    values, vectors = np.linalg.eigh(covariance)
    values = values.clip(min=0)
    axes = vectors[:, ::-1][:, :2] if width > 1 else np.array([[1.0, 0.0]])
    largest = np.abs(axes).argmax(axis=0)
    signs = np.sign(axes[largest, np.arange(2)])
    axes = axes * np.where(signs == 0, 1.0, signs)
    total = float(values.sum())
    found = [*values[::-1][:2].tolist(), 0.0][:2]
    shares = (round(found[0] / total, 6), round(found[1] / total, 6)) if total > 0 else (0.0, 0.0)
    points = np.concatenate(
        [(features[start : start + _CHUNK] - mean) @ axes for start in range(0, len(features), _CHUNK)]
    )
    return Projection(points, shares)


def umap(features: npt.NDArray[np.float32]) -> Projection:
    """Return features (M, D) on the plane as UMAP lays them out, from one fixed seed and in one thread.

    McInnes, Healy and Melville, "UMAP", arXiv 1802.03426, with its authors' settings.

    Raises:
        PluginError: if umap-learn is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says at import is of its own dependencies
            from umap import UMAP
    except ModuleNotFoundError as error:
        raise PluginError(
            f"--projection umap needs {error.name}, which is not installed: pip install 'sslkit[umap]', or take pca"
        ) from None
    few = len(features) <= _NEIGHBOURS
    layout: Any = UMAP(
        n_neighbors=min(_NEIGHBOURS, len(features) - 1),
        init="random" if few else "spectral",
        random_state=0,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points = layout.fit_transform(features)
    return Projection(points.astype(np.float64), None)


def keep_projection(folder: Path, embedding: Embedding, method: Method = "pca") -> Path:
    """Project features, and write what the report of a run draws of them; it takes the place of an earlier one.

    Args:
        folder: the run directory.
        embedding: the features.
        method: how.

    Returns:
        The path of representation.json.

    Raises:
        RunDirectoryError: if there is no run.
        DataError: if there are too few images.
    """
    directory = RunDirectory(folder)
    if not directory.run.is_file():
        raise RunDirectoryError(f"{folder} holds no run (no run.json); give the directory of 'sslkit run'")
    if len(embedding) < _LEAST_IMAGES:
        raise DataError(
            f"{len(embedding)} images are too few to be drawn; give the features of {_LEAST_IMAGES} or more"
        )
    found = pca(embedding.features) if method == "pca" else umap(embedding.features)
    drawn = np.unique(np.linspace(0, len(embedding) - 1, min(len(embedding), MAX_POINTS)).round().astype(np.int64))
    points = found.points[drawn]
    scale = float(np.abs(points).max()) or 1.0
    # To a ten-thousandth of the plane, which no eye sees and in which no machine's rounding shows.
    x, y = (points / scale).round(_DIGITS).T.tolist()
    fold = embedding.about.get("fold")
    names = embedding.class_names or tuple(map(str, range(int(embedding.grades.max()) + 1)))
    write_json(
        folder / PROJECTION,
        {
            "method": method,
            "shares": None if found.shares is None else list(found.shares),
            "weights": str(embedding.about.get("weights", "")),
            "pretext": str(embedding.about.get("pretext") or ""),
            "arm": str(embedding.about.get("arm") or ""),
            "fold": fold if isinstance(fold, int) else None,
            "class_names": list(names),
            "images": len(embedding),
            "x": x,
            "y": y,
            "grades": embedding.grades[drawn].tolist(),
            "folds": embedding.folds[drawn].tolist(),
        },
    )
    return folder / PROJECTION
