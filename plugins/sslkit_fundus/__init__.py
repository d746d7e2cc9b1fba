"""Data set ``synthetic-fundus``: procedural colour photographs of both retinas of imaginary patients, with a DR grade.

    [dataset]
    name = "synthetic-fundus"
    patients = 200

Nothing is downloaded, nothing is stored: a photograph is computed from (seed, patient, eye) when it is read. Grades
follow the ICDR scale (Wilkinson et al. 2003) in the lesions that they show, which are larger than life, to be seen at
64 pixels. What the results say about retinas is nothing: the data set lets a whole run be tried anywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import PIL
from pydantic import Field, field_validator

from sslkit import Dataset, PluginConfig, Record, hookimpl
from sslkit.errors import DataError, did_you_mean
from sslkit_fundus.manifest import grade_of, severity
from sslkit_fundus.render import RENDERER_VERSION, render

__all__ = ["RENDERER_VERSION", "SyntheticFundus", "SyntheticFundusConfig", "render"]

NUM_GRADES = 5


class SyntheticFundusConfig(PluginConfig):
    """Options of ``synthetic-fundus``.

    Attributes:
        patients: number of patients; each has two photographs.
        seed: another seed gives other patients.
        size: side of the photographs in pixels.
        proportions: shares of the grades 0 to 4; they sum to one.
        labelled: share of the patients whose grades are told.
    """

    patients: int = Field(200, ge=1, le=100_000)
    seed: int = Field(0, ge=0, lt=2**32)
    size: int = Field(256, ge=32, le=2048)
    # A TOML array arrives as a list, which strict pydantic would refuse for a tuple.
    proportions: Annotated[tuple[float, ...], Field(strict=False)] = (0.36, 0.16, 0.24, 0.12, 0.12)
    labelled: float = Field(1.0, ge=0, le=1)

    @field_validator("proportions")
    @classmethod
    def _five_that_sum_to_one(cls, proportions: tuple[float, ...]) -> tuple[float, ...]:
        if len(proportions) != NUM_GRADES:
            raise ValueError(f"got {len(proportions)} proportions; give five, one for each of the grades 0 to 4")
        if min(proportions) < 0:
            raise ValueError(f"the proportion {min(proportions):g} is negative; give a share of 0 to 1 for each grade")
        if not math.isclose(sum(proportions), 1, abs_tol=1e-6):
            raise ValueError(f"the proportions sum to {sum(proportions):g}; they must sum to 1")
        return proportions


class SyntheticFundus(Dataset[SyntheticFundusConfig]):
    """Computes its photographs, so that a run needs no data.

    Example:
        >>> data = SyntheticFundus(SyntheticFundusConfig(patients=2, size=64))
        >>> [record.id for record in data.records()]
        ['P001_L', 'P001_R', 'P002_L', 'P002_R']
        >>> data.read(data.records()[0]).shape
        (64, 64, 3)
    """

    name = "synthetic-fundus"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = SyntheticFundusConfig
    notice = "Synthetic fundus photographs: the figures say nothing about patients."

    def records(self) -> Sequence[Record]:
        """Return two records a patient, left eye first; ids such as ``P001_L``, labels 0..4, patients as groups."""
        return [
            Record(id=f"{group}_{eye}", label=grade if rank < self.config.labelled else None, group=group)
            for patient in range(1, self.config.patients + 1)
            for group in (f"P{patient:03d}",)
            for *grades, rank in (self._grades(patient),)
            for eye, grade in zip("LR", grades, strict=True)
        ]

    def read(self, record: Record) -> npt.NDArray[np.uint8]:
        """Return the photograph of a record: uint8 (H, W, 3), RGB.

        Raises:
            sslkit.errors.DataError: if the record is none of this data set's.
        """
        patient, eye, grade = self._find(record)
        return render(self.config.seed, patient, eye, grade, self.config.size)

    def fingerprint(self, record: Record) -> str:
        """Return a digest of all that the photograph is computed from, without computing it.

        Versions of numpy and Pillow are in it, since neither promises the same numbers or pixels in every release.
        """
        recipe = (
            RENDERER_VERSION,
            np.__version__,
            PIL.__version__,
            self.config.seed,
            self.config.size,
            *self._find(record),
        )
        return hashlib.sha256(repr((self.name, recipe)).encode()).hexdigest()

    def _grades(self, patient: int) -> tuple[int, int, float]:
        left, right, rank = severity(self.config.seed, patient)
        return grade_of(left, self.config.proportions), grade_of(right, self.config.proportions), rank

    def _find(self, record: Record) -> tuple[int, str, int]:
        number, _, eye = record.id.removeprefix("P").partition("_")
        patient = int(number) if number.isdecimal() else 0
        if record.id != f"P{patient:03d}_{eye}" or eye not in ("L", "R") or not 1 <= patient <= self.config.patients:
            known = [each.id for each in self.records()]
            raise DataError(
                f"{self.name} has no photograph {record.id!r}{did_you_mean(record.id, known)}; "
                f"with {self.config.patients} patients it has {known[0]} to {known[-1]}"
            )
        left, right, _ = self._grades(patient)
        return patient, eye, left if eye == "L" else right


@hookimpl
def sslkit_datasets() -> Iterable[type[Dataset[Any]]]:
    """Announce the data set."""
    return (SyntheticFundus,)
