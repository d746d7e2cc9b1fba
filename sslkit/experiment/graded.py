"""The answer for one image, and what is shown with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class GradedImage:
    """The answer for one image. Not a medical device: for research only.

    Attributes:
        image: the file, as it was given or found.
        grade: in 0..K-1; None where the image could not be read.
        grade_name: its name.
        probabilities: one a class, by name.
        referable: whether the probability of a referable grade reaches the threshold that the run fitted; None where
            the head asks no such question, or the run could fit no threshold.
        referable_probability: the probability of all grades that are referable (of grade 2 and above, for diabetic
            retinopathy); None where the head asks no such question.
        error: why the image could not be read.
    """

    image: str
    grade: int | None = None
    grade_name: str | None = None
    probabilities: dict[str, float] | None = None
    referable: bool | None = None
    referable_probability: float | None = None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Graded:
    """The answer for one image, with what the models saw of it and where they looked.

    Attributes:
        answer: the answer.
        square: uint8 (S, S, 3), the image as the models saw it; None where it could not be read.
        heat: float32 (S, S) in 0..1, where the evidence for the grade lies; None where it was not asked for.
    """

    answer: GradedImage
    square: npt.NDArray[np.uint8] | None = None
    heat: npt.NDArray[np.float32] | None = None

    @property
    def without_evidence(self) -> bool:
        """Whether heat was asked for and is nowhere: every place speaks against the grade that is given."""
        return self.heat is not None and not self.heat.any()
