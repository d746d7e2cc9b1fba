"""The frame of a photograph and antialiased layers drawn on it.

Retinal coordinates are those of a right eye: the unit is the radius of the field of view, the origin its centre,
x grows towards the nose (where the optic disc is), y downwards. A left eye is the mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

_DRAWN_SIDE = 768
_LOBES = np.array([[2.0], [3.0], [4.0]])


@dataclass(frozen=True)
class Frame:
    """Where the retina lies on a square photograph.

    Attributes:
        size: side of the photograph in pixels.
        centre: centre of the field of view (x, y), as fractions of the side.
        radius: radius of the field of view, as a fraction of the side.
        mirrored: true for a left eye.
        torsion: turn of the eye about the line of sight in radians.
    """

    size: int
    centre: tuple[float, float]
    radius: float
    mirrored: bool
    torsion: float

    def to_pixels(self) -> tuple[Points, Points]:
        """Return the matrix (2, 2) and the offset (2,) with which ``points @ matrix + offset`` are pixels, x first."""
        cos, sin = np.cos(self.torsion), np.sin(self.torsion)
        turn = np.array([[cos, sin], [-sin, cos]]) * [-1 if self.mirrored else 1, 1]
        return turn * self.radius * self.size, np.array(self.centre) * self.size

    def view_grid(self) -> tuple[Floats, Floats]:
        """Return x and y, each float32 (H, W), in radii from the centre, as the photograph is looked at."""
        axis = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size
        x, y = np.meshgrid((axis - self.centre[0]) / self.radius, (axis - self.centre[1]) / self.radius)
        return x.astype(np.float32), y.astype(np.float32)

    def retinal_grid(self) -> tuple[Floats, Floats]:
        """Return the retinal x and y of every pixel, each float32 (H, W)."""
        x, y = self.view_grid()
        if self.mirrored:
            x = -x
        cos, sin = np.float32(np.cos(self.torsion)), np.float32(np.sin(self.torsion))
        return x * cos + y * sin, y * cos - x * sin


class Layer:
    """A grey layer, drawn finer than the photograph and averaged down to it.

    Args:
        frame: the photograph that it belongs to.
    """

    def __init__(self, frame: Frame) -> None:
        """Prepare an empty layer."""
        self._size = frame.size
        self._factor = min(8, max(2, round(_DRAWN_SIDE / frame.size)))
        matrix, offset = frame.to_pixels()
        self._matrix, self._offset = matrix * self._factor, offset * self._factor - 0.5
        self._image: Image.Image | None = None

    def polygon(self, points: Points, value: float) -> None:
        """Fill a polygon given in retinal coordinates (n, 2) with a value in 0..1."""
        if self._image is None:
            side = self._size * self._factor
            self._image = Image.new("L", (side, side))
            self._draw = ImageDraw.Draw(self._image)
        self._draw.polygon((points @ self._matrix + self._offset).ravel().tolist(), fill=round(255 * value))

    def pixels(self) -> Floats:
        """Return the layer at the photograph's size: float32 (H, W) in 0..1."""
        if self._image is None:
            return np.zeros((self._size, self._size), dtype=np.float32)
        return np.asarray(self._image.reduce(self._factor), dtype=np.float32) / np.float32(255)


def ribbon(points: Points, widths: npt.NDArray[np.float64]) -> Points:
    """Return the outline (2 n, 2) of a line through ``points`` (n, 2) whose width changes along it (n,)."""
    tangent = np.empty_like(points)
    tangent[1:-1] = points[2:] - points[:-2]
    tangent[[0, -1]] = points[[1, -1]] - points[[0, -2]]
    scale = widths / (2 * np.hypot(tangent[:, 0], tangent[:, 1]) + 1e-9)
    offset = tangent[:, ::-1] * [-1, 1] * scale[:, None]
    return np.concatenate([points + offset, (points - offset)[::-1]])


def blob(
    rng: np.random.Generator,
    centre: Points,
    radius: float,
    *,
    roughness: float = 0.25,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Points:
    """Return an irregular outline (n, 2) around ``centre`` (2,), stretched along ``angle``."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    waves = np.sin(_LOBES * turn + rng.uniform(0, 2 * np.pi, (3, 1)))
    reach = radius * (1 + rng.uniform(0.3, 1.0, 3) @ waves * (roughness / 1.5))
    outline = np.empty((len(turn), 2))
    outline[:, 0], outline[:, 1] = reach * np.cos(turn) * stretch, reach * np.sin(turn) / np.sqrt(stretch)
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Points = centre + outline @ np.array([[cos, sin], [-sin, cos]])
    return turned


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> Floats:
    """Return noise of unit variance at the nodes of a coarse grid, interpolated to float32 (size, size)."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
