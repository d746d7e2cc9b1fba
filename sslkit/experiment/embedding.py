"""Representations of many images, with what is known of each: a table that is saved, and read again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.errors import DataError
from sslkit.files import make_folder, why_unwritable, write_atomically
from sslkit.printable import abbreviate, shown

SUFFIXES = (".npz", ".parquet")
"""Of the files that an embedding is saved to."""

_UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Embedding:
    """Representations of M images.

    Attributes:
        ids: the images.
        features: float32 (M, D).
        grades: int64 (M,), in 0..K-1; -1 where an image has no label.
        groups: the image's group, such as the patient; empty where it is unknown.
        folds: int64 (M,), the fold that tests the image; -1 where none does, or none is known.
        class_names: names of the K classes; empty where no grade is known.
        about: which weights gave the features: run, weights, pretext, fold and arm.
        unreadable: images that could not be read, each with the reason; they have no row, and are not saved.

    Example:
        >>> import tempfile
        >>> features = np.zeros((2, 3), np.float32)
        >>> embedding = Embedding(("a", "b"), features, np.array([0, -1]), ("", ""), np.array([0, 1]))
        >>> path = embedding.save(Path(tempfile.mkdtemp()) / "features.npz")
        >>> Embedding.load(path).ids
        ('a', 'b')
    """

    ids: tuple[str, ...]
    features: npt.NDArray[np.float32]
    grades: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    folds: npt.NDArray[np.int64]
    class_names: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def save(self, path: str | Path) -> Path:
        """Write a ``.npz`` or ``.parquet`` file, whole or not at all, and return its path.

        ``.npz``: arrays ids, features, labels (the grades), groups, folds and class_names, and about as JSON; no
        pickle. ``.parquet``: columns id, label, group, fold (null where unknown) and features, a list of D float32 a
        row; class_names and about are in the metadata of the schema.

        Raises:
            sslkit.errors.DataError: if the name ends otherwise, pyarrow is not installed, or the arrays do not fit.
        """
        path = check_output(Path(path))
        try:
            self._check()
        except ValueError as error:
            raise DataError(f"this is no table of features, and {path} was not written: {error}") from None
        make_folder(path.absolute().parent)
        if path.suffix.lower() == ".npz":
            write_atomically(path, lambda file: np.savez(file, **self._arrays()))
        else:
            table = self._table()
            import pyarrow.parquet as parquet

            write_atomically(path, lambda file: parquet.write_table(table, file))
        return path

    @classmethod
    def load(cls, path: str | Path) -> Embedding:
        """Read what [save][sslkit.experiment.embedding.Embedding.save] has written.

        Raises:
            sslkit.errors.DataError: if there is no such file, or it is not an embedding.
        """
        path = check_output(Path(path))
        try:
            made = _read_npz(path) if path.suffix.lower() == ".npz" else _read_parquet(path)
            made._check()
        except FileNotFoundError:
            raise DataError(f"there is no file of features {path}; 'sslkit embed' writes one") from None
        except DataError:
            raise
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RecursionError) as error:
            reason = abbreviate(str(error), 300)
            raise DataError(f"{path} is no file of features as 'sslkit embed' writes them: {reason}") from None
        return made

    def _arrays(self) -> dict[str, Any]:
        return {
            "ids": np.array(self.ids, dtype=np.str_),
            "features": self.features,
            "labels": self.grades,
            "groups": np.array(self.groups, dtype=np.str_),
            "folds": self.folds,
            "class_names": np.array(self.class_names, dtype=np.str_),
            "about": np.array(json.dumps(dict(self.about))),
        }

    def _table(self) -> Any:
        pyarrow = _pyarrow()
        width = self.features.shape[1]
        values = pyarrow.array(self.features.reshape(-1))
        known: dict[str, Any] = {
            "id": pyarrow.array(map(_as_text, self.ids), pyarrow.string()),
            "label": pyarrow.array(self.grades, mask=self.grades == _UNKNOWN),
            "group": pyarrow.array([_as_text(group) or None for group in self.groups], pyarrow.string()),
            "fold": pyarrow.array(self.folds, mask=self.folds == _UNKNOWN),
            "features": pyarrow.FixedSizeListArray.from_arrays(values, width),
        }
        metadata = {"class_names": json.dumps(self.class_names), "about": json.dumps(dict(self.about))}
        return pyarrow.table(known, metadata=metadata)

    def _check(self) -> None:
        size = len(self.ids)
        if self.features.dtype != np.float32 or self.features.ndim != 2:
            raise ValueError(f"features are {self.features.dtype} {self.features.shape}, not float32 (M, D)")
        for name in ("features", "grades", "groups", "folds"):
            if len(getattr(self, name)) != size:
                raise ValueError(f"{size} ids and {len(getattr(self, name))} {name}")
        if not np.isfinite(self.features).all():
            raise ValueError("a feature is not finite")
        most_grades = len(self.class_names) or None
        for name, values, most in (("labels", self.grades, most_grades), ("folds", self.folds, None)):
            if values.ndim != 1 or values.dtype.kind not in "iu":
                raise ValueError(f"{name} are {values.dtype} {values.shape}, not whole numbers (M,)")
            if size and (values.min() < _UNKNOWN or (most is not None and values.max() >= most)):
                raise ValueError(f"a value of {name} is none")


def check_output(path: Path) -> Path:
    """Return a path whose name says how features are to be written.

    Raises:
        DataError: if it does not, or what writes it is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{shown(str(path))} says not how to write features: give a name that ends in .npz or .parquet")
    if path.suffix.lower() == ".parquet":
        _pyarrow()
    return path


