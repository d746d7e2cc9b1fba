"""Which files hold images for a network: photographs, and what the data set that it was trained on reads besides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from sslkit.data.decoding import decode_file
from sslkit.data.image_files import SUFFIXES
from sslkit.errors import DataError
from sslkit.interfaces import Dataset
from sslkit.registry import PluginInfo

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[bytes], bytes | Pixels]


def has_own_format(dataset: PluginInfo) -> bool:
    """Return whether a data set reads files in a format of its own."""
    inherited: object = Dataset.decode.__func__  # type: ignore[attr-defined]  # mypy sees no classmethod in it
    return getattr(dataset.cls.decode, "__func__", None) is not inherited


def attempt(read: Callable[[], Pixels]) -> Pixels | str:
    """Return what reading an image gives, or why it cannot be read, in words that do not name it again."""
    try:
        return read()
    except OSError as error:
        return error.strerror or str(error)
    except DataError as error:
        return str(error)


@dataclass(frozen=True)
class FileFormat:
    """Files of images.

    Attributes:
        suffixes: what counts as an image in a folder.
        decode: turns the bytes of a file of the data set's own format into pixels; None: it has none.
    """

    suffixes: tuple[str, ...] = SUFFIXES
    decode: Decode | None = None

    @classmethod
    def of(cls, dataset: PluginInfo, max_pixels: int) -> FileFormat:
        """Return what a data set reads.

        Args:
            dataset: the plugin.
            max_pixels: the most pixels of an image.
        """
        if not has_own_format(dataset):
            return cls()
        decode = partial(decode_file, dataset.cls, dataset.provenance, max_pixels=max_pixels)
        return cls((*SUFFIXES, *dataset.cls.suffixes), decode)
