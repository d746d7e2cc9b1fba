"""What is done to an image before anything sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sslkit.config.schema import MAX_PIXELS
from sslkit.data.cropping import crop_and_resize
from sslkit.data.image_statistics import global_statistics
from sslkit.data.reading import DecodedImage, read_image
from sslkit.data.retina import THUMBNAIL_SIDE, retina_box, thumbnail
from sslkit.errors import DataError


@dataclass(frozen=True)
class Preprocessing:
    """Size and crop; an image of more than ``max_pixels`` is refused."""

    size: int
    crop: Literal["fundus", "center", "none"]
    max_pixels: int = MAX_PIXELS

    def apply(self, content: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return uint8 (size, size, 3) of an image file's bytes or of pixels.

        Raises:
            DataError: if the image cannot be read, or the crop finds nothing in it.
        """
        return crop_and_resize(self._read(content).pixels, self.crop, self.size)

    def look(
        self, content: bytes | npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], DecodedImage, dict[str, float]]:
        """Decode an image once, and return what is stored of it, the image, and its global statistics.

        Raises:
            DataError: if the image cannot be read, or the crop finds nothing in it.
        """
        image = self._read(content)
        small = thumbnail(image.pixels)
        try:
            retina = retina_box(image.pixels, small)
        except DataError:
            if self.crop == "fundus":
                raise
            retina = None
        stored = crop_and_resize(image.pixels, self.crop, self.size, retina)
        num_bytes = len(content) if isinstance(content, bytes) else math.nan
        return stored, image, global_statistics(image, num_bytes, retina, small[0])

    def _read(self, content: bytes | npt.NDArray[np.uint8]) -> DecodedImage:
        at_least = max(2 * self.size, THUMBNAIL_SIDE)
        return read_image(content, at_least=at_least, max_pixels=self.max_pixels)
