"""What a report relies on in pictures.json: see [sslkit.report.shapes][]."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sslkit.report.shapes import Count, Real, Shape


class _Picture(Shape):
    file: str = Field(pattern=r"^[a-z]+-[0-9]{1,6}\.(jpg|png)$")
    width: int = Field(ge=1, le=1024)
    height: int = Field(ge=1, le=1024)


class _SampleImage(Shape):
    image: str
    grade: Count | None
    picture: _Picture


class _View(Shape):
    name: str
    number: Count | None
    parts: Count
    labels: list[str] = Field(max_length=64)
    pictures: list[_Picture] = Field(max_length=64)


class _SeenByTask(Shape):
    pretext: str
    fold: Count | None
    unchanged: list[str]
    unseen: list[str]
    views: list[_View] = Field(max_length=200)


class _Mistake(Shape):
    image: str
    fold: Count
    target: Count
    predicted: Count
    probability: Real
    of_truth: Real
    scratch: Count | None
    picture: _Picture


class _Mistakes(Shape):
    pretext: str
    arm: str
    fraction: Annotated[float, Field(gt=0, le=1)]
    folds: Count
    tasks: Count
    tested: Count
    wrong: Count
    images: list[_Mistake] = Field(max_length=200)


class PicturesFile(Shape):
    """pictures/pictures.json; a picture's file is a plain name in that folder."""

    images: list[_SampleImage] = Field(max_length=64)
    tasks: list[_SeenByTask] = Field(max_length=200)
    mistakes: _Mistakes | None