def prepare_output(path: Path) -> None:
    """Refuse a file that no features can be written to, before any are computed, and make its folder.

    Raises:
        DataError: if its name says not how they are to be written, or it would be a folder.
        StorageError: if its folder cannot be made.
    """
    make_folder(check_output(path).absolute().parent)
    if reason := why_unwritable(path):
        raise DataError(f"{path} {reason}; give the path of a file")


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise DataError(
            "a .parquet file needs pyarrow, which is not installed: pip install 'sslkit[parquet]', or give a name that "
            "ends in .npz"
        ) from None
    return pyarrow


def _as_text(name: str) -> str:
    """Return a name in which what is no text, as in the names of some files, is written as JSON does."""
    return name.encode(errors="backslashreplace").decode()


def _read_npz(path: Path) -> Embedding:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no archive of arrays, or was cut off")
    with np.load(path, allow_pickle=False) as arrays:
        return Embedding(
            ids=tuple(arrays["ids"].tolist()),
            features=arrays["features"],
            grades=arrays["labels"],
            groups=tuple(arrays["groups"].tolist()),
            folds=arrays["folds"],
            class_names=tuple(arrays["class_names"].tolist()),
            about=_table_of(str(arrays["about"])),
        )


def _read_parquet(path: Path) -> Embedding:
    pyarrow = _pyarrow()
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    columns = {name: table.column(name).combine_chunks() for name in ("id", "label", "group", "fold", "features")}
    features = columns["features"]
    metadata = table.schema.metadata or {}
    return Embedding(
        ids=tuple(columns["id"].to_pylist()),
        features=features.flatten().to_numpy().reshape(len(features), -1),
        grades=columns["label"].fill_null(_UNKNOWN).to_numpy(),
        groups=tuple(group or "" for group in columns["group"].to_pylist()),
        folds=columns["fold"].fill_null(_UNKNOWN).to_numpy(),
        class_names=tuple(json.loads(metadata[b"class_names"])),
        about=_table_of(metadata[b"about"]),
    )


def _table_of(text: str | bytes) -> dict[str, Any]:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("about is no table")
    return values
