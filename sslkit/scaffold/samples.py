"""Images for a new data set to be tried on: computed, small, and told apart by how many discs they show."""

from __future__ import annotations

import io

NUM_GRADES = 5
_PATIENTS, _SIZE = 20, 48


def sample_files() -> dict[str, bytes]:
    """Return PNG files by their paths, ``samples/PATIENT_EYE_GRADE.png``; grade g shows g discs more than one.

    Example:
        >>> sorted(sample_files())[:2]
        ['samples/p01_left_0.png', 'samples/p01_right_0.png']
    """
    import numpy as np
    from PIL import Image

    files = {}
    rows, columns = np.mgrid[0:_SIZE, 0:_SIZE]
    rng = np.random.default_rng(0)
    for patient in range(_PATIENTS):
        grade = patient % NUM_GRADES
        for eye in ("left", "right"):
            slope = rng.uniform(-1, 1, (3, 2))
            plane = 90 + slope[:, 0] * rows[..., None] + slope[:, 1] * columns[..., None]
            for x, y, radius in zip(
                *rng.uniform(6, _SIZE - 6, (2, grade + 1)), rng.uniform(3, 7, grade + 1), strict=True
            ):
                plane[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = 230
            pixels = (plane + rng.normal(0, 6, plane.shape)).clip(0, 255).astype(np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            files[f"samples/p{patient + 1:02d}_{eye}_{grade}.png"] = file.getvalue()
    return files
