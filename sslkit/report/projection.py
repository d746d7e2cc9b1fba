"""Reads the projection of features that a run directory may hold."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sslkit.report.shapes import read_shape
from sslkit.report.tables import Run

_Coordinate = Annotated[float, Field(ge=-1, le=1)]
_Whole = Annotated[int, Field(ge=-1, le=10**6)]
_MOST = 10_000
_WRITER = "'sslkit report --features FILE'"


class ProjectionFile(BaseModel):
    """What ``representation.json`` holds: M points, and what is known of each.

    Attributes:
        method: how the features were projected.
        shares: of PCA: the share of the variance along each axis.
        weights: "pretrained" or "finetuned".
        pretext: the pretext task; may be empty.
        arm: of finetuned weights; may be empty.
        fold: whose test images the weights have not seen.
        class_names: names of the grades.
        images: how many images have features; no more than M are drawn.
        x: across, from -1 to 1.
        y: upwards, from -1 to 1.
        grades: -1 where an image has no label.
        folds: the fold that tests each image; -1 where none does.
    """

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, frozen=True)

    method: Literal["pca", "umap"]
    shares: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2, max_length=2)] | None = None
    weights: str = ""
    pretext: str = ""
    arm: str = ""
    fold: int | None = None
    class_names: Annotated[list[str], Field(max_length=1000)]
    images: Annotated[int, Field(ge=1, le=2**53)]
    x: Annotated[list[_Coordinate], Field(min_length=1, max_length=_MOST)]
    y: list[_Coordinate]
    grades: list[_Whole]
    folds: list[_Whole]

    @property
    def method_name(self) -> str:
        """How the method is called."""
        return self.method.upper()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if {len(self.x)} != {len(column) for column in (self.y, self.grades, self.folds)}:
            raise ValueError("x, y, grades and folds differ in length")
        if max(self.grades) >= len(self.class_names):
            raise ValueError("a grade has no name in class_names")
        return self


def read_projection(run: Run) -> ProjectionFile | None:
    """Return the last projection of a run's features; None where there was none.

    Raises:
        sslkit.errors.RunDirectoryError: if the file is malformed.
    """
    path = run.directory / "representation.json"
    if not path.is_file():
        return None
    return ProjectionFile.model_validate(read_shape(path, ProjectionFile, _WRITER))
