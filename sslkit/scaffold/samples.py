"""Images for a new data set to be tried on: computed, small, and told apart by how many discs they show."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_PATIENTS, _GRADES, _SIZE = 20, 5, 48


def sample_files() -> dict[str, bytes]:
    """Return PNG files by their paths, ``samples/PATIENT_EYE_GRADE.png``; an image of grade g shows g + 1 discs.

    Example:
        >>> sorted(sample_files())[:2]
        ['samples/p01_left_0.png', 'samples/p01_right_0.png']
    """
    import numpy as np  # here, since the command line loads this module for a help text

    rng = np.random.default_rng(0)
    return {
        f"samples/p{patient + 1:02d}_{eye}_{patient % _GRADES}.png": _png(_draw(patient % _GRADES + 1, rng))
        for patient in range(_PATIENTS)
        for eye in ("left", "right")
    }


def _draw(num_discs: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return bright discs on a tilted plane of colour with some noise, uint8 (H, W, 3)."""
    import numpy as np

    rows, columns = np.mgrid[0:_SIZE, 0:_SIZE]
    slopes = rng.uniform(-1, 1, (2, 3))
    image = 90 + rows[..., None] * slopes[0] + columns[..., None] * slopes[1]
    for x, y, radius in rng.uniform((6, 6, 3), (_SIZE - 6, _SIZE - 6, 7), (num_discs, 3)):
        image[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = 230
    pixels: npt.NDArray[np.uint8] = (image + rng.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)
    return pixels


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
