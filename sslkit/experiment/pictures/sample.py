"""Which training images are shown, and where a pretraining meets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sslkit.experiment.view_stream import VIEW_CHUNK, ViewStream


@dataclass(frozen=True)
class SampleImage:
    """An image, and where it stands in the first epoch.

    Attributes:
        row: of the image in the cache.
        update: whose batch it is in.
        chunk: of the batch.
        place: in the chunk.
    """

    row: int
    update: int
    chunk: int
    place: int


def draw_sample(stream: ViewStream, count: int) -> list[SampleImage]:
    """Return training images that the first epoch shows, spread over the grades, in the order of their grades."""
    met = stream.first_epoch()
    drawn = []
    for position in spread_over_grades(stream.recipe.grades[met], count):
        update, place = divmod(position, stream.batch_size)
        drawn.append(SampleImage(int(met[position]), update, *divmod(place, VIEW_CHUNK)))
    return drawn


def spread_over_grades(grades: npt.NDArray[np.int64] | Sequence[int], count: int) -> list[int]:
    """Return positions of ``count`` images, as many of each grade as can be; those without a label come last.

    Where there are more grades than images, grades at even distances are taken, the lowest and the highest among them.

    Args:
        grades: (M,), -1 where unlabelled.
        count: how many; all, where there are fewer.

    Returns:
        Positions in ``grades``, in the order of the grades; the first ones of each.

    Example:
        >>> spread_over_grades([0, 0, 1, 4, -1, 0], 2), spread_over_grades([0, 0, 1, 4, -1, 0], 4)
        ([0, 3], [0, 1, 2, 3])
    """
    grades = np.asarray(grades)
    present = np.unique(grades[grades >= 0])
    if 0 < count < len(present):
        present = present[np.linspace(0, len(present) - 1, count).round().astype(int)]
    queues = [np.flatnonzero(grades == grade).tolist() for grade in present]
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    unlabelled = np.flatnonzero(grades < 0).tolist()
    return sorted(chosen, key=lambda position: (grades[position], position)) + unlabelled[: count - len(chosen)]
