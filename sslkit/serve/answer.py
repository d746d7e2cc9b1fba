"""What is answered of a photograph, as JSON; its pictures go as data: URIs, so that nothing of it is a file."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from sslkit.experiment.prediction import overlay
from sslkit.printable import printable
from sslkit.serve.refusal import Refusal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sslkit.experiment.graded import Graded
    from sslkit.serve.model import ServedModel

DISCLAIMER = "Not a medical device. For research only: nobody may be diagnosed or treated by these answers."


def answer_of(model: ServedModel, graded: Graded) -> dict[str, Any]:
    """Return the answer for a photograph: the same one has the same.

    Raises:
        Refusal: with status 422, if the photograph cannot be read.
    """
    found = graded.answer
    if found.error is not None:
        reason = printable(" ".join(found.error.split()))
        raise Refusal(422, f"The photograph cannot be read: {reason}.")
    referable = None
    if found.referable_probability is not None:
        referable = {
            "name": model.grader.referable_name,
            "answer": found.referable,
            "probability": found.referable_probability,
            "threshold": model.grader.threshold,
        }
    return {
        "grade": found.grade,
        "grade_name": found.grade_name,
        "probabilities": found.probabilities,
        "referable": referable,
        "run": model.name,
        "models": model.described,
        "disclaimer": DISCLAIMER,
    }


def pictures_of(graded: Graded, mask: npt.NDArray[np.bool_] | None) -> dict[str, str | None]:
    """Return the prepared photograph, and the same under its heat, as data: URIs of one size; None where there is none.

    Heat that is nowhere is not drawn: the photograph in grey would look like a fault.

    Args:
        graded: with its square.
        mask: where heat may be drawn, bool (S, S).
    """
    if graded.square is None:
        return {"prepared": None, "overlay": None}
    drawn = None if graded.heat is None or graded.without_evidence else overlay(graded.square, graded.heat, mask)
    side = len(graded.square) if drawn is None else len(drawn)
    return {"prepared": _data_uri(graded.square, side), "overlay": None if drawn is None else _data_uri(drawn, side)}


def _data_uri(pixels: npt.NDArray[np.uint8], side: int) -> str:
    image = Image.fromarray(pixels)
    if image.width < side:
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
