"""What a report relies on in the files of a run directory, which anybody may have written: types, and nothing more.

Keys that are not named here may hold anything; the report passes them over or shows them as text.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from sslkit.config.messages import describe_validation_error
from sslkit.errors import RunDirectoryError
from sslkit.printable import printable

Count = Annotated[int, Field(ge=0, le=2**53)]
Real = Annotated[float, Field(ge=-1e15, le=1e15)]
_MOST_MISTAKES, _LONGEST_MISTAKE = 5, 300
"""Lines of a message, and letters of each: a mistake quotes what was given, which may be the whole file."""

Scalar = str | bool | int | Real | None


class Shape(BaseModel):
    """What is relied on in a file: strict types; other keys may hold anything."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())


class _Git(Shape):
    commit: str
    changed: bool


class _Plugin(Shape):
    kind: str
    name: str
    distribution: str
    version: str
    part_of: str | None = None


class _Unreadable(Shape):
    id: str
    reason: str


class _Failure(Shape):
    job: str
    reason: str
    pretext: str = ""
    arm: str = ""
    fraction: Real = 0.0

    @model_validator(mode="after")
    def _names_a_cell_or_none(self) -> Self:
        if "arm" in self.model_fields_set and not {"pretext", "fraction"} <= self.model_fields_set:
            raise ValueError("a cell that failed has arm, pretext and fraction")
        return self


class _Conclusion(Shape):
    pretext: str = ""
    sentence: str


class _Data(Shape):
    images: Count | None = None
    labelled: Count | None = None
    groups: Count | None = None
    class_counts: list[Count] = []
    unreadable: list[_Unreadable] = []
    hash: str | None = None
    splits_hash: str | None = None


class RunFile(Shape):
    """run.json."""

    name: str | None = None
    seed: Count = 0
    class_names: list[str] = Field(max_length=1000)
    primary_metric: str | None = None
    positive_from: Count | None = None
    started: str | None = None
    finished: str | None = None
    versions: dict[str, str] = {}
    git: _Git | None = None
    card: dict[str, str] = {}
    plugins: list[_Plugin] = []
    hardware: dict[str, Scalar] = {}
    transductive: bool = False
    notices: list[str] = []
    missing_classes: list[str] = []
    data: _Data = _Data()
    timings: dict[str, Real] = {}
    failed_jobs: list[_Failure] = []
    conclusions: list[_Conclusion] = []

    @field_validator("positive_from")
    @classmethod
    def _is_a_class(cls, value: int | None, info: ValidationInfo) -> int | None:
        names = info.data.get("class_names", [])
        if value is not None and value >= len(names):
            raise ValueError(f"{value} is none of the {len(names)} classes")
        return value


class _Spread(Shape):
    min: Real
    median: Real
    max: Real


class _Images(Shape):
    formats: dict[str, Count]
    modes: dict[str, Count]
    bit_depths: dict[str, Count]
    width: _Spread
    height: _Spread
    aspect: _Spread
    tiny: list[str]
    constant: list[str]
    truncated: list[str]
    unlisted: list[str]
    unlisted_count: Count


class _Conflict(Shape):
    images: list[str]
    grades: list[int]


class _Duplicates(Shape):
    identical: list[Any]
    near: list[Any]
    compared: Count
    method: str
    conflicts: list[_Conflict]


class _Groups(Shape):
    given: Count
    joined: Count
    largest: Count
    with_several_grades: Count


class _Probe(Shape):
    region: str
    accuracy: Real
    low: Real
    high: Real
    chance: Real
    leak: bool


class _LabelProbe(Shape):
    qwk: Real | None
    auroc: Real | None


class AuditFile(Shape):
    """audit.json."""

    images: _Images | None = None
    duplicates: _Duplicates
    groups: _Groups
    pretext_probes: dict[str, list[_Probe]]
    label_probe: _LabelProbe | None


class _ImagesTable(Shape):
    size: Count
    crop: str
    on_unreadable: str = "stop"


class _FinetuningTable(Shape):
    updates: Count
    head_updates: Count
    batch_size: Count
    learning_rate: Real


class _EvaluationTable(Shape):
    folds: Count
    arms: list[str] = []


class _HeadTable(Shape):
    name: str


class _ReportTable(Shape):
    pictures: bool = True


class ConfigFile(Shape):
    """config.toml."""

    images: _ImagesTable | None = None
    finetuning: _FinetuningTable | None = None
    evaluation: _EvaluationTable | None = None
    head: _HeadTable | None = None
    report: _ReportTable = _ReportTable()


class _Pretraining(Shape):
    epoch: Count | None = None


class WeightsFile(Shape):
    """The config.json beside a pretraining's weights."""

    sslkit: _Pretraining = _Pretraining()


def read_shape(path: Path, shape: type[BaseModel], writer: str = "'sslkit run'") -> dict[str, Any]:
    """Read a JSON or TOML file of a run directory; control characters in its texts are spelt out.

    Args:
        path: the file.
        shape: what it is to hold.
        writer: the command that writes it, for messages.

    Raises:
        sslkit.errors.RunDirectoryError: if it is no such file, or holds other types than the shape says.
    """
    parse = tomllib.loads if path.suffix == ".toml" else json.loads
    try:
        given = _readable(parse(path.read_text(encoding="utf-8")))
        shape.model_validate(given)
    except ValidationError as error:
        lines = describe_validation_error(error, shape).splitlines()[:_MOST_MISTAKES]
        said = "\n".join(line[:_LONGEST_MISTAKE] for line in lines)
        raise RunDirectoryError(f"{path} is not as {writer} writes it:\n{said}\nRun {writer} again.") from None
    except (ValueError, RecursionError) as error:  # no UTF-8; no JSON or TOML; a number or nesting beyond all measure
        kind = path.suffix[1:].upper()
        raise RunDirectoryError(f"{path} is not {kind} ({error}). Run {writer} again.") from error
    return dict(given)


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): _readable(item) for key, item in value.items()}
    return value
